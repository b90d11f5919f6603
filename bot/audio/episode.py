"""The file of an episode: its tag, the Info frame and the frames of the track."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bot.audio.grid import Form, frames_in
from bot.audio.mp3 import info_frame
from bot.audio.tags import EpisodeTags, id3
from bot.errors import TryLater
from storage.private import synced
from storage.records import Samples, to_ms

_COPY = 1 << 20


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
    frames: Sequence[Stretch], out: Path, *, samples: Samples, form: Form, tags: EpisodeTags
) -> MadeEpisode:
    """Write the episode to `out`, synced to the disk; `out` is left in pieces when this raises. Blocking.

    Raises TryLater when the frames can't hold exactly this sound, OSError for the disk's errors.
    """
    count, rest = frames_in(sum(stretch.bytes for stretch in frames), form)
    try:
        info = info_frame(frames=count, kbps=form.bitrate, samples=samples, channels=form.channels)
    except ValueError:
        raise TryLater("the frames of an episode have the wrong length") from None
    if rest:
        raise TryLater("the frames of an episode have the wrong size")
    head = id3(tags, to_ms(samples)) + info
    digest, size = hashlib.sha256(), 0
    with synced(out) as target:
        for block in _blocks(head, frames):
            digest.update(block)
            size += target.write(block)
    return MadeEpisode(size, digest.hexdigest(), samples, len(head))


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
