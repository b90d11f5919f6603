"""Which segments are listed when, and the playlist."""

import io
import re
from datetime import datetime, timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutagen.id3 import ID3

from bot.audio import hls
from bot.audio.grid import SEGMENT_FRAMES as FRAMES
from bot.audio.grid import Span
from bot.audio.hls import HOLD_BACK, Listing
from bot.audio.track import settled_frames
from tests.clock import Clock

START = Clock().now


def at(seconds: float, live_from: float = 0, frames: int = 100 * FRAMES) -> int:
    """Return how many segments are listed this many seconds after the start."""
    now = START + timedelta(seconds=seconds)
    return hls.listing_at(0, START + timedelta(seconds=live_from), frames, now).segments


@pytest.mark.parametrize(
    ("seconds", "listed"),
    [(-1, 0), (0, 1), (5.9, 1), (6, 2), (18, 4), (23.9, 4), (24, 5), (593.9, 99), (594, 100), (900, 100)],
)
def test_one_segment_each_six_seconds(seconds: float, listed: int) -> None:
    """The first segment is listed with the first sound, one more every six seconds, as far as there are frames."""
    assert at(seconds) == listed


@pytest.mark.parametrize("frames", [FRAMES, 100 * FRAMES])
def test_it_is_ripe_when_four_are_due(frames: int) -> None:
    """A listing is ripe when four segments are due, for a short broadcast may never have four."""
    looks = [START + timedelta(seconds=seconds) for seconds in (0, 17.9, 18, 600)]
    assert [hls.listing_at(0, START, frames, now).ripe for now in looks] == [False, False, True, True]


def test_a_segment_that_is_not_whole_is_not_listed() -> None:
    """Frames that don't fill a segment wait for the next chunk."""
    assert at(60, frames=5 * FRAMES - 1) == 4


def test_the_first_sound_starts_the_clock() -> None:
    """The first segment is due when the first chunk comes."""
    assert hls.first_due(None, 0, START) == START


def test_sound_in_time_moves_nothing() -> None:
    """A chunk that comes before the list runs dry is listed where it was expected."""
    now = START + timedelta(seconds=115)
    assert hls.first_due(START, 20 * FRAMES, now) == START


def test_late_sound_moves_all_that_follows() -> None:
    """After the list ran dry its next segment is due at once, and later ones every six seconds from then on."""
    now = START + timedelta(seconds=130)
    moved = hls.first_due(START, 20 * FRAMES, now)
    assert moved == START + timedelta(seconds=10)
    assert at(130, 10) == 21
    assert at(135.9, 10) == 21
    assert at(136, 10) == 22


def test_after_an_outage_the_air_catches_up() -> None:
    """When there is far more sound than was listed, all but the newest is listed at once."""
    now = START + timedelta(seconds=60)
    moved = hls.first_due(START, 100 * FRAMES, now)
    assert hls.listing_at(0, moved, 120 * FRAMES, now).segments == 101


@given(
    st.lists(st.tuples(st.integers(1, 6_000), st.floats(0, 400)), min_size=1, max_size=30),
    st.lists(st.floats(0, 4_000), max_size=40),
)
def test_the_list_only_grows(chunks: list[tuple[int, float]], looks: list[float]) -> None:
    """No listed segment disappears, and none is listed without its frames, whenever chunks come and requests are
    made."""
    events = [
        (moment, frames) for (frames, _), moment in zip(chunks, accumulate(wait for _, wait in chunks), strict=True)
    ]
    live_from, there, listed = None, 0, 0
    for moment, frames in sorted([*events, *((look, 0) for look in looks)]):
        now = START + timedelta(seconds=moment)
        if frames:
            live_from = hls.first_due(live_from, there, now)
            there += frames
        if live_from is not None:
            segments = hls.listing_at(0, live_from, there, now).segments
            assert listed <= segments <= there // FRAMES
            listed = segments


def test_a_segment_is_found_without_a_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session has thousands of messages, and each request asks for one segment on the event loop."""
    monkeypatch.delattr(hls, "_stretches")
    ends = tuple(message * FRAMES for message in range(1, 31))
    listing = Listing(0, 30 * FRAMES, ended=True, ends=ends)
    assert (listing.segments, listing.span_of(29)) == (30, Span(29 * FRAMES, FRAMES))


@given(
    st.lists(st.tuples(st.integers(1, 1_500), st.floats(0, 900)), min_size=1, max_size=20),
    st.lists(st.floats(0, 9_000), max_size=40),
)
def test_a_message_ends_a_segment(messages: list[tuple[int, float]], looks: list[float]) -> None:
    """Messages of any length, at any time: what is listed stays as it was, no segment is longer than six seconds, and
    all of a message is listed when it could be over."""
    come = list(accumulate(wait for _, wait in messages))
    ends = tuple(accumulate(frames for frames, _ in messages))
    live_from, there = None, 0
    listed: list[Span] = []
    events = [*zip(come, (frames for frames, _ in messages), strict=True), *((look, 0) for look in looks)]
    for moment, frames in sorted(events, key=lambda event: event[0]):
        now = START + timedelta(seconds=moment)
        if frames:
            live_from = hls.first_due(live_from, there, now, ends[: ends.index(there) + 1] if there else ())
            there += frames
        if live_from is None:
            continue
        known = tuple(end for end in ends if end <= there)
        spans = list(hls.listing_at(0, live_from, there, now, known).spans())
        assert spans[: len(listed)] == listed
        assert all(span.frames <= FRAMES for span in spans)
        assert [span.first for span in spans] == [0, *accumulate(span.frames for span in spans)][: len(spans)]
        listing = hls.listing_at(0, live_from, there, now + timedelta(seconds=there), known)
        assert listing.frames == there
        assert [listing.span_of(segment) for segment in range(listing.segments)] == list(listing.spans())
        assert listing.span_of(listing.segments).frames == 0
        listed = spans


@given(st.integers(5, 120), st.lists(st.floats(0, 11.5), min_size=10, max_size=30))
def test_a_listener_never_waits_for_chunks_that_are_less_than_twelve_seconds_late(
    length: int, lates: list[float]
) -> None:
    """A player that begins four segments behind the edge always finds the next one listed in time."""
    live_from: datetime | None = None
    arrivals: list[tuple[datetime, datetime]] = []

    def frames(chunks: int) -> int:
        return settled_frames(chunks * length * 48_000)

    for number, late in enumerate(lates):
        now = START + timedelta(seconds=(number + 1) * length + late)
        if arrivals and now < arrivals[-1][0]:
            now = arrivals[-1][0]
        live_from = hls.first_due(live_from, frames(number), now)
        arrivals.append((now, live_from))

    def listed(moment: float) -> int:
        """Return the segments listed this many seconds after the start."""
        now = START + timedelta(seconds=moment)
        come = [one for one in arrivals if one[0] <= now]
        return hls.listing_at(0, come[-1][1], frames(len(come)), now).segments if come else 0

    first = (arrivals[0][0] - START).total_seconds()
    begun = next(first + tenth / 10 for tenth in range(10_000) if listed(first + tenth / 10) >= HOLD_BACK)
    position = listed(begun) - HOLD_BACK
    last = (arrivals[-1][0] - START).total_seconds()
    for segment in range(position, frames(len(arrivals)) // FRAMES):
        moment = begun + (segment - position) * 6
        if moment < last:
            assert listed(moment) > segment


def test_the_playlist_of_a_running_broadcast() -> None:
    """The list is an event playlist of version 3 without an end, and names segments by generation and number."""
    assert hls.playlist(Listing(2, 3 * FRAMES, ended=False), "kfmtra").splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:3",
        "#EXT-X-TARGETDURATION:6",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-SERVER-CONTROL:HOLD-BACK=24",
        "#EXTINF:6.00000,",
        "kfmtra-2-0.mp3",
        "#EXTINF:6.00000,",
        "kfmtra-2-1.mp3",
        "#EXTINF:6.00000,",
        "kfmtra-2-2.mp3",
    ]


@given(st.lists(st.integers(0, 20 * FRAMES), min_size=1, max_size=12))
def test_lines_are_only_added(lengths: list[int]) -> None:
    """Each playlist is the beginning of every later one, the last one too (RFC 8216, section 6.2.1)."""
    *reached, frames = accumulate(lengths)
    running = [Listing(0, frames // FRAMES * FRAMES, ended=False) for frames in reached]
    before = ""
    for air in [*running, Listing(0, frames, ended=True)]:
        text = hls.playlist(air, "kfmtra")
        assert text.startswith(before)
        before = text


def test_no_segment_is_longer_than_the_target() -> None:
    """No rounded segment is longer than the target (RFC 8216, section 4.3.3.1), and the hold-back is at least three
    targets."""
    text = hls.playlist(Listing(0, 5 * FRAMES + 249, ended=True), "kfmtra")
    (target,) = re.findall("#EXT-X-TARGETDURATION:([0-9]+)\n", text)
    (back,) = re.findall("HOLD-BACK=([0-9]+)\n", text)
    assert all(round(float(length)) <= int(target) for length in re.findall("#EXTINF:([0-9.]+),", text))
    assert int(back) >= 3 * int(target)


def test_the_playlist_of_an_ended_broadcast() -> None:
    """The last segment may be short, the list ends, and players begin at its beginning."""
    lines = hls.playlist(Listing(0, FRAMES + 25, ended=True), "kfmtra").splitlines()
    assert lines[-3:] == ["#EXTINF:0.60000,", "kfmtra-0-1.mp3", "#EXT-X-ENDLIST"]
    assert not [line for line in lines if "START" in line]


@pytest.mark.parametrize(("segment", "ticks"), [(0, 0), (1, 540_000), (3_600, 1_944_000_000), (15_908, 385_408)])
def test_a_segment_says_when_it_begins(segment: int, ticks: int) -> None:
    """A PRIV frame in front of the frames holds 33 bits of a 90 kHz clock."""
    tag = ID3(io.BytesIO(hls.timestamp(segment * FRAMES)))
    (frame,) = tag.getall("PRIV")
    assert list(tag.values()) == [frame]
    assert tag.version == (2, 4, 0)
    assert frame.owner == "com.apple.streaming.transportStreamTimestamp"
    assert int.from_bytes(frame.data, "big") == ticks
