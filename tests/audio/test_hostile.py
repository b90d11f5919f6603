"""Hostile files are refused by name or bounded, reach nothing, and cost little."""

import asyncio
import os
import resource
import shutil
import stat
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bot.audio.containers import sniff
from bot.audio.decode import pcm
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.inspect import inspect_chunk
from bot.audio.plan import Sound
from bot.errors import GiveUp
from storage.records import Container
from tests.audio.hostile import ATTACKS, CLOAKS, CUTS, FORMS, Attack, Kit, playlists
from tests.audio.sounds import OPUS, WAV, Pcm, Studio, signal

REASONS = {"empty", "not_audio", "truncated", "bad_checksum", "headers_missing", "too_long", "undecodable"}
BROADCAST_S = 21_600.0
CPU_S = 3.0
MEMORY = 300 << 20
NOTE = 0.777  # the level that the canary hums at


@dataclass
class Listener:
    port: int
    callers: int = 0


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    """Counts who comes."""
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
    """What files want to reach lies beside the folder of the chunk, and is sound that would be heard."""
    canary = studio.record("canary.wav", np.full(48_000, NOTE, np.float32), WAV)
    return Kit(studio, canary, listener.port)


@dataclass
class Result:
    reason: str = ""
    samples: int = 0
    hummed: bool = False


async def take(path: Path, ffmpeg: Ffmpeg, announced_ms: int | None) -> Result:
    """What happens to a chunk on its way: looked into, then decoded in the length that it was found to have."""
    result = Result()
    try:
        facts = await inspect_chunk(path, ffmpeg, announced_ms=announced_ms, max_seconds=BROADCAST_S)
    except GiveUp as refused:
        result.reason = refused.reason
        return result
    sound = Sound(path, facts.container, continues=False, samples=facts.samples)
    async with aclosing(pcm([sound], ffmpeg, path.parent, report=lambda _: None)) as blocks:
        async for block in blocks:
            result.samples += len(block)
            result.hummed |= hums(block)
    assert result.samples == facts.samples
    return result


def hums(block: Pcm) -> bool:
    """Whether the canary is heard, at the level of either build's mixing."""
    near = np.abs(block[:, 0] - NOTE) < 0.002
    return bool(near.sum() > 1000)


def chunk_of(folder: Path, data: bytes) -> Path:
    own = folder / "own"
    own.mkdir(exist_ok=True)
    path = own / "chunk.m3u8"
    path.write_bytes(data)
    return path


def cpu() -> float:
    """Seconds that this process and its ended children have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def forget_the_highest_mark() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def memory(name: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("name", ATTACKS)
async def test_attack(name: str, kit: Kit, ffmpeg: Ffmpeg, listener: Listener, tmp_path: Path) -> None:
    """It ends as expected within three seconds of CPU and 300 MB, nobody is called, and no other file is heard."""
    attack: Attack = ATTACKS[name]
    path = chunk_of(tmp_path, attack.make(kit))
    forget_the_highest_mark()
    held, before = memory("VmRSS"), cpu()
    result = await take(path, ffmpeg, attack.announced_ms)
    used, grown = cpu() - before, memory("VmHWM") - held
    assert result.reason in (attack.outcomes or {""})
    assert used <= CPU_S
    assert grown <= MEMORY
    assert not result.hummed
    assert listener.callers == 0
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("cloak", CLOAKS)
async def test_playlist(cloak: str, kit: Kit, ffmpeg: Ffmpeg, listener: Listener, tmp_path: Path) -> None:
    """A playlist or manifest is no sound, whatever it is wrapped in: nothing that it names is opened."""
    for name, text in playlists(kit).items():
        result = await take(chunk_of(tmp_path, CLOAKS[cloak](text)), ffmpeg, 5000)
        assert result.reason in REASONS | {""}, name
        assert result.reason or cloak not in {"bare", "ogg_magic", "mp4", "caf", "flac", "matroska"}, name
        assert not result.hummed, name
    assert listener.callers == 0


@pytest.mark.parametrize("form", [*FORMS, "opus"])
async def test_cut_anywhere(form: str, studio: Studio, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A file that ends anywhere is refused by name, or has no more sound than the whole."""
    data = studio.record("whole", signal(24_001), (FORMS | {"opus": OPUS})[form]).read_bytes()
    for cut in CUTS:
        result = await take(chunk_of(tmp_path, data[:cut]), ffmpeg, 500)
        assert result.reason in REASONS | {""}
        assert result.samples <= 24_001 + 3200, cut


async def test_the_canary_can_be_heard(kit: Kit, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """The test's own ear works: the canary sent as a chunk is noticed."""
    assert (await take(chunk_of(tmp_path, kit.canary.read_bytes()), ffmpeg, 1000)).hummed


async def test_what_is_opened(kit: Kit, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Seen from the kernel, where strace is there: a decoder opens the chunk and nothing else of ours, and asks for
    no socket. Elsewhere the canary stands for it."""
    tracer = shutil.which("strace")
    for name in ("mp4_with_outside_data", "subtitles_with_outside_names"):
        path = chunk_of(tmp_path, ATTACKS[name].make(kit))
        if tracer is None:
            assert not (await take(path, ffmpeg, 5000)).hummed
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
