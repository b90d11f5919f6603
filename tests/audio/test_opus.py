"""The facts that the pages of an Ogg Opus chunk prove."""

import io
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.audio.ogg import OggPage, lacing_of, write_page
from bot.audio.opus import facts_of, opus_streams
from bot.audio.opus_packets import duration
from bot.errors import GiveUp
from storage.records import ChunkFacts, Container, Timing
from tests.audio.sounds import captured, without_headers

HEAD = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 3840, 48_000, 0, 0)
TAGS = b"OpusTags" + struct.pack("<I1sI", 1, b"x", 0)
MS20 = bytes([0b01001_0_00]) + b"sound"  # SILK wideband, 20 ms, one frame
MS10 = bytes([0b01000_0_00]) + b"sound"


def page(packets: Sequence[bytes], number: int, granule: int, *, flags: int = 0, serial: int = 5) -> bytes:
    return write_page(OggPage(flags, granule, serial, number, b"".join(map(lacing_of, packets)), b"".join(packets)))


def headers(serial: int = 5) -> bytes:
    return page([HEAD], 0, 0, flags=2, serial=serial) + page([TAGS], 1, 0, serial=serial)


def facts(data: bytes, max_samples: int = 1 << 40) -> ChunkFacts:
    return facts_of(opus_streams(io.BytesIO(data), max_samples=max_samples))


def reason(data: bytes, max_samples: int = 1 << 40) -> str:
    with pytest.raises(GiveUp) as caught:
        facts(data, max_samples)
    return caught.value.reason


@pytest.mark.parametrize(
    ("packet", "samples"),
    [
        (bytes([0 << 3]), 480),
        (bytes([3 << 3]), 2880),
        (bytes([12 << 3]), 480),
        (bytes([16 << 3]), 120),
        (bytes([31 << 3]), 960),
        (bytes([31 << 3 | 1]), 1920),
        (bytes([31 << 3 | 2]), 1920),
        (bytes([31 << 3 | 3, 6]), 5760),
    ],
)
def test_duration(packet: bytes, samples: int) -> None:
    """A packet's length follows from its first bytes as in RFC 6716."""
    assert duration(packet) == samples


@pytest.mark.parametrize("packet", [b"", bytes([3]), bytes([31 << 3 | 3, 0]), bytes([3 << 3 | 3, 3]), bytes(65_025)])
def test_no_packet(packet: bytes) -> None:
    """Bytes that can't be an Opus packet are refused."""
    with pytest.raises(GiveUp) as caught:
        duration(packet)
    assert caught.value.reason == "undecodable"


def test_captured_runs() -> None:
    """The chunks of a real Element Web prove their places in their run."""
    first, second, third, *_ = (chunk.facts for chunk in captured("plain"))
    assert first.ogg is not None
    assert second.ogg is not None
    assert third.ogg is not None
    assert (first.container, first.timing, first.channels) == (Container.OGG_OPUS, Timing.EXACT, 1)
    assert (first.ogg.first_page, first.ogg.last_page, first.ogg.start_granule) == (2, 8, 0)
    assert (second.ogg.first_page, second.ogg.start_granule) == (9, first.ogg.end_granule)
    assert (third.ogg.eos, second.ogg.eos) == (True, False)
    assert first.samples == 268_800 - 3840
    assert first.ogg.packet_samples == 268_800
    assert len({fact.ogg.head_sha256 for fact in (first, second, third) if fact.ogg}) == 1
    assert all(fact.ogg.contiguous for fact in (first, second, third) if fact.ogg)


def test_empty_tail() -> None:
    """The tail that Element Web sends when a stop falls on a page's end is valid and has no sound."""
    tail = headers() + page([], 9, -1, flags=4)
    assert facts(tail).samples == 0
    ogg = facts(tail).ogg
    assert ogg is not None
    assert (ogg.eos, ogg.first_page, ogg.last_page, ogg.packet_samples) == (True, 9, 9, 0)


def test_end_trim() -> None:
    """The granule of the last page cuts the end (RFC 7845, section 4.5)."""
    data = headers() + page([MS20] * 10, 2, 9600) + page([MS20] * 10, 3, 19_200 - 300, flags=4)
    assert facts(data).samples == 19_200 - 3840 - 300


def test_trim_on_the_only_page() -> None:
    """A whole stream on one page may end before its last packet does, and begins at 0."""
    found = facts(headers() + page([MS20] * 10, 2, 9000, flags=4))
    assert found.samples == 9000 - 3840
    assert found.ogg is not None
    assert found.ogg.start_granule == 0


def test_hole_inside() -> None:
    """A page that is missing inside a chunk is noticed by its number."""
    found = facts(headers() + page([MS20], 2, 960) + page([MS20], 4, 2880)).ogg
    assert found is not None
    assert not found.contiguous


def test_doubled_headers() -> None:
    """Headers of the old and of the new stream in front of the sound, as sent after a resume in autumn 2022."""
    found = facts(headers(serial=1) + headers(serial=5) + page([MS20] * 10, 2, 9600)).ogg
    assert found is not None
    assert (found.serial, found.packet_samples) == (5, 9600)


def test_headers_of_another_serial() -> None:
    """With headers of the old stream before sound of the new one, the sound is read without a head of its own."""
    found = facts(headers(serial=1) + page([MS20] * 10, 21, 48_000)).ogg
    assert found is not None
    assert (found.serial, found.first_page, found.start_granule) == (5, 21, 48_000 - 9600)
    assert (found.head_sha256, found.pre_skip) == ("", 3840)


@pytest.mark.parametrize("new_first", [True, False])
def test_of_two_heads_that_of_the_sound_counts(new_first: bool) -> None:
    """The head of the sound's stream is used of two in any order."""
    other = page([HEAD[:10] + struct.pack("<H", 312) + HEAD[12:]], 0, 0, flags=2, serial=1)
    both = headers() + other if new_first else other + headers()
    found = facts(both + page([MS20] * 10, 2, 9600)).ogg
    assert found == facts(headers() + page([MS20] * 10, 2, 9600)).ogg
    assert found is not None
    assert found.pre_skip == 3840


@pytest.mark.parametrize(
    "pages",
    [
        [page([MS20] * 10, 21, 48_000)],
        [page([MS20] * 10, 21, 48_000), page([MS20] * 5, 22, 52_800, flags=4)],
        [page([MS20] * 10, 21, 48_000), page([MS20] * 5, 22, 52_700, flags=4)],
        [page([MS20] * 10, 21, 48_000), page([MS20, MS10], 22, 49_440)],
        [page([MS20] * 10, 21, 48_000), page([MS20] * 10, 22, 57_600), page([MS20] * 10, 24, 80_000)],
        [page([], 21, -1, flags=4)],
    ],
)
def test_no_headers(pages: list[bytes]) -> None:
    """Pages whose packets last as long as their granules say are Opus; all facts but the head are the same."""
    bare, with_head = facts(b"".join(pages)), facts(headers() + b"".join(pages))
    assert bare.ogg is not None
    assert with_head.ogg is not None
    assert bare.ogg == replace(with_head.ogg, head_sha256="")
    assert bare == replace(with_head, ogg=bare.ogg)


def test_channels_without_headers() -> None:
    """Packets themselves state whether they are stereo (RFC 6716, section 3.1)."""
    stereo = bytes([MS20[0] | 4]) + MS20[1:]
    assert facts(page([MS20] * 10, 21, 48_000)).channels == 1
    assert facts(page([MS20, stereo] * 5, 21, 48_000)).channels == 2


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (headers(), "empty"),
        (page([MS20] * 10, 21, 48_000 + 1), "headers_missing"),
        (page([MS20] * 10, 2, 8640), "headers_missing"),
        (page([MS20, MS10], 21, 48_000), "headers_missing"),
        (page([MS20] * 9 + [b""], 21, 48_000), "headers_missing"),
        (page([], 21, -1), "headers_missing"),
        (page([MS20] * 10, 21, 48_000) + page([MS20] * 10, 22, 57_601), "headers_missing"),
        (page([MS20] * 10, 21, 48_000) + page([MS20] * 10, 23, 57_599), "headers_missing"),
        (page([MS20] * 10, 21, 48_000) + page([MS20] * 10, 22, 57_600, serial=6), "headers_missing"),
        (page([MS20] * 10, 21, 48_000)[:-1], "truncated"),
        (headers()[:-3], "truncated"),
        (headers() + bytes(4096), "bad_checksum"),
        (headers() + page([b""], 2, 960), "undecodable"),
        (page([b"OpusHead\xff"], 0, 0, flags=2), "undecodable"),
        (b"#EXTM3U\n" + bytes(40), "not_audio"),
    ],
)
def test_refused(data: bytes, expected: str) -> None:
    """Chunks that can't be joined are refused by name."""
    assert reason(data) == expected


def test_bomb() -> None:
    """Packets of one byte that claim hours are refused as soon as they claim too much."""
    packets = [bytes([3 << 3 | 3, 2])] * 120
    data = headers() + b"".join(page(packets, 2 + n, 5760 * 120 * (n + 1)) for n in range(600))
    assert reason(data, max_samples=48_000 * 3600) == "too_long"


def test_two_streams() -> None:
    """Two whole files one behind the other are no slice, and as long as both."""
    whole = headers() + page([MS20] * 10, 2, 9600, flags=4)
    found = facts(whole + headers(serial=6) + page([MS20] * 20, 2, 19_200, flags=4, serial=6))
    assert (found.ogg, found.timing, found.samples) == (None, Timing.ESTIMATED, 28_800 - 2 * 3840)


def test_picture_in_the_tags() -> None:
    """Tags over several pages, as with a cover, are no sound."""
    tags = b"OpusTags" + bytes(100_000)
    first = write_page(OggPage(0, -1, 5, 1, b"\xff" * 255, tags[: 255 * 255]))
    rest = tags[255 * 255 :]
    second = write_page(OggPage(1, 0, 5, 2, lacing_of(rest), rest))
    found = facts(page([HEAD], 0, 0, flags=2) + first + second + page([MS20] * 10, 3, 9600)).ogg
    assert found is not None
    assert (found.first_page, found.packet_samples) == (3, 9600)


def test_other_streams_beside_it() -> None:
    """Pages of other codecs in the same file are ignored."""
    video = [page([b"video"], 0, 0, flags=2, serial=9), page([bytes(9000)], 1, 5, serial=9)]
    sound = [page([MS20] * 10, 2, 9600), page([MS20] * 10, 3, 19_200)]
    found = facts(video[0] + headers() + sound[0] + video[1] + sound[1]).ogg
    assert found is not None
    assert (found.serial, found.packet_samples, found.contiguous) == (5, 19_200, True)


def test_endless_headers() -> None:
    """Headers without end are refused."""
    assert reason(b"".join(page([HEAD], 0, 0, flags=2, serial=n) for n in range(1100))) == "headers_missing"


def test_slices_are_the_stream() -> None:
    """The facts of slices add up to those of their stream."""
    chunks = captured("plain")[:3]
    whole = chunks[0].path.read_bytes() + b"".join(without_headers(chunk.path.read_bytes()) for chunk in chunks[1:])
    heard = facts(whole)
    assert heard.ogg is not None
    assert heard.ogg.packet_samples == sum(chunk.facts.ogg.packet_samples for chunk in chunks if chunk.facts.ogg)
    assert heard.ogg.eos
    assert heard.ogg.contiguous


@given(st.binary(max_size=300), st.booleans(), st.booleans())
def test_hostile_packets(data: bytes, eos: bool, headless: bool) -> None:
    """Pages with valid checksums and any content give facts or a refusal, never a crash."""
    granule = struct.unpack("<q", data[:8].ljust(8))[0]
    raw = (b"" if headless else headers()) + page([data, data[1:]], 2, granule, flags=4 * eos)
    with suppress(GiveUp):
        assert 0 <= facts(raw).samples <= 11_520
