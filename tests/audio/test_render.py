"""Frames made piece by piece: those that one encoder makes of the whole, to the byte."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bot import counted
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.grid import Form
from bot.audio.halves import encode_halves, middle_of
from bot.audio.layout import layout, piece_keys
from bot.audio.loudness import HOP
from bot.audio.plan import LocalFile, Piece, Silence, Sound, length
from bot.audio.render import Rendering, Warm
from bot.audio.track import settled_frames
from bot.errors import TryLater
from storage.records import SAMPLE_RATE, BlobKey, Container, Cut, Samples
from tests.audio.sounds import WAV, Studio, as_key, captured, local, signal
from tests.audio.test_decode import sounds

CUTS = (0, 100_003, 577_777, 579_000, 1_000_011)


def spoken(studio: Studio, channels: int) -> list[Piece]:
    """Return separate files, one of them very short, a gap, and a sliced run."""
    sound = signal(CUTS[-1] * channels)
    pieces: list[Piece] = []
    for number, (start, end) in enumerate(pairwise(CUTS)):
        path = studio.record(f"{number}.wav", sound[start * channels : end * channels], WAV, channels=channels)
        pieces.append(Sound(as_key(path), Container.WAV, False, Samples(end - start)))
    return [*pieces[:2], Silence(Samples(50_000)), *pieces[2:], *sounds(captured("plain"))]


class Maker:
    """A growing track."""

    def __init__(
        self, form: Form, ffmpeg: Ffmpeg, folder: Path, *, keeps_warm: bool = True, local: LocalFile = local
    ) -> None:
        self.cuts: list[Cut] = []
        self.frames = b""
        self._form = form
        self._ffmpeg = ffmpeg
        self._folder = folder
        self._keeps_warm = keeps_warm
        self._local = local
        self._warm: Warm | None = None

    async def advance(self, pieces: Sequence[Piece], *, last: bool) -> None:
        self.cuts += layout(pieces, self._form)[len(self.cuts) :]
        first = len(self.frames) // self._form.frame_bytes
        frames = None if last else settled_frames(length(pieces)) - first
        rendering = Rendering(
            pieces, self.cuts, self._form, start_db=None, local=self._local, ffmpeg=self._ffmpeg, workdir=self._folder
        )
        if frames != 0:
            part = self._folder / "part"
            made = await rendering.make(first, frames, part, self._warm if self._keeps_warm else None)
            self.frames += part.read_bytes()
            assert made.bytes == part.stat().st_size
        for index, one in rendering.decided.items():
            self.cuts[index] = one.cut
        self._warm = rendering.warm or self._warm


@pytest.mark.parametrize("keeps_warm", [True, False])
@pytest.mark.parametrize("form", [Form(1, 64, None), Form(1, 64, -16.0), Form(2, 64, -16.0)], ids=str)
async def test_piece_by_piece(form: Form, keeps_warm: bool, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Pieces that are rendered when they come, with or without the last one in memory, give the same bytes as all at
    once."""
    pieces = spoken(studio, form.channels)
    at_once = Maker(form, ffmpeg, tmp_path)
    await at_once.advance(pieces, last=True)
    grown = Maker(form, ffmpeg, tmp_path, keeps_warm=keeps_warm)
    for count in range(1, len(pieces)):
        await grown.advance(pieces[:count], last=False)
    await grown.advance(pieces, last=True)
    assert grown.frames == at_once.frames
    assert grown.cuts == at_once.cuts


async def test_a_warm_run_is_not_read_again(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """The chunk before a new one in its run is read once: the end of the run stays in memory."""
    read: list[BlobKey] = []

    @asynccontextmanager
    async def noted(blob: BlobKey) -> AsyncIterator[Path]:
        read.append(blob)
        async with local(blob) as path:
            yield path

    form, pieces = Form(1, 64, -16.0), sounds(captured("plain"))
    maker = Maker(form, ffmpeg, tmp_path, local=noted)
    for count in range(1, len(pieces) + 1):
        await maker.advance(pieces[:count], last=False)
    assert read == [piece.blob for piece in pieces]


async def test_any_stretch_alone(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A stretch from the middle, made again with the decided gains, has the same bytes."""
    form = Form(1, 64, -16.0)
    pieces = spoken(studio, 1)
    maker = Maker(form, ffmpeg, tmp_path)
    await maker.advance(pieces, last=True)
    size = form.frame_bytes
    for first, frames in ((0, 1), (3, 200), (500, 77), (430, 50)):
        rendering = Rendering(pieces, maker.cuts, form, start_db=None, local=local, ffmpeg=ffmpeg, workdir=tmp_path)
        await rendering.make(first, frames, tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == maker.frames[first * size : (first + frames) * size]
        assert rendering.decided == {}


async def test_settled_frames_and_the_last_ones_in_one_go(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """The settled frames and those after them, made in one go or alone, have the same bytes as all at once."""
    form, pieces = Form(1, 64, -16.0), sounds(captured("plain"))
    maker = Maker(form, ffmpeg, tmp_path)
    await maker.advance(pieces, last=True)
    whole, settled = maker.frames, settled_frames(length(pieces))
    rendering = Rendering(pieces, maker.cuts, form, start_db=None, local=local, ffmpeg=ffmpeg, workdir=tmp_path)
    made, rest = await rendering.make_to_end(300, settled - 300, tmp_path / "settled")
    assert made.frames == settled - 300
    assert (tmp_path / "settled").read_bytes() + rest == whole[300 * form.frame_bytes :]
    assert await rendering.last(settled) == rest
    assert rendering.warm is not None
    kept = replace(rendering.warm, rest=b"kept")
    assert await rendering.last(settled, kept) == b"kept"
    assert await rendering.last(settled, replace(kept, identity="other")) == rest


async def test_a_healed_piece_ends_where_its_follower_begins(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """The decided gains around a healed piece stay, and there is no step behind it."""
    form = Form(1, 64, -16.0)
    loud, soft = (
        Sound(as_key(studio.record(name, factor * signal(480_000), WAV)), Container.WAV, False, Samples(480_000))
        for name, factor in (("loud.wav", 1.0), ("soft.wav", 0.05))
    )
    maker = Maker(form, ffmpeg, tmp_path)
    await maker.advance([loud, Silence(Samples(480_000)), loud], last=True)
    cuts = [replace(maker.cuts[0]), *layout([loud, soft, loud], form)[1:2], maker.cuts[2]]
    rendering = Rendering([loud, soft, loud], cuts, form, start_db=None, local=local, ffmpeg=ffmpeg, workdir=tmp_path)
    await rendering.make(settled_frames(480_000), 600, tmp_path / "healed")
    assert list(rendering.decided) == [1]
    healed, behind = (np.frombuffer(cut.gains or b"", "<i2") for cut in (rendering.decided[1].cut, maker.cuts[2]))
    assert healed[-1] == behind[0]
    assert healed[0] == np.frombuffer(maker.cuts[0].gains or b"", "<i2")[-1]
    assert len(healed) == 480_000 // HOP + 1


def test_a_key_names_what_is_heard(tmp_path: Path) -> None:
    """The key of a slice depends on the chunk before it in its run, and not on one that is long past."""
    form = Form(1, 64, None)

    def named(*names: str, samples: int = 48_000) -> str:
        pieces = [
            Sound(as_key(tmp_path / name), Container.OGG_OPUS, number > 0, Samples(samples))
            for number, name in enumerate(names)
        ]
        return piece_keys(pieces, form)[-1]

    assert named("a", "b") != named("c", "b")
    assert named("a", "b") != named("b")
    assert named("a", "b", "c") == named("x", "b", "c")
    assert named("a", "b", "c", samples=9600) != named("x", "b", "c", samples=9600)
    assert piece_keys([Silence(Samples(5))], form) != piece_keys([Silence(Samples(6))], form)


async def test_what_sounds_shorter_than_it_should_is_noted(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """The difference between the planned and the decoded length is stored with the piece."""
    path = studio.record("a.wav", signal(40_000), WAV)
    form = Form(1, 64, None)
    pieces = [Sound(as_key(path), Container.WAV, False, Samples(50_000))]
    rendering = Rendering(
        pieces, layout(pieces, form), form, start_db=None, local=local, ffmpeg=ffmpeg, workdir=tmp_path
    )
    await rendering.make(0, None, tmp_path / "out")
    assert rendering.decided[0].cut.off_by == -10_000


def encoded_s() -> float:
    """Return the seconds of sound that were encoded so far."""
    return sum(counted.ENCODED.copy().values())


@pytest.mark.parametrize("form", [Form(1, 64, -16.0), Form(2, 128, -16.0)], ids=["mono", "stereo"])
async def test_a_long_stretch_is_made_in_halves(studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path, form: Form) -> None:
    """Two encoders, which share a long stretch while nothing else is encoded, give the bytes of one, and count its
    sound once."""
    path = studio.record("a.wav", signal(55 * SAMPLE_RATE), WAV)
    pieces = [Sound(as_key(path), Container.WAV, False, Samples(55 * SAMPLE_RATE))]
    made: list[bytes] = []
    assert middle_of(0, 55 * SAMPLE_RATE) is not None
    assert middle_of(0, 906 * SAMPLE_RATE) is None
    for busy in (False, True):
        for first, frames in ((0, None), (7, 2222)):
            rendering = Rendering(
                pieces, layout(pieces, form), form, start_db=None, local=local, ffmpeg=ffmpeg, workdir=tmp_path
            )
            assert ffmpeg.encodes_nothing
            before = encoded_s()
            async with ffmpeg._encoding.first() if busy else nullcontext():
                await rendering.make(first, frames, tmp_path / "out")
            made.append((tmp_path / "out").read_bytes())
            assert encoded_s() - before < 56
    assert made[:2] == made[2:]
    assert made[1] == made[0][7 * form.frame_bytes :][: 2222 * form.frame_bytes]


async def test_a_half_that_fails() -> None:
    """When one encoder fails, the other is given up, and the failure is told."""
    ended: list[str] = []

    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(4 * SAMPLE_RATE)

    async def fails(blocks: AsyncIterator[bytes]) -> None:
        async for _ in blocks:
            raise TryLater("broken")

    async def listens(blocks: AsyncIterator[bytes]) -> None:
        try:
            async for _ in blocks:
                await asyncio.sleep(0)
        finally:
            ended.append("listens")

    for first, second in ((fails, listens), (listens, fails)):
        with pytest.raises(TryLater, match="broken"):
            await encode_halves(blocks(), 0, 2000, 4, first, second)
    assert ended == ["listens", "listens"]
