"""Studios: CPU of a broadcast beside the same one from a homeserver, fifty at once, and a file from the shell."""

import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import chain, cycle, islice
from pathlib import Path
from statistics import median

import yaml

from benchmarks import browser, pipeline, studio_page, usage
from benchmarks.figures import Figure, at_least, at_most, of
from benchmarks.studio_clients import CLIENT, SPEAKER, Desk, Plan, Told, audible, clients_of, open_studio, slices
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.slicing import PACKET, PRE_SKIP, Slice
from bot.audio.track import settled_frames
from bot.demo.slicing import Slicer, speech
from bot.dialects.studio import started_id
from bot.process import utc_now
from bot.studio.writing import Writing
from bot.web.server import WebServer
from storage import studios
from storage.private import synced
from storage.records import SAMPLE_RATE, BlobKey, EventId, Studio, StudioSource, StudioState
from storage.store import Store

HOUR = 3600
SLICE_S = 5.0
AT_ONCE = 50
AT_ONCE_S = 60.0
SPREAD = 12
"""Studios among which the slices of an hour are spread where nobody waits for their sound: one may not send so fast."""
HELD_MS = 10.0
TIMES_REAL_TIME = 20.0

Benchmark = Callable[[Path], Coroutine[None, None, list[Figure]]]


# ---- CPU of a broadcast


@dataclass(frozen=True)
class Spent:
    """CPU seconds of the bot, for an hour of sound: of all, of ffmpeg's processes, of the event loop, of the server of
    the database."""

    all_s: float
    ffmpeg_s: float
    loop_s: float
    database_s: float


class _Meter:
    """The CPU since it was made. The event loop has to be this thread's."""

    def __init__(self) -> None:
        self._before = self._now()

    def spent(self, per: float) -> Spent:
        return Spent(*((now - before) * per for now, before in zip(self._now(), self._before, strict=True)))

    @staticmethod
    def _now() -> tuple[float, ...]:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        ffmpeg = children.ru_utime + children.ru_stime
        return usage.cpu_seconds(), ffmpeg, time.thread_time(), usage.database_cpu()


@dataclass(frozen=True)
class Course:
    """The costs of an hour of sound from a studio: of all of it, and of its last quarter."""

    spent: Spent
    last_quarter: Spent
    longest_s: float  # turn of the event loop
    acknowledged_s: float  # median


async def from_a_studio(directory: Path, seconds: float, slice_s: float = SLICE_S) -> Course:
    """Record a broadcast of a studio; each slice is in its track before the next is sent."""
    async with pipeline.running(directory) as running:
        desk = await open_studio(running.store, "talk")
        plan = Plan(running.web.address, (desk.path,), seconds, slice_s)
        pieces = await asyncio.to_thread(slices, plan, 1)
        count, took = len(pieces) - 1, list[float]()
        await running.covering.of(desk.room.room_id)
        async with clients_of(plan) as clients:
            with usage.longest_turn() as turn:
                meter = quarter = _Meter()
                for number in range(1, count + 1):
                    if number == count * 3 // 4 + 1:
                        quarter = _Meter()
                    took += await clients.ask("next")
                    await running.until_fetched(number)
                    await running.until_made(desk.event_id, settled_frames(audible(pieces[:number])))
                last = quarter.spent(HOUR / ((count - count * 3 // 4) * slice_s))
                course = Course(meter.spent(HOUR / seconds), last, turn.longest_s, median(took))
            await clients.ask("next")
            await clients.ask("stop")
            episode = await running.published(desk.event_id)
    assert episode.samples == audible(pieces), "the episode is not what was said"
    return course


async def from_a_homeserver(directory: Path, seconds: float, slice_s: float = SLICE_S) -> Spent:
    """Record the same sound as a client's chunks."""
    pieces = await asyncio.to_thread(slices, Plan("", (), seconds, slice_s), 1)
    async with pipeline.running(directory) as running:
        broadcast = running.broadcast("talk")
        await broadcast.start(round(slice_s))
        await running.covering.of(broadcast.room_id)
        meter, said = _Meter(), 0
        for number, piece in enumerate(pieces[:-1], start=1):
            await broadcast.send(piece)
            await running.until_fetched(number)
            said += piece.samples
            await running.until_made(broadcast.id, settled_frames(said - PRE_SKIP))
        return meter.spent(HOUR / seconds)


async def taking(directory: Path, count: int, slice_s: float = SLICE_S) -> tuple[Spent, float]:
    """Take slices over HTTP while neither the recorder nor any worker runs. Return what an hour of them costs, and the
    median of the seconds until one is acknowledged."""
    settings = pipeline.settings_for(directory / "data")
    store = await Store.own(settings.storage.place)
    try:
        server = WebServer(store, settings, lambda: True)
        await server.start()
        try:
            desks = [await open_studio(store, f"room{number}") for number in range(min(SPREAD, count))]
            rounds = count // len(desks)
            plan = Plan(server.address, tuple(desk.path for desk in desks), (rounds + 1) * slice_s, slice_s)
            async with clients_of(plan) as clients:
                await clients.ask("next")  # the first statements of each kind take longer
                meter, took = _Meter(), list[float]()
                for _ in range(rounds):
                    took += await clients.ask("next")
                return meter.spent(HOUR / (rounds * len(desks) * slice_s)), median(took)
        finally:
            await server.stop()
    finally:
        await store.close()


async def writing(directory: Path, count: int, slice_s: float = SLICE_S) -> Spent:
    """Write slices as the web server does, without HTTP: a file, a blob, and rows."""
    settings = pipeline.settings_for(directory / "data")
    store = await Store.own(settings.storage.place)
    try:
        desks = [await open_studio(store, f"room{number}") for number in range(min(SPREAD, count))]
        writer, rounds = Writing(store, settings, utc_now), count // len(desks)
        plan = Plan("", (), (rounds + 1) * slice_s, slice_s)
        sounds = [await asyncio.to_thread(slices, plan, serial) for serial in range(1, len(desks) + 1)]
        for desk in desks:
            await writer.start(desk.studio.id, CLIENT)
        meter = _Meter()
        for number in range(rounds + 1):
            if number == 1:
                meter = _Meter()
            for desk, pieces in zip(desks, sounds, strict=True):
                await _write(store, writer, desk, number + 1, pieces[number])
        return meter.spent(HOUR / (rounds * len(desks) * slice_s))
    finally:
        await store.close()


async def _write(store: Store, writer: Writing, desk: Desk, number: int, piece: Slice) -> None:
    part = store.blobs.part(f"{desk.studio.key}-{number}")
    try:
        await asyncio.to_thread(_to_disk, part, piece.data)
        key = BlobKey(sha256(piece.data).hexdigest())
        await writer.add(desk.studio.id, CLIENT, number, part, key, len(piece.data), piece.duration_ms)
        await store.database.settle()
    finally:
        await asyncio.to_thread(part.unlink, missing_ok=True)


def _to_disk(part: Path, data: bytes) -> None:
    with synced(part) as out:
        out.write(data)


async def cpu(directory: Path, seconds: float = HOUR, slice_s: float = SLICE_S) -> list[Figure]:
    """Measure a broadcast in slices, and of a third of it what web and rows are, and the same by a homeserver's
    events."""
    folders = [directory / name for name in ("written", "taken", "matrix", "studio")]
    for folder in folders:
        folder.mkdir()
    third = seconds / 3
    rows = await writing(folders[0], round(third / slice_s), slice_s)
    taken, alone_s = await taking(folders[1], round(third / slice_s), slice_s)
    matrix = await from_a_homeserver(folders[2], third, slice_s)
    course = await from_a_studio(folders[3], seconds, slice_s)
    what, last, longest_ms = "CPU of an hour from a studio", course.last_quarter, course.longest_s * 1000
    return [
        of(f"{what}, slices of {slice_s:g} s", course.spent.all_s, "s", _of_which(course.spent)),
        of("the same, its last quarter", last.all_s, "s", _of_which(last)),
        of(f"the same sound from a homeserver, chunks of {slice_s:g} s", matrix.all_s, "s", _of_which(matrix)),
        of("an hour of slices taken, and not recorded: HTTP, files and rows", taken.all_s, "s"),
        of("the same without HTTP: files and rows", rows.all_s, "s"),
        of("slice sent → acknowledged, nothing else happens (median)", alone_s * 1000, "ms"),
        of("the same while it is recorded (median)", course.acknowledged_s * 1000, "ms"),
        at_most(f"{what}: longest turn of the event loop, CPU", longest_ms, HELD_MS, "ms"),
    ]


def _of_which(spent: Spent) -> str:
    server = f", {spent.database_s:.0f} the database's server" if spent.database_s else ""
    return f" ({spent.ffmpeg_s:.0f} ffmpeg, {spent.loop_s:.0f} the event loop{server})"


# ---- many at once


async def at_once(
    directory: Path, count: int = AT_ONCE, seconds: float = AT_ONCE_S, slice_s: float = SLICE_S
) -> list[Figure]:
    """Broadcast from many studios in real time. Their clients share the machine with the bot."""
    async with pipeline.running(directory) as running:
        desks = [await open_studio(running.store, f"room{number}") for number in range(count)]
        plan = Plan(running.web.address, tuple(desk.path for desk in desks), seconds, slice_s)
        pieces = await asyncio.to_thread(slices, plan, 1)
        said = audible(pieces)
        for desk in desks:
            await running.covering.of(desk.room.room_id)
        async with clients_of(plan) as clients:
            usage.forget_peak()
            meter, began = _Meter(), time.monotonic()
            with usage.longest_turn() as turn:
                told = await clients.all()
                sent = time.monotonic()
                spent_by_then = meter.spent(1.0)
                await running.until_fetched(count * len(pieces))
                for desk in desks:
                    await running.until_made(desk.event_id, settled_frames(said))
                behind_s = time.monotonic() - sent
                longest_s, peak = turn.longest_s, usage.peak_mib()
            spent = meter.spent(HOUR / (count * seconds))
            await clients.ask("stop")
        episodes = [await running.published(desk.event_id) for desk in desks]
    core = spent_by_then.all_s / (sent - began)
    what, cost = f"{count} studios at once", f"CPU for an hour of one, {slice_s:g} s slices"
    whole = sum(episode.samples == said for episode in episodes)
    return [
        *_acknowledged(told, what, slice_s),
        Figure(f"{what}: episodes with every sample", f"{count}", f"{whole}", whole == count, vital=True),
        of(f"{what}: last slice acknowledged → all in their tracks", behind_s, "s"),
        of(f"{what}: {cost}", spent.all_s, "s", _of_which(spent)),
        of(f"{what}: cores that the bot used", core, ""),
        at_most(f"{what}: longest turn of the event loop, CPU", longest_s * 1000, HELD_MS, "ms"),
        of(f"{what}: memory, without ffmpeg", peak, "MiB"),
    ]


def _acknowledged(told: Told, what: str, slice_s: float) -> list[Figure]:
    worst, looks = max(told.taken_s), f"{len(told.looked_s)} times"
    bound = f"≤ {slice_s:g} s"
    return [
        Figure(f"{what}: slices acknowledged, the slowest", bound, f"{worst:.2f} s", worst <= slice_s, value=worst),
        of(f"{what}: slices acknowledged, median of {len(told.taken_s)}", median(told.taken_s) * 1000, "ms"),
        at_most(f"{what}: slices that had to be sent again", told.again, 0, ""),
        of(f"{what}: the state told, at worst ({looks})", max(told.looked_s) * 1000, "ms"),
    ]


# ---- a file from the shell


async def a_file(directory: Path, form: str, seconds: float = HOUR) -> list[Figure]:
    """Broadcast a file with `aircheck broadcast --fast` beside the bot."""
    file = directory / f"show.{form}"
    await asyncio.to_thread(_write_sound, file, seconds)
    async with pipeline.running(directory) as running:
        following = asyncio.create_task(running.store.follow())
        try:
            desk = await open_studio(running.store, "talk")
            config = directory / "config.yaml"
            tree = pipeline.settings_for(directory / "data").model_dump(exclude_unset=True, mode="json")
            await asyncio.to_thread(config.write_text, yaml.safe_dump(tree))
            began = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot", "broadcast", "-c", str(config), "--as", SPEAKER, "--fast"),
                *(desk.room.room_id, str(file)),
                stdout=asyncio.subprocess.PIPE,
            )
            try:
                event_id = await _sent(running, desk)
                sent_s = time.monotonic() - began
                episode = await running.published(event_id)
                published_s = time.monotonic() - began
            except BaseException:
                process.kill()
                raise
            finally:
                said, _ = await process.communicate()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    assert process.returncode == 0, said
    assert abs(episode.samples - seconds * SAMPLE_RATE) <= PRE_SKIP, "the episode is not what was said"
    length = f"{seconds / HOUR:g} h" if seconds >= HOUR else f"{seconds:g} s"
    what = f"`aircheck broadcast --fast` of {length}, {'kept' if form == 'ogg' else 'encoded'}"
    times, of_all = seconds / sent_s, seconds / published_s
    return [
        at_least(f"{what}: all on the disk, times real time", times, TIMES_REAL_TIME, "", f" ({sent_s:.0f} s)"),
        of(f"{what}: its episode, times real time", of_all, "", f" ({published_s:.0f} s)"),
    ]


async def _sent(running: pipeline.Pipeline, desk: Desk) -> EventId:
    """Wait until the shell's broadcast is over, and return its event."""

    async def begun() -> Studio | None:
        async with running.store.read() as db:
            found = await studios.of(db, desk.room.room_id, SPEAKER)
        return next(
            (studio for studio in found if studio.source is StudioSource.SHELL and studio.state.is_on_air), None
        )

    async def over() -> bool | None:
        async with running.store.read() as db:
            now = await studios.get(db, studio.id)
        return True if now is not None and now.state is StudioState.OVER else None

    studio = await running.until(begun)
    await running.until(over)
    return started_id(studio)


def _write_sound(file: Path, seconds: float) -> None:
    """Write the shipped speech, over and over, as Ogg Opus, or as what the file's name says."""
    run = Slicer(1, seconds)
    run.feed(list(islice(cycle(chain(speech(1), speech(2))), round(seconds * SAMPLE_RATE / PACKET))))
    run.end()
    ogg = file.with_suffix(".ogg")
    ogg.write_bytes(run.ogg())
    if ogg != file:
        subprocess.run([Ffmpeg.find().exe, "-v", "error", "-i", str(ogg), str(file)], check=True)


# ---- all of it


def figures(benchmark: Benchmark) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(benchmark(Path(folder)))


def in_a_browser() -> list[Figure]:
    """Measure a real page, from its button on."""
    program = browser.find()
    if program is None:
        return [Figure("studio: from the button to the first live segment", "", "no browser here")]
    return figures(partial(studio_page.run, program))


BOTH: Sequence[Benchmark] = (cpu, at_once)
ONE: Sequence[Benchmark] = (partial(a_file, form="ogg"), partial(a_file, form="flac"))
