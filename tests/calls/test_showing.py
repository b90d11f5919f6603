"""The bot's own entry in a call: written, kept fresh, removed, also by the homeserver when the bot has died."""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from bot.calls.model import Call, Device, Member, Transport
from bot.calls.showing import Showing
from bot.calls.wire import matrixrtc, matrixrtc_own, msc3401_state
from bot.dialects import rtc
from bot.errors import GiveUp, TryLater
from bot.event_types import CALL_MEMBER, CALL_STATE, CREATE, RTC_MEMBER
from storage import rooms
from storage.records import CallProtocol, EventId, HeardEvent, Json, Position, StateEvent
from tests.calls.wire.test_matrixrtc import ANN, NOW, OTHER_SFU, SFU, in_state, ms, sticky
from tests.world import BOT, ROOM, World

MSC3401, MXVC, RTC = CallProtocol.MSC3401, CallProtocol.MXVC, CallProtocol.MATRIXRTC
DEVICES = {MSC3401: Device(BOT, "BOTDEV", "session"), MXVC: Device(BOT, "bot [REC]"), RTC: Device(BOT, "BOTDEV", "s1")}
CALL, CHANNEL = Call(MSC3401, "conf", None, ()), Call(MXVC, "", None, ())


@dataclass
class Scheduled:
    key: str
    content: Json
    kind: str
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
        self.sent_at: dict[tuple[str, str], datetime] = {}
        self._ids: dict[tuple[str, str], EventId] = {}
        self._numbers = self._sent = 0
        self.listings = 0
        self.lost: list[bool] = []
        self.begin()

    def begin(self) -> None:
        """Begin a process of the bot: what it wrote, and what it scheduled, stays."""
        device = DEVICES.__getitem__
        here = cast("Any", self)
        self.showing = Showing(self.world.store, here, here, here, device, self.world.clock, self._pause)

    async def _pause(self, seconds: float) -> None:
        over = asyncio.Event()
        self.pauses.put_nowait((seconds, over))
        await over.wait()

    async def pass_pause(self) -> float:
        """Let the pause of the one entry that is kept pass, and wait for the next one. Give its length."""
        seconds, over = await self.pauses.get()
        self.world.clock.pass_by(seconds)
        over.set()
        async with asyncio.timeout(60):
            while self.pauses.empty():  # noqa: ASYNC110 (the fresh entry's next pause)
                await asyncio.sleep(0)
        return seconds

    async def pass_last_pause(self) -> None:
        """Let the pause pass after which the entry is kept no more."""
        seconds, over = await self.pauses.get()
        self.world.clock.pass_by(seconds)
        over.set()
        async with asyncio.timeout(60):
            while not self.lost:  # noqa: ASYNC110 (told by the task that keeps the entry)
                await asyncio.sleep(0)

    async def sync(self) -> None:
        async with self.world.store.write() as db:
            for (kind, key), content in self.current.items():
                sent_at = self.sent_at.get((kind, key), self.world.clock())
                event_id = self._ids.get((kind, key), EventId(f"${kind}{key}{content}"))
                state: StateEvent | None = StateEvent(ROOM, kind, key, BOT, content, Position(0), event_id, sent_at)
                if kind == RTC_MEMBER:
                    event = {"type": kind, "sender": BOT, "origin_server_ts": ms(sent_at), "content": content}
                    state = rtc.kept_sticky(HeardEvent(ROOM, event_id, event), sent_at + timedelta(hours=1))
                assert state is not None
                await rooms.save_state(db, state)

    # ---- as the bot's session sees it

    async def set_state(self, _: object, kind: str, content: Json, *, key: str = "") -> EventId:
        self._check()
        self._put(kind, key, content)
        return self._event_id(kind, key)

    async def send(self, _: object, kind: str, content: Json, duration_ms: int, *, txn_id: str) -> EventId:
        self._check()
        assert (kind, duration_ms) == (RTC_MEMBER, 3_600_000)
        self._put(kind, content["msc4354_sticky_key"], content)
        return self._event_id(kind, content["msc4354_sticky_key"])

    def _put(self, kind: str, key: str, content: Json) -> None:
        self.current[kind, key] = content
        self.sent_at[kind, key] = self.world.clock()
        self._sent += 1
        self._ids[kind, key] = EventId(f"$sent{self._sent}")
        self.writes.append(content)

    def _event_id(self, kind: str, key: str) -> EventId:
        return self._ids[kind, key]

    async def longest_ms(self) -> int:
        return self.longest

    async def schedule(self, _: object, kind: str, content: Json, delay_ms: int, *, key: str = "") -> str | None:
        self._check()
        assert (kind, delay_ms) == (CALL_MEMBER, 60_000)
        return self._schedule(kind, key, content)

    async def schedule_sticky(
        self, _: object, kind: str, content: Json, delay_ms: int, duration_ms: int, *, txn_id: str
    ) -> str | None:
        self._check()
        assert (kind, delay_ms, duration_ms) == (RTC_MEMBER, 60_000, 3_600_000)
        return self._schedule(kind, content["msc4354_sticky_key"], content)

    def _schedule(self, kind: str, key: str, content: Json) -> str:
        self._numbers += 1
        self.delayed[f"d{self._numbers}"] = Scheduled(key, content, kind)
        return f"d{self._numbers}"

    async def restart(self, delay_id: str) -> bool:
        self._check()
        if delay_id in self.delayed:
            self.delayed[delay_id].restarts += 1
        return delay_id in self.delayed

    async def cancel(self, delay_id: str) -> None:
        self._check()
        self.delayed.pop(delay_id, None)

    async def scheduled_at(self, _: object, kind: str, key: str, *, sticky: bool) -> list[str]:
        self._check()
        self.listings += 1
        assert sticky == (kind == RTC_MEMBER)
        return [delay_id for delay_id, event in self.delayed.items() if (event.kind, event.key) == (kind, key)]

    def fire(self) -> None:
        """Send what is scheduled, as after the bot has died."""
        for event in self.delayed.values():
            self._put(event.kind, event.key, event.content)
        self.delayed.clear()

    def _check(self) -> None:
        if self.fails is not None:
            raise self.fails


@pytest.fixture
def homeserver(world: World) -> Homeserver:
    return Homeserver(world)


def seen(call: Call) -> Member:
    """The bot as it joins a call of another protocol."""
    return Member(DEVICES[call.protocol], None)


def entry(homeserver: Homeserver) -> Json:
    return msc3401_state.entered(None, DEVICES[MSC3401], "conf", homeserver.world.clock())


async def test_an_entry_is_written_and_removed(homeserver: Homeserver) -> None:
    """The bot's entry is written under its user id, with its removal scheduled, and removed at the end; to remove it
    again writes nothing."""
    showing = homeserver.showing
    await showing.show(ROOM, CALL, seen(CALL), homeserver.lost.append)
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
    await homeserver.showing.show(ROOM, CALL, seen(CALL), homeserver.lost.append)
    first, began = entry(homeserver), homeserver.world.clock()
    assert await homeserver.pass_pause() == 20.0
    await homeserver.sync()
    while homeserver.current[CALL_MEMBER, BOT] == first:
        await homeserver.pass_pause()
    assert homeserver.world.clock() - began == timedelta(minutes=45)
    assert [event.restarts for event in homeserver.delayed.values()] == [2 * 45 * 60 // 40 + 1]
    other = {"device_id": "OTHER", "session_id": "s", "expires_ts": 1 << 42, "feeds": []}
    others = {"m.calls": [{"m.call_id": "conf", "m.devices": [other]}]}
    homeserver._put(CALL_MEMBER, BOT, others)
    await homeserver.sync()
    await homeserver.pass_pause()
    written = homeserver.current[CALL_MEMBER, BOT]
    assert [device["device_id"] for device in written["m.calls"][0]["m.devices"]] == ["OTHER", "BOTDEV"]
    assert [event.content for event in homeserver.delayed.values()] == [others]
    await homeserver.showing.close()


async def test_an_entry_that_was_removed_by_the_homeserver_is_written_again(homeserver: Homeserver) -> None:
    """A bot that was away longer than the homeserver waits shows itself again, and schedules the removal anew."""
    await homeserver.showing.show(ROOM, CALL, seen(CALL), homeserver.lost.append)
    homeserver.fire()
    assert homeserver.current[CALL_MEMBER, BOT] == {"m.calls": []}
    await homeserver.pass_pause()
    assert homeserver.current[CALL_MEMBER, BOT] == entry(homeserver)
    assert len(homeserver.delayed) == 1
    await homeserver.showing.close()


async def test_a_failure_is_tried_again_soon(homeserver: Homeserver) -> None:
    """A homeserver that is away for a moment costs the entry nothing: the bot tries again every 2 s."""
    await homeserver.showing.show(ROOM, CHANNEL, seen(CHANNEL), homeserver.lost.append)
    homeserver.fails = TryLater("the homeserver can't be reached")
    assert [await homeserver.pass_pause() for _ in range(3)] == [10.0, 2.0, 2.0]
    homeserver.fails = None
    assert [await homeserver.pass_pause() for _ in range(2)] == [2.0, 10.0]
    assert len(homeserver.writes) == 3
    await homeserver.showing.close()


async def test_the_entry_of_a_process_that_died_is_removed(homeserver: Homeserver) -> None:
    """A process that died leaves an entry that the next one removes, with what was scheduled for it."""
    await homeserver.showing.show(ROOM, CALL, seen(CALL), homeserver.lost.append)
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
    await homeserver.showing.show(ROOM, CALL, seen(CALL), homeserver.lost.append)
    await homeserver.sync()
    died = homeserver.showing
    homeserver.begin()
    again = replace(DEVICES[MSC3401], session_id="again")
    await homeserver.showing.show(ROOM, CALL, Member(again, None), homeserver.lost.append)
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
        await homeserver.showing.show(ROOM, CALL, seen(CALL), homeserver.lost.append)
        await homeserver.showing.hide((ROOM, MSC3401), shown=False)
    assert homeserver.listings == 1
    assert homeserver.delayed == {}


async def test_a_homeserver_without_delayed_events_schedules_nothing(homeserver: Homeserver) -> None:
    """Without delayed events, or with short ones alone, the entry is written all the same, and expires by itself."""
    homeserver.longest = 30_000
    await homeserver.showing.show(ROOM, CALL, seen(CALL), homeserver.lost.append)
    assert (homeserver.delayed, homeserver.current) == ({}, {(CALL_MEMBER, BOT): entry(homeserver)})
    await homeserver.showing.hide((ROOM, MSC3401), shown=True)


async def test_a_voice_channel_shows_the_bot_by_its_name(homeserver: Homeserver) -> None:
    """In an MXVC channel the bot stands under its name, anew every 10 s, and leaves it at the end; names of before are
    taken back first."""
    stamp = ms(homeserver.world.clock())
    homeserver.current[CALL_STATE, "old [REC]"] = {"join_state": "JOINED", "timestamp": stamp}
    await homeserver.sync()
    await homeserver.showing.show(ROOM, CHANNEL, seen(CHANNEL), homeserver.lost.append)
    assert homeserver.current[CALL_STATE, "bot [REC]"] == {"join_state": "JOINED", "timestamp": stamp}
    assert await homeserver.pass_pause() == 10.0
    assert homeserver.current[CALL_STATE, "bot [REC]"] == {"join_state": "JOINED", "timestamp": stamp + 10_000}
    await homeserver.showing.hide((ROOM, MXVC), shown=False)
    left = {"join_state": "LEFT", "timestamp": stamp + 10_000}
    before = {"join_state": "LEFT", "timestamp": stamp}
    assert homeserver.current == {(CALL_STATE, "bot [REC]"): left, (CALL_STATE, "old [REC]"): before}
    assert homeserver.delayed == {}


async def test_a_voice_channel_sees_a_new_process_leave_and_join(homeserver: Homeserver) -> None:
    """In an MXVC channel a process takes back the entry of one that died before it joins: pages begin anew with it."""
    await homeserver.showing.show(ROOM, CHANNEL, seen(CHANNEL), homeserver.lost.append)
    await homeserver.sync()
    died = homeserver.showing
    homeserver.begin()
    await homeserver.showing.show(ROOM, CHANNEL, seen(CHANNEL), homeserver.lost.append)
    assert [write["join_state"] for write in homeserver.writes] == ["JOINED", "LEFT", "JOINED"]
    await died.close()
    await homeserver.showing.close()


async def test_a_refusal_is_told(homeserver: Homeserver) -> None:
    """An entry that the homeserver refuses is nothing that the bot keeps."""
    homeserver.fails = GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
    with pytest.raises(GiveUp):
        await homeserver.showing.show(ROOM, CALL, seen(CALL), homeserver.lost.append)
    homeserver.fails = None
    await homeserver.showing.hide((ROOM, MSC3401), shown=False)
    assert homeserver.writes == []


async def test_an_entry_that_is_refused_later_is_lost(homeserver: Homeserver) -> None:
    """A homeserver that takes the entry no more is asked once; whoever wanted the entry is told."""
    await homeserver.showing.show(ROOM, CALL, seen(CALL), homeserver.lost.append)
    homeserver.delayed.clear()
    homeserver.fails = GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
    await homeserver.pass_last_pause()
    assert homeserver.lost == [True]


async def test_an_entry_that_lapses_is_lost(homeserver: Homeserver) -> None:
    """In an MXVC channel nobody sees the bot whose entry was written for the last time 20 s ago."""
    await homeserver.showing.show(ROOM, CHANNEL, seen(CHANNEL), homeserver.lost.append)
    homeserver.fails = TryLater("the homeserver can't be reached")
    assert [await homeserver.pass_pause() for _ in range(5)] == [10.0, 2.0, 2.0, 2.0, 2.0]
    assert homeserver.lost == []
    await homeserver.pass_last_pause()
    assert homeserver.lost == [False]


# ---- MatrixRTC

KEY = f"_{BOT}_BOTDEV_m.call"
OURS = DEVICES[RTC]


def rtc_call(*, is_sticky: bool = False) -> Call:
    """A call of MatrixRTC with Ann in it, whose entry is state or a sticky event."""
    (call,) = matrixrtc.calls_of([sticky() if is_sticky else in_state()], {ANN}, OURS, NOW)
    return call


def ours_in(*, is_sticky: bool = False, ours: Device = OURS) -> Member:
    """The bot as it joins such a call."""
    return matrixrtc_own.own_member(rtc_call(), ours, sticky=is_sticky)


@pytest.mark.parametrize("is_sticky", [False, True])
async def test_an_entry_of_matrixrtc_is_written_and_removed(homeserver: Homeserver, *, is_sticky: bool) -> None:
    """The bot's entry is written in the mode of the call, with its removal scheduled, and removed at the end."""
    kind, key = (RTC_MEMBER, "s1") if is_sticky else (CALL_MEMBER, KEY)
    left = {"slot_id": "m.call#ROOM", "msc4354_sticky_key": "s1"} if is_sticky else {}
    await homeserver.showing.show(
        ROOM, rtc_call(is_sticky=is_sticky), ours_in(is_sticky=is_sticky), homeserver.lost.append
    )
    ((where, written),) = homeserver.current.items()
    assert (where, SFU in str(written)) == ((kind, key), True)
    assert [(event.kind, event.key, event.content) for event in homeserver.delayed.values()] == [(kind, key, left)]
    await homeserver.sync()
    async with homeserver.world.store.read() as db:
        assert await homeserver.showing.rooms(db) == {ROOM}
    await homeserver.showing.hide((ROOM, RTC), shown=True)
    assert (homeserver.current, homeserver.delayed) == ({(kind, key): left}, {})
    await homeserver.showing.hide((ROOM, RTC), shown=False)
    await homeserver.sync()
    await homeserver.showing.hide((ROOM, RTC), shown=False)
    assert len(homeserver.writes) == 2
    async with homeserver.world.store.read() as db:
        assert await homeserver.showing.rooms(db) == frozenset()


@pytest.mark.parametrize("is_sticky", [False, True])
async def test_an_entry_of_matrixrtc_that_names_another_sfu_is_the_same_membership(
    homeserver: Homeserver, *, is_sticky: bool
) -> None:
    """The entry is written anew at once for another SFU, with the id and the beginning of its membership."""
    us = ours_in(is_sticky=is_sticky)
    await homeserver.showing.show(ROOM, rtc_call(is_sticky=is_sticky), us, homeserver.lost.append)
    began = homeserver.world.clock()
    homeserver.world.clock.pass_by(60)
    moved = replace(us, transport=Transport(OTHER_SFU))
    await homeserver.showing.move((ROOM, RTC), moved, homeserver.lost.append)
    async with asyncio.timeout(60):
        while len(homeserver.writes) == 1:  # noqa: ASYNC110 (written by the task that keeps the entry)
            await asyncio.sleep(0)
    ((_, written),) = homeserver.current.items()
    assert (OTHER_SFU in str(written), SFU in str(written)) == (True, False)
    assert (us.device.session_id in str(written), written.get("created_ts")) == (True, None if is_sticky else ms(began))
    assert len(homeserver.delayed) == 1


@pytest.mark.parametrize(("is_sticky", "minutes"), [(False, 180), (True, 45)])
async def test_an_entry_of_matrixrtc_is_kept_fresh(homeserver: Homeserver, *, is_sticky: bool, minutes: int) -> None:
    """The removal is put off every 20 s, and the entry is written anew before it expires: in state for the time since
    the bot joined and four hours more."""
    await homeserver.showing.show(
        ROOM, rtc_call(is_sticky=is_sticky), ours_in(is_sticky=is_sticky), homeserver.lost.append
    )
    began = homeserver.world.clock()
    await homeserver.sync()
    while len(homeserver.writes) == 1:
        assert await homeserver.pass_pause() == 20.0
    assert homeserver.world.clock() - began == timedelta(minutes=minutes)
    (removal,) = homeserver.delayed.values()
    assert removal.restarts == minutes * 3 + 1
    first, second = homeserver.writes
    changed = {} if is_sticky else {"created_ts": ms(began), "expires": (180 + 240) * 60_000}
    assert second == {**first, **changed}
    await homeserver.showing.close()


@pytest.mark.parametrize("is_sticky", [False, True])
async def test_members_see_a_new_process_join_anew(homeserver: Homeserver, *, is_sticky: bool) -> None:
    """A process takes back the entry of one that died, and what was scheduled for it, before it joins: members give
    their keys to a new entry alone."""
    await homeserver.showing.show(
        ROOM, rtc_call(is_sticky=is_sticky), ours_in(is_sticky=is_sticky), homeserver.lost.append
    )
    await homeserver.sync()
    died = homeserver.showing
    homeserver.begin()
    again = replace(OURS, session_id="s2")
    await homeserver.showing.show(
        ROOM, rtc_call(is_sticky=is_sticky), ours_in(is_sticky=is_sticky, ours=again), homeserver.lost.append
    )
    assert [len(write) > 2 for write in homeserver.writes] == [True, False, True]
    assert "created_ts" not in homeserver.writes[-1]
    ((delay_id, removal),) = homeserver.delayed.items()
    assert (delay_id, removal.key) == ("d2", "s2" if is_sticky else KEY)
    await died.close()
    await homeserver.showing.hide((ROOM, RTC), shown=True)
    assert (len(homeserver.writes), homeserver.delayed) == (4, {})


async def test_a_new_process_that_joins_no_more_removes_the_entry(homeserver: Homeserver) -> None:
    """The entry of a process that died is removed by the next one, though the call uses another mode by then."""
    await homeserver.showing.show(ROOM, rtc_call(is_sticky=True), ours_in(is_sticky=True), homeserver.lost.append)
    await homeserver.sync()
    died = homeserver.showing
    homeserver.begin()
    await homeserver.showing.show(
        ROOM, rtc_call(), ours_in(ours=replace(OURS, session_id="s2")), homeserver.lost.append
    )
    assert len(homeserver.current[RTC_MEMBER, "s1"]) == 2
    assert homeserver.current[CALL_MEMBER, KEY]["membershipID"] == f"{BOT}:BOTDEV"
    await died.close()
    await homeserver.sync()
    homeserver.begin()
    await homeserver.showing.hide((ROOM, RTC), shown=False)
    assert homeserver.current[CALL_MEMBER, KEY] == {}


async def test_entries_of_one_room_do_not_disturb_each_other(homeserver: Homeserver) -> None:
    """In a room with a call of MSC3401 and one of MatrixRTC the bot has an entry in each, of one type of state, beside
    those of other devices of its user: each is removed alone, with what is scheduled for it."""
    other = {**in_state(BOT, "PHONE").content}
    homeserver._put(CALL_MEMBER, f"_{BOT}_PHONE_m.call", other)
    homeserver._schedule(CALL_MEMBER, f"_{BOT}_PHONE_m.call", {})
    await homeserver.sync()
    await homeserver.showing.show(ROOM, rtc_call(), ours_in(), homeserver.lost.append)
    await homeserver.showing.show(ROOM, CALL, seen(CALL), homeserver.lost.append)
    await homeserver.sync()
    homeserver.showing._asked.clear()
    await homeserver.showing.hide((ROOM, MSC3401), shown=False)
    assert homeserver.current[CALL_MEMBER, BOT] == {"m.calls": []}
    assert len(homeserver.current[CALL_MEMBER, KEY]) > 2
    assert {event.key for event in homeserver.delayed.values()} == {KEY, f"_{BOT}_PHONE_m.call"}
    await homeserver.showing.hide((ROOM, RTC), shown=True)
    assert homeserver.current[CALL_MEMBER, KEY] == {}
    assert homeserver.current[CALL_MEMBER, f"_{BOT}_PHONE_m.call"] == other
    assert {event.key for event in homeserver.delayed.values()} == {f"_{BOT}_PHONE_m.call"}


async def test_the_entry_in_state_stands_under_the_key_of_the_rooms_version(homeserver: Homeserver) -> None:
    """The bot is shown by state under the key that the room's version asks for, whatever members use."""
    homeserver._put(CREATE, "", {"room_version": "org.matrix.msc3757.11"})
    await homeserver.sync()
    await homeserver.showing.show(ROOM, rtc_call(is_sticky=True), ours_in(), homeserver.lost.append)
    assert set(homeserver.current) == {(CREATE, ""), (CALL_MEMBER, KEY[1:])}
    await homeserver.showing.close()


async def test_an_entry_that_is_overwritten_is_written_again_at_once(homeserver: Homeserver) -> None:
    """A look at the room after somebody has overwritten the bot's entry has it written without a pause; any other look
    writes nothing."""
    await homeserver.showing.show(ROOM, rtc_call(), ours_in(), homeserver.lost.append)
    await homeserver.sync()
    await homeserver.showing.look((ROOM, RTC))
    async with homeserver.world.store.write() as db:
        await rooms.save_state(db, replace(in_state(BOT, "BOTDEV", key=KEY, sender="@eve:hs"), room_id=ROOM))
    assert len(homeserver.writes) == 1
    await homeserver.showing.look((ROOM, RTC))
    async with asyncio.timeout(60):
        while len(homeserver.writes) == 1:  # noqa: ASYNC110 (the task that keeps the entry)
            await asyncio.sleep(0)
    assert homeserver.writes[0] == homeserver.writes[1]
    await homeserver.showing.close()


async def test_nothing_is_remembered_of_entries_that_are_gone(homeserver: Homeserver) -> None:
    """The bot joins calls by sticky events again and again, each under a key of its own, and forgets the old ones."""
    for number in range(5):
        ours = replace(OURS, session_id=f"s{number}")
        us = ours_in(is_sticky=True, ours=ours)
        await homeserver.showing.show(ROOM, rtc_call(is_sticky=True), us, homeserver.lost.append)
        await homeserver.sync()
        await homeserver.showing.hide((ROOM, RTC), shown=True)
        await homeserver.sync()
    kept = homeserver.showing
    assert (len(kept._written), kept._asked, kept._removals, kept._wakes) == (1, set(), {}, {})


async def test_an_entry_that_the_homeserver_removes_is_lost(homeserver: Homeserver) -> None:
    """The bot is seen no more in a MatrixRTC call once the homeserver has not answered for a minute; where nothing is
    scheduled, the entry stands."""
    await homeserver.showing.show(ROOM, rtc_call(), ours_in(), homeserver.lost.append)
    homeserver.fails = TryLater("the homeserver can't be reached")
    assert [await homeserver.pass_pause() for _ in range(20)] == [20.0] + [2.0] * 19
    assert homeserver.lost == []
    await homeserver.pass_last_pause()
    assert homeserver.lost == [False]
    homeserver.fails, homeserver.longest = None, 0
    homeserver.begin()
    await homeserver.showing.show(ROOM, rtc_call(), ours_in(), homeserver.lost.append)
    homeserver.fails = TryLater("the homeserver can't be reached")
    for _ in range(50):
        await homeserver.pass_pause()
    assert homeserver.lost == [False]
    await homeserver.showing.close()


async def test_somebody_else_under_the_bots_key_is_not_the_bot(homeserver: Homeserver) -> None:
    """An entry that another member overwrites, which most rooms let them, is written again."""
    await homeserver.showing.show(ROOM, rtc_call(), ours_in(), homeserver.lost.append)
    await homeserver.sync()
    ours = homeserver.current[CALL_MEMBER, KEY]
    async with homeserver.world.store.write() as db:
        forged = in_state(BOT, "BOTDEV", key=KEY, sender="@eve:hs")
        await rooms.save_state(db, replace(forged, room_id=ROOM))
    await homeserver.pass_pause()
    assert homeserver.writes == [ours, ours]
    await homeserver.showing.close()
