"""The bot's own entry in a call: written, kept fresh, removed, also by the homeserver when the bot has died."""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

import pytest

from bot.calls.model import Call, Device
from bot.calls.showing import REMOVED_AFTER_S, Showing
from bot.calls.wire import msc3401_state
from bot.errors import GiveUp, TryLater
from bot.event_types import CALL_MEMBER, CALL_STATE
from storage import rooms
from storage.records import CallProtocol, EventId, Json, Position, StateEvent
from tests.world import BOT, ROOM, World

MSC3401, MXVC = CallProtocol.MSC3401, CallProtocol.MXVC
DEVICES = {MSC3401: Device(BOT, "BOTDEV", "session"), MXVC: Device(BOT, "bot [REC]")}
CALL, CHANNEL = Call(MSC3401, "conf", None, ()), Call(MXVC, "", None, ())


@dataclass
class Scheduled:
    key: str
    content: Json
    restarts: int = 0


class Homeserver:
    """The state of a room, which `sync` brings to the store; what is scheduled; and the pauses of the bot."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.current: dict[tuple[str, str], Json] = {}
        self.writes: list[Json] = []
        self.delayed: dict[str, Scheduled] = {}
        self.fails: Exception | None = None
        self.longest = 86_400_000
        self.pauses: asyncio.Queue[tuple[float, asyncio.Event]] = asyncio.Queue()
        self._numbers = 0
        self.listings = 0
        self.lost: list[bool] = []
        self.begin()

    def begin(self) -> None:
        """Begin a process of the bot: what it wrote, and what it scheduled, stays."""
        device = DEVICES.__getitem__
        here = cast("Any", self)
        self.showing = Showing(self.world.store, here, here, device, self.world.clock, self._pause)

    async def _pause(self, seconds: float) -> None:
        over = asyncio.Event()
        self.pauses.put_nowait((seconds, over))
        await over.wait()

    async def pass_pause(self) -> float:
        """Let the pause of the one entry that is kept pass, and wait for the next one. Give its length."""
        seconds, over = await self.pauses.get()
        self.world.clock.pass_by(seconds)
        over.set()
        async with asyncio.timeout(10):
            while self.pauses.empty():  # noqa: ASYNC110 (the fresh entry's next pause)
                await asyncio.sleep(0)
        return seconds

    async def pass_last_pause(self) -> None:
        """Let the pause pass after which the entry is kept no more."""
        seconds, over = await self.pauses.get()
        self.world.clock.pass_by(seconds)
        over.set()
        async with asyncio.timeout(10):
            while not self.lost:  # noqa: ASYNC110 (told by the task that keeps the entry)
                await asyncio.sleep(0)

    async def sync(self) -> None:
        async with self.world.store.write() as db:
            for (kind, key), content in self.current.items():
                position = Position(self._numbers)
                await rooms.save_state(
                    db, StateEvent(ROOM, kind, key, BOT, content, position, EventId(f"${kind}{key}{content}"))
                )

    # ---- as the bot's session sees it

    async def set_state(self, _: object, kind: str, content: Json, *, key: str = "") -> EventId:
        self._check()
        self.current[kind, key] = content
        self.writes.append(content)
        return EventId(f"${kind}{key}{content}")

    async def longest_ms(self) -> int:
        return self.longest

    async def schedule(self, _: object, kind: str, content: Json, delay_ms: int, *, key: str = "") -> str | None:
        self._check()
        assert (kind, delay_ms) == (CALL_MEMBER, REMOVED_AFTER_S * 1000)
        self._numbers += 1
        self.delayed[f"d{self._numbers}"] = Scheduled(key, content)
        return f"d{self._numbers}"

    async def restart(self, delay_id: str) -> bool:
        self._check()
        if delay_id in self.delayed:
            self.delayed[delay_id].restarts += 1
        return delay_id in self.delayed

    async def cancel(self, delay_id: str) -> None:
        self._check()
        self.delayed.pop(delay_id, None)

    async def scheduled(self, _: object, kinds: set[str]) -> list[str]:
        self._check()
        self.listings += 1
        return list(self.delayed) if kinds == {CALL_MEMBER} else []

    def fire(self) -> None:
        """Send what is scheduled, as after the bot has died."""
        for event in self.delayed.values():
            self.current[CALL_MEMBER, event.key] = event.content
        self.delayed.clear()

    def _check(self) -> None:
        if self.fails is not None:
            raise self.fails


@pytest.fixture
def homeserver(world: World) -> Homeserver:
    return Homeserver(world)


def entry(homeserver: Homeserver) -> Json:
    return msc3401_state.entered(None, DEVICES[MSC3401], "conf", homeserver.world.clock())


async def test_an_entry_is_written_and_removed(homeserver: Homeserver) -> None:
    """The bot's entry is written under its user id, with its removal scheduled, and removed at the end; to remove it
    again writes nothing."""
    showing = homeserver.showing
    await showing.show(ROOM, CALL, DEVICES[MSC3401], homeserver.lost.append)
    assert homeserver.current == {(CALL_MEMBER, BOT): entry(homeserver)}
    assert [(event.key, event.content) for event in homeserver.delayed.values()] == [(BOT, {"m.calls": []})]
    await showing.hide((ROOM, MSC3401), shown=False)
    assert homeserver.current == {(CALL_MEMBER, BOT): {"m.calls": []}}
    assert homeserver.delayed == {}
    await showing.hide((ROOM, MSC3401), shown=False)
    await homeserver.sync()
    await showing.hide((ROOM, MSC3401), shown=False)
    assert len(homeserver.writes) == 2
    async with homeserver.world.store.read() as db:
        assert await showing.rooms(db) == frozenset()


async def test_an_entry_is_kept_fresh(homeserver: Homeserver) -> None:
    """The removal is put off every 20 s, and the entry is written anew after 45 minutes, or once somebody changed it,
    beside the other devices of the bot's user."""
    await homeserver.showing.show(ROOM, CALL, DEVICES[MSC3401], homeserver.lost.append)
    first, began = entry(homeserver), homeserver.world.clock()
    assert await homeserver.pass_pause() == 20.0
    await homeserver.sync()
    while homeserver.current[CALL_MEMBER, BOT] == first:
        await homeserver.pass_pause()
    assert homeserver.world.clock() - began == timedelta(minutes=45)
    assert [event.restarts for event in homeserver.delayed.values()] == [2 * 45 * 60 // 40 + 1]
    other = {"device_id": "OTHER", "session_id": "s", "expires_ts": 1 << 42, "feeds": []}
    others = {"m.calls": [{"m.call_id": "conf", "m.devices": [other]}]}
    homeserver.current[CALL_MEMBER, BOT] = others
    await homeserver.sync()
    await homeserver.pass_pause()
    written = homeserver.current[CALL_MEMBER, BOT]
    assert [device["device_id"] for device in written["m.calls"][0]["m.devices"]] == ["OTHER", "BOTDEV"]
    assert [event.content for event in homeserver.delayed.values()] == [others]
    await homeserver.showing.close()


async def test_an_entry_that_was_removed_by_the_homeserver_is_written_again(homeserver: Homeserver) -> None:
    """A bot that was away longer than the homeserver waits shows itself again, and schedules the removal anew."""
    await homeserver.showing.show(ROOM, CALL, DEVICES[MSC3401], homeserver.lost.append)
    homeserver.fire()
    assert homeserver.current[CALL_MEMBER, BOT] == {"m.calls": []}
    await homeserver.pass_pause()
    assert homeserver.current[CALL_MEMBER, BOT] == entry(homeserver)
    assert len(homeserver.delayed) == 1
    await homeserver.showing.close()


async def test_a_failure_is_tried_again_soon(homeserver: Homeserver) -> None:
    """A homeserver that is away for a moment costs the entry nothing: the bot tries again every 2 s."""
    await homeserver.showing.show(ROOM, CHANNEL, DEVICES[MXVC], homeserver.lost.append)
    homeserver.fails = TryLater("the homeserver can't be reached")
    assert [await homeserver.pass_pause() for _ in range(3)] == [10.0, 2.0, 2.0]
    homeserver.fails = None
    assert [await homeserver.pass_pause() for _ in range(2)] == [2.0, 10.0]
    assert len(homeserver.writes) == 3
    await homeserver.showing.close()


async def test_the_entry_of_a_process_that_died_is_removed(homeserver: Homeserver) -> None:
    """A process that died leaves an entry that the next one removes, with what was scheduled for it."""
    await homeserver.showing.show(ROOM, CALL, DEVICES[MSC3401], homeserver.lost.append)
    await homeserver.sync()
    died = homeserver.showing
    homeserver.begin()
    async with homeserver.world.store.read() as db:
        assert await homeserver.showing.rooms(db) == {ROOM}
    await homeserver.showing.hide((ROOM, MSC3401), shown=False)
    assert homeserver.current[CALL_MEMBER, BOT] == {"m.calls": []}
    assert homeserver.delayed == {}
    await died.close()


async def test_a_process_after_one_that_died_goes_on_with_the_entry(homeserver: Homeserver) -> None:
    """A process that joins the call again has its own session in the entry, and no removal of the one before."""
    await homeserver.showing.show(ROOM, CALL, DEVICES[MSC3401], homeserver.lost.append)
    await homeserver.sync()
    died = homeserver.showing
    homeserver.begin()
    again = replace(DEVICES[MSC3401], session_id="again")
    await homeserver.showing.show(ROOM, CALL, again, homeserver.lost.append)
    devices = homeserver.current[CALL_MEMBER, BOT]["m.calls"][0]["m.devices"]
    assert [(device["device_id"], device["session_id"]) for device in devices] == [("BOTDEV", "again")]
    assert list(homeserver.delayed) == ["d2"]
    await died.close()
    await homeserver.showing.close()


async def test_a_room_without_an_entry_costs_no_request(homeserver: Homeserver) -> None:
    """To remove an entry that is not there asks the homeserver for nothing; what is scheduled is listed once."""
    await homeserver.showing.hide((ROOM, MSC3401), shown=False)
    assert homeserver.listings == 0
    for _ in range(3):
        await homeserver.showing.show(ROOM, CALL, DEVICES[MSC3401], homeserver.lost.append)
        await homeserver.showing.hide((ROOM, MSC3401), shown=False)
    assert homeserver.listings == 1
    assert homeserver.delayed == {}


async def test_a_homeserver_without_delayed_events_schedules_nothing(homeserver: Homeserver) -> None:
    """Without delayed events, or with short ones alone, the entry is written all the same, and expires by itself."""
    homeserver.longest = 30_000
    await homeserver.showing.show(ROOM, CALL, DEVICES[MSC3401], homeserver.lost.append)
    assert (homeserver.delayed, homeserver.current) == ({}, {(CALL_MEMBER, BOT): entry(homeserver)})
    await homeserver.showing.hide((ROOM, MSC3401), shown=True)


async def test_a_voice_channel_shows_the_bot_by_its_name(homeserver: Homeserver) -> None:
    """In an MXVC channel the bot stands under its name, anew every 10 s, and leaves it at the end, under names of
    before too."""
    ms = round(homeserver.world.clock().timestamp() * 1000)
    homeserver.current[CALL_STATE, "old [REC]"] = {"join_state": "JOINED", "timestamp": ms}
    await homeserver.sync()
    await homeserver.showing.show(ROOM, CHANNEL, DEVICES[MXVC], homeserver.lost.append)
    assert homeserver.current[CALL_STATE, "bot [REC]"] == {"join_state": "JOINED", "timestamp": ms}
    assert await homeserver.pass_pause() == 10.0
    assert homeserver.current[CALL_STATE, "bot [REC]"] == {"join_state": "JOINED", "timestamp": ms + 10_000}
    await homeserver.showing.hide((ROOM, MXVC), shown=False)
    left = {"join_state": "LEFT", "timestamp": ms + 10_000}
    assert homeserver.current == {(CALL_STATE, "bot [REC]"): left, (CALL_STATE, "old [REC]"): left}
    assert homeserver.delayed == {}


async def test_a_voice_channel_sees_a_new_process_leave_and_join(homeserver: Homeserver) -> None:
    """In an MXVC channel a process takes back the entry of one that died before it joins: pages begin anew with it."""
    await homeserver.showing.show(ROOM, CHANNEL, DEVICES[MXVC], homeserver.lost.append)
    await homeserver.sync()
    died = homeserver.showing
    homeserver.begin()
    await homeserver.showing.show(ROOM, CHANNEL, DEVICES[MXVC], homeserver.lost.append)
    assert [write["join_state"] for write in homeserver.writes] == ["JOINED", "LEFT", "JOINED"]
    await died.close()
    await homeserver.showing.close()


async def test_a_refusal_is_told(homeserver: Homeserver) -> None:
    """An entry that the homeserver refuses is nothing that the bot keeps."""
    homeserver.fails = GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
    with pytest.raises(GiveUp):
        await homeserver.showing.show(ROOM, CALL, DEVICES[MSC3401], homeserver.lost.append)
    homeserver.fails = None
    await homeserver.showing.hide((ROOM, MSC3401), shown=False)
    assert homeserver.writes == []


async def test_an_entry_that_is_refused_later_is_lost(homeserver: Homeserver) -> None:
    """A homeserver that takes the entry no more is asked once; whoever wanted the entry is told."""
    await homeserver.showing.show(ROOM, CALL, DEVICES[MSC3401], homeserver.lost.append)
    homeserver.delayed.clear()
    homeserver.fails = GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
    await homeserver.pass_last_pause()
    assert homeserver.lost == [True]


async def test_an_entry_that_lapses_is_lost(homeserver: Homeserver) -> None:
    """In an MXVC channel nobody sees the bot whose entry was written for the last time 20 s ago."""
    await homeserver.showing.show(ROOM, CHANNEL, DEVICES[MXVC], homeserver.lost.append)
    homeserver.fails = TryLater("the homeserver can't be reached")
    assert [await homeserver.pass_pause() for _ in range(5)] == [10.0, 2.0, 2.0, 2.0, 2.0]
    assert homeserver.lost == []
    await homeserver.pass_last_pause()
    assert homeserver.lost == [False]
