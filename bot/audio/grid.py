"""The arithmetic of a track: conversion between samples, frames, bytes, seconds and live segments. Pure.

A track is one row of MP3 frames from sample 0 on. All of them last FRAME samples at 48 kHz and, the rate being
constant and no bit reservoir used, take the same number of bytes. So the place of a sample, a frame or a segment is
found by multiplication, in memory and in every file that holds frames. 48 kHz and 1152 samples make 24 ms a frame, and
250 frames are six seconds to the sample.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from storage.records import SAMPLE_RATE, BlobKey, Extent, Samples, Track

FRAME = 1152  # samples
_FRAME_MS = FRAME * 1000 // SAMPLE_RATE
SEGMENT_FRAMES = 250  # of a live segment
SEGMENT_S = SEGMENT_FRAMES * FRAME // SAMPLE_RATE
SEGMENT = timedelta(seconds=SEGMENT_S)
_HIGHEST_KBPS = 320  # of MP3


def frame_bytes(kbps: int) -> int:
    """Return the size of one of our frames at this bit rate of the file (48 kHz, no padding)."""
    return kbps * _FRAME_MS // 8


@dataclass(frozen=True, slots=True)
class Form:
    """The properties that all frames of a track share."""

    channels: int  # 1 or 2
    kbps: int  # of a channel
    target_lufs: float | None  # None: the level stays as it is

    @classmethod
    def of(cls, track: Track) -> "Form":
        return cls(track.channels, track.kbps, track.target_lufs)

    @property
    def bitrate(self) -> int:
        """The bit rate of the file, in kbit/s."""
        return min(_HIGHEST_KBPS, self.kbps * self.channels)

    @property
    def frame_bytes(self) -> int:
        return frame_bytes(self.bitrate)


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive frames of a track."""

    first: int
    frames: int

    @property
    def end(self) -> int:
        """The number of the frame after the last one."""
        return self.first + self.frames


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Consecutive bytes of a blob."""

    blob: BlobKey
    offset: int
    bytes: int


# ---- samples and seconds


def whole_frames(samples: int) -> int:
    """Return how many frames these samples fill; negative for negative lengths."""
    return samples // FRAME


def frames_for(samples: int) -> int:
    """Return how many frames are needed to hold these samples."""
    return -(-samples // FRAME)


def samples_of(frames: int) -> Samples:
    """Return the length of this many frames."""
    return Samples(frames * FRAME)


def seconds_of(frames: int) -> float:
    """Return the length of this many frames in seconds."""
    return frames * FRAME / SAMPLE_RATE


# ---- segments


def segments_of(frames: int) -> int:
    """Return how many segments hold these frames, the last of which may be short."""
    return -(-frames // SEGMENT_FRAMES)


def whole_segments(frames: int) -> int:
    """Return how many segments these frames fill."""
    return frames // SEGMENT_FRAMES


def segment_start(segment: int) -> int:
    """Return the first frame of a segment, which is also the number of frames before it."""
    return segment * SEGMENT_FRAMES


def segment_span(segment: int, frames: int) -> Span:
    """Return the frames of a segment in a track of this many; no frames if it has no such segment."""
    first = segment_start(segment)
    return Span(first, max(0, min(SEGMENT_FRAMES, frames - first)))


def time_of(frames: int) -> timedelta:
    """Return the length of this many frames."""
    return SEGMENT * frames / SEGMENT_FRAMES


def frames_within(time: timedelta) -> int:
    """Return how many whole frames fit into a time; negative for times before 0."""
    return time * SEGMENT_FRAMES // SEGMENT


# ---- bytes


def frames_in(size: int, form: Form) -> tuple[int, int]:
    """Return how many frames a file of this size holds, and how many bytes are left over."""
    return divmod(size, form.frame_bytes)


def byte_range(extent: Extent, form: Form) -> ByteRange:
    """Return the bytes of the blob that hold the frames of an extent."""
    return ByteRange(extent.blob, extent.offset, extent.frames * form.frame_bytes)


def clip(extents: Iterable[Extent], span: Span, form: Form) -> list[Extent]:
    """Return the parts of these extents that hold frames of the span, in the same order."""
    parts = []
    for extent in extents:
        first = max(span.first, extent.first)
        end = min(span.end, extent.first + extent.frames)
        if first < end:
            offset = extent.offset + (first - extent.first) * form.frame_bytes
            parts.append(Extent(first, end - first, extent.blob, offset))
    return parts


def unbroken(extents: Sequence[Extent]) -> int:
    """Return how many frames there are from the first frame of the track to the first missing one. Extents are sorted
    by their first frames."""
    end = 0
    for extent in extents:
        if extent.first > end:
            break
        end = max(end, extent.first + extent.frames)
    return end
