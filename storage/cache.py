"""What is asked for again and again while a broadcast runs, kept in memory. The database stays the only truth.

Beside it stands its edition, a random value that everybody who writes the rows gives anew in the same transaction. So
what is kept is right exactly while its edition is the stored one, whoever wrote, and whatever was undone or cut off.
"""

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, NewType, TypeVar

from storage.records import RecordingId

Edition = NewType("Edition", str)  # "" as long as nobody wrote

T = TypeVar("T")


def new_edition() -> Edition:
    return Edition(secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class _Issue(Generic[T]):
    edition: Edition
    value: T
    size: int


class EditionCache(Generic[T]):
    """Something of each recording, up to `most` in all, by the sizes that are given; what was used last stays."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        # The newest first, and the one before it: until a transaction is committed the others see that.
        self._issues: OrderedDict[RecordingId, tuple[_Issue[T], ...]] = OrderedDict()

    def get(self, recording_id: RecordingId, edition: Edition) -> T | None:
        """What was kept of this edition."""
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
        """It is of no use any more."""
        for issue in self._issues.pop(recording_id, ())[:1]:
            self._size -= issue.size
