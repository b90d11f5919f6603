"""Ogg Opus that is odd or damaged: all but the damage is heard, in its place."""

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.audio.decode import decode_pieces
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.inspect import inspect_chunk
from bot.audio.ogg import BEGINS, OggPage, lacing_of, read_pages, write_page
from bot.audio.opus import facts_of, filled, opus_streams
from bot.audio.opus_clock import MOST_FILLS, MOST_UNRECORDED
from bot.audio.opus_packets import NOT_RECORDED, digital_silence, duration
from bot.audio.plan import Mismatch, Sound
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, ChunkFacts, Container, Hole, Samples, Timing, to_ms
from tests.audio.sounds import OPUS, Pcm, Studio, as_key, captured, lag, local, signal
from tests.audio.test_opus import HEAD, TAGS

CASES = Path(__file__).parents[1] / "data" / "cases"
FRAME = 960  # samples
WIDEBAND = 0b01001_0_00  # SILK, 20 ms, one frame


@pytest.mark.parametrize(
    ("name", "length_ms", "timing", "told_ms"),
    [
        ("nul_behind", 6000, Timing.EXACT, None),
        ("granules_at_16khz", 6053, Timing.ESTIMATED, 1995),
        ("granules_zero", 4013, Timing.ESTIMATED, 0),
        ("sound_beside_tags", 4000, Timing.EXACT, None),
        ("tags_marked_as_begin", 4000, Timing.EXACT, None),
        ("empty_packet", 6000, Timing.EXACT, None),
        ("empty_last_page", 6013, Timing.EXACT, 6000),
    ],
)
async def test_cases(name: str, length_ms: int, timing: Timing, told_ms: int | None, ffmpeg: Ffmpeg) -> None:
    """Files of other programs are as long as their packets, and a wrong claim is noted."""
    path = CASES / f"{name}.ogg"
    facts = await inspect_chunk(path, ffmpeg, max_seconds=3600)
    assert (facts.samples // 48, facts.timing, facts.holes) == (length_ms, timing, ())
    assert facts.told is None if told_ms is None else facts.told is not None and facts.told // 48 == told_ms
    heard, wrong = await decoded(path, facts, ffmpeg)
    assert len(heard) == facts.samples
    assert [mismatch.decoded - mismatch.expected for mismatch in wrong] == ([-FRAME] if name == "empty_packet" else [])
    quiet = np.abs(heard).reshape(-1, 96 if facts.samples % 96 == 0 else 1).max(axis=1) < 1e-3
    assert quiet.mean() < 0.2


# ---- every packet in its place


@dataclass(frozen=True)
class Recorded:
    """An honest stream, page by page; each packet has a number of its own."""

    pages: tuple[OggPage, ...]  # the first two are headers

    @property
    def count(self) -> int:
        return sum(len(page.lacing) for page in self.pages[2:])


def test_what_was_not_recorded_is_listed() -> None:
    """Marked silence between packets is heard as silence, and listed with its place, also behind a lost page."""
    silence = digital_silence(7 * 5760 + 360, NOT_RECORDED)
    unsent = digital_silence(FRAME, NOT_RECORDED - 1)
    runs = [[_packet(1)], silence, [_packet(2), *unsent, _packet(3)], [_packet(4), *silence[-1:]]]
    pages, granule = [_page([HEAD], 0, 0, flags=BEGINS), _page([TAGS], 1, 0)], 0
    for number, packets in enumerate(runs, start=2):
        granule += sum(map(duration, packets))
        pages.append(_page(packets, number, granule, flags=4 * (number == len(runs) + 1)))
    last = duration(silence[-1])
    (whole,) = opus_streams(io.BytesIO(joined(pages)), max_samples=1 << 40)
    facts = facts_of([whole])
    assert facts.ogg is not None
    end = Hole(Samples(granule - last), Samples(last))
    assert facts.unrecorded == (Hole(Samples(FRAME), Samples(7 * 5760 + 360)), end)
    assert facts.holes == ()
    lacking = facts_of(opus_streams(io.BytesIO(joined([*pages[:4], pages[5]])), max_samples=1 << 40))
    assert lacking.unrecorded == facts.unrecorded
    assert [hole.samples for hole in lacking.holes] == [3 * FRAME]
    twice = facts_of([whole, whole])
    heard = facts.unrecorded[0].samples - (facts.ogg.pre_skip - FRAME)  # the pre-skip reaches into the silence
    assert [hole.samples for hole in twice.unrecorded] == [heard, last] * 2


def test_a_packet_without_bytes_parts_what_was_not_recorded() -> None:
    """Marked silence on both sides of an empty packet is two stretches, each in its place."""
    silence = digital_silence(2 * 5760, NOT_RECORDED)
    sound = _page([*silence, b"", *silence], 2, 4 * 5760 + FRAME, flags=4)
    data = joined([_page([HEAD], 0, 0, flags=BEGINS), _page([TAGS], 1, 0), sound])
    facts = facts_of(opus_streams(io.BytesIO(data), max_samples=1 << 40))
    assert [(hole.at, hole.samples) for hole in facts.unrecorded] == [(0, 11520), (11520 + FRAME, 11520)]


def test_a_chunk_lists_a_bounded_number_of_stretches_that_were_not_recorded() -> None:
    """However often marked silence alternates with sound, also over several streams, the first stretches are listed,
    and all is as long as it was."""
    (silence,) = digital_silence(FRAME // 2, NOT_RECORDED)
    each, count = [silence, _packet(0)] * 100, MOST_FILLS // 100 + 1
    pages = [_page([HEAD], 0, 0, flags=BEGINS), _page([TAGS], 1, 0)]
    pages += [
        _page(each, number + 1, number * 150 * FRAME, flags=4 * (number == count)) for number in range(1, count + 1)
    ]
    (stream,) = opus_streams(io.BytesIO(joined(pages)), max_samples=1 << 40)
    facts = facts_of([stream])
    assert facts.unrecorded == tuple(
        Hole(Samples(index * 3 * FRAME // 2), Samples(FRAME // 2)) for index in range(MOST_UNRECORDED)
    )
    assert facts.ogg is not None
    assert facts.ogg.packet_samples == count * 150 * FRAME
    assert len(stream.clock._unrecorded) == MOST_FILLS
    assert len(facts_of([stream, stream]).unrecorded) == MOST_UNRECORDED


@st.composite
def recordings(draw: st.DrawFn) -> Recorded:
    """Draw a whole file, or a slice from the middle of a run, with pages of one length but the last."""
    first = draw(st.sampled_from([2, 2, 9]))
    size, count = draw(st.integers(2, 6)), draw(st.integers(4, 8))
    begin = 0 if first == 2 else draw(st.integers(1, 50)) * FRAME
    pages = [_page([HEAD], 0, 0, flags=BEGINS), _page([TAGS], 1, 0)]
    number = 0
    for index in range(count):
        packets = [_packet(number + each) for each in range(size if index < count - 1 else draw(st.integers(1, size)))]
        number += len(packets)
        pages.append(_page(packets, first + index, begin + number * FRAME, flags=4 * (index == count - 1)))
    return Recorded(tuple(pages))


def _packet(number: int) -> bytes:
    return bytes([WIDEBAND]) + struct.pack(">I", number) + b"sound"


def _page(packets: Sequence[bytes], number: int, granule: int, flags: int = 0, serial: int = 5) -> OggPage:
    return OggPage(flags, granule, serial, number, b"".join(map(lacing_of, packets)), b"".join(packets))


def _packets(page: OggPage) -> list[bytes]:
    """Return the packets of a page of short packets."""
    ends = np.cumsum(list(page.lacing))
    return [page.body[end - size : end] for size, end in zip(page.lacing, ends, strict=True)]


def _numbers(page: OggPage) -> set[int]:
    return {struct.unpack(">I", packet[1:5])[0] for packet in _packets(page)}


def places(data: bytes) -> tuple[dict[int, int], ChunkFacts]:
    """Return the place of each packet, in samples of its run."""
    streams = opus_streams(io.BytesIO(data), max_samples=1 << 40)
    facts = facts_of(streams)
    assert facts.ogg is not None
    found: dict[int, int] = {}
    at = facts.ogg.start_granule if facts.ogg.agrees else 0
    for _, packet, fill in filled(io.BytesIO(data), streams):
        if fill is not None:
            at += fill.samples
            continue
        number = struct.unpack(">I", packet[1:5])[0]
        assert number not in found, "heard twice"
        found[number] = at
        at += duration(packet)
    return found, facts


def joined(pages: Sequence[OggPage]) -> bytes:
    return b"".join(map(write_page, pages))


def assert_all_but(touched: set[int], recorded: Recorded, data: bytes, *, granules: bool = True) -> ChunkFacts:
    honest, before = places(joined(recorded.pages))
    found, facts = places(data)
    shift = 0 if granules else honest[0]
    assert found == {number: at - shift for number, at in honest.items() if number not in touched}
    assert before.ogg is not None
    assert before.holes == ()
    return facts


JUNK = st.sampled_from(
    [b"\0", b"\r\n", b"TAG" + bytes(125), b"APETAGEX" + bytes(24), b"OggS", b"Ogg", b"ID3\3\0\0\0\0\0\x0a" + bytes(10)]
) | st.binary(min_size=1, max_size=200)


@given(recorded=recordings(), junk=JUNK, data=st.data())
def test_bytes_that_are_no_page_cost_nothing(recorded: Recorded, junk: bytes, data: st.DataObject) -> None:
    """Tags and line ends in front of pages, between them and behind them cost no sound."""
    at = data.draw(st.integers(0, len(recorded.pages)))
    facts = assert_all_but(set(), recorded, joined(recorded.pages[:at]) + junk + joined(recorded.pages[at:]))
    assert facts.holes == ()
    assert facts.ogg is not None
    assert facts.ogg.contiguous


@given(recorded=recordings(), data=st.data())
def test_a_page_whose_checksum_is_wrong_costs_its_packets(recorded: Recorded, data: st.DataObject) -> None:
    """A damaged page costs its packets; the others keep their places, and the hole is listed or shows in the first
    page."""
    pages = recorded.pages
    index = data.draw(st.integers(2, len(pages) - 1))
    raw = bytearray(write_page(pages[index]))
    header = 27 + len(pages[index].lacing) * (index == len(pages) - 1)  # of the last page it tells how much is lost
    at = data.draw(st.integers(header, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    facts = assert_all_but(_numbers(pages[index]), recorded, joined(pages[:index]) + raw + joined(pages[index + 1 :]))
    ogg = facts.ogg
    assert ogg is not None
    if 2 < index < len(pages) - 1:
        assert [hole.samples for hole in facts.holes] == [len(pages[index].lacing) * FRAME]
    elif index == 2:
        assert ogg.first_page == pages[3].number
        assert ogg.start_granule == pages[2].granule


@given(recorded=recordings(), data=st.data())
def test_pages_that_are_missing_cost_their_packets(recorded: Recorded, data: st.DataObject) -> None:
    """Missing pages in the middle are a hole of their length, where the granules tell it."""
    first = data.draw(st.integers(3, len(recorded.pages) - 2))
    last = data.draw(st.integers(first, len(recorded.pages) - 2))
    touched = set().union(*map(_numbers, recorded.pages[first : last + 1]))
    facts = assert_all_but(touched, recorded, joined([*recorded.pages[:first], *recorded.pages[last + 1 :]]))
    assert [hole.samples for hole in facts.holes] == [len(touched) * FRAME]
    assert facts.ogg is not None
    assert not facts.ogg.contiguous


@given(recorded=recordings(), data=st.data())
def test_pages_in_another_order(recorded: Recorded, data: st.DataObject) -> None:
    """Pages in any order, also doubled ones, are heard once, in the place of their number."""
    sound = list(recorded.pages[2:])
    twice = data.draw(st.lists(st.sampled_from(sound), max_size=3))
    mixed = data.draw(st.permutations([*sound, *twice]))
    facts = assert_all_but(set(), recorded, joined([*recorded.pages[:2], *mixed]))
    assert facts == facts_of(opus_streams(io.BytesIO(joined(recorded.pages)), max_samples=1 << 40))


@given(recorded=recordings(), data=st.data())
def test_a_file_that_ends_in_its_last_page(recorded: Recorded, data: st.DataObject) -> None:
    """The whole packets of a page that is cut off are heard, and the others are a hole."""
    *pages, last = recorded.pages
    raw = write_page(last)
    end = data.draw(st.integers(1, len(raw) - 1))
    header = 27 + len(last.lacing)
    there = max(0, end - header) // len(_packet(0))
    touched = set(sorted(_numbers(last))[there:])
    facts = assert_all_but(touched, recorded, joined(pages) + raw[:end])
    assert len(facts.holes) == 1
    if end >= header:
        assert facts.holes[0].samples == len(touched) * FRAME


@given(recorded=recordings(), data=st.data())
def test_a_packet_without_bytes_costs_its_own_time(recorded: Recorded, data: st.DataObject) -> None:
    """Empty packets are silence, not holes, for nothing shows that there was sound."""
    touched = set(data.draw(st.lists(st.integers(0, recorded.count - 1), min_size=1, max_size=4)))
    pages = []
    for page in recorded.pages[2:]:
        left = [b"" if _numbers(_page([each], 0, 0)) <= touched else each for each in _packets(page)]
        pages.append(_page(left, page.number, page.granule, page.flags))
    if len(touched) == recorded.count:
        return
    facts = assert_all_but(touched, recorded, joined([*recorded.pages[:2], *pages]))
    assert facts.holes == ()


CLOCKS: dict[str, Callable[[int, int, bool], int]] = {
    "at 16 kHz": lambda _, granule, __: granule // 3,
    "at 44.1 kHz": lambda _, granule, __: granule * 441 // 480,
    "at 96 kHz": lambda _, granule, __: granule * 2,
    "all 0": lambda *_: 0,
    "none": lambda *_: -1,
    "all the same": lambda *_: 1 << 40,
    "random": lambda index, *_: (index * 7919 + 13) ** 5 % (1 << 62),
    "the last too small": lambda _, granule, last: 1 if last else granule,
    "the last too large": lambda _, granule, last: granule + 10 * SAMPLE_RATE if last else granule,
    "the last absurd": lambda _, granule, last: 1 << 62 if last else granule,
    "one too large": lambda index, granule, _: granule + 10 * SAMPLE_RATE if index == 1 else granule,
    "one too small": lambda index, granule, _: 0 if index == 1 else granule,
    "a jump of hours": lambda index, granule, _: granule + 20_000 * SAMPLE_RATE * (index > 1),
}


@pytest.mark.parametrize("clock", CLOCKS)
@given(recorded=recordings())
def test_granules_that_are_wrong_cost_nothing(clock: str, recorded: Recorded) -> None:
    """With wrong granules packets are counted and stay one behind the other."""
    headers, sound = recorded.pages[:2], recorded.pages[2:]
    wrong = [
        replace(page, granule=CLOCKS[clock](index, page.granule, page is sound[-1])) for index, page in enumerate(sound)
    ]
    streams = opus_streams(io.BytesIO(joined([*headers, *wrong])), max_samples=1 << 40)
    facts = facts_of(streams)
    assert facts.ogg is not None
    assert facts.ogg.packet_samples == recorded.count * FRAME
    assert facts.ogg.end_trim() == 0
    assert facts.holes == ()


@given(recorded=recordings(), seconds=st.integers(1, 60))
def test_a_clock_that_goes_on_is_silence(recorded: Recorded, seconds: int) -> None:
    """A clock that goes on without packets, in a stream that is right otherwise, is silence and no hole."""
    late = [replace(page, granule=page.granule + seconds * SAMPLE_RATE) for page in recorded.pages[4:]]
    found, facts = places(joined([*recorded.pages[:4], *late]))
    honest, _ = places(joined(recorded.pages))
    moved = set().union(*map(_numbers, late))
    assert found == {number: at + seconds * SAMPLE_RATE * (number in moved) for number, at in honest.items()}
    assert (facts.holes, facts.timing, facts.told) == ((), Timing.EXACT, None)


@given(recorded=recordings(), data=st.data())
def test_headers_that_are_marked_or_placed_otherwise(recorded: Recorded, data: st.DataObject) -> None:
    """Headers with wrong flags, on pages with sound, missing, doubled, with a picture, or beside another stream cost no
    sound."""
    head, tags, *sound = recorded.pages
    kind = data.draw(st.sampled_from(["marked", "all marked", "beside", "none", "again", "other", "other Opus"]))
    match kind:
        case "marked":
            pages = [head, replace(tags, flags=BEGINS), *sound]
        case "all marked":
            pages = [replace(page, flags=page.flags | BEGINS) for page in recorded.pages]
        case "beside":
            beside = _page([TAGS, *_packets(sound[0])], 1, sound[0].granule)
            pages = [head, beside, *(replace(page, number=2 + index) for index, page in enumerate(sound[1:]))]
        case "none":
            pages = [head, *sound]
        case "again":
            at = data.draw(st.integers(1, len(sound)))
            pages = [head, tags, *sound[:at], head, tags, *sound[at:]]
        case "other":
            other = [_page([b"\x80theora"], 0, 0, BEGINS, 9), *(_page([bytes(50)], n, n, 0, 9) for n in (1, 2, 3))]
            pages = [other[0], head, tags, other[1], *sound[:2], *other[2:], *sound[2:]]
        case _:
            other = [_page([HEAD], 0, 0, BEGINS, 9), _page([TAGS], 1, 0, 0, 9), _page([_packet(7)], 2, FRAME, 0, 9)]
            pages = [head, other[0], tags, other[1], *sound[:2], other[2], *sound[2:]]
    facts = assert_all_but(set(), recorded, joined(pages))
    assert facts.holes == ()
    assert facts.ogg is not None
    assert facts.ogg.contiguous
    if kind != "beside":
        assert facts.ogg == places(joined(recorded.pages))[1].ogg


@given(pre_skip=st.integers(9601, 65_535), recorded=recordings())
def test_a_pre_skip_that_would_eat_sound_is_none(pre_skip: int, recorded: Recorded) -> None:
    """A pre-skip larger than any encoder needs is ignored, and noted."""
    head = _page([HEAD[:10] + struct.pack("<H", pre_skip) + HEAD[12:]], 0, 0, flags=BEGINS)
    facts = assert_all_but(set(), recorded, joined([head, *recorded.pages[1:]]))
    assert (facts.samples, facts.timing) == (recorded.count * FRAME, Timing.ESTIMATED)
    assert facts.told is not None


def test_holes_can_not_be_made_of_nothing() -> None:
    """Jumping page numbers and clocks give five minutes of silence at most."""
    numbers, granules = range(2, 300_000, 1000), range(FRAME, 1 << 40, 50 * SAMPLE_RATE)
    for number, granule in ((0, 1), (1, 0), (1, 1)):
        pages = [
            _page([_packet(index)], numbers[index] if number else 2 + index, granules[index] if granule else -1)
            for index in range(250)
        ]
        facts = facts_of(opus_streams(io.BytesIO(joined([_page([HEAD], 0, 0, 2), *pages])), max_samples=1 << 40))
        assert facts.samples <= 250 * FRAME + 300 * SAMPLE_RATE


# ---- as it sounds


async def decoded(path: Path, facts: ChunkFacts, ffmpeg: Ffmpeg) -> tuple[Pcm, list[Mismatch]]:
    wrong: list[Mismatch] = []
    sound = Sound(as_key(path), facts.container, continues=False, samples=facts.samples)
    blocks = [block async for block in decode_pieces([sound], local, ffmpeg, path.parent, report=wrong.append)]
    return np.concatenate(blocks)[:, 0], wrong


async def heard(data: bytes, folder: Path, ffmpeg: Ffmpeg) -> tuple[Pcm, ChunkFacts, list[Mismatch]]:
    own = folder / "chunk"
    own.write_bytes(data)
    facts = await inspect_chunk(own, ffmpeg, max_seconds=3600)
    sound, wrong = await decoded(own, facts, ffmpeg)
    return sound, facts, wrong


@pytest.mark.parametrize("frame_ms", ["2.5", "20", "60"])
async def test_a_damaged_page_is_silence_in_its_place(
    frame_ms: str, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    """Before a damaged page the sound is the same to the bit; behind it, in its place once the decoder has
    converged."""
    form = (*OPUS[:-2], "-frame_duration", frame_ms, "-page_duration", "480000", *OPUS[-2:])
    data = studio.record("whole", signal(6 * SAMPLE_RATE), form).read_bytes()
    pages = list(read_pages(io.BytesIO(data)))
    whole, _, _ = await heard(data, tmp_path, ffmpeg)
    broken = bytearray(data)
    broken[len(joined(pages[:6])) + 100] ^= 1
    sound, facts, wrong = await heard(bytes(broken), tmp_path, ffmpeg)
    (hole,) = facts.holes
    assert (len(sound), wrong) == (len(whole), [])
    skip = len(HEAD) and facts.ogg.pre_skip if facts.ogg else 0
    begin, end = hole.at - skip, hole.at - skip + hole.samples
    assert hole.samples == 480 * 48
    assert np.array_equal(sound[: begin - 960], whole[: begin - 960])
    assert np.abs(sound[begin + 4800 : end]).max() < 0.05
    assert np.abs(sound[end + 24_000 :] - whole[end + 24_000 :]).max() < 0.01


async def test_chained_streams_are_heard_one_behind_the_other(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Chained streams, mono and stereo, one of them damaged, are as long as the recording to the sample."""
    length = 100_003
    one = studio.record("one", signal(length), OPUS).read_bytes()
    both = np.repeat(signal(length, 8), 2)
    two = studio.record("two", both, OPUS, channels=2).read_bytes()
    sound, facts, wrong = await heard(one + b"TAG" + bytes(125) + two, tmp_path, ffmpeg)
    assert (facts.samples, facts.ogg, wrong) == (2 * length, None, [])
    for place, seed in ((30_000, 7), (80_000, 7)):
        assert lag(signal(length, seed), sound[:length], place) == 0
        assert lag(signal(length, 8), sound[length:], place) == 0


@pytest.mark.parametrize("front", [b"\0", b"\r\n\r\n", b"ID3\3\0\0\0\0\2\0" + bytes(256), b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_bytes_in_front(front: bytes, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Ogg is recognised by its pages, not by the first byte of the file."""
    data = captured("plain")[0].path.read_bytes()
    sound, facts, wrong = await heard(front + data, tmp_path, ffmpeg)
    whole, before, _ = await heard(data, tmp_path, ffmpeg)
    assert (facts, wrong) == (before, [])
    assert np.array_equal(sound, whole)


@pytest.mark.parametrize("codec", ["libvorbis", "flac"])
async def test_other_codecs_in_ogg(codec: str, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Bytes beside the pages of Vorbis and FLAC cost nothing; a damaged or missing page costs the chunk."""
    length = 100_003
    data = studio.record("a.ogg", signal(length), ("-c:a", codec, "-page_duration", "200000", "-f", "ogg")).read_bytes()
    pages = list(read_pages(io.BytesIO(data)))
    for odd in (
        data + b"\0",
        data + b"TAG" + bytes(125),
        b"\r\n" + data,
        joined(pages[:5]) + b"\n" + joined(pages[5:]),
    ):
        sound, facts, wrong = await heard(odd, tmp_path, ffmpeg)
        assert (facts.samples, len(sound), wrong) == (length, length, [])
        assert lag(signal(length), sound, 60_000) == 0
    begin = len(joined(pages[:5]))
    for odd in (data[:-1], data[:begin] + b"\xff" + data[begin + 1 :], data[:-20] + b"damaged" + data[-13:]):
        with pytest.raises(GiveUp) as caught:
            await heard(odd, tmp_path, ffmpeg)
        assert caught.value.reason in {"truncated", "bad_checksum"}


async def test_a_gain_that_can_not_be_meant(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A header's gain that would make noise or silence of the sound is ignored."""
    data = captured("plain")[0].path.read_bytes()
    pages = list(read_pages(io.BytesIO(data)))
    plain, _, _ = await heard(data, tmp_path, ffmpeg)
    for gain, factor in ((-6 * 256, 0.5012), (-32_768, 1.0), (32_767, 1.0)):
        body = pages[0].body[:16] + struct.pack("<h", gain) + pages[0].body[18:]
        sound, _, _ = await heard(joined([replace(pages[0], body=body), *pages[1:]]), tmp_path, ffmpeg)
        assert np.abs(sound - factor * plain).max() < 0.01


def test_what_is_read_of_an_honest_chunk() -> None:
    """The chunks of real clients have the same facts with all this."""
    for chunk in captured("plain"):
        ogg = chunk.facts.ogg
        assert ogg is not None
        assert (chunk.facts.timing, chunk.facts.holes, chunk.facts.told) == (Timing.EXACT, (), None)
        assert (ogg.agrees, ogg.contiguous, ogg.begins) == (True, True, ogg.first_page == 2)
        assert ogg.end_granule - ogg.start_granule == ogg.packet_samples
        assert to_ms(Samples(ogg.packet_samples)) % 20 == 0
        assert chunk.facts.container is Container.OGG_OPUS
