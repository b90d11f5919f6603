"""A track as HTTP Live Streaming: the times at which segments are listed, and the playlist. Pure.

A segment is 250 frames, exactly six seconds, after a tag that states its time: packed audio (RFC 8216, section 3.4).
Sound arrives in bursts, a chunk at a time, and players handle bursts badly. So a segment is listed once its frames
exist and its time has come, one every six seconds from the first sound on. A late chunk shifts the schedule of
everything after it, once: the next chunk that is equally late arrives in time. Players begin four segments before the
newest one, and our pages wait until four were due. A chunk may then be twelve seconds late before playback stops,
longer than the ten seconds for which a track waits for a missing chunk. The three of RFC 8216 (section 6.3.3) would
leave six seconds.
"""

import struct
from dataclasses import dataclass
from datetime import datetime

from bot.audio.grid import SEGMENT, SEGMENT_S, seconds_of, segment_span, segment_start, segments_of, whole_segments

HOLD_BACK = 4  # segments between the newest one and the one where players begin
MAX_BACKLOG = 10 * SEGMENT  # of unlisted sound when more arrives: without a bound, one outage would delay all the rest

_TICKS_PER_S = 90_000  # of MPEG-2 transport streams
_TICK_BITS = 33
_OWNER = b"com.apple.streaming.transportStreamTimestamp\0"


@dataclass(frozen=True, slots=True)
class Listing:
    """The part of a track that is offered to players at one moment.

    `ended`: the broadcast is over, `frames` is all there is. `ripe`: enough segments were due that a player which
    begins now has its full hold-back.
    """

    generation: int
    frames: int
    ended: bool
    ripe: bool = True

    @property
    def segments(self) -> int:
        return segments_of(self.frames)

    def frames_of(self, segment: int) -> int:
        """Return how many frames a segment has; 0 if there is no segment of this number."""
        return segment_span(segment, self.frames).frames


def first_due(live_from: datetime | None, frames: int, now: datetime) -> datetime:
    """Return the time at which the first segment counts as due from now on, given that sound is appended after this
    many frames.

    That is the stored time `live_from`, unless the new sound is late or the backlog exceeds MAX_BACKLOG: then the next
    segment is due now.
    """
    latest = now - whole_segments(frames) * SEGMENT
    if live_from is None or not latest <= live_from <= latest + MAX_BACKLOG:
        return latest
    return live_from


def listing_at(generation: int, live_from: datetime, frames: int, now: datetime) -> Listing:
    """Return the listing at this time of a track that still grows and has this many frames."""
    due = max(0, (now - live_from) // SEGMENT + 1)
    segments = min(whole_segments(frames), due)
    return Listing(generation, segment_start(segments), ended=False, ripe=due >= HOLD_BACK)


def playlist(listing: Listing, code: str) -> str:
    """Return the event playlist (RFC 8216). Its segments' addresses are relative to its own.

    Lines may only be added to an event playlist (section 6.2.1). EXT-X-START would have to be removed at the end, so
    the place to begin is given by HOLD-BACK (RFC 8216bis, section 4.4.3.8), which has no meaning in a list that ended.
    """
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:3",
        f"#EXT-X-TARGETDURATION:{SEGMENT_S}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        f"#EXT-X-SERVER-CONTROL:HOLD-BACK={HOLD_BACK * SEGMENT_S}",
    ]
    for segment in range(listing.segments):
        seconds = seconds_of(listing.frames_of(segment))
        lines += [f"#EXTINF:{seconds:.5f},", f"{code}-{listing.generation}-{segment}.mp3"]
    if listing.ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join([*lines, ""])


def timestamp(segment: int) -> bytes:
    """Return the ID3v2.4 tag that precedes a segment's frames (RFC 8216, section 3.4)."""
    ticks = segment * SEGMENT_S * _TICKS_PER_S % (1 << _TICK_BITS)
    content = _OWNER + struct.pack(">Q", ticks)
    frame = b"PRIV" + struct.pack(">IH", len(content), 0) + content  # sizes below 128 are synchsafe as they are
    return b"ID3\x04\0\0" + struct.pack(">I", len(frame)) + frame
