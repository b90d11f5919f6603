"""The shell around the machines: it reads the journal and writes state and jobs, one transaction for each event."""

from bot.recorder.recorder import Recorder, limits_of

__all__ = ["Recorder", "limits_of"]
