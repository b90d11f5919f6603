"""Members opt out and in again, in any order with broadcasts, voice messages, late chunks, keys, deaths of the bot,
searches of the history and an upgrade: no sound of somebody who had opted out when it was sent is ever kept."""

import asyncio
import hashlib
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot import orders
from bot.commands.handle import Commands
from bot.intake import greeting
from bot.matrix.batch import Invite, RoomBatch, SyncBatch
from bot.matrix.media import FetchedMedia
from storage import archive, heirs, jobs, journal, rooms
from storage.place import Place
from storage.records import (
    EventId,
    HeardEvent,
    Json,
    MediaSource,
    MxcUri,
    Position,
    Recording,
    RoomId,
    SessionId,
    UserId,
)
from tests import world as core
from tests.factories import a_room, always
from tests.worker.quick import without_ffmpeg
from tests.world import ALICE, BOT, INFO, ROOM, Killed, Mortal, World, media_of, room_state, state

BOB = UserId("@bob:hs")
NEW, CHAT = RoomId("!new:hs"), RoomId("!chat:hs")
CHATS = {ALICE: CHAT, BOB: RoomId("!chat-of-bob:hs")}
"""The direct chats; in a story, CHAT stands for that of whoever says something."""
STORIES = int(os.environ.get("AIRCHECK_STORIES", "20"))


@dataclass(eq=False)
class Broadcast:
    who: UserId
    room: RoomId
    begun: int  # its place in the order of all that was said
    events: list[HeardEvent]
    past: bool  # nobody heard it: only a search of the history finds it
    chunks: dict[str, int] = field(default_factory=dict)  # address of the media: place


@dataclass(frozen=True)
class Word:
    who: UserId
    room: RoomId
    out: bool
    place: int
    for_line: bool  # it was said when the two rooms had one podcast


class Bot(World):
    """A bot that carries commands out, too."""

    def _begin(self) -> None:
        super()._begin()
        commands = Commands(self.store, self.settings, always(b"s" * 32), self.clock, apply=self.recorder.apply)
        self.handlers[orders.Command.kind] = commands


class Town:
    """Two members, their rooms, and the bot. `handled`: the place before which all words were carried out; `followed`:
    the last one whose event was handled before the upgrade."""

    def __init__(self, bot: Bot) -> None:
        self.bot = bot
        self.broadcasts: list[Broadcast] = []
        self.messages: list[Broadcast] = []  # voice messages: each is one of its own
        self.words: list[Word] = []
        self.handled = self.followed = self.place = 0
        self.upgrading = False
        self.fetched_too_late: list[str] = []
        self.keys_to_come: dict[EventId, HeardEvent] = {}  # sealed events, and what they hold
        self.keys: dict[EventId, HeardEvent] = {}
        bot.download = self._download
        bot.opens = lambda wrapper: self.keys.get(wrapper.event_id)

    # ---- the bot

    async def survive(self, work: Callable[[], Awaitable[Any]]) -> None:
        """Do some work of the bot; if it dies of it, start it and do it again."""
        try:
            await work()
        except Killed:
            await self.bot.rise_again()
            await work()

    async def settle(self) -> None:
        await self.survive(self.bot.settle)
        self._follow()

    def _follow(self) -> None:
        if not self.upgrading:
            self.followed = self.place

    async def work(self, count: int) -> None:
        await self.settle()
        for _ in range(count):
            await self.survive(lambda: self.bot.work_one(core.DONE_HERE))

    async def die(self, number: int, after_commit: bool) -> None:
        """Die at a write to come."""
        self.bot.store.die_at(number, after_commit=after_commit)

    async def carry_out_all(self) -> None:
        await self.survive(self.carry_out)

    async def carry_out(self) -> None:
        await self.bot.settle()
        self._follow()
        while await self.bot.work_one([orders.Command.kind]):
            await self.bot.settle()
        self.handled = self.place + 1

    async def _download(self, source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        one = next(one for one in self.all_said() if source.mxc in one.chunks)
        if self.is_out(one, self.handled):
            self.fetched_too_late.append(source.mxc)  # a job's errors are logged, and would fail nothing here
        return await core.download(source, part, max_bytes)

    # ---- the truth

    def all_said(self) -> list[Broadcast]:
        return [*self.broadcasts, *self.messages]

    def is_out(self, one: Broadcast, place: int) -> bool:
        """Return whether the last word of a speaker before a place was `optout`."""
        there = {ROOM, NEW, CHAT} if one.room == NEW else {ROOM, CHAT}
        last = [
            word.out
            for word in self.words
            if word.who == one.who and word.place < place and (word.room in there or word.for_line)
        ]
        return bool(last) and last[-1]

    def unwanted(self) -> set[str]:
        """Return the keys of the sound that was sent by somebody who had opted out."""
        sent = [(one, mxc, place) for one in self.all_said() for mxc, place in one.chunks.items()]
        return {_blob(mxc) for one, mxc, place in sent if self.is_out(one, place) or self.is_out(one, one.begun)}

    # ---- what happens

    async def hear(self, event: HeardEvent) -> None:
        batch = SyncBatch(f"{self.place}", (RoomBatch(event.room_id, True, (), (event,)),))
        await self.survive(lambda: self.bot.intake.take(batch))

    def said(self, who: UserId, room: RoomId, kind: str, content: Json, **more: Any) -> HeardEvent:
        self.place += 1
        self.bot.clock.pass_by(1)
        event_id = f"${self.place}"
        event = {"type": kind, "sender": who, "event_id": event_id, "content": content} | more
        event["origin_server_ts"] = round(self.bot.clock().timestamp() * 1000)
        return HeardEvent(room, EventId(event_id), event)

    async def start(self, who: UserId, room: RoomId, past: bool) -> None:
        started = self.said(who, room, INFO, {"state": "started", "device_id": "D"}, state_key=who)
        self.broadcasts.append(Broadcast(who, room, self.place, [started], past))
        if not past:
            await self.hear(started)

    async def send(self, number: int, sealed: bool) -> None:
        """Send a chunk of one of the broadcasts, however late."""
        if not self.broadcasts:
            return
        one = self.broadcasts[-1 - number % len(self.broadcasts)]
        relation = {"rel_type": "m.reference", "event_id": one.events[0].event_id}
        mxc = f"mxc://hs/{self.place + 1}"
        content = {
            "msgtype": "m.audio",
            "url": mxc,
            "m.relates_to": relation,
            "io.element.voice_broadcast_chunk": {"sequence": len(one.chunks) + 1},
        }
        event = self.said(one.who, one.room, "m.room.message", content)
        one.chunks[mxc] = self.place
        one.events.append(event)
        if one.past:
            return
        if sealed:
            self.keys_to_come[event.event_id] = replace(event, encrypted=True, clear_relation=relation)
            wrapper = {
                **event.event,
                "type": "m.room.encrypted",
                "content": {"ciphertext": "…", "m.relates_to": relation},
            }
            event = replace(
                event, event=wrapper, encrypted=True, clear_relation=relation, session_id=SessionId(event.event_id)
            )
        await self.hear(event)

    async def send_message(self, who: UserId, room: RoomId) -> None:
        """Send a voice message, which goes on with the session of whoever spoke before."""
        mxc = f"mxc://hs/{self.place + 1}"
        content = {"msgtype": "m.audio", "url": mxc, "org.matrix.msc3245.voice": {}}
        event = self.said(who, room, "m.room.message", content)
        self.messages.append(Broadcast(who, room, self.place, [event], False, {mxc: self.place}))
        await self.hear(event)

    async def say(self, who: UserId, room: RoomId, out: bool) -> None:
        body = "!aircheck optout" if out else "!aircheck optin"
        event = self.said(
            who, CHATS[who] if room == CHAT else room, "m.room.message", {"msgtype": "m.text", "body": body}
        )
        async with self.bot.store.read() as db:
            for_line = room != CHAT and len(await heirs.line(db, ROOM)) > 1
        self.words.append(Word(who, room, out, self.place, for_line or room == CHAT))
        await self.hear(event)

    async def keys_come(self) -> None:
        self.keys |= self.keys_to_come
        await self.survive(self.bot.intake.open_all)

    async def search(self, number: int) -> None:
        """Search the history for one of the past broadcasts."""
        past = [one for one in self.broadcasts if one.past]
        if not past:
            return
        one = past[-1 - number % len(past)]
        await self.survive(self.carry_out)
        adopted = None

        async def adopt() -> None:
            nonlocal adopted
            async with self.bot.store.write() as db:
                if await archive.recording_by_event(db, one.events[0].event_id) is None:
                    adopted = await self.bot.recorder.adopt(db, [replace(each, history=True) for each in one.events])

        await self.survive(adopt)
        assert adopted is None or not self.is_out(one, self.place + 1), "found after the opt-out"

    async def name_heir(self) -> None:
        self.upgrading = True
        content = {"replacement_room": NEW}
        await self.hear(self.said(ALICE, ROOM, "m.room.tombstone", content, state_key=""))

    async def come_to_heir(self) -> None:
        async with self.bot.store.read() as db:
            known = await rooms.room(db, NEW)
        if known is not None:
            return
        self.upgrading = True
        create = state("m.room.create", {"room_version": "11", "predecessor": {"room_id": ROOM}}, event_id="$create")
        members = [state("m.room.member", {"membership": "join"}, user, user, f"$in{user}") for user in (ALICE, BOB)]
        before = (create, *room_state()[1:], *members)
        invite = SyncBatch("invite", invites=(Invite(NEW, ALICE, direct=False, encrypted=False),))
        joined = SyncBatch("joined", (RoomBatch(NEW, True, before, ()),))
        for batch in (invite, joined):
            await self.survive(lambda batch=batch: self.bot.intake.take(batch))  # type: ignore[misc]
        await self.survive(self._greet)

    async def _greet(self) -> None:
        async with self.bot.store.write() as db:
            await greeting.said(db, NEW, EventId("$notice"), "", self.bot.clock())

    async def all_comes_to_rest(self) -> None:
        await self.keys_come()
        await self.carry_out()
        await self.bot.work_on()
        self.bot.clock.pass_by(7200)
        await self.bot.work_on()
        await self.bot.keeper.sweep()
        await self.bot.work_on()

    async def judge(self) -> None:
        assert self.fetched_too_late == []
        files = set(self.bot.files())
        assert not files & self.unwanted(), "sound of somebody who had opted out"
        silent = {word.who for word in self.words}
        followed = [one for one in self.all_said() if one.begun <= self.followed and one.who not in silent]
        live = {one.who for one in self.broadcasts}  # a message of theirs may be a lost chunk
        wanted = [one for one in followed if not one.past and (one in self.broadcasts or one.who not in live)]
        assert {_blob(mxc) for one in wanted for mxc in one.chunks if one.room == ROOM} <= files, "sound is lost"
        async with self.bot.store.read() as db:
            assert await journal.sealed(db) == ()
            told = await jobs.unfinished(db, orders.Direct.kind)
            recordings = await archive.recordings(db)
        assert len(told) == len({job.subject for job in told})
        await self._all_can_be_played(recordings, files)

    async def _all_can_be_played(self, recordings: tuple[Recording, ...], files: set[Any]) -> None:
        async with self.bot.store.read() as db:
            episodes = [await archive.episode(db, one.id) for one in recordings]
        assert {one.blob for one in episodes if one} <= files


def _blob(mxc: str) -> str:
    return hashlib.sha256(media_of(MediaSource(MxcUri(mxc)))).hexdigest()


WHO = st.sampled_from([ALICE, ALICE, BOB])
WHERE = st.sampled_from([ROOM, ROOM, CHAT, NEW])
STEPS = st.one_of(
    st.tuples(st.just("start"), WHO, st.sampled_from([ROOM, ROOM, NEW]), st.sampled_from([False, False, True])),
    st.tuples(st.just("send"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("send"), st.integers(0, 2), st.just(False)),
    st.tuples(st.just("message"), WHO, st.sampled_from([ROOM, ROOM, NEW])),
    st.tuples(st.just("say"), st.just(ALICE), WHERE, st.booleans()),
    st.tuples(st.just("settle")),
    st.tuples(st.just("carry out")),
    st.tuples(st.just("work"), st.integers(1, 9)),
    st.tuples(st.just("keys")),
    st.tuples(st.just("restart")),
    st.tuples(st.just("die"), st.integers(1, 6), st.booleans()),
    st.tuples(st.just("search"), st.integers(0, 2)),
    st.tuples(st.just("tombstone")),
    st.tuples(st.just("heir")),
)


async def take(town: Town, step: tuple[Any, ...]) -> None:
    """Take a step of a story. Nobody can speak in a room where the bot has not come yet."""
    verb, *words = step
    if NEW in words:
        async with town.bot.store.read() as db:
            if await rooms.room(db, NEW) is None:
                return
    verbs: dict[str, Callable[..., Awaitable[Any]]] = {
        "start": town.start,
        "send": town.send,
        "message": town.send_message,
        "say": town.say,
        "settle": town.settle,
        "carry out": town.carry_out_all,
        "work": town.work,
        "keys": town.keys_come,
        "restart": town.bot.rise_again,
        "die": town.die,
        "search": town.search,
        "tombstone": town.name_heir,
        "heir": town.come_to_heir,
    }
    await verbs[verb](*words)


async def tell(directory: Path, story: list[tuple[Any, ...]]) -> None:
    store = await Mortal.own(Place(directory))
    assert isinstance(store, Mortal)
    try:
        kept = {"directory": str(directory), "min_free_bytes": 0}
        town = Town(Bot(store, core.settings_for(directory, storage=kept)))
        for step in story:
            await take(town, step)
        await town.survive(town.all_comes_to_rest)
        await town.judge()
    finally:
        await store.close()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a store whose bot is in the room and in a direct chat with each of both members."""
    directory = tmp_path_factory.mktemp("begun") / "data"

    async def begin() -> None:
        async with core.world_of(directory) as world:
            await world.join()
            joined = {"membership": "join"}
            bob = core.heard("$bob", "m.room.member", joined, state_key=BOB, sender=BOB)
            await world.hear(bob)
            async with world.store.write() as db:
                room = await rooms.room(db, ROOM)
                assert room is not None
                await rooms.save_room(db, replace(room, messages_since=Position(0)))
            for each, chat in CHATS.items():
                members = tuple(state("m.room.member", joined, user, user) for user in (each, BOT))
                async with world.store.write() as db:
                    await rooms.save_room(db, a_room(chat, direct=True, recording_on=False))
                await world.intake.take(SyncBatch(f"chat {each}", (RoomBatch(chat, True, members, ()),)))
            await world.work()

    with pytest.MonkeyPatch.context() as patch:
        without_ffmpeg(patch)
        asyncio.run(begin())
        yield directory


RACE = [("start", ALICE, ROOM, False), ("send", 0, False), ("say", ALICE, ROOM, True), ("send", 0, False), ("work", 3)]
AGAIN = [("say", ALICE, ROOM, True), ("say", ALICE, CHAT, False), ("carry out",), ("start", ALICE, ROOM, False)]
LATE_KEY = [("start", ALICE, ROOM, False), ("send", 0, True), ("settle",), ("say", ALICE, CHAT, True), ("keys",)]
UPGRADE = [("say", ALICE, ROOM, True), ("carry out",), ("heir",), ("start", ALICE, NEW, False), ("send", 0, False)]
PAST = [("start", ALICE, ROOM, True), ("send", 0, False), ("say", ALICE, ROOM, True), ("search", 0)]


TOGETHER = [
    *(("message", who, ROOM) for who in (ALICE, BOB, ALICE)),
    ("work", 2),
    ("say", ALICE, ROOM, True),
    ("message", ALICE, ROOM),
    ("message", BOB, ROOM),
]
AND_AGAIN = [("carry out",), ("message", ALICE, ROOM), ("say", ALICE, CHAT, False), ("carry out",)]


@settings(max_examples=STORIES)
@given(story=st.lists(STEPS, max_size=16))
@example(story=RACE)
@example(story=[*AGAIN, ("send", 0, False)])
@example(story=LATE_KEY)
@example(story=[*UPGRADE, ("work", 9), ("tombstone",)])
@example(story=TOGETHER)
@example(story=[*TOGETHER, *AND_AGAIN, ("message", ALICE, ROOM), ("work", 9)])
@example(
    story=[
        *TOGETHER[:3],
        ("settle",),
        ("heir",),
        ("tombstone",),
        ("message", BOB, NEW),
        *TOGETHER[4:],
        ("message", ALICE, NEW),
    ]
)
@example(story=[*PAST, ("say", ALICE, ROOM, False), ("search", 0)])
def test_no_sound_of_a_member_who_had_opted_out_is_kept(
    begun: Path, tmp_path_factory: pytest.TempPathFactory, story: list[tuple[Any, ...]]
) -> None:
    """Sound that was sent before the command may stay; later sound never does, in any order of all that happens."""
    directory = tmp_path_factory.mktemp("story") / "data"
    shutil.copytree(begun, directory)
    try:
        asyncio.run(tell(directory, story))
    finally:
        shutil.rmtree(directory)
