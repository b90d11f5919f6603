"""The media of calls: places and losses of what is received, and what a leg costs. The callers are another process."""

import asyncio
import multiprocessing
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from benchmarks.figures import Figure, at_most
from benchmarks.finishing import Turns
from benchmarks.usage import memory_of
from bot import memory
from bot.calls.media.door import Leg, OpusPacket
from bot.calls.media.rtc import RtcMedia
from bot.demo.slicing import speech
from storage.records import SAMPLE_RATE, Samples
from tests.calls.peers import PACKET, Ear, Peer, places

PLACE_MS = 2.0
WINDOW_S = 3
CPU_SHARE = 1.5  # % of a core, for each leg
SETTLED_S = 3.0
MOST_LEGS = 32


@dataclass
class Course:
    """A call: what was heard of each caller, when each began, and what it cost."""

    heard: list[list[OpusPacket]] = field(default_factory=list)
    began: list[float] = field(default_factory=list)  # on the clock of the call, in seconds
    cpu_share: float = 0.0  # % of a core for each leg
    connecting_turn_s: float = 0.0
    mib: tuple[float, float] = (0.0, 0.0)  # settled, and at the end


async def _play(pipe: Connection, losses: Sequence[float], seconds: float) -> None:
    peers = [Peer(speech(1) * (int(seconds) // 20 + 2)) for _ in losses]
    for peer, loss in zip(peers, losses, strict=True):
        peer.line.loss = loss
        pipe.send(await peer.offer())
        await peer.accept(await asyncio.to_thread(pipe.recv))
    await asyncio.to_thread(pipe.recv)
    pipe.send([peer.talker.began for peer in peers])
    for peer in peers:
        await peer.close()


def _callers(pipe: Connection, losses: Sequence[float], seconds: float) -> None:
    asyncio.run(_play(pipe, losses, seconds))


async def call(losses: Sequence[float], seconds: int, *, keep: bool = True) -> Course:
    """Let so many callers speak at once, over lines with these losses. `keep`: what is heard stays in memory."""
    course, ours = Course(), multiprocessing.get_context("spawn")
    pipe, theirs = ours.Pipe()
    process = ours.Process(target=_callers, args=(theirs, losses, seconds))
    process.start()
    media, began = RtcMedia(private=True), time.monotonic()
    memory.keep_what_is_there()  # as `aircheck run` does
    legs: list[tuple[Leg, Ear]] = []
    turns = Turns()
    watching = asyncio.ensure_future(turns.watch())
    for _ in losses:
        ear = Ear()
        leg: Leg = media.leg(ear, lambda: Samples(int((time.monotonic() - began) * SAMPLE_RATE)), ())
        pipe.send((await leg.answer(await asyncio.to_thread(pipe.recv))).sdp)
        legs.append((leg, ear))
    for _, ear in legs:
        await ear.hears(5)
    watching.cancel()
    course.connecting_turn_s = turns.longest_s
    await asyncio.sleep(SETTLED_S)
    settled, cpu = memory_of("self", "VmRSS"), _cpu_s()
    for _ in range(seconds):
        await asyncio.sleep(1)
        if not keep:
            for _, ear in legs:
                ear.sounds.clear()
    course.cpu_share = 100 * (_cpu_s() - cpu) / seconds / len(legs)
    course.mib = settled, memory_of("self", "VmRSS")
    pipe.send("enough")
    course.began = [at - began for at in await asyncio.to_thread(pipe.recv)]
    for leg, ear in legs:
        await leg.close()
        course.heard.append(ear.sounds)
    await media.close()
    await asyncio.to_thread(process.join)
    return course


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def errors_ms(heard: Sequence[OpusPacket], began: float) -> list[float]:
    """Return by how much each 3 s of a source lie later on the clock of the call than they were spoken."""
    windows = defaultdict(list)
    for source, at in places(heard):
        windows[source // (WINDOW_S * SAMPLE_RATE)].append(1000 * (at - source - began * SAMPLE_RATE) / SAMPLE_RATE)
    return [statistics.median(errors) for errors in windows.values()]


def silence(heard: Sequence[OpusPacket]) -> float:
    """Return the share of silence in what was received, in %."""
    return 100 * (1 - sum(packet.samples for packet in heard) / (heard[-1].at + PACKET - heard[0].at))


def figures() -> list[Figure]:
    """Measure the media of calls."""
    one, eight = asyncio.run(call([0.0], 15)), asyncio.run(call([0.0] * 8, 20))
    most, lossy = asyncio.run(call([0.0] * MOST_LEGS, 60, keep=False)), asyncio.run(call([0.01, 0.05, 0.2], 40))
    errors = [errors_ms(heard, began) for heard, began in zip(eight.heard, eight.began, strict=True)]
    drift = max(abs(error - statistics.median(each)) for each in errors for error in each)
    delays = [statistics.median(each) for each in errors]
    found = [
        at_most("a stem's place against its source in every 3 s, 8 callers", drift, PLACE_MS, "ms"),
        Figure("a stem's delay: from speaking to its place", "", f"{min(delays):.1f} to {max(delays):.1f} ms"),
        at_most("lag between two of 8 stems", max(delays) - min(delays), PLACE_MS, "ms"),
    ]
    for loss, heard in zip((1, 5, 20), lossy.heard, strict=True):
        found.append(at_most(f"silence where {loss} % of the packets are lost", silence(heard), 1.5 * loss, "%"))
    for legs, course in ((1, one), (8, eight), (MOST_LEGS, most)):
        what = f"CPU of a leg, {legs} at once (without writing stems)"
        found.append(at_most(what, course.cpu_share, CPU_SHARE, "% of a core"))
    found.append(Figure("legs that fill a core", "", f"{100 / most.cpu_share:.0f}"))
    longest_ms = 1000 * max(one.connecting_turn_s, eight.connecting_turn_s, most.connecting_turn_s)
    found.append(at_most("longest turn of the event loop while legs connect, CPU", longest_ms, 10, "ms"))
    shown = f"{most.mib[0]:.0f} MiB, {most.mib[1] - most.mib[0]:+.1f} MiB after another minute"
    return [*found, Figure(f"memory with {MOST_LEGS} legs", "constant", shown)]
