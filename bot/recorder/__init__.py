"""The shell around the machines: it reads the journal and writes state and jobs, one transaction for each event."""

from bot.recorder.recorder import Recorder

__all__ = ["Recorder"]
