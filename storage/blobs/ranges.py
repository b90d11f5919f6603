"""A file over the ranges of a blob that lies elsewhere. Blocking: for threads."""

from collections.abc import Callable
from io import SEEK_CUR, SEEK_SET, RawIOBase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

ReadRange = Callable[[int, int], bytes]
"""A function that returns so many bytes from a place on, fewer at the end."""


class RangeFile(RawIOBase):
    """A file of a known size, read by ranges. Wrap it in a buffer: each read is a request."""

    def __init__(self, read_range: ReadRange, size: int) -> None:
        super().__init__()
        self._read_range = read_range
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        base = {SEEK_SET: 0, SEEK_CUR: self._place}.get(whence, self._size)
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        count = min(len(view), self._size - self._place)
        if count <= 0:
            return 0
        data = self._read_range(self._place, count)
        view[: len(data)] = data
        self._place += len(data)
        return len(data)
