"""The file of an episode: its tag, the Info frame and the frames of the track."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bot.audio.grid import Form, frames_in
from bot.audio.mp3 import after_id3, info_frame, read_info
from bot.audio.tags import EpisodeTags, id3
from bot.errors import TryLater
from storage.private import synced
from storage.records import Samples, to_ms

_COPY = 1 << 20
SYNCED = 16 << 20
"""Bytes after which a file is flushed to the disk while the rest is written."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive bytes of a file; `open` opens it for reading."""

    open: Callable[[], BinaryIO]
    offset: int
    bytes: int


@dataclass(frozen=True, slots=True)
class MadeEpisode:
    """A finished file."""

    bytes: int
    sha256: str  # lower-case hex
    samples: Samples  # exactly as many as a decoder gives that reads the Info frame
    head: int  # bytes before the first frame of sound


def put_together(
    frames: Sequence[Stretch], out: Path, *, samples: Samples, form: Form, tags: EpisodeTags, place: int = 0
) -> MadeEpisode:
    """Write the episode to `out`, synced to the disk, its sound at `place`, where an earlier file of it has it, unless
    the tag needs more; `out` is left in pieces when this raises. What was read is hashed, and what was written is
    flushed, while the next bytes come: for hours of sound each takes as long as the other. Blocking.

    Raises TryLater when the frames can't hold exactly this sound, OSError for the disk's errors.
    """
    count, rest = frames_in(sum(stretch.bytes for stretch in frames), form)
    try:
        info = info_frame(frames=count, kbps=form.bitrate, samples=samples, channels=form.channels)
    except ValueError:
        raise TryLater("the frames of an episode have the wrong length") from None
    if rest:
        raise TryLater("the frames of an episode have the wrong size")
    head = id3(tags, to_ms(samples), wanted=place - len(info)) + info
    digest, size, asked = hashlib.sha256(), 0, 0
    with synced(out) as target, ThreadPoolExecutor(2) as beside:
        hashing = syncing = beside.submit(digest.update, b"")
        for block in _blocks(head, frames):
            hashing.result()
            hashing = beside.submit(digest.update, block)
            size += target.write(block)
            if size - asked >= SYNCED and syncing.done():
                asked = size
                syncing.result()
                syncing = beside.submit(os.fdatasync, target.fileno())
        hashing.result()
        syncing.result()
    return MadeEpisode(size, digest.hexdigest(), samples, len(head))


def place_of_sound(file: BinaryIO) -> int:
    """Return how many bytes an episode's file has before its sound: its tag and the Info frame; 0 where it is not such
    a file. Blocking."""
    info = read_info(file)
    return after_id3(file) + info.header.size if info is not None else 0


def _blocks(head: bytes, frames: Iterable[Stretch]) -> Iterator[bytes]:
    yield head
    for stretch in frames:
        left = stretch.bytes
        with stretch.open() as file:
            file.seek(stretch.offset)
            while left:
                block = file.read(min(left, _COPY))
                if not block:
                    raise TryLater("a stored file of frames is too short")
                left -= len(block)
                yield block
