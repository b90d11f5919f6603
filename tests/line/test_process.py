"""`aircheck run` as a process: killed, stopped, and its log."""

import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import yaml

from bot.demo.people import Person
from bot.demo.slicing import speech
from tests.lab import PASSWORD, People
from tests.line.conftest import Worlds
from tests.line.world import (
    World,
    answers,
    assert_exact,
    go_live,
    newest_episode,
    open_broadcast,
    send,
    subscribed_broadcast,
    subscribed_room,
)

STOP_S = 5.0
STOPS = 3
START_S = 60.0
LOOK_S = 0.05
SPEECH = speech(1)[:1400]  # 28 s


class Process:
    """A process of `python -m bot run`, whose log is appended to a file."""

    def __init__(self, world: World, log: Path) -> None:
        self.world = world
        self.log = log
        self._config = log.with_suffix(".yaml")
        self._config.write_text(yaml.safe_dump(world.tree))
        self._child: asyncio.subprocess.Process | None = None

    async def launch(self) -> None:
        with self.log.open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bot", "run", "-c", str(self._config), stderr=log, stdout=log
            )

    async def start(self) -> None:
        """Wait until `/healthz` answers."""
        await self.launch()
        assert self._child is not None
        async with asyncio.timeout(START_S):
            while not await self._healthy():
                assert self._child.returncode is None, self.log.read_text()
                await asyncio.sleep(LOOK_S)

    async def _healthy(self) -> bool:
        try:
            return await answers(f"{self.world.web}/healthz") == 200
        except aiohttp.ClientError:
            return False

    async def end(self, number: signal.Signals) -> int:
        """Send a signal; give the exit code."""
        assert self._child is not None
        self._child.send_signal(number)
        return await self._child.wait()

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.returncode is None


@asynccontextmanager
async def process(world: World, log: Path) -> AsyncIterator[Process]:
    made = Process(world, log)
    await made.start()
    try:
        yield made
    finally:
        if made.running:
            await made.end(signal.SIGKILL)


async def recordings(world: World, log: Path) -> list[dict[str, object]]:
    """Run `aircheck recordings --json`."""
    config = log.with_suffix(".yaml")
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "recordings", "--json", "-c", str(config), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    assert child.returncode == 0
    found = json.loads(out)
    assert isinstance(found, list)
    return found


async def published(world: World, listener: Person) -> None:
    await listener.wait_for(lambda event: event.is_notice_of(world.user_id) and "is ready" in event.body, 60)


async def test_kill_9_in_the_middle_loses_nothing(world: Worlds, person: People, tmp_path: Path) -> None:
    """After a kill while chunks come and another at the end, the episode is whole and the room told once."""
    bot, alice = await world(), await person("alice")
    log = tmp_path / "log"
    async with process(bot, log) as running:
        speaker, feed, _ = await subscribed_broadcast(bot, alice, encrypted=True)
        pieces = speaker.cut(SPEECH)
        await send(speaker, pieces[:2])
        await running.end(signal.SIGKILL)
        await speaker.send_chunk(pieces[2])
        await running.start()
        await send(speaker, pieces[3:])
        await speaker.stop()
        await running.end(signal.SIGKILL)
        await running.start()
        await published(bot, alice)
        await assert_exact(await newest_episode(feed), speaker)
        (found,) = await recordings(bot, log)
        assert (found["state"], found["ended_by"]) == ("complete", "stopped")
        assert await running.end(signal.SIGTERM) == 0
    await alice.sync_once()
    told = [event for event in alice.received if event.is_notice_of(bot.user_id) and "is ready" in event.body]
    assert len({event.event_id for event in told}) == 1


async def stopped_within_s(running: Process) -> float:
    """Stop a bot as an operator does, which ends with 0; return the seconds that it took."""
    began = time.monotonic()
    async with asyncio.timeout(START_S):
        assert await running.end(signal.SIGTERM) == 0
    return time.monotonic() - began


async def test_a_stop_is_clean_and_in_time(world: Worlds, person: People, tmp_path: Path) -> None:
    """SIGTERM during a broadcast ends with 0 within five seconds, and leaves nothing unfinished."""
    bot, alice = await world(), await person("alice")
    async with process(bot, tmp_path / "log") as running:
        speaker = await open_broadcast(bot, alice, encrypted=True)
        await send(speaker, speaker.cut(SPEECH)[:2])
        stops_s = [await stopped_within_s(running)]
        while len(stops_s) < STOPS and min(stops_s) >= STOP_S:
            await running.start()
            stops_s.append(await stopped_within_s(running))
        assert min(stops_s) < STOP_S  # a busy machine may take longer at times
        assert not list((bot.directory / "tmp").glob("*.part"))


async def test_the_log_of_a_whole_run_tells_no_secret(world: Worlds, person: People, tmp_path: Path) -> None:
    """The log of a whole run at level debug holds no token, key, password, address or spoken word."""
    bot = await world(log={"level": "debug", "format": "json"})
    alice, bob = await person("alice"), await person("bob")
    log = tmp_path / "log"
    async with process(bot, log) as running:
        room, feed, page = await subscribed_room(bot, alice, encrypted=True, listener=bob)
        await alice.say(room, "the-secret-of-the-kitchen")
        await alice.say(room, "!aircheck the-secret-of-the-command")
        await alice.say(room, "!aircheck status")
        await alice.say(room, "!aircheck list")
        speaker = await go_live(alice, room)
        alice.keys.hold_back([bot.user_id])
        pieces = speaker.cut(SPEECH)
        await speaker.send_chunk(pieces[0])
        await alice.keys.release(room)
        await send(speaker, pieces[1:])
        await speaker.stop()
        await published(bot, bob)
        await newest_episode(feed)
        assert await answers(f"{page}nothing-here") == 404
        async with aiohttp.ClientSession() as http, http.get(page) as shown:
            assert shown.status == 200
        assert await running.end(signal.SIGTERM) == 0
    text = log.read_text()
    entries = [json.loads(line) for line in text.splitlines()]
    assert len(entries) > 20, "the run said next to nothing: the test shows nothing"
    session = json.loads((bot.directory / "matrix" / "session.json").read_text())
    token = feed.split("/p/")[1].split("/")[0]
    secrets = {
        "password": PASSWORD,
        "access token": session["access_token"],
        "personal token": token,
        "speech": "the-secret-of-the-kitchen",
        "command": "the-secret-of-the-command",
        "room name": "Kitchen Table",
        "key file": (bot.directory / "matrix" / "store.key").read_text().strip(),
    }
    found = [what for what, secret in secrets.items() if secret in text]
    assert found == []
    assert not re.search(r"syt_|Bearer |\"k\":|\"iv\":|mxc://\S+\?", text)
