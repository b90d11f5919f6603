"""Windows of a call: stems that are decoded together, levelled each for itself, and added up."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.audio import mix
from bot.audio.decode import decode_pieces
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.grid import Form
from bot.audio.layout import layout, piece_of
from bot.audio.loudness import HOP
from bot.audio.peaks import Pcm
from bot.audio.plan import Mismatch, Mix, Piece, Silence, length
from bot.audio.render import Rendering
from bot.audio.voice_message import make_voice_message
from bot.recording.call.layout import lay_out
from bot.recording.kind import BREATH
from bot.worker.pieces import pieces_of
from storage.records import SAMPLE_RATE, BlobKey, Container, Cut, RecordingId, Samples, StemPart
from tests.audio.sounds import Studio, as_key, lag, local, signal
from tests.audio.stem_files import Slice, packets_of, slices_of
from tests.audio.voices import TARGET, at, measured, room, voice
from tests.factories import a_recording

FORM = Form(1, 64, TARGET)
ANYTHING = bytes(range(7, 127))


def windows(studio: Studio, slices: Sequence[Slice]) -> list[Piece]:
    """Store slices and return the windows that they are heard in."""
    chunks = []
    for each in slices:
        path = studio.folder / each.key
        path.write_bytes(each.data)
        chunks.append(replace(each.chunk(RecordingId(1)), blob=as_key(path)))
    return list(pieces_of(lay_out(a_recording(), chunks).entries))


async def decoded(
    pieces: Sequence[Piece], studio: Studio, ffmpeg: Ffmpeg, first: int = 0
) -> tuple[Pcm, list[Mismatch]]:
    wrong: list[Mismatch] = []
    blocks = decode_pieces(pieces, local, ffmpeg, studio.folder, first=first, report=wrong.append)
    return np.concatenate([block async for block in blocks]), wrong


async def test_each_stem_is_at_its_place_to_the_sample(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """Stems that begin anywhere are added up where they were spoken, over the border of two windows without a seam, and
    whichever window is decoded first."""
    one, other = signal(12 * SAMPLE_RATE, 1), signal(8 * SAMPLE_RATE, 2)
    begin = 5 * SAMPLE_RATE + 123
    pieces = windows(
        studio,
        slices_of(packets_of(studio.exe, one, 96), 1, 480) + slices_of(packets_of(studio.exe, other, 96), 2, begin),
    )
    heard, wrong = await decoded(pieces, studio, ffmpeg)
    assert not wrong
    assert len(heard) == length(pieces)
    row = np.zeros(len(heard), np.float32)
    row[480 : 480 + len(one)] += one
    row[begin : begin + len(other)] += other[: len(row) - begin]
    for place in (2.0, 6.0, 9.9, 10.0, 11.5):
        assert lag(row, heard[:, 0], int(place * SAMPLE_RATE)) == 0
    border = slice(10 * SAMPLE_RATE - 2_400, 10 * SAMPLE_RATE + 2_400)
    assert (
        np.abs(heard[border, 0] - row[border]).max()
        < 2 * np.abs(heard[:, 0] - row)[SAMPLE_RATE : 9 * SAMPLE_RATE].max()
    )
    assert (await decoded(pieces, studio, ffmpeg, first=1))[0].tobytes() == heard[pieces[0].samples :].tobytes()


async def test_a_damaged_stem_disturbs_no_other(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """Packets that no decoder takes, a slice that is no Ogg, or one that is cut off leave silence in their own stem
    alone."""
    sound = packets_of(studio.exe, signal(3 * SAMPLE_RATE, 1), 64)
    good = slices_of(sound, 2)
    alone, _ = await decoded(windows(studio, good), studio, ffmpeg)
    for number in range(4):
        (bad,) = slices_of([bytes([(sound[0][0] & ~3)]) + ANYTHING[number:]] * 150, 1)
        data = {
            0: bad.data,
            1: b"nothing" * 100,
            2: bad.data[:-700],
            3: bad.data[:3_000] + bytes(9) + bad.data[3_009:],
        }[number]
        pieces = windows(studio, [replace(bad, data=data), *good])
        (window,) = pieces
        assert isinstance(window, Mix)
        rest = replace(window, parts=tuple(part for part in window.parts if part.stem == 2))
        both, wrong = await decoded(pieces, studio, ffmpeg)
        without, _ = await decoded([rest], studio, ffmpeg)
        assert np.abs(without - alone[: len(without)]).max() < 1e-5
        if number == 1:
            assert [one.piece for one in wrong] == [0]
            assert np.abs(both - without).max() < 1e-5


async def test_noise_is_not_raised(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """The open microphones of seven who say nothing stay as soft as they are, under one who speaks; none of their noise
    is speech."""
    noise = packets_of(studio.exe, room(-48)[: 12 * SAMPLE_RATE, 0])
    slices = [each for stem in range(1, 8) for each in slices_of(noise[stem * 50 :] + noise[: stem * 50], stem)]
    said = np.concatenate([np.zeros(3 * SAMPLE_RATE, np.float32), at(-40, voice(1)[: 9 * SAMPLE_RATE])[:, 0]])
    pieces = windows(studio, slices + slices_of(packets_of(studio.exe, said), 8))
    rendering = Rendering(
        pieces, layout(pieces, FORM), FORM, start_db=None, local=local, ffmpeg=ffmpeg, workdir=studio.folder
    )
    await rendering.make(0, None, studio.folder / "out.mp3")
    levels = mix.levels_of(rendering.cuts[0])
    assert not any(levels[stem].gains.any() or levels[stem].speech.any() for stem in range(1, 8))
    assert {stem for stem, _, _ in mix.speech_in(rendering.cuts, BREATH)} == {8}
    heard = studio.hear(studio.folder / "out.mp3")[:, None]
    assert measured(heard[SAMPLE_RATE : 2 * SAMPLE_RATE]) < -35
    assert measured(heard[4 * SAMPLE_RATE : 11 * SAMPLE_RATE]) == pytest.approx(TARGET, abs=2)
    posted = await _posted(rendering, studio, ffmpeg)
    assert measured(posted[4 * SAMPLE_RATE : 11 * SAMPLE_RATE]) == pytest.approx(TARGET, abs=2)


async def test_a_call_goes_on_after_a_silence(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """A time in which the bot was away, between two windows, is silence in the mix."""
    window = windows(studio, slices_of(packets_of(studio.exe, signal(2 * SAMPLE_RATE, 1)), 1))
    pieces = [*window, Silence(Samples(SAMPLE_RATE)), *window]
    rendering = Rendering(
        pieces, layout(pieces, FORM), FORM, start_db=None, local=local, ffmpeg=ffmpeg, workdir=studio.folder
    )
    await rendering.make(0, None, studio.folder / "out.mp3")
    begin = length(window) + SAMPLE_RATE // 4
    assert not studio.hear(studio.folder / "out.mp3")[begin : begin + SAMPLE_RATE // 2].any()


async def _posted(rendering: Rendering, studio: Studio, ffmpeg: Ffmpeg) -> Pcm:
    """Return the sound of a call as a voice message."""
    pieces = [piece_of(cut) for cut in rendering.cuts]
    (part,) = await make_voice_message(
        pieces, 1, studio.folder, local=local, ffmpeg=ffmpeg, max_bytes=1 << 30, mixed=rendering.sound()
    )
    assert part.samples == length(pieces)
    return studio.hear(part.path)[:, None]


def a_window(stems: Sequence[int], samples: int = 10 * SAMPLE_RATE, **changes: object) -> Cut:
    parts = tuple(StemPart(stem, BlobKey(f"{stem}"), Samples(0), Samples(samples)) for stem in stems)
    return replace(Cut(0, "key", Samples(samples), None, Container.OGG_OPUS, False, parts=parts), **changes)  # type: ignore[arg-type]


@given(st.dictionaries(st.integers(1, 40), st.integers(0, 1 << 32), max_size=5), st.integers(1, 12 * SAMPLE_RATE))
def test_levels_are_read_as_they_were_written(stems: dict[int, int], samples: int) -> None:
    """A cut holds the gains and the speech of each stem, for a window of any length."""
    hops = -(-samples // HOP)
    levels = {}
    for stem, seed in stems.items():
        chance = np.random.default_rng(seed)
        levels[stem] = mix.StemLevel(chance.integers(-2000, 3000, hops + 1).astype(np.int16), chance.random(hops) > 0.5)
    packed = mix.pack(levels, stems, samples)
    read = mix.unpack(packed, stems, samples)
    assert read.keys() == levels.keys()
    for stem, level in read.items():
        assert (level.gains == levels[stem].gains).all()
        assert (level.speech == levels[stem].speech).all()
    cut = a_window(sorted(stems), samples, gains=packed)
    found = [*mix.speech_in([cut], Samples(HOP))] if stems else []
    for stem, level in levels.items():
        row = np.zeros(hops, np.bool_)
        for _, begin, end in filter(lambda each: each[0] == stem, found):
            row[begin // HOP : -(-end // HOP)] = True
        assert (row == level.speech).all()


def test_a_window_is_read_back_from_its_cut() -> None:
    """The piece of a window, its key and its cut belong together."""
    window = Mix(a_window([1, 3]).parts, Samples(480_000))
    (cut,) = layout([window], FORM)
    assert piece_of(cut) == window
    assert (cut.blob, window.blobs) == (None, {"1", "3"})
    (other,) = layout([replace(window, samples=Samples(479_999))], FORM)
    assert other.key != cut.key
