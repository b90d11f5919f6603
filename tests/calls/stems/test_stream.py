"""The Ogg stream of a stem."""

import io
import subprocess
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.audio.ffmpeg import Ffmpeg
from bot.audio.inspect import inspect_chunk
from bot.audio.ogg import PacketReader, read_pages
from bot.audio.opus_packets import digital_silence, duration, length_of, mark_of
from bot.calls.media.door import OpusPacket
from bot.calls.stems.slices import Slice, slice_of
from bot.calls.stems.stream import ENCODER_DELAY, Silence, StemStream, begin_of
from bot.recording.call.layout import WINDOW, lay_out
from storage.records import SAMPLE_RATE, Position, RecordingId, Samples, Timing
from tests.calls.stems import FRAME, a_stem, packet, packets
from tests.calls.stems.opus import encoded
from tests.factories import a_recording


def written(stream: StemStream, sound: Sequence[OpusPacket], at: int) -> tuple[bytes, list[Slice]]:
    """Write sound and end the stem at `at`, taking bytes once a second; return its file and its slices."""
    file, slices, stem = bytearray(), list[Slice](), a_stem(joined=stream.joined)
    for number, each in enumerate(sound):
        stream.put(each)
        if number % 50 == 0:
            file += stream.take()
    stream.finish(Samples(at))
    file += stream.take()
    made = [slice_of(stem, stream.headers, run, Position(1)) for run in stream.runs()]
    slices += [each for each in made if each is not None]
    assert len(slices) == len(made)
    return bytes(file), slices


@pytest.fixture(scope="module")
def ffmpeg() -> Ffmpeg:
    return Ffmpeg.find()


async def test_the_facts_of_a_slice_are_those_that_its_inspection_reads(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """Each slice is inspected like any chunk, with the same facts; slices are one run of pages and granules, whose
    first begins the stem and whose last ends it."""
    joined = 7 * SAMPLE_RATE + 40
    sound = [*packets(joined, joined + 4 * SAMPLE_RATE), *packets(joined + 9 * SAMPLE_RATE, joined + 17 * SAMPLE_RATE)]
    file, slices = written(StemStream(Samples(joined), 77), sound, joined + 17 * SAMPLE_RATE + 1000)
    facts = []
    for number, each in enumerate(slices):
        path = tmp_path / f"{number}.ogg"
        path.write_bytes(each.headers + file[each.offset : each.offset + each.pages_size])
        facts.append(await inspect_chunk(path, ffmpeg, max_seconds=60))
        assert facts[-1] == each.facts
    assert [each.window for each in slices] == [0, 1, 2]
    oggs = [fact.ogg for fact in facts if fact.ogg is not None]
    assert [(ogg.begins_run, ogg.eos, ogg.contiguous, ogg.agrees) for ogg in oggs] == [
        (True, False, True, True),
        (False, False, True, True),
        (False, True, True, True),
    ]
    for before, after in pairwise(oggs):
        assert (after.first_page, after.start_granule) == (before.last_page + 1, before.end_granule)
    assert sum(fact.samples for fact in facts) == 17 * SAMPLE_RATE + 1000


def test_slices_lie_where_the_layout_of_a_call_expects_them() -> None:
    """Each slice continues the one before it, and a packet over a border belongs to the window in which it begins."""
    _, slices = written(StemStream(Samples(500), 77), list(packets(500, 25 * SAMPLE_RATE)), 25 * SAMPLE_RATE)
    ledger = lay_out(a_recording(), [each.chunk(RecordingId(1)) for each in slices])
    parts = [part for entry in ledger.entries for part in entry.parts]
    assert [part.before is not None for part in parts] == [False, True, True]
    assert parts[0].at == 500
    for part in parts[1:]:
        assert part.at == part.lead < FRAME
    assert ledger.complete


async def test_the_file_is_as_long_as_the_device_was_in(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """Holes, a late beginning and an early end of the sound are silence: the file is left - joined long, in ffmpeg
    too."""
    joined, left = 1234, 1234 + 9 * SAMPLE_RATE + 7
    sound = [packet(joined + 5000), packet(joined + 5960), packet(joined + 3 * SAMPLE_RATE)]
    file, slices = written(StemStream(Samples(joined), 77), sound, left)
    path = tmp_path / "stem.ogg"
    path.write_bytes(file)
    assert len(decoded(ffmpeg, file, "opus")) == len(decoded(ffmpeg, file, "libopus")) == left - joined
    assert (await inspect_chunk(path, ffmpeg, max_seconds=60)).samples == left - joined
    assert len(slices) == 1


def decoded(ffmpeg: Ffmpeg, file: bytes, codec: str) -> np.ndarray:
    command = [ffmpeg.exe, "-v", "error", "-c:a", codec, "-i", "-", "-f", "f32le", "-ac", "1", "-"]
    return np.frombuffer(subprocess.run(command, input=file, capture_output=True, check=True).stdout, "<f4")


CODINGS = {
    "silk": ("-application", "voip", "-b:a", "12k"),
    "hybrid": ("-application", "voip", "-b:a", "32k"),
    "celt": ("-b:a", "64k"),
}


@pytest.mark.parametrize("coding", CODINGS)
def test_sound_lies_at_the_place_of_its_rtp_time_around_a_hole_too(ffmpeg: Ffmpeg, coding: str) -> None:
    """A burst that was spoken at a place on the clock of the call is heard there, before a hole and behind it, and a
    hole of a second is silence in ffmpeg's own decoder and in libopus."""
    places = (30_000, 160_000)
    sound = np.zeros(200_000, "<f4")
    burst = np.sin(2 * np.pi * 440 * np.arange(4800) / SAMPLE_RATE) * np.hanning(4800)
    for place in places:
        sound[place : place + 4800] += 0.5 * burst.astype("<f4")
    heard = [
        OpusPacket(Samples(at), Samples(FRAME), payload)
        for at, payload in zip(range(0, 200_000, FRAME), encoded(ffmpeg, sound, *CODINGS[coding]), strict=False)
        if not 60_000 <= at < 120_000
    ]
    joined = 5 * 120 - ENCODER_DELAY
    heard = [OpusPacket(Samples(each.at + 5 * 120), each.samples, each.payload) for each in heard]
    assert begin_of(heard[0]) == joined
    file, _ = written(StemStream(Samples(joined), 77), heard, joined + 200_000)
    for codec in ("opus", "libopus"):
        got = decoded(ffmpeg, file, codec)
        for place in places:
            window = got[place - 2400 + ENCODER_DELAY : place + 7200 + ENCODER_DELAY]
            lag = int(np.argmax(np.correlate(window, burst, "valid"))) - 2400
            assert abs(lag) <= 24, f"{codec}: {lag} samples off"
        assert np.abs(got[62_000 + 5760 : 118_000]).max() < 1e-4


def test_silence_says_why_it_is_there() -> None:
    """Silence for lost sound and silence for sound that was not sent can be told from the file, and from any packet of
    a sender."""
    stream = StemStream(Samples(0), 77)
    stream.put(packet(0))
    stream.put(packet(FRAME + 4800, lost_before=1920))
    assert (stream.received, stream.lost) == (2 * FRAME, 1920)
    data = stream.take()
    reader, found = PacketReader(), list[bytes]()
    for page in read_pages(io.BytesIO(data)):
        found += reader.feed(page)
    marks = [(mark_of(each), duration(each)) for each in found[2:]]
    assert marks == [(None, FRAME), (Silence.LOST, 1920), (Silence.UNSENT, 2880), (None, FRAME)]


def test_what_no_decoder_takes_is_silence_and_what_comes_too_early_is_dropped() -> None:
    """A packet whose bytes don't fit its length counts as lost; one that begins before the end of the sound so far is
    left out."""
    stream = StemStream(Samples(0), 77)
    stream.put(packet(4800))
    stream.put(packet(0))
    stream.put(OpusPacket(Samples(4800 + FRAME + 312), Samples(FRAME), b"\xff"))
    stream.put(OpusPacket(Samples(4800 + FRAME + 312), Samples(FRAME), b""))
    assert (stream.received, stream.lost, stream.at) == (FRAME, 2 * FRAME, 4800 + FRAME)


@given(st.integers(0, 6000), st.integers(1, 254))
def test_silence_has_its_length_and_its_mark(units: int, mark: int) -> None:
    """Silent packets together last as long as asked for, and each tells its mark."""
    made = digital_silence(units * 120, mark)
    assert sum(duration(each) for each in made) == units * 120
    assert {mark_of(each) for each in made} <= {mark}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 3 * WINDOW), st.lists(st.tuples(st.integers(0, 12 * SAMPLE_RATE), st.integers(1, 60)), max_size=8)
)
def test_any_sound_keeps_its_place(joined: int, bursts: list[tuple[int, int]]) -> None:
    """Whatever the holes: no packet is lost, each is within 1.25 ms of its place, and each slice begins in the window
    after the one before or later."""
    at, sound = joined, list[OpusPacket]()
    for hole, count in bursts:
        at += hole
        sound += [packet(at + index * FRAME, len(sound) + index) for index in range(count)]
        at += count * FRAME
    stream = StemStream(Samples(joined), 77)
    file, slices = written(stream, sound, at + 777)
    assert stream.received == len(sound) * FRAME
    reader, place, placed = PacketReader(), joined, list[int]()
    for page in list(read_pages(io.BytesIO(file)))[2:]:
        for each in reader.feed(page):
            if mark_of(each) is None:
                placed.append(place)
            place += duration(each)
        assert page.granule == min(place, at + 777) - joined
    assert all(abs(got - (each.at - 312)) <= 60 for got, each in zip(placed, sound, strict=True))
    windows = [each.window for each in slices]
    assert windows == sorted(set(windows))
    assert all(each.facts.ogg and each.facts.ogg.agrees for each in slices)


PAYLOADS = st.one_of(
    st.binary(max_size=1500),
    st.builds(lambda first, rest: bytes([first]) + rest, st.integers(0, 255), st.binary(max_size=80)),
    st.sampled_from([b"OpusHead" + bytes(11), b"OpusTags" + bytes(8), b"OggS" + bytes(30)]),
    st.builds(digital_silence, st.just(5760), st.integers(1, 254)).map(lambda made: made[0]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(PAYLOADS, st.integers(0, 3 * SAMPLE_RATE), st.integers(-2000, 9000)), max_size=30))
def test_whatever_a_peer_sends_the_file_is_one_stream(sent: list[tuple[bytes, int, int]]) -> None:
    """Any bytes, lengths and places make a file whose pages agree with its packets, and slices whose facts add up to
    it."""
    stream, at = StemStream(Samples(0), 77), 312
    sound = []
    for payload, hole, odd in sent:
        at += hole
        samples = length_of(payload) or max(120, odd)
        sound.append(OpusPacket(Samples(at), Samples(samples), payload, Samples(abs(odd))))
        at += samples if odd > 0 else -100
    file, slices = written(stream, sound, at)
    assert all(each.facts.ogg and each.facts.ogg.agrees and each.facts.ogg.contiguous for each in slices)
    assert all(each.facts.timing is Timing.EXACT for each in slices)
    *_, last = read_pages(io.BytesIO(file))
    assert last.ends
    assert last.granule == stream.at
    kept = sum(each.facts.ogg.packet_samples for each in slices if each.facts.ogg)
    assert stream.received <= kept <= last.granule + 120
