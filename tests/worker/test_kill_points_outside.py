"""The process may die while it speaks with the homeserver: what was asked for is done, and is said once.

Notices, direct chats, invites, commands, the search of the history, imported keys and the reading of room state, from
the first invite on, over a homeserver that knows a transaction that it has seen (Client-Server API, transaction ids).
"""

import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bot import orders
from bot.commands.handle import Commands
from bot.errors import GiveUp, TryLater
from bot.matrix.batch import Invite, SyncBatch
from bot.matrix.keys import Imported
from bot.matrix.sending import Sending
from bot.matrix.session import Session
from bot.worker.backfilling import Backfilling
from bot.worker.chats import Chats
from bot.worker.choosing_cover import ChoosingCover
from bot.worker.directs import Directs
from bot.worker.importing import ImportingKeys
from bot.worker.invites import Invites
from bot.worker.key_handover import Sealed, clear
from bot.worker.notices import Notices
from bot.worker.refreshing import Refreshing
from bot.worker.room_history import HistoryPage, RoomHistory
from storage import archive, changes, jobs, rooms
from storage.place import Place
from storage.records import (
    EndedBy,
    EventId,
    HeardEvent,
    Job,
    Json,
    RecordingState,
    RoomId,
    UserId,
)
from tests.factories import always
from tests.worker.conftest import SOURCES, WEB, addresses, studio_token_within
from tests.worker.mortal import MortalHomeserver
from tests.worker.quick import EVERY, numbered, without_ffmpeg
from tests.world import (
    ALICE,
    BOT,
    INFO,
    PREFIX,
    ROOM,
    START,
    Killed,
    Mortal,
    World,
    batch,
    chunk,
    download,
    heard,
    room_state,
    sealed,
    settings_for,
    state,
)

SEALED = EventId("$sealed")


class Homeserver(MortalHomeserver, RoomHistory):
    """A homeserver that remembers requests, and dies at the n-th: before it is taken, or before its answer is read."""

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[tuple[RoomId, str], str] = {}  # by room and transaction: the same one is the same event
        self.joined: set[RoomId] = set()
        self.chats: list[RoomId] = []

    async def send(self, room_id: RoomId, kind: str, content: Json, *, txn_id: str) -> EventId:
        async with self.request("send"):
            self.said.setdefault((room_id, txn_id), content["body"])
        return EventId(f"${txn_id}")

    async def join(self, room_id: RoomId) -> None:
        async with self.request("join"):
            self.joined.add(room_id)

    async def create_direct(self, user_id: UserId) -> RoomId:
        async with self.request("create"):
            self.chats.append(RoomId(f"!chat{len(self.chats)}:hs"))
        return self.chats[-1]

    async def room_state(self, room_id: RoomId) -> list[Json]:
        async with self.request("state"):
            return list(room_state() if room_id == ROOM else chat_state("join"))

    async def pages(self, room_id: RoomId, cursor: str | None) -> AsyncIterator[HistoryPage]:
        for number in range(int(cursor or 0), 2):
            async with self.request("page"):
                found = past(number)[0]
            yield HistoryPage((found,), str(number + 1) if number == 0 else None)

    async def event(self, room_id: RoomId, event_id: EventId) -> HeardEvent:
        async with self.request("event"):
            return heard(event_id, "m.room.message", {"msgtype": "m.image", "url": "mxc://hs/picture"})

    async def related(self, room_id: RoomId, started: EventId, sender: UserId) -> AsyncIterator[tuple[HeardEvent, ...]]:
        async with self.request("relations"):
            pass
        yield past(int(started[-1]))[1:]


def past(number: int) -> tuple[HeardEvent, ...]:
    """Build a broadcast of one chunk from before the bot's time; the later one is found first."""
    name = f"$past{number}"
    relation = {"m.relates_to": {"rel_type": "m.reference", "event_id": name}}
    spoken = chunk(f"{name}c", 1).event["content"] | relation
    stopped = {"state": "stopped", "last_chunk_sequence": 1} | relation
    return (
        heard(name, INFO, {"state": "started", "device_id": "OLD"}, state_key=ALICE),
        heard(f"{name}c", "m.room.message", spoken),
        heard(f"{name}s", INFO, stopped, state_key=ALICE),
    )


def chat_state(membership: str) -> tuple[Json, ...]:
    member = state("m.room.member", {"membership": membership}, ALICE, event_id=f"${membership}")
    return (*room_state(creator=BOT), member)


class Town(World):
    """A world with everything that speaks to the homeserver, over one that outlives it."""

    def __init__(self, store: Mortal, homeserver: Homeserver) -> None:
        self.homeserver = homeserver
        super().__init__(store, settings_for(store.directory, storage={"directory": str(store.directory), **ROOMY}))

    def _begin(self) -> None:
        super()._begin()
        store, clock, homeserver = self.store, self.clock, self.homeserver
        sending = cast("Sending", homeserver)
        chats = Chats(store, sending, us=BOT, clock=clock)
        commands = Commands(store, self.settings, always(b"s" * 32), clock, apply=self.recorder.apply)
        self.handlers |= {
            orders.Notice.kind: Notices(store, sending, self.settings, apply=self.recorder.apply, clock=clock),
            orders.Direct.kind: Directs(
                store,
                sending,
                chats,
                addresses=addresses,
                studio_token=studio_token_within,
                web=WEB,
                sources=SOURCES,
                prefix=PREFIX,
                clock=clock,
            ),
            orders.Invite.kind: Invites(store, sending, allowed=("*:hs",)),
            orders.Refresh.kind: Refreshing(store, sending, take_state=self.intake.refresh),
            orders.Command.kind: commands,
            orders.Confirm.kind: commands.confirm,
            orders.ChooseCover.kind: ChoosingCover(store, self.ffmpeg, homeserver, download=download, clock=clock),
            orders.Backfill.kind: Backfilling(store, homeserver, adopt=self.recorder.adopt, clock=clock),
            orders.ImportKeys.kind: ImportingKeys(cast("Session", self._session()), open_all=self.intake.open_all),
        }

    def _session(self) -> SimpleNamespace:
        """Build a session with the parts that an import of keys needs. The imported keys outlive the process."""

        async def import_keys(file: Path, passphrase: str) -> Imported:
            async with self.homeserver.request("keys"):
                self.opens = opened
            return Imported(frozenset(), 1, 0, ())

        return SimpleNamespace(
            ready=SimpleNamespace(is_set=lambda: True), keys=SimpleNamespace(import_keys=import_keys)
        )

    async def work(self) -> None:
        """All that is due, as the lanes do it, until nothing is; what has to wait gets a few seconds."""
        await self.settle()
        until = self.clock() + timedelta(seconds=10)
        while True:
            async with self.store.write() as db:
                found = await jobs.claim(db, list(self.handlers), self.clock(), 1)
            if not found:
                async with self.store.read() as db:
                    due = await jobs.next_due(db, [orders.Direct.kind, orders.Backfill.kind, orders.Notice.kind])
                if due is None or due > until:
                    return
                self.clock.now = max(self.clock.now, due)
            for job in found:
                await self._do(job)
                await self.settle()

    async def _do(self, job: Job) -> None:
        now = self.clock()
        try:
            await self.handlers[job.kind](job)
        except TryLater as later:
            async with self.store.write() as db:
                run_at = now + timedelta(seconds=later.after_s or 1)
                await jobs.put_back(db, job, later.sentence, run_at, now)
        except GiveUp as error:
            async with self.store.write() as db:
                await jobs.failed(db, job.id, error.reason, now)
        else:
            async with self.store.write() as db:
                await jobs.done(db, job.id, now)


ROOMY = {"min_free_bytes": 0}


def opened(wrapper: HeardEvent) -> HeardEvent:
    return replace(chunk(wrapper.event_id, 2), encrypted=True, clear_relation=wrapper.clear_relation)


@asynccontextmanager
async def town(directory: Path, homeserver: Homeserver) -> AsyncIterator[Town]:
    store = await Mortal.own(Place(directory))
    assert isinstance(store, Mortal)
    try:
        yield Town(store, homeserver)
    finally:
        await store.close()


def said(world: Town, name: str, words: str, reply_to: str | None = None) -> HeardEvent:
    """Build a command that Alice says now."""
    content: dict[str, Any] = {"msgtype": "m.text", "body": f"{PREFIX} {words}"}
    if reply_to is not None:
        content["m.relates_to"] = {"m.in_reply_to": {"event_id": reply_to}}
    return heard(name, "m.room.message", content, origin_server_ts=round(world.clock().timestamp() * 1000))


async def story(world: Town) -> None:
    """The bot is invited, sends an address and a new one, records what it can read, gets keys, finds the past, and is
    switched off.

    Told a second time it is what the homeserver tells again, being in doubt.
    """
    if not world.homeserver.joined:
        await world.intake.take(SyncBatch("t", invites=(Invite(ROOM, ALICE, direct=False, encrypted=False),)))
    await world.work()
    if ROOM in world.homeserver.joined:
        await world.intake.take(batch(before=room_state()))
    await world.intake.ask_for_state()
    await world.work()
    await world.hear(said(world, "$feed", "feed"))
    await world.work()
    for chat in world.homeserver.chats:
        brought = batch(before=chat_state("join"))
        await world.intake.take(replace(brought, rooms=(replace(brought.rooms[0], room_id=chat),)))
    await world.work()
    await world.hear(said(world, "$renew", "feed renew"))
    await world.work()
    await world.begin(chunk("$c1", 1), sealed(SEALED))
    await world.work()
    await import_keys(world)
    await world.work()
    clear(Sealed(world.store.blobs.part("keys-x"), "of one use"))  # the shell has read what became of them
    await world.hear(said(world, "$backfill", "backfill"))
    await world.work()
    await world.hear(said(world, "$cover", "podcast cover", reply_to="$picture"))
    await world.work()
    await world.hear(said(world, "$off", "record off"))
    await world.work()
    world.clock.pass_by(61)
    await world.work()


async def import_keys(world: Town) -> None:
    """Somebody does so, and again whenever it was interrupted."""
    async with world.store.read() as db:
        before = await archive.chunk_of_event(db, SEALED)
    if before is not None and before.session_id is None:
        return
    file = world.store.blobs.part("keys-x")
    file.write_bytes(b"sealed anew")
    async with world.store.write() as db:
        await jobs.add(db, orders.ImportKeys(file, "of one use").job(), world.clock())


async def outcome(world: Town) -> dict[str, Any]:
    async with world.store.read() as db:
        recordings = sorted(await archive.recordings(db), key=lambda one: one.number)
        room = await rooms.room(db, ROOM)
        listener = await rooms.listener(db, ROOM, ALICE)
        log = await changes.of_rooms(db, [ROOM])
        waits = [kind for kind in world.handlers for _ in await jobs.unfinished(db, kind) if kind != orders.Forget.kind]
    assert room is not None
    return {
        "said": Counter(world.homeserver.said.values()),
        "joined": world.homeserver.joined,
        "recordings": [(one.event_id, one.number, one.state, one.ended_by) for one in recordings],
        "recording": room.recording_on,
        "cover": room.own_cover,
        "changes": [(change.what, change.event_id) for change in log],
        "listener": listener,
        "waits": waits,
        "scratch": list(world.store.blobs.scratch.iterdir()),
    }


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ffmpeg(monkeypatch)


@pytest.fixture
async def begun(tmp_path: Path) -> Path:
    """Open a store once, for copies of it."""
    await (await Mortal.own(Place(tmp_path / "begun"))).close()
    return tmp_path / "begun"


async def undisturbed(begun: Path) -> tuple[dict[str, Any], int, list[str]]:
    """Run the undisturbed story; return its outcome, its writes and its requests."""
    homeserver = Homeserver()
    async with town(shutil.copytree(begun, begun.with_name("undisturbed")), homeserver) as world:
        world.store.die_at(-1, after_commit=False)
        await story(world)
        assert world.store.left is not None
        writes, asked = -1 - world.store.left, list(homeserver.asked)
        return await outcome(world), writes, asked


async def once_more(begun: Path, name: str, dies: Callable[[Town], None]) -> tuple[dict[str, Any], Homeserver]:
    """Run the story until a death, start again, and run the story once more."""
    homeserver = Homeserver()
    async with town(shutil.copytree(begun, begun.with_name(name)), homeserver) as world:
        dies(world)
        with pytest.raises(Killed):
            await story(world)
        homeserver.left = None
        await world.rise_again()
        await story(world)
        return await outcome(world), homeserver


async def test_the_story_is_what_it_says(begun: Path) -> None:
    """All kinds of requests are made, each thing is said once, and three broadcasts are recorded in their order."""
    found, _, asked = await undisturbed(begun)
    assert set(asked) == {"join", "send", "create", "state", "page", "relations", "keys", "event"}
    assert found["recordings"] == [
        ("$past1", 1, RecordingState.COMPLETE, EndedBy.STOPPED),
        ("$past0", 2, RecordingState.COMPLETE, EndedBy.STOPPED),
        (START, 3, RecordingState.INCOMPLETE, EndedBy.SWITCHED_OFF),
    ]
    assert len(found["said"]) == sum(found["said"].values()) == 11
    listener = found["listener"]
    assert (listener.generation, listener.next_generation) == (2, None)
    assert (found["waits"], found["recording"]) == ([], False)
    assert [change for change in found["changes"] if change[0] == "podcast cover"] == [("podcast cover", "$cover")]
    assert found["cover"] is not None


@pytest.mark.parametrize("taken", [False, True], ids=["before", "after"])
async def test_a_death_at_a_request_says_and_does_nothing_twice(begun: Path, taken: bool) -> None:
    """Killed before the homeserver took a request, or before its answer was read, one of each kind and of so many:
    everything is said once. Only a direct chat that was made and not written down is made again: such a request has no
    transaction. Of the two in turn; with AIRCHECK_KILL_POINTS=all at both."""
    expected, _, asked = await undisturbed(begun)
    for place, (number, what) in enumerate(numbered(asked)):
        if EVERY > 1 and what != "create" and place % 2 != taken:
            continue

        def dies(world: Town, number: int = number) -> None:
            world.homeserver.left, world.homeserver.taken = number, taken

        found, homeserver = await once_more(begun, str(number), dies)
        assert found == expected, f"died at request {number}, {what}"
        assert len(homeserver.chats) == (2 if taken and what == "create" else 1)


@pytest.mark.parametrize("rest", range(3))
async def test_a_death_at_a_write_says_and_does_nothing_twice(begun: Path, rest: int) -> None:
    """Killed at three writes in a row of every so many: everything is said once, no command is carried out twice, and
    no page of the history is lost."""
    expected, writes, _ = await undisturbed(begun)
    for number in range(1 + rest, writes + 1, 3 * EVERY):

        def dies(world: Town, number: int = number) -> None:
            world.store.die_at(number, after_commit=False)

        found, homeserver = await once_more(begun, str(number), dies)
        assert found == expected, f"died at write {number}"
        assert len(homeserver.chats) in (1, 2)
