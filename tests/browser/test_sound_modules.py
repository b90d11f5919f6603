"""The studio's modules of sound in node: what browsers' recorders write becomes slices, which the archive joins."""

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.audio.decode import decode_pieces
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.inspect import inspect_chunk
from bot.audio.one_stream import join
from bot.audio.plan import Mismatch, Piece, Silence, Sound
from bot.recording.kinds import lay_out
from bot.recording.ledger import Gap
from bot.web.static_files import FOLDER
from storage.records import SAMPLE_RATE, ChunkFacts, ChunkState, EndedBy, RecordingState, Timing
from tests.audio.sounds import Pcm, Studio, as_key, lag, local, signal
from tests.recording.world import recording, stored

pytestmark = pytest.mark.browser

HERE = Path(__file__).parent
NODE_S = 300.0
STEP = 1 / 32_768  # of 16-bit sound
NEAR = SAMPLE_RATE // 2
SOUND = signal(int(21.37 * SAMPLE_RATE))
OPUS = ("-c:a", "libopus", "-b:a", "64k")
AAC = ("-c:a", "aac", "-b:a", "96k", "-aac_pns", "0")
FRAGMENTED = "frag_keyframe+default_base_moof"
EACH = ("-frag_duration", "500000")
RECORDERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "webm": ("webm", (*OPUS, "-f", "webm", "-cluster_time_limit", "1000")),
    "webm-live": ("webm", (*OPUS, "-f", "webm", "-live", "1", "-cluster_time_limit", "300")),
    "webm-60ms": ("webm", (*OPUS, "-frame_duration", "60", "-f", "webm", "-live", "1")),
    "ogg": ("ogg", (*OPUS, "-f", "ogg")),
    "ogg-short-pages": ("ogg", (*OPUS, "-f", "ogg", "-page_duration", "20000")),
    "mp4": ("mp4", (*AAC, "-f", "mp4", "-movflags", f"{FRAGMENTED}+empty_moov", *EACH)),
    "mp4-44100": ("mp4", (*AAC, "-ar", "44100", "-f", "mp4", "-movflags", f"{FRAGMENTED}+empty_moov", *EACH)),
    "mp4-edit": ("mp4", (*AAC, "-f", "mp4", "-movflags", f"{FRAGMENTED}+delay_moov", *EACH)),
}
"""Forms in which browsers' recorders stream, by their kind and the way in which ffmpeg writes the same."""
OVER = recording(state=RecordingState.FINISHING, ended_by=EndedBy.STOPPED)


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules in a folder that says to node what they are."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "package.json").write_text('{"type": "module"}')
    for path in FOLDER.glob("studio-sound*.js"):
        shutil.copy(path, folder)
    return folder


async def node(*command: str | Path, **environment: str) -> str:
    """Run a program with node; return what it writes."""
    process = await asyncio.create_subprocess_exec(
        "node",
        *map(str, command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        async with asyncio.timeout(NODE_S):
            told, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{told.decode()[-6000:]}\n{errors.decode()[-3000:]}"
    return told.decode()


@dataclass(frozen=True)
class Take:
    """The slices of a take, in a folder of files that are named by their numbers."""

    folder: Path
    parts: list[dict[str, Any]]
    error: str | None

    @property
    def slices(self) -> list[Path]:
        return [self.folder / str(number) for number in sorted({part["slice"] for part in self.parts})]


async def sliced(modules: Path, kind: str, source: Path, step: int, folder: Path) -> Take:
    """Make slices of a recorder's file that comes `step` bytes at a time."""
    told = await node(HERE / "slicer.js", modules, kind, source, str(step), folder)
    return Take(folder, **json.loads(told))


@dataclass(frozen=True)
class Kept:
    """A broadcast as the archive has it."""

    pieces: list[Piece]
    facts: list[ChunkFacts]
    proved: bool
    complete: bool
    gaps: tuple[Gap, ...]  # of what was not recorded


async def archived(slices: Sequence[Path], ffmpeg: Ffmpeg) -> Kept:
    """Inspect slices as the bot does what comes, and lay them out as a stopped broadcast."""
    facts = [await inspect_chunk(path, ffmpeg, max_seconds=900) for path in slices]
    chunks = [
        replace(stored(f"${number}", number, each), blob=as_key(path))
        for number, (path, each) in enumerate(zip(slices, facts, strict=True), start=1)
    ]
    ledger = lay_out(replace(OVER, announced_last=len(slices)), chunks)
    pieces: list[Piece] = [
        Sound(entry.blob, entry.container, entry.continues, entry.samples)
        if entry.blob is not None
        else Silence(entry.samples)
        for entry in ledger.entries
    ]
    assert {gap.reason for gap in ledger.gaps} <= {ChunkState.UNRECORDED}
    return Kept(pieces, facts, ledger.proved, ledger.complete, ledger.gaps)


async def joined(pieces: Sequence[Piece], ffmpeg: Ffmpeg, folder: Path) -> Pcm:
    """Decode pieces in a row; each must be as long as the plan says."""
    mismatches: list[Mismatch] = []
    blocks = [block async for block in decode_pieces(pieces, local, ffmpeg, folder, report=mismatches.append)]
    assert mismatches == []
    return np.concatenate(blocks)[:, 0]


async def test_the_modules_hold_their_own_tests(modules: Path) -> None:
    """Pages, packets, slices, readers and the search for holes do what they say, and hostile bytes do not hang them."""
    await node("--test", HERE / "sound_units.js", AIRCHECK_MODULES=str(modules))


@pytest.mark.parametrize("step", [997, 60_000])
@pytest.mark.parametrize("form", RECORDERS)
async def test_slices_are_the_take(
    modules: Path, ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path, form: str, step: int
) -> None:
    """The slices of a recorder's file join to what it decodes to as one stream, to the sample; with Opus the archive
    proves that all are there, and keeps one stream."""
    kind, how = RECORDERS[form]
    source = studio.record("take", SOUND, how)
    wanted = studio.hear(source)
    take = await sliced(modules, kind, source, step, tmp_path)
    assert take.error is None
    assert len(take.slices) in (5, 6)
    assert [part["last"] for part in take.parts] == [False] * (len(take.parts) - 1) + [True]
    kept = await archived(take.slices, ffmpeg)
    heard = await joined(kept.pieces, ffmpeg, tmp_path)
    if kind == "mp4":  # where the last frame is said to be shorter, which ffmpeg overlooks in fragments
        assert 0 <= len(wanted) - len(heard) < 1024
        wanted = wanted[: len(heard)]
    if form.endswith("44100"):  # the first slices are too short to end where converting them rounds nothing
        assert len(heard) == pytest.approx(len(wanted), abs=2)
        assert {lag(wanted, heard, place) for place in range(NEAR, len(heard) - NEAR, NEAR)} <= {-1, 0, 1}
        assert all(facts.samples % 163_840 == 0 for facts in kept.facts[3:-1])  # 147 frames
    else:
        assert len(heard) == len(wanted)
        assert np.abs(heard - wanted).max() < STEP
    assert kept.complete
    if kind == "mp4":
        assert {facts.timing for facts in kept.facts[1:]} == {Timing.EXACT}
    else:
        assert kept.proved
        assert await join(kept.pieces, tmp_path / "one.ogg", local=local) is not None
        assert np.abs(studio.hear(tmp_path / "one.ogg") - wanted).max() < STEP
    announced = sum(part["durationMs"] for part in take.parts)
    assert announced == pytest.approx(1000 * len(wanted) / SAMPLE_RATE, abs=100)


@pytest.mark.parametrize("form", ["webm-live", "ogg", "mp4"])
async def test_killed_slices_are_slices(
    modules: Path, ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path, form: str
) -> None:
    """A slice of a killed page is closed to a valid one, whose sound is in its place."""
    kind, how = RECORDERS[form]
    source = studio.record("take", SOUND, how)
    wanted = studio.hear(source)
    take = await sliced(modules, kind, source, 5000, tmp_path)
    for number in range(len(take.slices)):
        *before, _ = take.slices[: number + 1]
        kept = await archived([*before, take.folder / f"{number}-killed"], ffmpeg)
        heard = await joined(kept.pieces, ffmpeg, tmp_path)
        assert kept.complete
        assert 0 < len(heard) < len(wanted)
        assert np.abs(heard - wanted[: len(heard)]).max() < STEP


async def test_a_known_sound_keeps_its_place(modules: Path, ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path) -> None:
    """The archive's sound is the microphone's, at the same place from beginning to end."""
    source = studio.record("take", SOUND, RECORDERS["webm-live"][1])
    take = await sliced(modules, "webm", source, 5000, tmp_path)
    kept = await archived(take.slices, ffmpeg)
    heard = await joined(kept.pieces, ffmpeg, tmp_path)
    assert {lag(SOUND, heard, place) for place in range(24_000, len(SOUND) - 24_000, 96_000)} == {0}
