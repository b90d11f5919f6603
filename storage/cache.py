"""A cache of rows that are read again and again while a broadcast runs. The database stays the only truth.

Every writer of the rows gives them a new edition, a random value, in the same transaction. A cached value is valid
exactly as long as its edition is the stored one, whichever process wrote, and also after a rollback or a crash.
"""

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, NewType, TypeVar

from storage.records import RecordingId

Edition = NewType("Edition", str)  # "" before the first write

T = TypeVar("T")


def new_edition() -> Edition:
    return Edition(secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class _Issue(Generic[T]):
    edition: Edition
    value: T
    size: int


class EditionCache(Generic[T]):
    """A cache of one value for each recording, limited to `most` by the sizes given; the least recently used value is
    dropped first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        # The newest first, then the one before it, which other transactions see until this one is committed.
        self._issues: OrderedDict[RecordingId, tuple[_Issue[T], ...]] = OrderedDict()

    def get(self, recording_id: RecordingId, edition: Edition) -> T | None:
        """Return the value that was cached with this edition."""
        for issue in self._issues.get(recording_id, ()):
            if issue.edition == edition:
                self._issues.move_to_end(recording_id)
                return issue.value
        return None

    def put(self, recording_id: RecordingId, edition: Edition, value: T, size: int) -> None:
        before = self._issues.get(recording_id, ())
        self.drop(recording_id)
        self._issues[recording_id] = (_Issue(edition, value, size), *before[:1])
        self._size += size
        while self._size > self._most:
            self.drop(next(iter(self._issues)))

    def drop(self, recording_id: RecordingId) -> None:
        """Remove a recording's value."""
        for issue in self._issues.pop(recording_id, ())[:1]:
            self._size -= issue.size
