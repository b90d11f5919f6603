"""Ogg pages."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.audio.ogg import OggPage, PacketReader, checksum, lacing_of, read_pages, write_page
from bot.errors import GiveUp
from tests.audio.sounds import captured

NUMBERS = st.integers(0, 2**32 - 1)


@st.composite
def pages(draw: st.DrawFn) -> OggPage:
    body = draw(st.lists(st.binary(max_size=300), max_size=20))
    return OggPage(
        flags=draw(st.integers(0, 7)),
        granule=draw(st.integers(-1, 2**63 - 1)),
        serial=draw(NUMBERS),
        number=draw(NUMBERS),
        lacing=b"".join(map(lacing_of, body)),
        body=b"".join(body),
    )


def bitwise(data: bytes) -> int:
    """Compute RFC 3533's checksum bit by bit, as written there."""
    value = 0
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1) ^ 0x04C11DB7 if value & 0x80000000 else value << 1
        value &= 0xFFFFFFFF
    return value


@given(st.binary(max_size=200))
def test_checksum(data: bytes) -> None:
    """The fast checksum equals the one of the specification."""
    assert checksum(data) == bitwise(data)


def test_pages_of_a_real_client() -> None:
    """All pages that a real Element Web wrote are read, and written again byte by byte."""
    data = captured("plain")[0].path.read_bytes()
    assert b"".join(write_page(page) for page in read_pages(io.BytesIO(data))) == data


@given(st.lists(pages(), max_size=5))
def test_round_trip(written: list[OggPage]) -> None:
    """Written pages are read back, whatever they hold."""
    assert list(read_pages(io.BytesIO(b"".join(map(write_page, written))))) == written


@given(pages(), st.data())
def test_one_flipped_bit(page: OggPage, data: st.DataObject) -> None:
    """Every flipped bit is noticed."""
    raw = bytearray(write_page(page))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(GiveUp):
        list(read_pages(io.BytesIO(bytes(raw))))


@given(pages(), pages(), st.data())
def test_cut(first: OggPage, second: OggPage, data: st.DataObject) -> None:
    """A page that is cut off anywhere is truncated, and the pages before it are read."""
    whole, tail = write_page(first), write_page(second)
    kept = tail[: data.draw(st.integers(1, len(tail) - 1))]
    reading = read_pages(io.BytesIO(whole + kept))
    assert next(reading) == first
    with pytest.raises(GiveUp) as caught:
        next(reading)
    assert caught.value.reason == "truncated"


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    """Arbitrary bytes are damage, never a crash."""
    with pytest.raises(GiveUp) as caught:
        list(read_pages(io.BytesIO(b"OggS" + data)))
    assert caught.value.reason in {"truncated", "bad_checksum"}


@given(st.lists(st.binary(max_size=2000), max_size=10), st.integers(1, 255))
def test_packets_over_pages(packets: list[bytes], values: int) -> None:
    """Packets are read whole, wherever the pages are cut."""
    lacing, body = b"".join(map(lacing_of, packets)), b"".join(packets)
    reader, heard, at, open_packet = PacketReader(), [], 0, False
    for start in range(0, len(lacing), values):
        part = lacing[start : start + values]
        page = OggPage(1 if open_packet else 0, -1, 1, 0, part, body[at : at + sum(part)])
        heard += reader.feed(page)
        at += sum(part)
        open_packet = part.endswith(b"\xff")
    assert heard == packets


def test_rest_of_a_lost_packet() -> None:
    """The rest of a packet without its beginning is left out, and the next packet is whole."""
    page = OggPage(1, 0, 1, 0, bytes([3, 4]), b"endnext")
    assert PacketReader().feed(page) == [b"next"]


def test_endless_packet() -> None:
    """A packet that never ends takes no more memory than the longest valid one."""
    reader = PacketReader()
    page = OggPage(0, -1, 1, 0, b"\xff" * 255, bytes(255 * 255))
    with pytest.raises(GiveUp) as caught:
        reader.feed(page)
    assert caught.value.reason == "undecodable"
