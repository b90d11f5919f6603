"""A track as HTTP Live Streaming: the times at which segments are listed, and the playlist. Pure.

A segment is 250 frames, exactly six seconds, after a tag that states its time: packed audio (RFC 8216, section 3.4). It
is shorter where a message ends, since nobody knows when the next one comes.

Sound arrives in bursts, a chunk at a time, and players handle bursts badly. So a segment is listed once its frames
exist and its time has come, one every six seconds from the first sound on. A late chunk shifts the schedule of
everything after it, once: the next chunk that is equally late arrives in time. Players begin four segments before the
newest one, and our pages wait until four were due. A chunk may then be twelve seconds late before playback stops,
longer than the ten seconds for which a track waits for a missing chunk. The three of RFC 8216 (section 6.3.3) would
leave six seconds.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import accumulate, pairwise

from bot.audio.grid import (
    SEGMENT,
    SEGMENT_S,
    Span,
    frames_within,
    samples_of,
    seconds_of,
    segment_span,
    segment_start,
    segments_of,
    time_of,
    whole_segments,
)
from storage.records import SAMPLE_RATE

HOLD_BACK = 4  # segments between the newest one and the one where players begin
MAX_BACKLOG = 10 * SEGMENT  # of unlisted sound when more arrives: without a bound, one outage would delay all the rest

_TICKS_PER_S = 90_000  # of MPEG-2 transport streams
_TICK_BITS = 33
_OWNER = b"com.apple.streaming.transportStreamTimestamp\0"


@dataclass(frozen=True, slots=True)
class Listing:
    """The part of a track that is offered to players at one moment.

    `ended`: the broadcast is over, `frames` is all there is. `ripe`: enough segments were due that a player which
    begins now has its full hold-back. `ends`: the numbers of frames at which messages end.
    """

    generation: int
    frames: int
    ended: bool
    ripe: bool = True
    ends: tuple[int, ...] = ()

    @property
    def segments(self) -> int:
        whole = bisect_right(self.ends, self.frames)  # messages
        begin = self.ends[whole - 1] if whole else 0
        return self._first_segment(whole) + segments_of(self.frames - begin)

    def span_of(self, segment: int) -> Span:
        """Return the frames of a segment; none if there is no segment of this number."""
        if segment >= self.segments:
            return Span(self.frames, 0)
        message = bisect_right(_last_segments(self.ends), segment)
        begin = self.ends[message - 1] if message else 0
        end = min([*self.ends[message : message + 1], self.frames])
        span = segment_span(segment - self._first_segment(message), end - begin)
        return Span(begin + span.first, span.frames)

    def _first_segment(self, message: int) -> int:
        return _last_segments(self.ends)[message - 1] if message else 0

    def spans(self) -> Iterator[Span]:
        """Yield the frames of each segment."""
        for each in _stretches(self.frames, self.ends):
            for segment in range(segments_of(each.frames)):
                span = segment_span(segment, each.frames)
                yield Span(each.first + span.first, span.frames)


@lru_cache(maxsize=32)
def _last_segments(ends: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many segments there are up to the end of each message. A session has thousands, and each request asks
    for one segment."""
    return tuple(accumulate(segments_of(end - begin) for begin, end in pairwise((0, *ends))))


def _stretches(frames: int, ends: Sequence[int]) -> Iterator[Span]:
    """Yield the frames of each message up to this many frames, the last of which may be a part of one."""
    begin = 0
    for end in (*ends, frames):
        if begin < (end := min(end, frames)):
            yield Span(begin, end - begin)
            begin = end


def _listable(frames: int, ends: Sequence[int]) -> int:
    """Return how many of these frames are in segments that will not grow."""
    end = ends[bisect_right(ends, frames) - 1] if ends and ends[0] <= frames else 0
    return end + segment_start(whole_segments(frames - end))


def _end_of_segment(frame: int, ends: Sequence[int]) -> int:
    """Return the number of frames up to the end of the segment that holds this frame, where there are as many."""
    index = bisect_right(ends, frame)
    begin = ends[index - 1] if index else 0
    full = begin + segment_start(whole_segments(frame - begin) + 1)
    return min(full, ends[index]) if index < len(ends) else full


def first_due(live_from: datetime | None, frames: int, now: datetime, ends: Sequence[int] = ()) -> datetime:
    """Return the time at which the first segment counts as due from now on, given that sound is appended after this
    many frames, in which messages end at `ends`.

    That is the stored time `live_from`, unless the new sound is late or the backlog exceeds MAX_BACKLOG: then the next
    segment is due now.
    """
    latest = now - time_of(_listable(frames, ends))
    if live_from is None or not latest <= live_from <= latest + MAX_BACKLOG:
        return latest
    return live_from


def listing_at(generation: int, live_from: datetime, frames: int, now: datetime, ends: tuple[int, ...] = ()) -> Listing:
    """Return the listing at this time of a track that still grows and has this many frames. A segment is due when its
    first frame is."""
    due = frames_within(now - live_from)
    listed = min(_listable(frames, ends), _end_of_segment(due, ends)) if due >= 0 else 0
    return Listing(generation, listed, ended=False, ripe=due >= segment_start(HOLD_BACK - 1), ends=ends)


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
    for segment, span in enumerate(listing.spans()):
        lines += [f"#EXTINF:{seconds_of(span.frames):.5f},", f"{code}-{listing.generation}-{segment}.mp3"]
    if listing.ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join([*lines, ""])


def timestamp(first: int) -> bytes:
    """Return the ID3v2.4 tag that precedes the frames of a segment from frame `first` on (RFC 8216, section 3.4)."""
    ticks = samples_of(first) * _TICKS_PER_S // SAMPLE_RATE % (1 << _TICK_BITS)
    content = _OWNER + struct.pack(">Q", ticks)
    frame = b"PRIV" + struct.pack(">IH", len(content), 0) + content  # sizes below 128 are synchsafe as they are
    return b"ID3\x04\0\0" + struct.pack(">I", len(frame)) + frame
