"""Bytes of a file, window by window, to find where sound begins again after damage."""

from collections.abc import Iterator
from typing import BinaryIO

NEAR, FAR = 1 << 11, 1 << 20  # bytes of the first window, and of the largest


def windows(
    file: BinaryIO, start: int, end: int, *, overlap: int, near: int = NEAR, far: int = FAR
) -> Iterator[tuple[int, bytes]]:
    """Yield windows from `start` to `end`, each with the place that it begins at.

    Damage is short for the most part, so the first window is small and each is twice as large as the one before. A
    window extends `overlap` bytes into the next one, so that no beginning is cut in two.
    """
    size = near
    while start < end:
        file.seek(start)
        yield start, file.read(min(size, end - start) + overlap)
        start, size = start + size, min(2 * size, far)
