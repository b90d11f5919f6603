"""MP3 frames, and the frame that states the padding."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.audio.grid import frame_bytes
from bot.audio.mp3 import Info, after_id3, info_frame, read_header, read_info
from tests.audio.sounds import MP3, Studio, signal

RATES = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]


@pytest.mark.parametrize("kbps", RATES)
def test_own_frame(kbps: int) -> None:
    """Our Info frame is a valid frame at every rate and states the given values."""
    frame = info_frame(frames=1001, kbps=kbps, samples=1000 * 1152)
    header = read_header(frame)
    assert header is not None
    assert (header.size, header.mono, header.sample_rate) == (len(frame), True, 48_000)
    assert read_info(io.BytesIO(frame)) == Info(1001, 576, 576, header)
    own = read_header(bytes([0xFF, 0xFB, (RATES.index(kbps) + 1) << 4 | 4, 0xC0]))
    assert own is not None
    assert own.size == frame_bytes(kbps)


@pytest.mark.parametrize("frames", [0, 900, 1005])
def test_impossible_length(frames: int) -> None:
    """Frames that can't hold exactly this sound are refused."""
    with pytest.raises(ValueError, match="are not"):
        info_frame(frames=frames, kbps=64, samples=1000 * 1152)


def test_frame_of_ffmpeg(studio: Studio) -> None:
    """The Info frame of LAME is read: frames, delay and padding add up to the sound."""
    for rate, samples in ((48_000, 100_003), (22_050, 45_940)):
        path = studio.record("a.mp3", signal(100_003), MP3, "-ar", str(rate), "-b:a", "64k")
        with path.open("rb") as file:
            info = read_info(file)
        assert info is not None
        told = info.samples()
        assert told is not None
        assert abs(told - samples) <= 1


def test_no_tag(studio: Studio) -> None:
    """Without an Info frame no length is stated."""
    path = studio.record("a.mp3", signal(9000), MP3, "-write_xing", "0")
    with path.open("rb") as file:
        assert read_info(file) is None
        assert after_id3(file) > 0


@given(st.binary(max_size=300))
def test_hostile(data: bytes) -> None:
    """Any bytes are read without a crash."""
    for start in (b"", b"ID3", b"\xff\xfb\x54\xc4" + bytes(17) + b"Info"):
        info = read_info(io.BytesIO(start + data))
        assert info is None or info.delay is None or 0 <= info.delay < 4096
