"""Slices of one run. That they are those of the real client is held by tests/demo/test_slicing.py."""

import io

import pytest

from bot.audio.ogg import OggPage, PacketReader, read_pages
from bot.audio.slicing import HEAD, MOST_BYTES, PACKET, Slice, Slicer
from bot.demo.slicing import speech
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, Samples
from tests.lab import decode

PAGE = Samples(SAMPLE_RATE // 5)


def pages(piece: Slice) -> list[OggPage]:
    return list(read_pages(io.BytesIO(piece.data)))


def packets(pieces: list[Slice]) -> list[bytes]:
    """The packets of sound in all slices."""
    reader = PacketReader()
    return [packet for piece in pieces for page in pages(piece)[2:] for packet in reader.feed(page)]


def joined(pieces: list[Slice]) -> bytes:
    headers = sum(page.size for page in pages(pieces[0])[:2])
    return pieces[0].data + b"".join(piece.data[headers:] for piece in pieces[1:])


def test_first_slices_are_short() -> None:
    """Slices of 1 s and 2 s come first, then all have 5 s; no packet is lost or changed."""
    run = Slicer(3, (1, 2, 5), page=PAGE)
    pieces = [*run.feed(speech(1)), run.end()]
    assert [piece.duration_ms for piece in pieces[:5]] == [1000, 2000, 5000, 5000, 5000]
    assert packets(pieces) == list(speech(1))
    numbers = [page.number for piece in pieces for page in pages(piece)[2:]]
    assert numbers == list(range(2, 2 + len(numbers)))


def test_end_is_cut_to_the_sample() -> None:
    """The last page says how many samples before the end of its packets the sound ends, and a decoder obeys."""
    run = Slicer(3, 5, page=PAGE)
    pieces = [*run.feed(speech(1)[:100]), run.end(speech(1)[100:103], trim=1234)]
    assert sum(piece.samples for piece in pieces) == 103 * PACKET - 1234
    assert len(decode(joined(pieces))) == 103 * PACKET - 1234 - 3840


def test_end_is_never_before_the_last_page() -> None:
    """A cut that is longer than the last page's packets takes all of these and no more."""
    run = Slicer(3, 5, page=PAGE)
    run.feed(speech(1)[:10])
    last = run.end(speech(1)[10:12], trim=1_000_000)
    assert pages(last)[-1].granule == 10 * PACKET


def test_large_packets_turn_the_page_and_end_the_slice() -> None:
    """A page holds no more than its 255 lacing values, and a slice of padded packets stays small."""
    padded = bytes([speech(1)[0][0] & ~3 | 3, 0x41]) + b"\xff" * 100 + bytes(30_000)
    run = Slicer(3, 5, page=PAGE)
    pieces = [*run.feed([padded] * 200), run.end()]
    assert max(len(piece.data) for piece in pieces) < MOST_BYTES + 100_000
    assert packets(pieces) == [padded] * 200


def test_bytes_that_are_no_packet_are_refused() -> None:
    """An empty packet has no length."""
    with pytest.raises(GiveUp):
        Slicer(3, 5).feed([b""])


def test_own_head_is_in_each_slice() -> None:
    """Each slice begins with the head that it was given."""
    head = HEAD[:9] + b"\x02" + HEAD[10:]
    run = Slicer(3, 1, head=head, page=PAGE)
    for piece in [*run.feed(speech(1)), run.end()]:
        assert pages(piece)[0].body == head
