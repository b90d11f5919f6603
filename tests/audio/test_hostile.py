"""Hostile files are refused by name or bounded, reach nothing, and cost little."""

import asyncio
import gc
import io
import multiprocessing
import os
import resource
import shutil
import stat
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bot.audio.child
import bot.audio.decode
from bot.audio.child import Child, running
from bot.audio.decode import decode_pieces
from bot.audio.ffmpeg import AGAIN, FIRST, Ffmpeg
from bot.audio.inspect import inspect_chunk
from bot.audio.limits import CHANGING_CPU_S, CHANGING_S, CHANGING_SHARE, DATA_BYTES, Limits
from bot.audio.ogg import STRETCH
from bot.audio.ogg_search import walk_pages
from bot.audio.opus import facts_of, walk_opus
from bot.audio.plan import Mismatch, Sound
from bot.audio.sniff import sniff
from bot.errors import GiveUp, LimitHit
from storage.records import Container, Samples
from tests.audio.hostile.cloaks import CLOAKS, playlists
from tests.audio.hostile.cuts import CUTS, FORMS
from tests.audio.hostile.kit import ATTACKS, Attack, Kit
from tests.audio.hostile.matroska import cluster, matroska
from tests.audio.hostile.ogg import LONG, opus
from tests.audio.hostile.riff import wav
from tests.audio.sounds import OPUS, WAV, Pcm, Studio, as_key, local, signal
from tests.world import find_ffmpeg

REASONS = {"empty", "not_audio", "truncated", "bad_checksum", "headers_missing", "too_long", "undecodable"}
BROADCAST_S = 21_600.0
RUNS = 6  # of ffmpeg, for one chunk that is looked into and then joined
CALLS = 10_000_000  # of Python's functions, ours and others'
SOUND_S = 1200.0  # that one run gives
MEMORY = 300_000_000
NOTE = 0.777  # the level that the canary hums at


@pytest.fixture
def ffmpeg() -> Ffmpeg:
    """An ffmpeg that runs each time that it is asked."""
    return Ffmpeg(find_ffmpeg().exe)


@dataclass
class Listener:
    port: int
    callers: int = 0


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    """Count the connections to a port."""
    found = Listener(0)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.callers += 1
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        found.port = server.sockets[0].getsockname()[1]
        yield found


@pytest.fixture
def kit(studio: Studio, listener: Listener, tmp_path: Path) -> Kit:
    """Return the targets of hostile files: audible sound beside the chunk's folder, and a port."""
    canary = studio.record("canary.wav", np.full(48_000, NOTE, np.float32), WAV)
    return Kit(studio, canary, listener.port)


@dataclass
class Result:
    reason: str = ""
    samples: int = 0
    hummed: bool = False
    hit_a_limit: bool = False


async def take(path: Path, ffmpeg: Ffmpeg, tries: tuple[bool, ...] = FIRST) -> Result:
    """Inspect a chunk, then decode it to the length that was found."""
    result = Result()
    try:
        facts = await inspect_chunk(path, ffmpeg, max_seconds=BROADCAST_S, tries=tries)
    except GiveUp as refused:
        result.reason, result.hit_a_limit = refused.reason, isinstance(refused, LimitHit)
        return result
    sound = Sound(as_key(path), facts.container, continues=False, samples=facts.samples)
    async with aclosing(decode_pieces([sound], local, ffmpeg, path.parent, report=lambda _: None)) as blocks:
        async for block in blocks:
            result.samples += len(block)
            result.hummed |= hums(block)
    assert result.samples == facts.samples
    return result


def hums(block: Pcm) -> bool:
    """Return whether the canary can be heard, at the level of either build's mixing."""
    near = np.abs(block[:, 0] - NOTE) < 0.002
    return bool(near.sum() > 1000)


def chunk_of(folder: Path, data: bytes) -> Path:
    own = folder / "own"
    own.mkdir(exist_ok=True)
    path = own / "chunk.m3u8"
    path.write_bytes(data)
    return path


@dataclass
class Run:
    """A child: the CPU time that it could use in the end, and the sound that it gave."""

    may_use_s: float = 0.0
    sound_s: float = 0.0

    @property
    def earned_s(self) -> float:
        """Return the CPU time that docs/operations.md allows: for opening, and for sound of one form or of several."""
        usual = 1 + 0.03 * self.sound_s
        return max(usual, CHANGING_CPU_S + CHANGING_SHARE * min(self.sound_s, CHANGING_S))


@dataclass
class Weighed:
    """The cost of a chunk in a process that did nothing else. No time is measured: other work on the machine adds to
    it."""

    result: Result
    runs: list[Run]
    calls: int
    own_bytes: int  # at most; with the interpreter and what it imported
    child_bytes: int  # of the largest child, at most; never less than of its parent when it was started


def weigh(path: Path, exe: str) -> Weighed:
    """Take a chunk in a process of its own, so that its patches stay there. A limit is not followed by another try."""
    vars(bot.audio.decode)["BOTH"] = FIRST
    gc.disable()  # CPython 3.11's collector can crash over frames that a profile function has seen
    runs, calls = watch_children(), count_calls()
    result = asyncio.run(take(path, Ffmpeg(exe)))
    sys.setprofile(None)
    own, children = (
        resource.getrusage(who).ru_maxrss << 10 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return Weighed(result, list(runs.values()), sum(calls), own, children)


def watch_children() -> dict[int, Run]:
    """Record the limits of children by process. One whose limit was never set may use all the time that there is."""
    runs: dict[int, Run] = {}
    spawn, prlimit, earn = asyncio.create_subprocess_exec, resource.prlimit, Child.earn

    async def spawned(*command: Any, **more: Any) -> asyncio.subprocess.Process:
        process = await spawn(*command, **more)
        runs[process.pid] = Run(may_use_s=float("inf"))
        return process

    def limited(pid: int, kind: int, *values: Any) -> tuple[int, int]:
        if kind == resource.RLIMIT_CPU and values:
            runs[pid].may_use_s = values[0][0]
        try:
            return prlimit(pid, kind, *values)
        except ProcessLookupError:  # it is over already
            runs[pid].may_use_s = 0.0
            raise

    def earned(child: Child, seconds: float) -> None:
        runs[child._process.pid].sound_s = seconds
        earn(child, seconds)

    asyncio.create_subprocess_exec = spawned
    resource.prlimit = limited
    Child.earn = earned  # type: ignore[method-assign, assignment]
    return runs


def count_calls() -> list[int]:
    """Count the calls of each thread."""
    counts: list[int] = []

    def begin(*_: object) -> None:
        mine = len(counts)
        counts.append(0)

        def count(*_: object) -> None:
            counts[mine] += 1

        sys.setprofile(count)

    threading.setprofile(begin)
    begin()
    return counts


@pytest.fixture(scope="module")
def scales() -> Iterator[Executor]:
    """Give each file a new small process, so that only its own memory is measured."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        yield pool


@pytest.mark.parametrize("name", ATTACKS)
async def test_attack(
    name: str, kit: Kit, ffmpeg: Ffmpeg, listener: Listener, scales: Executor, tmp_path: Path
) -> None:
    """A hostile file has the expected outcome with few, limited runs of ffmpeg, little work of ours and 300 MB a
    process, and reaches nothing."""
    attack: Attack = ATTACKS[name]
    path = chunk_of(tmp_path, attack.make(kit))
    loop = asyncio.get_running_loop()
    weighed = await loop.run_in_executor(scales, weigh, path, ffmpeg.exe)
    result, outcomes = weighed.result, attack.outcomes or {""}
    if result.hit_a_limit and result.reason not in outcomes:  # as on a busy machine
        result = await take(path, ffmpeg, AGAIN)
    assert result.reason in outcomes
    assert len(weighed.runs) <= RUNS
    assert [run for run in weighed.runs if run.may_use_s > run.earned_s or run.sound_s > SOUND_S] == []
    assert weighed.calls <= CALLS
    assert weighed.own_bytes <= MEMORY
    assert weighed.child_bytes <= MEMORY
    assert not weighed.result.hummed
    assert not result.hummed
    assert listener.callers == 0
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("cloak", CLOAKS)
async def test_playlist(cloak: str, kit: Kit, ffmpeg: Ffmpeg, listener: Listener, tmp_path: Path) -> None:
    """A playlist or manifest is no sound in any wrapping, and nothing that it names is opened."""
    for name, text in playlists(kit).items():
        result = await take(chunk_of(tmp_path, CLOAKS[cloak](text)), ffmpeg)
        assert result.reason in REASONS | {""}, name
        assert result.reason or cloak not in {"bare", "ogg_magic", "mp4", "caf", "flac", "matroska"}, name
        assert not result.hummed, name
    assert listener.callers == 0


async def test_time_stamps_that_jump(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Packets with jumping time stamps are as much sound as packets, in the count and in the joined sound."""
    path = chunk_of(tmp_path, matroska(*(cluster(number * 10_000, LONG) for number in range(10))))
    facts = await inspect_chunk(path, ffmpeg, max_seconds=BROADCAST_S)
    assert facts.samples == 10 * 5760 - 3840
    sound, wrong = Sound(as_key(path), facts.container, continues=False, samples=facts.samples), list[Mismatch]()
    async with aclosing(decode_pieces([sound], local, ffmpeg, path.parent, report=wrong.append)) as blocks:
        assert sum([len(block) async for block in blocks]) == facts.samples
    assert wrong == []


async def test_packets_that_no_decoder_takes(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Packets that no decoder takes are counted as lost, and cost no sound around them."""
    bad = bytes([31 << 3 | 2, 200, 1])  # two frames of 20 ms, the first longer than both
    data = opus([*[bytes([31 << 3, 1, 2])] * 100, bad, bad, *[bytes([31 << 3, 1, 2])] * 100])
    path = chunk_of(tmp_path, data)
    facts = await inspect_chunk(path, ffmpeg, max_seconds=BROADCAST_S)
    sound, wrong = Sound(as_key(path), facts.container, continues=False, samples=facts.samples), list[Mismatch]()
    async with aclosing(decode_pieces([sound], local, ffmpeg, path.parent, report=wrong.append)) as blocks:
        assert sum([len(block) async for block in blocks]) == facts.samples
    assert wrong == [Mismatch(0, facts.samples, Samples(facts.samples - 2 * 1920))]


def test_pages_are_walked_in_stretches() -> None:
    """Pages are read in stretches, so that others get a turn, with the same result."""
    data = opus([LONG] * (5 * STRETCH // 2), per_page=1)
    walk = walk_opus(io.BytesIO(data), max_samples=1 << 40)
    assert [next(walk), next(walk)] == [None, None]
    with pytest.raises(StopIteration) as end:
        next(walk)
    assert facts_of(end.value.value).samples == 5 * STRETCH // 2 * 5760 - 3840
    assert len(list(walk_pages(io.BytesIO(data)))) == 2


async def test_hours_are_counted_to_the_end(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A file with more sound than others can wait for is counted to its end."""
    path = chunk_of(tmp_path, wav(8, 1, 8000, bytes(8000 * 1000)))
    facts = await inspect_chunk(path, ffmpeg, max_seconds=BROADCAST_S)
    assert facts.samples == 1000 * 48_000
    with pytest.raises(GiveUp) as refused:
        await inspect_chunk(path, ffmpeg, max_seconds=950)
    assert refused.value.reason == "too_long"


@pytest.mark.parametrize("form", [*FORMS, "opus"])
async def test_cut_anywhere(form: str, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A file that ends anywhere is refused by name, or has no more sound than the whole."""
    data = studio.record("whole", signal(24_001), (FORMS | {"opus": OPUS})[form]).read_bytes()
    for cut in CUTS:
        result = await take(chunk_of(tmp_path, data[:cut]), ffmpeg)
        assert result.reason in REASONS | {""}
        assert result.samples <= 24_001 + 3200, cut


async def test_the_canary_can_be_heard(kit: Kit, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """The canary, sent as a chunk, is noticed: the test can hear it."""
    assert (await take(chunk_of(tmp_path, kit.canary.read_bytes()), ffmpeg)).hummed


async def test_memory_is_limited_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is limited even when the limits from outside come late."""
    monkeypatch.setattr(bot.audio.child, "limit", lambda _pid, _limits: None)
    limits = Limits(cpu_s=1, wait_s=60)
    said = b""
    async with running(["/bin/sh", "-c", "ulimit -d; ulimit -v"], limits) as child:
        while block := await child.read():
            said += block
    assert [int(kib) << 10 for kib in said.split()] == [DATA_BYTES, limits.memory_bytes]


async def test_what_is_opened(kit: Kit, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A decoder opens the chunk and no other file of ours, and no socket (by strace, where it is installed)."""
    tracer = shutil.which("strace")
    for name in ("mp4_with_outside_data", "subtitles_with_outside_names"):
        path = chunk_of(tmp_path, ATTACKS[name].make(kit))
        if tracer is None:
            assert not (await take(path, ffmpeg)).hummed
            continue
        pipe = tmp_path / name
        os.mkfifo(pipe)  # children may write no file
        reading = asyncio.create_task(asyncio.to_thread(pipe.read_text))
        script = tmp_path / f"{name}.sh"
        watch = f"{tracer} -f -qq -s 4096 -o {pipe} -e trace=open,openat,connect,socket"
        script.write_text(f'#!/bin/sh\nexec {watch} {ffmpeg.exe} "$@"\n')
        script.chmod(stat.S_IRWXU)
        async with aclosing(Ffmpeg(str(script)).decode(path, sniffed(path), max_seconds=5)) as blocks:
            with suppress(GiveUp):
                async for block in blocks:
                    assert block
        calls = await reading
        assert str(path) in calls
        assert str(kit.canary) not in calls
        assert "socket(" not in calls
        assert "connect(" not in calls


def sniffed(path: Path) -> Container:
    with path.open("rb") as file:
        return sniff(file)
