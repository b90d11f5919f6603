"""The shell around the machine: journal in, state and jobs out, one transaction an event."""

from bot.recorder.recorder import Recorder

__all__ = ["Recorder"]
