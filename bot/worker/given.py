"""Functions that handlers are given: to download media, and to apply an event to a recording."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from bot.recording.model import RecordingEvent
from storage.database import Connection
from storage.records import MediaSource, RecordingId


class Fetched(Protocol):
    """The outcome of a download: size and SHA-256 (lower-case hex) of the decrypted bytes."""

    @property
    def bytes(self) -> int: ...

    @property
    def sha256(self) -> str: ...


Download = Callable[[MediaSource, Path, int], Awaitable[Fetched]]
Apply = Callable[[Connection, RecordingId, RecordingEvent], Awaitable[None]]

ASK_AGAIN_AFTER = timedelta(seconds=10)
"""The first pause before media that were not to be had are requested again."""
AT_ONCE_S = 1.0
"""A cap of the lanes' pause, so that it does not add to that one."""
