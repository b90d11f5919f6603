"""The shell around the machines: journal in, state and jobs out, one transaction for each event."""

from bot.recorder.recorder import Recorder

__all__ = ["Recorder"]
