"""A soak from its first room to its verdict; `benchmarks.soak` is its command."""

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.soaking.checking import compare_episode
from benchmarks.soaking.crowd import Gate, Speaker, Truth
from benchmarks.soaking.faults import WEATHER, Fault, Trouble, plan
from benchmarks.soaking.faulty_proxy import FaultyProxy
from benchmarks.soaking.process import BotProcess
from benchmarks.soaking.verdict import Verdict, finish_seconds, judge, judge_notices, told_too_early
from benchmarks.soaking.ways import EVERYWHERE, Way
from bot.demo.people import Person
from bot.demo.synapse import Homeserver, free_port

MIB = 1024 * 1024
PASSWORD = "correct horse"
SETTLING = 6  # rooms that are opened at once
VERIFYING = 2  # episodes that are compared at once
WATCH_S = 0.1
WEATHER_AT_MOST_S = 20.0

FAULTS: Mapping[Fault, int] = {
    Fault.KILL: 4,
    Fault.RESTART: 1,
    Fault.CRASH: 1,
    Fault.LIMITED: 2,
    Fault.BROKEN: 2,
    Fault.HANGING: 1,
    Fault.CUT: 2,
    Fault.LOST: 2,
}
AT_THE_END: Mapping[Fault, int] = {Fault.KILL: 2, Fault.CUT: 1}


@dataclass(frozen=True)
class Shape:
    """The size of a soak. `faults` come while people speak, those `at_the_end` within `ending_s` after it."""

    rooms: int = 100
    encrypted: int = 30
    chunks: int = 16  # of 5.6 s each, the last one shorter
    pace: float = 1.0
    faults: Mapping[Fault, int] = field(default_factory=lambda: FAULTS)
    at_the_end: Mapping[Fault, int] = field(default_factory=lambda: AT_THE_END)
    ending_s: float = 30.0
    quiet_period_s: int = 15
    abandoned_after_s: int = 120
    patience_s: float = 1800.0  # for the last episode, after the last fault
    look_s: float = 10.0
    seed: int = 20261121

    @property
    def speaking_s(self) -> float:
        return self.chunks * 5.6 / self.pace

    def way(self, number: int) -> Way:
        """Choose how a room's broadcast goes: all ways in turn, and late keys in every fifth encrypted room."""
        if number < self.encrypted and number % 5 == 4:
            return Way.LATE_KEY
        return EVERYWHERE[number % len(EVERYWHERE)]


@dataclass
class Outcome:
    verdict: Verdict
    finish_s: list[float]
    told_too_early: int
    bot: BotProcess
    injected: Counter[Fault]
    met: Counter[Fault]
    behind_s: float
    exit_code: int


class Soak:
    """A run on one homeserver, with all files of the bot in one folder."""

    def __init__(self, homeserver: Homeserver, directory: Path, shape: Shape) -> None:
        self.shape = shape
        self.homeserver = homeserver
        self.bot_id = ""
        self.web = ""
        self.directory = directory
        self.proxy = FaultyProxy(homeserver.address)
        self.gate = Gate()
        self.chance = random.Random(shape.seed)
        self.speakers: list[Speaker] = []
        self.injected: Counter[Fault] = Counter()
        self.quiet_from = 0.0
        self._began = time.monotonic()

    async def run(self) -> Outcome:
        await asyncio.to_thread(self.directory.mkdir, parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            await self.proxy.start()
            stack.push_async_callback(self.proxy.stop)
            bot = await self._bot()
            stack.push_async_callback(bot.close)
            await bot.start()
            self._say("the bot is there")
            await self._settle(stack)
            self._say(f"{len(self.speakers)} rooms are open")
            speaking = asyncio.ensure_future(self._broadcast())
            trouble = self._trouble(bot, self.shape.speaking_s, self.shape.faults, lambda: self._said_s(speaking))
            await asyncio.gather(speaking, trouble)
            ended = time.monotonic()
            await self._trouble(bot, self.shape.ending_s, self.shape.at_the_end, lambda: time.monotonic() - ended)
            self._say("all was said and done")
            recordings = await self._until_settled(bot)
            verdict = judge(self.truths, recordings)
            finish = self._finish_times(recordings)
            self._say(f"the archive is as it is: {len(verdict.problems)} problems")
            await self._compare_episodes(verdict)
            exit_code = await bot.end(signal.SIGTERM)
            too_early = await self._judge_notices(verdict)
            self._say(f"compared: {len(verdict.problems)} problems")
            behind = max(truth.behind_s for truth in self.truths)
            return Outcome(verdict, finish, too_early, bot, self.injected, self.proxy.met, behind, exit_code)

    @property
    def truths(self) -> list[Truth]:
        return [speaker.truth for speaker in self.speakers]

    def _say(self, what: str) -> None:
        print(f"[{time.monotonic() - self._began:5.0f} s] {what}", file=sys.stderr, flush=True)

    # ---- before

    async def _bot(self) -> BotProcess:
        user_id = await self.homeserver.register(f"soak-bot-{os.getpid()}", PASSWORD)
        port = free_port()
        self.web = f"http://127.0.0.1:{port}"
        self.bot_id = user_id
        tree = {
            "matrix": {"homeserver": self.proxy.address, "user_id": user_id, "password": PASSWORD},
            "storage": {"directory": str(self.directory / "data"), "min_free_bytes": 64 * MIB},
            "web": {"host": "127.0.0.1", "port": port},
            "recording": {
                "quiet_period_s": self.shape.quiet_period_s,
                "abandoned_after_s": self.shape.abandoned_after_s,
            },
            "feeds": {"hold_incomplete_s": 0},
        }
        return BotProcess(tree, self.directory)

    async def _settle(self, stack: AsyncExitStack) -> None:
        """Set up rooms, a few at a time: a homeserver has one thread."""
        narrow = asyncio.Semaphore(SETTLING)

        async def settle(number: int) -> Speaker:
            async with narrow:
                user_id = await self.homeserver.register(f"soak{number}-{os.getpid()}", PASSWORD)
                person = await Person.log_in(
                    self.homeserver.address, user_id, PASSWORD, self.directory / "people" / str(number)
                )
                stack.push_async_callback(person.close)
                encrypted = number < self.shape.encrypted
                way = self.shape.way(number)
                return await Speaker.settle(person, self.bot_id, self.web, way, self.gate, encrypted=encrypted)

        self.speakers = await asyncio.gather(*map(settle, range(self.shape.rooms)))

    # ---- while it lasts

    async def _broadcast(self) -> None:
        async def speak(speaker: Speaker, chance: random.Random) -> None:
            await asyncio.sleep(chance.uniform(0, 5.6) / self.shape.pace)
            await speaker.broadcast(self.shape.chunks, self.shape.pace, chance)

        chances = [random.Random(self.chance.random()) for _ in self.speakers]
        await asyncio.gather(*map(speak, self.speakers, chances))
        self._say("all have spoken")

    def _said_s(self, speaking: asyncio.Future[None]) -> float:
        """Return how far the broadcasts are, in seconds of speech sent: on a slow machine they take longer."""
        sent = sum(len(truth.sent) for truth in self.truths)
        share = sent / (self.shape.rooms * self.shape.chunks)
        return self.shape.speaking_s * (1.0 if speaking.done() else share)

    async def _trouble(
        self, bot: BotProcess, seconds: float, faults: Mapping[Fault, int], passed_s: Callable[[], float]
    ) -> None:
        for trouble in plan(self.shape.seed, seconds, faults):
            await _until(partial(_is_time, trouble, passed_s))
            self._say(f"fault: {trouble.fault}")
            await self._inject(trouble, bot)
            self.injected[trouble.fault] += 1
            self.quiet_from = time.time()

    async def _inject(self, trouble: Trouble, bot: BotProcess) -> None:
        match trouble.fault:
            case Fault.KILL:
                await bot.end(signal.SIGKILL)
                await bot.start()
            case Fault.RESTART:
                async with self.gate.closed():
                    await self.homeserver.restart()
            case Fault.CRASH:
                async with self.gate.closed():
                    await self.homeserver.kill()
                    await self.homeserver.restart()
            case weather:
                assert weather in WEATHER
                before = self.proxy.met[weather]
                self.proxy.fault = weather
                await asyncio.sleep(trouble.for_s)
                with suppress(TimeoutError):  # the fault may hit no request
                    async with asyncio.timeout(WEATHER_AT_MOST_S):
                        await _until(lambda: self.proxy.met[weather] > before)
                self.proxy.fault = None

    # ---- after it

    async def _until_settled(self, bot: BotProcess) -> list[dict[str, Any]]:
        """Wait until the archive is right, all is announced and nothing changes, or until patience ends."""
        last = time.monotonic() + self.shape.patience_s
        before: list[dict[str, Any]] = []
        while True:
            recordings = await bot.recordings()
            verdict = judge(self.truths, recordings)
            if verdict.good:
                await self._judge_notices(verdict)
            calm = verdict.good and recordings == before
            if calm or time.monotonic() > last:
                return recordings
            self._say(f"not yet as it should be: {len(verdict.problems)}")
            before = recordings
            await asyncio.sleep(self.shape.look_s)

    async def _judge_notices(self, verdict: Verdict) -> int:
        """Judge the notices; return how many announcements came too early."""
        too_early = 0
        for speaker in self.speakers:
            notices = await speaker.notices()
            judge_notices(verdict, speaker.truth, notices)
            too_early += told_too_early(speaker.truth, notices)
        return too_early

    def _finish_times(self, recordings: Sequence[Mapping[str, Any]]) -> list[float]:
        """Return when episodes were finished. The file's own time counts too: a healed episode was published before."""
        made: dict[str, float] = {}
        for recording in recordings:
            episode = recording["episode"]
            if episode is not None and episode["published_at"] is not None:
                file = self.directory / "data" / episode["path"]
                published = datetime.fromisoformat(episode["published_at"]).timestamp()
                made[recording["id"]] = max(published, file.stat().st_mtime if file.exists() else 0.0)
        found = [(truth, made.get(truth.broadcast_id)) for truth in self.truths]
        return [finish_seconds(truth, self.quiet_from, at) for truth, at in found if at is not None]

    async def _compare_episodes(self, verdict: Verdict) -> None:
        narrow = asyncio.Semaphore(VERIFYING)

        async def compare(truth: Truth) -> str | None:
            async with narrow:
                return await compare_episode(truth)

        for problem in await asyncio.gather(*map(compare, self.truths)):
            if problem is not None:
                verdict.wrong_episodes += 1
                verdict.problems.append(problem)


def _is_time(trouble: Trouble, passed_s: Callable[[], float]) -> bool:
    return passed_s() >= trouble.at_s


async def _until(done: Callable[[], bool]) -> None:
    """Wait until this is true."""
    while not done():  # noqa: ASYNC110  others write plain data
        await asyncio.sleep(WATCH_S)
