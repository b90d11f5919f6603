"""Calls: CPU of mixing for each leg, and the end of a call of six hours with eight speakers → its episode.

The speakers are the shipped speech, over and over, each from another place on. The six hours are not spoken through:
all windows but the last few are rows of a window that was mixed, and stretches of its frames; the last ones are mixed
from slices, as while the call runs.
"""

import asyncio
import hashlib
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import usage
from benchmarks.figures import Figure, at_most
from benchmarks.finishing import HELD_MS, Turns
from bot import memory, orders
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.grid import Form
from bot.audio.layout import layout
from bot.audio.track import settled_frames
from bot.recording.call import machine
from bot.recording.call.layout import WINDOW, lay_out
from bot.recording.model import Ended, SlicesKept, StemClosed, StemOpened
from bot.worker.pieces import pieces_of
from storage import archive, jobs, tracks
from storage.records import (
    SAMPLE_RATE,
    BlobKey,
    CallProtocol,
    Chunk,
    ChunkId,
    EndedBy,
    Episode,
    EventId,
    Extent,
    LeftBy,
    Position,
    Recording,
    RecordingId,
    Samples,
    Stem,
    Track,
    UserId,
)
from tests.audio.stem_files import ENCODER_DELAY, Slice, packets_of, slices_of
from tests.audio.voices import voice
from tests.blobs import add_bytes
from tests.world import ALICE, ROOM, World, world_of

SPEAKERS = 8
HOURS = 6
WINDOWS = HOURS * 3600 * SAMPLE_RATE // WINDOW
MIXED = 12  # windows that are mixed while they are measured
REAL = 6  # windows of the long call that are mixed
FRAMES = 418  # in a stretch that stands for a window's
FINISH_S = 2.0
CPU_OF_A_LEG = 1.5  # percent of a core, of which receiving takes about one
NAIVE_S = 300
PACKET = 960  # samples
SILENCE = bytes((0xF8, 0xFF, 0xFE))
"""20 ms of silence, as stems have it where nothing was received."""


def spoken(exe: str, seconds: float, speaker: int) -> list[bytes]:
    """Return the packets of a speaker."""
    speech = np.concatenate([voice(1), voice(2)])[:, 0]
    return packets_of(exe, np.resize(np.roll(speech, -speaker * 5 * SAMPLE_RATE), int(seconds * SAMPLE_RATE)))


def stem_of(number: int) -> Stem:
    user = UserId(f"@speaker{number}:hs")
    return Stem(number, user, "DEV", f"Speaker {number}", Samples(0), Position(1), serial=number)


@dataclass
class Call:
    """A call that is recorded in a room."""

    world: World
    id: RecordingId

    async def tell(self, event: StemOpened | StemClosed | Ended) -> None:
        async with self.world.store.write() as db:
            await self.world.recorder.apply(db, self.id, event)

    async def keep(self, slices: Sequence[Slice]) -> None:
        """Keep slices, as the part that writes stems does, and have them mixed."""
        for each in slices:
            await asyncio.to_thread(add_bytes, self.world.store, each.data, each.key)
        chunks = tuple(each.chunk(self.id, stem_of(each.stem).user_id) for each in slices)
        async with self.world.store.write() as db:
            await self.world.recorder.apply(db, self.id, SlicesKept(chunks))
            await jobs.add(db, orders.Encode(self.id).job(), self.world.clock())
        await self.world.work_on()

    async def end(self, at: int) -> None:
        async with self.world.store.write() as db:
            await self.world.recorder.apply(db, self.id, Ended(EndedBy.STOPPED))
            for number in range(1, SPEAKERS + 1):
                closed = StemClosed(number, Samples(at), LeftBy.ENDED, Samples(at), Samples(0), None, None)
                await self.world.recorder.apply(db, self.id, closed)
        await self.world.work_on()

    async def stored(self) -> tuple[Recording, tuple[Chunk, ...], Episode | None]:
        async with self.world.store.read() as db:
            recording = await archive.recording(db, self.id)
            assert recording is not None
            return recording, await archive.chunks(db, self.id), await archive.episode(db, self.id)


async def begin(world: World, event_id: str, stems: int = SPEAKERS) -> Call:
    """Begin the recording of a call with all of its stems."""
    recording = machine.begin(
        protocol=CallProtocol.MSC3401,
        call_id=event_id,
        room_id=ROOM,
        event_id=EventId(event_id),
        position=Position(1),
        broadcaster=ALICE,
        broadcaster_name="Alice",
        now=world.clock(),
    )
    async with world.store.write() as db:
        call = Call(world, (await archive.add_recording(db, recording)).id)
    for number in range(1, stems + 1):
        await call.tell(StemOpened(stem_of(number)))
    return call


def windows(slices: Sequence[Slice]) -> dict[int, list[Slice]]:
    """Group slices by their windows."""
    found: dict[int, list[Slice]] = {}
    for each in slices:
        found.setdefault(each.at // WINDOW, []).append(each)
    return found


# ---- mixing while the call runs


async def mix(world: World, speaking: int = SPEAKERS, silent: int = 0) -> tuple[Call, float]:
    """Mix two minutes of so many who speak, and so many more whose microphones are muted; return the call, and the CPU
    that it takes, in percent of a core."""
    call = await begin(world, "$mixed", speaking + silent)
    seconds, slices = MIXED * WINDOW / SAMPLE_RATE + 5, list[Slice]()
    for number in range(1, speaking + silent + 1):
        packets = [SILENCE] * int(seconds * SAMPLE_RATE / PACKET)
        if number <= speaking:
            packets = await asyncio.to_thread(spoken, world.ffmpeg.exe, seconds, number)
        slices += slices_of(packets, number)
    by_window = windows(slices)
    await call.keep(by_window[0])  # the first has to load much
    cpu = usage.cpu_seconds()
    for number in range(1, MIXED):
        await call.keep(by_window[number])
    taken = usage.cpu_seconds() - cpu
    return call, 100 * taken / ((MIXED - 1) * WINDOW / SAMPLE_RATE)


# ---- six hours


async def pretend(world: World, call: Call, mixed: Call) -> None:
    """Write the rows of all windows but the last ones, as if they had been mixed like those of a call that was."""
    _, told, _ = await mixed.stored()
    some = next(chunk for chunk in told if chunk.facts is not None)
    assert some.facts is not None
    facts = replace(some.facts, samples=WINDOW)
    last = WINDOWS - REAL - 2  # the last two are decoded again before the next one
    chunks = [
        replace(
            some,
            id=ChunkId(f"call-{call.id}-{number}-{window}"),
            recording_id=call.id,
            sender=stem_of(number).user_id,
            position=Position(10 + window),
            stem=number,
            at=Samples(window * WINDOW),
            blob=some.blob if window >= last else BlobKey(hashlib.sha256(f"{number} {window}".encode()).hexdigest()),
            facts=facts,
        )
        for window in range(WINDOWS - REAL)
        for number in range(1, SPEAKERS + 1)
    ]
    recording, _, _ = await call.stored()
    form = Form(1, world.settings.audio.mp3_bitrate_kbps, world.settings.audio.loudness_lufs)
    cuts = layout(list(pieces_of(lay_out(recording, chunks).entries)), form)
    frames = bytes(FRAMES * form.frame_bytes)
    blob = BlobKey(hashlib.sha256(frames).hexdigest())
    add_bytes(world.store, frames, blob)
    async with world.store.write() as db:
        model, (_, peaks) = (await tracks.cuts(db, mixed.id))[-1], (await tracks.peaks(db, mixed.id))[-1]
        await archive.save_chunks(db, chunks)
        await tracks.save(db, Track(call.id, 1, form.kbps, form.target_lufs, None, 0, world.clock()))
        await tracks.add_cuts(db, call.id, [replace(cut, gains=model.gains, level=model.level) for cut in cuts])
        await tracks.decide(db, call.id, [(replace(cuts[-1], gains=model.gains, level=model.level), peaks or b"")])
        first = 0
        for number in range(1, len(cuts) + 1):
            end = settled_frames(number * WINDOW)
            await tracks.add_extent(db, call.id, Extent(first, end - first, blob, 0))
            first = end


@dataclass(frozen=True)
class End:
    """Figures of the end of a long call."""

    window_s: float  # CPU of a window, at its last hour
    finish_s: float
    finish_cpu_s: float
    held_s: float
    peak_mib: float
    chapters: int


async def end_of_six_hours(world: World, mixed: Call) -> End:
    """Mix the last windows of six hours, end the call and wait for the episode."""
    call = await begin(world, "$long")
    await pretend(world, call, mixed)
    first, seconds = (WINDOWS - REAL) * WINDOW, REAL * WINDOW / SAMPLE_RATE - 3
    exe = world.ffmpeg.exe
    slices = [
        each
        for number in range(1, SPEAKERS + 1)
        for each in slices_of(await asyncio.to_thread(spoken, exe, seconds, number), number, first + ENCODER_DELAY)
    ]
    by_window = windows(slices)
    await call.keep(by_window.pop(WINDOWS - REAL))  # has the track read once
    memory.keep_what_is_there()  # as `aircheck run` does
    usage.forget_peak()
    turns = Turns()
    watching = asyncio.create_task(turns.watch())
    *middle, last = sorted(by_window)
    cpu = usage.cpu_seconds()
    for number in middle:
        await call.keep(by_window[number])
    window_s = (usage.cpu_seconds() - cpu) / len(middle)
    async with world.store.write() as db:
        end = SlicesKept(tuple(each.chunk(call.id, stem_of(each.stem).user_id) for each in by_window[last]))
        for each in by_window[last]:
            await asyncio.to_thread(add_bytes, world.store, each.data, each.key)
        await world.recorder.apply(db, call.id, end)
    cpu, began = usage.cpu_seconds(), time.monotonic()
    await call.end(first + int(seconds * SAMPLE_RATE))
    took = time.monotonic() - began
    watching.cancel()
    recording, _, episode = await call.stored()
    assert episode is not None
    assert abs(episode.samples - HOURS * 3600 * SAMPLE_RATE) < 10 * SAMPLE_RATE
    assert len(recording.speakers) == SPEAKERS
    return End(
        window_s, took, usage.cpu_seconds() - cpu, turns.longest_s, usage.peak_mib(), chapters=len(episode.chapters)
    )


def naive(exe: str, folder: Path) -> float:
    """Return the seconds that an hour of eight stems takes when it is mixed by hand at the end: ffmpeg's adelay, amix
    and loudnorm over whole stems."""
    stems = []
    for number in range(1, SPEAKERS + 1):
        stems.append(folder / f"{number}.ogg")
        speech = np.concatenate([voice(1), voice(2)])[:, 0]
        sound = np.resize(np.roll(speech, -number * 5 * SAMPLE_RATE), NAIVE_S * SAMPLE_RATE).astype("<f4").tobytes()
        source = ["-f", "f32le", "-ar", str(SAMPLE_RATE), "-ac", "1", "-i", "pipe:"]
        command = [exe, "-v", "error", "-y", *source, "-c:a", "libopus", "-b:a", "32k", str(stems[-1])]
        subprocess.run(command, input=sound, check=True)
    inputs = [word for stem in stems for word in ("-i", str(stem))]
    delayed = "".join(f"[{n}]adelay={n * 100},apad=whole_dur={NAIVE_S}[s{n}];" for n in range(SPEAKERS))
    names = "".join(f"[s{n}]" for n in range(SPEAKERS))
    mixed = f"{delayed}{names}amix=inputs={SPEAKERS}:normalize=0,alimiter,loudnorm=I=-16"
    began = time.monotonic()
    out = ["-ar", str(SAMPLE_RATE), "-b:a", "64k", "-y", str(folder / "mix.mp3")]
    subprocess.run([exe, "-v", "error", *inputs, "-filter_complex", mixed, *out], check=True)
    return (time.monotonic() - began) * 3600 / NAIVE_S


async def measured(directory: Path) -> tuple[float, End]:
    async with world_of(directory) as world:
        await world.join()
        mixed, cpu = await mix(world)
        with memory.searched_briefly():
            return cpu / SPEAKERS, await end_of_six_hours(world, mixed)


def figures() -> list[Figure]:
    """Measure the mixing and the end of a call."""
    with tempfile.TemporaryDirectory() as folder:
        leg, end = asyncio.run(measured(Path(folder) / "data"))
        by_hand = naive(Ffmpeg.find().exe, Path(folder)) * HOURS
    beside = f", {end.finish_cpu_s:.1f} s of CPU (ffmpeg's adelay, amix and loudnorm over all stems: {by_hand:.0f} s)"
    what = f"a call of {HOURS} h with {SPEAKERS} speakers"
    return [
        at_most("CPU of mixing for each leg of a call of 8, with rows and MP3", leg, CPU_OF_A_LEG - 1, "% of a core"),
        at_most(f"{what}: its end → the episode", end.finish_s, FINISH_S, "s", beside),
        Figure("CPU of a window of 10 s in its last minute", "", f"{end.window_s:.2f} s"),
        at_most("the longest turn of the event loop meanwhile, in CPU", end.held_s * 1000, HELD_MS, "ms"),
        Figure("memory meanwhile, without ffmpeg", "", f"{end.peak_mib:.0f} MiB"),
    ]
