"""Ogg Opus that arrives bit by bit."""

import io
import random
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.audio.ogg import NO_GRANULE, OggPage, lacing_of, read_pages, write_page
from bot.audio.opus_arriving import OpusArriving, Stretch, ends_ogg
from bot.audio.slicing import HEAD, PACKET
from bot.demo.slicing import Slicer, speech
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE

SPOKEN = speech(1)[:200]


def stream(packets: tuple[bytes, ...] = SPOKEN, serial: int = 5) -> bytes:
    run = Slicer(serial, 1000)
    run.feed(packets)
    run.end()
    return run.ogg()


def arriving(data: bytes, size: int = 1000) -> list[Stretch]:
    opus = OpusArriving()
    return [each for at in range(0, len(data), size) for each in opus.feed(data[at : at + size])]


def packets(stretches: list[Stretch]) -> list[bytes]:
    return [packet for each in stretches for packet in each.packets]


def pages(data: bytes) -> list[OggPage]:
    return list(read_pages(io.BytesIO(data)))


@given(st.integers(1, 5000), st.binary(max_size=50))
def test_pieces_of_any_size_give_the_same_packets(size: int, noise: bytes) -> None:
    """However the bytes are divided, and whatever stands before, each packet comes once, in order."""
    found = arriving(noise + stream(), size)
    assert packets(found) == list(SPOKEN)
    assert found[0].head is not None
    assert [each.ends for each in found] == [False] * (len(found) - 1) + [True]
    assert sum(each.samples for each in found) == len(SPOKEN) * PACKET


def test_next_stream_has_a_head_of_its_own() -> None:
    """A source client begins a new stream for each song: each one's first stretch has its head."""
    found = arriving(stream(SPOKEN[:90], 1) + stream(SPOKEN[90:], 2))
    assert packets(found) == list(SPOKEN)
    assert [number for number, each in enumerate(found) if each.head is not None] == [0, 3]


def test_stream_that_is_joined_in_the_middle_begins_there() -> None:
    """Granules that begin late, as behind a relay, are neither a hole nor an end."""
    late = [replace(page, granule=page.granule + 10**9) if page.number > 1 else page for page in pages(stream())]
    found = arriving(b"".join(map(write_page, late)))
    assert packets(found) == list(SPOKEN)
    assert found[-1].trim == 0


def test_end_is_cut_as_the_last_page_says() -> None:
    """The last granule tells how much of the last packets is padding."""
    *others, last = pages(stream(SPOKEN[:190]))
    cut = [*others, replace(last, granule=last.granule - 700)]
    assert arriving(b"".join(map(write_page, cut)))[-1].trim == 700


def test_lost_page_becomes_silence_of_its_length() -> None:
    """A page that is damaged on the way leaves a hole, which silence fills."""
    data = bytearray(stream())
    place = data.index(b"OggS", len(data) // 2)
    data[place + 40] ^= 255
    found = arriving(bytes(data))
    assert sum(each.samples for each in found) == len(SPOKEN) * PACKET
    assert len([packet for packet in packets(found) if packet in SPOKEN]) == len(SPOKEN) - 40


def test_tags_may_be_longer_than_a_page() -> None:
    """A picture in the tags is passed over."""
    head, tags, *sound = pages(stream())
    long = b"OpusTags" + bytes(150_000)
    lacing = lacing_of(long)
    made: list[OggPage] = []
    at = 0
    for part in (lacing[:255], lacing[255:510], lacing[510:]):
        size = sum(part)
        made.append(OggPage(int(at > 0), NO_GRANULE, tags.serial, 1 + len(made), part, long[at : at + size]))
        at += size
    later = [replace(page, number=page.number + 2) for page in sound]
    assert packets(arriving(b"".join(map(write_page, (head, *made, *later))))) == list(SPOKEN)


def test_other_codecs_beside_it_are_passed_over() -> None:
    """A stream of pictures beside the sound is not taken for sound."""
    head, tags, *sound = pages(stream())
    other = [OggPage(2, 0, 99, 0, bytes([9]), b"\x80theora..")]
    other += [OggPage(0, number, 99, number, bytes([7]), b"picture") for number in range(1, 4)]
    mixed = (head, other[0], tags, *other[1:], *sound)
    assert packets(arriving(b"".join(map(write_page, mixed)))) == list(SPOKEN)


def test_several_streams_in_one_are_refused() -> None:
    """Packets of a surround head hold several packets each."""
    head, *others = pages(stream())
    body = HEAD[:9] + b"\x02" + HEAD[10:18] + bytes([1, 2, 0, 0, 1])
    with pytest.raises(GiveUp):
        arriving(b"".join(map(write_page, (replace(head, body=body, lacing=lacing_of(body)), *others))))


def test_what_only_looks_like_pages_costs_little() -> None:
    """Bytes that are made to be checked again and again are given up."""
    with pytest.raises(GiveUp):
        arriving((b"OggS" + bytes(22) + b"\xff" + b"\xff" * 255) * 40_000, 65_536)


def test_random_bytes_keep_nothing() -> None:
    """Bytes without a page are not kept."""
    opus = OpusArriving()
    for seed in range(100):
        assert not list(opus.feed(random.Random(seed).randbytes(10_000).replace(b"OggS", b"oggs")))
        assert len(opus._pages._buffer) < 4


def test_lost_pages_are_made_as_they_are_taken() -> None:
    """Each page may tell of a minute that was lost: of many such pages no more is made than somebody takes."""
    head, tags, *sound = pages(stream())
    minutes = [
        replace(sound[0], number=2 * number, granule=60 * SAMPLE_RATE * number, lacing=bytes([1]), body=b"\x00")
        for number in range(1, 1000)
    ]
    found = OpusArriving().feed(b"".join(map(write_page, (head, tags, *minutes))))
    tracemalloc.start()
    try:
        first = [next(found) for _ in range(3)]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        found.close()
    assert sum(each.samples for each in first) > 100 * SAMPLE_RATE
    assert most < 2_000_000


def test_pages_without_sound_are_given_up() -> None:
    """Pages that hold next to nothing cost as much as those with sound: a source of nothing else is refused."""
    head, tags, *sound = pages(stream())
    empty = [replace(sound[0], number=number, granule=NO_GRANULE, lacing=b"", body=b"") for number in range(2, 6000)]
    with pytest.raises(GiveUp):
        arriving(b"".join(map(write_page, (head, tags, *empty))))


def test_page_for_each_packet_is_no_flood() -> None:
    """Packets of 2.5 ms, each on a page of its own, are sound like any other."""
    head, tags, *_ = pages(stream())
    short = [
        OggPage(0, 120 * (number + 1), tags.serial, number + 2, bytes([1]), bytes([16 << 3])) for number in range(8000)
    ]
    found = arriving(b"".join(map(write_page, (head, tags, *short))))
    assert len(packets(found)) == 8000


def test_last_page_is_known_by_its_bytes() -> None:
    """Only bytes that end with a whole page with the end flag are the end of a stream."""
    data = stream()
    last = pages(data)[-1]
    assert ends_ogg(data)
    assert ends_ogg(data[-last.size :])
    assert not ends_ogg(data[:-1])
    assert not ends_ogg(data[: -last.size])
    assert not ends_ogg(b"")
    assert not ends_ogg(b"OggS")
