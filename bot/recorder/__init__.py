"""The shell around the machine: journal in, state and jobs out, one transaction an event."""

from bot.recorder.recorder import Recorder
from bot.recorder.starting import display_name

__all__ = ["Recorder", "display_name"]
