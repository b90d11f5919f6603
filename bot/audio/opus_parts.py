"""Files of a limited size from one stream of Opus packets. No packet is encoded again; together the files give the
same samples as the stream.

Each file after the first begins with the last packets of the one before, whose sound is skipped as pre-skip, so that
its decoder is in the state that it would have in the whole stream.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from bot.audio.opus_head import Head
from bot.audio.opus_packets import duration
from bot.audio.opus_pages import OpusPages
from bot.audio.plan import pre_roll
from bot.errors import GiveUp
from storage.records import Samples

_MANY_PACKETS = 400


@dataclass(frozen=True, slots=True)
class Part:
    """A finished file: the samples that a decoder gives for it, and the place of the first one in the whole sound."""

    path: Path
    first: Samples
    samples: Samples
    bytes: int
    sha256: str  # lower-case hex


class Parts:
    """A writer of `samples` samples of sound, in files of at most `max_bytes` that `path` names by number, from 0 on.
    Blocking; a context that closes the file that is being written."""

    def __init__(self, path: Callable[[int], Path], samples: Samples, max_bytes: int) -> None:
        self.parts: list[Part] = []
        self._path = path
        self._samples = samples
        self._max_bytes = max_bytes
        self._head: Head | None = None
        self._skip = 0
        self._at = 0  # samples of all packets so far
        self._first = 0  # of the open file, in the sound
        self._tail: list[bytes] = []
        self._file: BinaryIO | None = None
        self._pages: OpusPages | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def begin(self, head: Head, skip: int) -> None:
        """Begin with the head of the stream; `skip`: its samples before the sound."""
        self._head, self._skip = head, skip
        self._open(skip)

    def put(self, packet: bytes) -> None:
        """Add a packet; what lies after the end of the sound is dropped. Raises GiveUp (`undecodable`) for bytes that
        are no packet, and for packets too large for the files."""
        if self._at >= self._end:
            return
        assert self._pages is not None
        if self._pages.size_with(packet) > self._max_bytes:
            if self._at <= self._skip + self._first:
                raise GiveUp("the packets of a stream are too large to be cut", reason="undecodable")
            self._close(0)
            before = self._tail[-pre_roll([duration(each) for each in self._tail]) :]
            self._open(sum(map(duration, before)))
            for each in before:
                self._pages.put(each)
        self._pages.put(packet)
        self._at += duration(packet)
        self._tail.append(packet)
        if len(self._tail) > _MANY_PACKETS:
            self._tail = self._tail[-pre_roll([duration(each) for each in self._tail]) :]

    def end(self) -> int:
        """Close the last file. Return how many samples are missing; files that lack any are of no use."""
        missing = max(0, self._end - self._at)
        self._close(max(0, self._at - self._end))
        return missing

    @property
    def _end(self) -> int:
        """The end of the sound, in samples of packets."""
        return self._skip + self._samples

    def _open(self, skip: int) -> None:
        assert self._head is not None
        self._first = max(0, self._at - self._skip)
        self._file = self._path(len(self.parts)).open("wb")
        self._pages = OpusPages(self._file, self._head.with_pre_skip(skip))

    def _close(self, trim: int) -> None:
        assert self._file is not None
        assert self._pages is not None
        self._pages.close(trim)
        self._file.close()
        self._file = None
        path = self._path(len(self.parts))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        samples = min(self._at, self._end) - self._skip - self._first
        self.parts.append(Part(path, Samples(self._first), Samples(samples), path.stat().st_size, digest))
