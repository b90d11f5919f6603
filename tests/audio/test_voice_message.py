"""Voice messages: the same packets where all is one stream, the same samples in any case, and in parts too."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.audio.decode import decode_pieces
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.ogg import read_pages
from bot.audio.opus_head import usual_head
from bot.audio.opus_packets import duration
from bot.audio.opus_parts import Part, Parts
from bot.audio.opus_reader import OpusReader
from bot.audio.plan import DECODER_PRE_ROLL, Piece, Silence, Sound, length
from bot.audio.voice_message import LEAST_BYTES, make_voice_message
from bot.errors import GiveUp
from storage.records import Container, Samples
from tests.audio.sounds import OPUS, WAV, Pcm, Studio, as_key, captured, lag, local, signal
from tests.audio.test_decode import STEP, as_recorded, sounds
from tests.audio.test_opus_writer import packets_of


async def made(
    pieces: Sequence[Piece], ffmpeg: Ffmpeg, folder: Path, *, channels: int = 1, max_bytes: int = 1 << 30
) -> list[Part]:
    out = folder / "out"
    out.mkdir()
    return await make_voice_message(pieces, channels, out, local=local, ffmpeg=ffmpeg, max_bytes=max_bytes)


def heard(parts: Sequence[Part], studio: Studio, channels: int = 1) -> Pcm:
    """Decode the files with plain ffmpeg, each as long as it says, one behind the other."""
    sound = [studio.hear(part.path, channels) for part in parts]
    assert [len(pcm) // channels for pcm in sound] == [part.samples for part in parts]
    return np.concatenate(sound)


@pytest.mark.parametrize("name", ["plain", "slowstop", "encrypted", "kill"])
async def test_one_stream_is_copied(name: str, ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path) -> None:
    """The chunks of a real Element Web become one file of the same packets, which sounds the same to the bit."""
    chunks = [chunk for chunk in captured(name) if chunk.facts.samples]
    if len({chunk.serial for chunk in chunks}) > 1:
        chunks = [chunk for chunk in chunks if chunk.serial == chunks[0].serial]
    (part,) = await made(sounds(chunks), ffmpeg, tmp_path)
    sent = [packet for chunk in chunks for packet in packets_of(chunk.path.read_bytes())]
    assert packets_of(part.path.read_bytes()) == sent
    assert np.array_equal(heard([part], studio), as_recorded(chunks, studio))
    assert part.bytes == part.path.stat().st_size


async def test_a_pause_is_encoded_once(ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path) -> None:
    """A broadcast with pauses, each the end of a stream, is one new stream of the same length and the same sound."""
    chunks = [chunk for chunk in captured("pauses") if chunk.facts.samples]
    wanted = as_recorded(chunks, studio)
    parts = await made(sounds(chunks), ffmpeg, tmp_path)
    sound = heard(parts, studio)
    assert len(parts) == 1
    assert len(sound) == len(wanted)
    places = range(0, len(wanted) - 9600, 96_000)
    assert {lag(wanted, sound, place) for place in places if np.abs(wanted[place : place + 9600]).max() > 0.1} == {0}


async def test_gaps_and_other_codecs(ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path) -> None:
    """Silence, and sound of other codecs and channels, are at their places to the sample."""
    first, second = signal(100_001), signal(60_007, seed=8)
    pieces: list[Piece] = [
        Sound(as_key(studio.record("a.ogg", first, OPUS)), Container.OGG_OPUS, False, Samples(len(first))),
        Silence(Samples(48_001)),
        Sound(as_key(studio.record("b.wav", second, WAV)), Container.WAV, False, Samples(len(second))),
    ]
    parts = await made(pieces, ffmpeg, tmp_path)
    sound = heard(parts, studio)
    assert len(sound) == length(pieces)
    decoded = [block async for block in decode_pieces(pieces, local, ffmpeg, tmp_path)]
    wanted = np.concatenate(decoded)[:, 0]
    assert {lag(wanted, sound, place) for place in (0, 50_000, 90_000, 150_000, 190_000)} == {0}
    assert np.abs(sound[110_000:140_000]).max() < 0.01


async def test_an_end_that_is_trimmed(ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path) -> None:
    """A stream that ends within a packet is copied with its trim, in stereo too."""
    sound = signal(2 * 70_001)
    path = studio.record("a.ogg", sound, OPUS, channels=2)
    piece = Sound(as_key(path), Container.OGG_OPUS, False, Samples(70_001))
    (part,) = await made([piece], ffmpeg, tmp_path, channels=2)
    assert packets_of(part.path.read_bytes()) == packets_of(path.read_bytes())
    assert np.array_equal(heard([part], studio, 2), studio.hear(path, 2))


@pytest.mark.parametrize("one_stream", [True, False])
async def test_parts(one_stream: bool, ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path) -> None:
    """More than the homeserver takes comes in parts, none too large, which together are the same sound."""
    sound = signal(48_000 * 40)
    path = studio.record("a.ogg", sound, ("-c:a", "libopus", "-b:a", "160k", "-f", "ogg"))
    wanted = studio.hear(path)
    whole = Sound(as_key(path), Container.OGG_OPUS, False, Samples(len(sound)))
    pieces: list[Piece] = [whole] if one_stream else [whole, Silence(Samples(5)), whole, whole]
    parts = await made(pieces, ffmpeg, tmp_path, max_bytes=LEAST_BYTES)
    assert len(parts) > 1
    assert all(part.bytes == part.path.stat().st_size <= LEAST_BYTES for part in parts)
    together = heard(parts, studio)
    assert len(together) == length(pieces)
    if one_stream:
        assert np.abs(together - wanted).max() < STEP
    else:
        assert {lag(wanted, together, place) for place in range(0, len(wanted) - 9600, 480_000)} == {0}


PACKETS = st.lists(
    st.builds(
        lambda frame, size: bytes([frame << 3]) + bytes(size),  # CELT of 2.5, 5, 10 or 20 ms
        st.integers(28, 31),
        st.integers(0, 300),
    ),
    min_size=1,
    max_size=300,
)


@settings(deadline=None)
@given(PACKETS, st.integers(0, 3840), st.integers(0, 5000), st.integers(3_000, 40_000))
def test_any_cut(
    tmp_path_factory: pytest.TempPathFactory, packets: list[bytes], skip: int, trim: int, size: int
) -> None:
    """Whatever the size, each packet is heard once, in its order, and pre-roll, pre-skip and trim are the samples that
    are not heard."""
    total = sum(map(duration, packets))
    samples = total - skip - trim
    if samples <= 0:
        return
    folder = tmp_path_factory.mktemp("cut")
    with Parts(lambda number: folder / str(number), Samples(samples), size) as parts:
        parts.begin(usual_head(1), skip)
        try:
            for packet in packets:
                parts.put(packet)
        except GiveUp:
            assert size < 25_000  # the pre-roll alone takes as much
            return
        assert parts.end() == 0
    assert sum(part.samples for part in parts.parts) == samples
    again: list[bytes] = []
    for number, part in enumerate(parts.parts):
        data = part.path.read_bytes()
        assert len(data) == part.bytes <= size or len(parts.parts) == 1
        there, reader = packets_of(data), OpusReader(io.BytesIO(data))
        list(reader)
        assert reader.head is not None
        before = reader.head.claimed_pre_skip
        pages = list(read_pages(io.BytesIO(data)))
        granules = [page.granule for page in pages]
        assert granules == sorted(granules)
        assert granules[-1] - before == part.samples
        assert pages[-1].ends
        if number:
            rolled = 0
            while before > 0:
                before -= duration(there[rolled])
                rolled += 1
            assert before == 0
            assert reader.head.claimed_pre_skip >= min(DECODER_PRE_ROLL, sum(map(duration, again)))
            assert there[:rolled] == again[len(again) - rolled :]
            there = there[rolled:]
        assert part.first == max(0, sum(map(duration, again)) - skip)
        again += there
    assert again == packets[: len(again)]
    assert sum(map(duration, packets[len(again) :])) <= trim
