"""Joining chunks into an episode: seam errors, time to finish, CPU; beside ffmpeg's own concat filter.

Errors are samples at 48 kHz: the largest shift of the audio beside any seam, and the difference in length.
"""

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure
from benchmarks.usage import cpu_seconds
from bot.audio.episode import Stretch, put_together
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.grid import Form, frame_bytes
from bot.audio.inspect import inspect_chunk
from bot.audio.layout import layout
from bot.audio.mp3 import info_frame
from bot.audio.plan import Piece, Sound, length
from bot.audio.render import Rendering
from bot.audio.tags import EpisodeTags
from storage.records import SAMPLE_RATE, Samples
from tests.audio.sounds import FLAC, M4A, OPUS, WAV, Pcm, Studio, as_key, lag, local, signal

SECONDS = 300
CUTS = (0, 3_600_001, 7_321_123, 10_987_654, SECONDS * SAMPLE_RATE)  # no multiples of any frame
KBPS = 64
FRAMES = (
    "-c:a",
    "libmp3lame",
    "-b:a",
    f"{KBPS}k",
    "-reservoir",
    "0",
    "-write_xing",
    "0",
    "-id3v2_version",
    "0",
    "-f",
    "mp3",
)
FORM = Form(1, KBPS, -16.0)
TAGS = EpisodeTags("Benchmark", ("Nobody",), "Benchmarks", datetime(2026, 11, 20, tzinfo=UTC), b"", "")


@dataclass(frozen=True)
class Case:
    """Chunks, the audio that they should give when joined, and where the seams are."""

    name: str
    pieces: Sequence[Piece]
    wanted: Pcm
    seams: Sequence[int]


@dataclass(frozen=True)
class Result:
    seam: int
    total: int
    seconds: float
    cpu_per_hour: float


async def whole_files(studio: Studio, ffmpeg: Ffmpeg, name: str, sound: Pcm, form: tuple[str, ...]) -> Case:
    """Encode each chunk as a file of its own."""
    pieces: list[Piece] = []
    for number, (start, end) in enumerate(pairwise(CUTS)):
        path = studio.record(f"{name}.{number}", sound[start:end], form)
        if form is FRAMES:
            tagged(path, end - start)
        facts = await inspect_chunk(path, ffmpeg, max_seconds=3600)
        pieces.append(Sound(as_key(path), facts.container, False, facts.samples))
    return Case(name, pieces, sound, CUTS[1:-1])


def spoken(samples: int) -> Pcm:
    """Synthesize syllables of different pitch, with pauses: levels and peaks as in speech."""
    heights = np.random.default_rng(5).lognormal(-2, 0.7, samples // 9600 + 1)
    heights[::7] = 0
    return (signal(samples) * np.repeat(heights, 9600)[:samples]).astype(np.float32)


def tagged(path: Path, samples: int) -> None:
    """Add a correct LAME tag to bare MP3 frames; the one that ffmpeg writes is sometimes off by some samples."""
    frames = path.stat().st_size // frame_bytes(KBPS)
    path.write_bytes(info_frame(frames=frames, kbps=KBPS, samples=samples) + path.read_bytes())


async def slices(studio: Studio, ffmpeg: Ffmpeg, sound: Pcm) -> Case:
    """Cut one Opus stream at pages of 0.8 s, each chunk with the two header pages in front, as Element Web does."""
    form = ("-c:a", "libopus", "-b:a", "24k", "-application", "voip", "-page_duration", "800000", "-f", "ogg")
    whole = studio.record("whole.ogg", sound, form)
    data = whole.read_bytes()
    starts = [at for at in range(len(data)) if data.startswith(b"OggS", at)] + [len(data)]
    cuts = [*range(2, len(starts) - 1, 94), len(starts) - 1]
    pieces: list[Piece] = []
    for number, (first, last) in enumerate(pairwise(cuts)):
        path = studio.folder / f"slice.{number}.ogg"
        path.write_bytes(data[: starts[2]] + data[starts[first] : starts[last]])
        facts = await inspect_chunk(path, ffmpeg, max_seconds=3600)
        assert facts.ogg is not None
        trimmed = facts.samples + facts.ogg.pre_skip
        pieces.append(Sound(as_key(path), facts.container, number > 0, Samples(trimmed if number else facts.samples)))
    seams = [sum(piece.samples for piece in pieces[:count]) for count in range(1, len(pieces))]
    return Case("Element Web slices", pieces, studio.hear(whole), seams)


async def ours(case: Case, ffmpeg: Ffmpeg, out: Path) -> None:
    cuts, frames = layout(case.pieces, FORM), out.with_suffix(".frames")
    rendering = Rendering(case.pieces, cuts, FORM, start_db=None, local=local, ffmpeg=ffmpeg, workdir=out.parent)
    made = await rendering.make(0, None, frames)
    stretch = Stretch(partial(FileIO, frames), 0, made.bytes)
    samples = length(case.pieces)
    await asyncio.to_thread(put_together, [stretch], out, samples=samples, form=FORM, tags=TAGS)


async def concat(case: Case, ffmpeg: Ffmpeg, out: Path) -> None:
    await asyncio.to_thread(
        concatenated, [Path(piece.blob) for piece in case.pieces if isinstance(piece, Sound)], ffmpeg, out
    )


def concatenated(chunks: Sequence[Path], ffmpeg: Ffmpeg, out: Path) -> None:
    """Join as one would by hand: decode all, concatenate, encode; no levelling, no tags. Blocking."""
    command = [ffmpeg.exe, "-v", "error", "-nostdin", "-y", *(word for path in chunks for word in ("-i", str(path)))]
    command += [
        "-filter_complex",
        f"concat=n={len(chunks)}:v=0:a=1",
        "-c:a",
        "libmp3lame",
        "-b:a",
        f"{KBPS}k",
        str(out),
    ]
    subprocess.run(command, check=True)


async def measure(
    case: Case, way: Callable[[Case, Ffmpeg, Path], Awaitable[None]], ffmpeg: Ffmpeg, studio: Studio
) -> Result:
    out = studio.folder / "out.mp3"
    began, cpu = time.monotonic(), cpu_seconds()
    await way(case, ffmpeg, out)
    seconds, cpu = time.monotonic() - began, cpu_seconds() - cpu
    heard = await asyncio.to_thread(studio.hear, out)
    places = [place for seam in case.seams for place in (seam - 24_000, seam + 12_000)]
    shifts = [abs(lag(case.wanted, heard, place, most=24_000)) for place in places]
    return Result(max(shifts), len(heard) - len(case.wanted), seconds, cpu * 3600 / SECONDS)


async def compare() -> list[tuple[str, Result, Result]]:
    ffmpeg = Ffmpeg.find()
    sound = spoken(SECONDS * SAMPLE_RATE)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(ffmpeg.exe, Path(folder))
        cases = [await slices(studio, ffmpeg, sound)]
        forms = {"Ogg Opus files": OPUS, "M4A": M4A, "MP3 with a LAME tag": FRAMES, "WAV": WAV, "FLAC": FLAC}
        cases += [await whole_files(studio, ffmpeg, name, sound, form) for name, form in forms.items()]
        for case in cases:
            mine = await measure(case, ours, ffmpeg, studio)
            rows.append((case.name, mine, await measure(case, concat, ffmpeg, studio)))
    return rows


def table(rows: Sequence[tuple[str, Result, Result]]) -> None:
    print(f"Joining {SECONDS} s in 4 or 5 chunks into an MP3 (ours: measured, levelled and tagged)")
    print(f"{'':22}{'seam error':>20}{'length error':>20}{'finish, s':>20}{'CPU s per hour':>20}")
    print(f"{'':22}" + f"{'ours':>10}{'concat':>10}" * 4)
    for name, mine, theirs in rows:
        print(
            f"{name:22}{mine.seam:10}{theirs.seam:10}{mine.total:10}{theirs.total:10}"
            f"{mine.seconds:10.1f}{theirs.seconds:10.1f}{mine.cpu_per_hour:10.1f}{theirs.cpu_per_hour:10.1f}"
        )


def figures() -> list[Figure]:
    """Compare errors with their budgets; `python -m benchmarks.joining` prints the whole comparison, with times."""
    found = []
    for name, mine, theirs in asyncio.run(compare()):
        bound = 36 if name.startswith("MP3") else 0
        what = f"seam error: {name}"
        measured = f"{mine.seam} samples (ffmpeg's concat {theirs.seam})"
        found.append(Figure(what, f"≤ {bound} samples", measured, mine.seam <= bound))
        what = f"error of the whole length: {name}"
        measured = f"{mine.total} samples (ffmpeg's concat {theirs.total})"
        found.append(Figure(what, f"≤ {bound} samples", measured, abs(mine.total) <= bound))
    return found


def main() -> None:
    table(asyncio.run(compare()))


if __name__ == "__main__":
    main()
