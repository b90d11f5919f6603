"""A track as HTTP Live Streaming: which segments are listed when, where their frames lie, and the playlist. Pure.

A segment is 250 frames, six seconds to the sample, behind a tag that says when it begins: packed audio (RFC 8216,
section 3.4). Sound comes in bursts, a chunk at a time, and players wait badly for bursts: so a segment is listed when
its frames are there and its time has come, one each six seconds from the first sound on. What comes late moves all
that follows, once: the next chunk that is as late finds time for it. Players begin four segments behind the newest
one, and ours wait until so many were due: then a chunk may be twelve seconds late before they fall silent, which is
more than the ten that a missing one is waited for. The three of RFC 8216 (section 6.3.3) would leave six.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.audio.mp3 import FRAME
from storage.records import SAMPLE_RATE, BlobKey, Extent

FRAMES = 250  # of a segment
SECONDS = FRAMES * FRAME // SAMPLE_RATE
SEGMENT = timedelta(seconds=SECONDS)
BEHIND = 4  # segments between the newest one and where players begin
FURTHEST = 10 * SEGMENT  # what may wait to be listed when more comes: after an outage the air is not late for ever

_CLOCK = 90_000  # ticks a second of MPEG-2 transport streams
_CLOCK_BITS = 33
_OWNER = b"com.apple.streaming.transportStreamTimestamp\0"


@dataclass(frozen=True, slots=True)
class Listing:
    """A track as players may have it now. `ended`: no sound comes any more, and `frames` are all there are. `ripe`:
    who begins now is as far behind as it should be."""

    generation: int
    frames: int
    ended: bool
    ripe: bool = True

    @property
    def segments(self) -> int:
        return -(-self.frames // FRAMES)

    def frames_of(self, segment: int) -> int:
        """How many a segment has; 0 where there is none of this number."""
        return max(0, min(FRAMES, self.frames - segment * FRAMES))


def first_due(live_from: datetime | None, frames: int, now: datetime) -> datetime:
    """When the first segment was due, as it is kept from now on: more sound comes behind so many frames."""
    at_once = now - frames // FRAMES * SEGMENT  # the next segment is due now
    if live_from is None or not at_once <= live_from <= at_once + FURTHEST:
        return at_once
    return live_from


def listing_at(generation: int, live_from: datetime, frames: int, now: datetime) -> Listing:
    """What is listed of so many frames while more may come."""
    due = max(0, (now - live_from) // SEGMENT + 1)
    segments = min(frames // FRAMES, due)
    return Listing(generation, segments * FRAMES, ended=False, ripe=due >= BEHIND)


def playlist(air: Listing, code: str) -> str:
    """The event playlist (RFC 8216). Segments lie beside it.

    To such a list lines may only be added (section 6.2.1). So it doesn't say where to begin by EXT-X-START, which would
    have to go at the end, but by HOLD-BACK (RFC 8216bis, section 4.4.3.8), which means nothing in a list that ended.
    """
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:3",
        f"#EXT-X-TARGETDURATION:{SECONDS}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        f"#EXT-X-SERVER-CONTROL:HOLD-BACK={BEHIND * SECONDS}",
    ]
    for segment in range(air.segments):
        seconds = air.frames_of(segment) * FRAME / SAMPLE_RATE
        lines += [f"#EXTINF:{seconds:.5f},", f"{code}-{air.generation}-{segment}.mp3"]
    if air.ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join([*lines, ""])


def timestamp(segment: int) -> bytes:
    """The ID3v2.4 tag that stands in front of a segment's frames (RFC 8216, section 3.4)."""
    ticks = segment * SECONDS * _CLOCK % (1 << _CLOCK_BITS)
    said = _OWNER + struct.pack(">Q", ticks)
    frame = b"PRIV" + struct.pack(">IH", len(said), 0) + said  # sizes below 128 are synchsafe as they are
    return b"ID3\x04\0\0" + struct.pack(">I", len(frame)) + frame


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Some bytes of a blob."""

    blob: BlobKey
    offset: int
    bytes: int


def byte_ranges(extents: Sequence[Extent], first: int, frames: int, frame_bytes: int) -> tuple[ByteRange, ...]:
    """The bytes of so many frames from `first` on, of a track whose frames lie in these extents."""
    found = []
    for extent in extents:
        start = max(first, extent.first)
        end = min(first + frames, extent.first + extent.frames)
        if start < end:
            offset = extent.offset + (start - extent.first) * frame_bytes
            found.append(ByteRange(extent.blob, offset, (end - start) * frame_bytes))
    return tuple(found)
