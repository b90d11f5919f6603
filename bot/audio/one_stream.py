"""The packets of a recording that is one Opus stream, copied from its chunks as they are: nothing is encoded again."""

import asyncio
import base64
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.audio.opus import facts_of, filled, opus_streams
from bot.audio.opus_packets import well_formed
from bot.audio.opus_parts import Part, Parts
from bot.audio.plan import LocalFile, Piece, Sound, head_skip, length
from bot.errors import GiveUp
from storage.records import BlobKey, Container, OggFacts

_MAX_SAMPLES = 1 << 40
_NO_BOUND = 1 << 62  # bytes


@dataclass(frozen=True, slots=True)
class Joined:
    """A finished Ogg Opus file, which decodes to exactly the samples of the recording."""

    key: BlobKey
    bytes: int
    sha384: str  # base64, as in Subresource Integrity


async def join(pieces: Sequence[Piece], out: Path, *, local: LocalFile) -> Joined | None:
    """Write the stream of all pieces to `out`, synced to the disk; None where they are not one whole stream, or one of
    them is gone. Raises OSError for the disk's errors."""
    try:
        (part,) = await copied(pieces, lambda _: out, local=local, max_bytes=_NO_BOUND)
    except (GiveUp, FileNotFoundError):
        return None
    return await asyncio.to_thread(_sealed, part)


def _sealed(part: Part) -> Joined:
    """Sync a file, and return it with its digests. Blocking."""
    with part.path.open("r+b") as file:
        digest = hashlib.file_digest(file, "sha384").digest()
        os.fsync(file.fileno())
    return Joined(BlobKey(part.sha256), part.bytes, base64.b64encode(digest).decode())


async def copied(
    pieces: Sequence[Piece], path_of: Callable[[int], Path], *, local: LocalFile, max_bytes: int
) -> list[Part]:
    """Copy the packets of all pieces into files of at most `max_bytes`, which `path_of` names by number. Raises GiveUp
    when they are not one whole stream."""
    before: OggFacts | None = None
    with Parts(path_of, length(pieces), max_bytes) as parts:
        for piece in pieces:
            if not isinstance(piece, Sound) or piece.container is not Container.OGG_OPUS:
                raise _not_one_stream()
            async with local(piece.blob) as path:
                before = await asyncio.to_thread(copy_chunk, path, piece, before, parts)
        if await asyncio.to_thread(parts.end):
            raise _not_one_stream()
        return parts.parts


def copy_chunk(path: Path, sound: Sound, before: OggFacts | None, parts: Parts) -> OggFacts:
    """Copy the packets of one chunk, and return its facts. Raises GiveUp when it does not continue the stream of the
    chunk before it, or is damaged. Blocking."""
    with path.open("rb") as file:
        streams = opus_streams(file, max_samples=_MAX_SAMPLES)
        ogg = facts_of(streams).ogg
        clean = ogg is not None and ogg.contiguous and ogg.agrees and not streams[0].clock.finish().fills
        if ogg is None or not clean or not streams[0].head_or_usual.one_stream:
            raise _not_one_stream()
        decoded = ogg.packet_samples - ogg.end_trim(before.end_granule if before else None)
        skip = 0
        if before is None:
            skip = head_skip(begins=ogg.begins_run, decoded=decoded, wanted=sound.samples, pre_skip=ogg.pre_skip)
            parts.begin(streams[0].head_or_usual, skip)
        if sound.continues is not (before is not None and _runs_on(before, ogg)) or decoded - skip != sound.samples:
            raise _not_one_stream()
        file.seek(0)
        for _, packet, _ in filled(file, streams):
            if not well_formed(packet):
                raise _not_one_stream()
            parts.put(packet)
    return ogg


def _runs_on(before: OggFacts, ogg: OggFacts) -> bool:
    """Return whether a chunk is the next slice of the stream."""
    same = (before.serial, before.head_sha256) == (ogg.serial, ogg.head_sha256)
    return same and before.last_page + 1 == ogg.first_page and not before.end_trim()


def _not_one_stream() -> GiveUp:
    return GiveUp("the sound is not one Opus stream", reason="not_one_stream")
