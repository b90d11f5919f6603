"""Samples, frames, bytes, seconds and segments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.audio.grid import (
    FRAME,
    SEGMENT,
    SEGMENT_FRAMES,
    SEGMENT_S,
    ByteRange,
    Form,
    Span,
    byte_range,
    clip,
    frame_bytes,
    frames_for,
    frames_in,
    samples_of,
    seconds_of,
    segment_span,
    segment_start,
    segments_of,
    unbroken,
    whole_frames,
    whole_segments,
)
from storage.records import SAMPLE_RATE, BlobKey, Extent

FORM = Form(1, 64, None)  # frames of 192 bytes
A, B, C = (BlobKey(letter * 64) for letter in "abc")


def test_a_segment_is_six_seconds_to_the_sample() -> None:
    """250 frames are six seconds to the sample, and the schedule counts in the same length."""
    assert samples_of(SEGMENT_FRAMES) == 6 * SAMPLE_RATE
    assert (SEGMENT_S, seconds_of(SEGMENT_FRAMES), SEGMENT.total_seconds()) == (6, 6.0, 6.0)


@pytest.mark.parametrize(("kbps", "size"), [(32, 96), (64, 192), (96, 288), (320, 960)])
def test_frames_of_a_bit_rate_are_of_one_size(kbps: int, size: int) -> None:
    """A frame is 24 ms of its bit rate; the rate of a track is no higher than MP3 allows."""
    assert frame_bytes(kbps) == size
    assert Form(2, kbps, None).frame_bytes == min(2 * size, 960)


@given(st.integers(0, 1 << 40))
def test_samples_and_frames(samples: int) -> None:
    """Whole frames fit into the samples, and the frames for them hold all of them."""
    whole, enough = whole_frames(samples), frames_for(samples)
    assert samples_of(whole) <= samples <= samples_of(enough)
    assert enough - whole == (samples % FRAME > 0)


@given(st.integers(0, 10_000))
def test_segments_share_the_frames_of_a_track(frames: int) -> None:
    """Segments follow one another without a gap, only the last may be short, and behind it there is none."""
    spans = [segment_span(segment, frames) for segment in range(segments_of(frames))]
    assert [span.first for span in spans] == [segment_start(segment) for segment in range(len(spans))]
    assert sum(span.frames for span in spans) == frames
    assert sum(span.frames == SEGMENT_FRAMES for span in spans) == whole_segments(frames)
    assert segment_span(len(spans), frames).frames == 0


def test_frames_of_a_file() -> None:
    """Bytes that are no whole frame are left over."""
    assert frames_in(10 * 192, FORM) == (10, 0)
    assert frames_in(10 * 192 + 5, FORM) == (10, 5)


def test_frames_are_found_where_they_lie() -> None:
    """A span over three extents is three byte ranges; frames that no extent holds are not among them."""
    extents = [Extent(0, 100, A, 0), Extent(100, 20, B, 7), Extent(120, 500, C, 1000)]
    assert [byte_range(part, FORM) for part in clip(extents, Span(90, 60), FORM)] == [
        ByteRange(A, 90 * 192, 10 * 192),
        ByteRange(B, 7, 20 * 192),
        ByteRange(C, 1000, 30 * 192),
    ]
    assert clip(extents, Span(600, 250), FORM) == [Extent(600, 20, C, 1000 + 480 * 192)]


def test_frames_without_a_hole() -> None:
    """Frames count up to the first missing one, also where extents overlap."""
    assert unbroken([]) == 0
    assert unbroken([Extent(1, 5, A, 0)]) == 0
    assert unbroken([Extent(0, 5, A, 0), Extent(3, 4, B, 0), Extent(8, 2, C, 0)]) == 7
