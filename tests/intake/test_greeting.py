"""Nothing is recorded until the room was told: by the notice, or by a moderator's `record on`."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import select

from bot import orders
from bot.errors import GiveUp
from bot.intake import disclosing
from bot.matrix.batch import Invite, SyncBatch
from bot.matrix.sending import Sending
from bot.worker.notices import Notices
from storage import archive, consent_notices, rooms, tables
from storage.records import Change, EventId, HeardEvent, Json, Room, RoomId, Visibility
from tests.world import ALICE, BOT, ROOM, START, Killed, World, batch, heard, info, room_state, world_of

NOTICE = EventId("$notice")
LATER = EventId("$later")
MUTED = {"users": {ALICE: 100}, "events_default": 50}
HEARD_MUTED = heard("$muted", "m.room.power_levels", MUTED, state_key="")
UNMUTED = heard("$unmuted", "m.room.power_levels", {"users": {ALICE: 100, BOT: 50}, "events_default": 50}, state_key="")


@dataclass
class Homeserver:
    """A homeserver that takes what is sent, or refuses it."""

    muted: bool = False
    sent: list[tuple[str, str]] = field(default_factory=list)  # transaction, body

    async def send(self, room_id: RoomId, kind: str, content: Json, *, txn_id: str) -> EventId:
        if self.muted:
            raise GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
        self.sent.append((txn_id, content["body"]))
        return NOTICE


@dataclass
class Coming:
    """A bot that a moderator invited, and its homeserver."""

    world: World
    homeserver: Homeserver

    async def speak(self) -> bool:
        """Send the next notice that is due, if there is one."""
        done = await self.world.work_one([orders.Notice.kind])
        await self.world.settle()
        return done

    async def room(self) -> Room:
        async with self.world.store.read() as db:
            found = await rooms.room(db, ROOM)
        assert found is not None
        return found

    async def recorded(self, *events: EventId) -> list[bool]:
        async with self.world.store.read() as db:
            return [await archive.recording_by_event(db, event) is not None for event in events]


@pytest.fixture
async def coming(tmp_path: Path) -> AsyncIterator[Coming]:
    async with world_of(tmp_path / "data") as world:
        homeserver = Homeserver()
        sending = cast("Sending", homeserver)
        world.handlers[orders.Notice.kind] = Notices(
            world.store, sending, world.settings, apply=world.recorder.apply, clock=world.clock
        )
        await world.intake.take(SyncBatch("asked", invites=(Invite(ROOM, ALICE, direct=False, encrypted=False),)))
        await world.intake.take(batch(before=room_state()))
        yield Coming(world, homeserver)


def later() -> HeardEvent:
    return replace(info(LATER, "started", device_id="E"), event_id=LATER)


def own(event_id: str = NOTICE, transaction: str | None = None) -> HeardEvent:
    """Return the bot's message as it stands in the timeline."""
    unsigned = {} if transaction is None else {"transaction_id": transaction}
    return heard(event_id, "m.room.message", {"msgtype": "m.notice", "body": "…"}, sender=BOT, unsigned=unsigned)


async def test_what_begins_before_the_notice_is_not_recorded_and_what_begins_after_it_is(coming: Coming) -> None:
    """A broadcast that began before the notice is not recorded, one that begins after it is."""
    await coming.world.begin()
    assert (await coming.room()).waits
    assert await coming.speak()
    await coming.world.hear(later())
    assert await coming.recorded(START, LATER) == [False, True]
    assert (await coming.room()).told_by == NOTICE


async def test_a_broadcast_that_the_sync_shows_in_front_of_the_notice_is_not_recorded(coming: Coming) -> None:
    """The notice's place in the timeline decides, also when the answer to the request came first."""
    assert await coming.speak()
    await coming.world.begin(own(), later())
    assert await coming.recorded(START, LATER) == [False, True]


async def test_a_notice_that_the_sync_shows_before_its_answer_counts_from_its_place(coming: Coming) -> None:
    """The notice is recognized by its transaction id, and by no other job's and no junk."""
    async with coming.world.store.read() as db:
        job = (await db.execute(select(tables.jobs.c.id).where(tables.jobs.c.kind == orders.Notice.kind))).scalar_one()
    for other in (f"aircheck-{job + 1000}", "aircheck-²", "aircheck-" + "9" * 40, "welcome"):
        await coming.world.hear(own(f"${other}", other))
    assert (await coming.room()).waits
    await coming.world.begin(own(NOTICE, f"aircheck-{job}"), later())
    assert await coming.recorded(START, LATER) == [False, True]
    assert await coming.speak()
    assert await coming.recorded(START, LATER) == [False, True]


async def test_a_notice_that_came_before_its_answer_without_a_transaction_has_its_place(coming: Coming) -> None:
    """On a homeserver that shows no transaction id, a broadcast that is read after the answer is recorded."""
    await coming.world.intake.take(batch(own(), later()))
    assert await coming.speak()
    assert await coming.recorded(LATER) == [True]


async def test_where_the_bot_may_not_speak_nothing_is_recorded_until_it_may(coming: Coming) -> None:
    """A refused notice is tried again by itself, and at once when the power levels change."""
    coming.homeserver.muted = True
    await coming.world.hear(HEARD_MUTED)
    assert await coming.speak()
    await coming.world.begin()
    assert (await coming.room()).waits
    assert not await coming.speak()
    for _ in range(8):
        coming.world.clock.pass_by(80)
        assert await coming.speak()
    assert not await coming.speak()
    coming.homeserver.muted = False
    await coming.world.hear(UNMUTED)
    assert await coming.speak()
    await coming.world.hear(later())
    assert await coming.recorded(START, LATER) == [False, True]
    assert len(coming.homeserver.sent) == 1


async def test_the_notice_tells_how_things_stand_when_it_is_said(coming: Coming) -> None:
    """The notice tells the room's settings as of when it is sent, not as of when the bot joined."""
    async with coming.world.store.write() as db:
        await rooms.save_room(db, replace(await coming.room(), recording_on=False))
    assert await coming.speak()
    ((_, body),) = coming.homeserver.sent
    assert "I record nothing here yet" in body


async def test_a_room_that_the_bot_comes_back_to_is_told_again(coming: Coming) -> None:
    """A notice from before the bot was removed no longer counts."""
    assert await coming.speak()
    await coming.world.hear(heard("$k", "m.room.member", {"membership": "leave"}, state_key=BOT), joined=False)
    await coming.world.intake.take(SyncBatch("again", invites=(Invite(ROOM, ALICE, direct=False, encrypted=False),)))
    await coming.world.intake.take(batch(before=room_state()))
    await coming.world.begin()
    assert await coming.recorded(START) == [False]
    assert await coming.speak()
    await coming.world.hear(later())
    assert await coming.recorded(LATER) == [True]


async def test_a_death_between_the_request_and_its_note_says_nothing_twice(coming: Coming) -> None:
    """After a crash the notice is sent again under the same transaction id."""
    coming.world.store.die_at(2, after_commit=False)
    with pytest.raises(Killed):
        await coming.speak()
    assert (await coming.room()).waits
    handlers = coming.world.handlers
    await coming.world.rise_again()
    coming.world.handlers[orders.Notice.kind] = handlers[orders.Notice.kind]
    assert await coming.speak()
    first, second = coming.homeserver.sent
    assert first == second
    assert not (await coming.room()).waits


async def test_a_broadcast_that_a_gap_hid_is_not_read_while_the_room_waits(coming: Coming) -> None:
    """A broadcast in a gap before the notice is not recorded, not even later."""
    state: Any = info(START, "started").event
    await coming.world.intake.take(batch(before=(state,)))
    assert await coming.world.waiting(orders.Reread.kind) == []


async def test_a_moderator_who_opens_more_has_the_room_told_again(coming: Coming) -> None:
    """The notice tells the settings of when it is said, once for all changes before, and each is a row."""
    world, sent = coming.world, coming.homeserver.sent
    assert await coming.speak()
    mod = Change(0, world.clock(), ROOM, ALICE, "publish", before="private", after="public")
    async with world.store.write() as db:
        await rooms.save_room(db, replace(await coming.room(), visibility=Visibility.PUBLIC))
        for command in ("$public", "$replay", "$public"):
            await disclosing.note(db, replace(mod, event_id=EventId(command)))
        await disclosing.note(db, replace(mod, before="public", after="private", event_id=EventId("$private")))
    while await coming.speak():
        pass
    (_, hello), (_, told) = sent
    assert "members only" in hello
    assert "anybody can hear" in told
    assert "Alice switched this on" in told
    async with world.store.read() as db:
        assert [notice.body for notice in await consent_notices.of_room(db, ROOM)] == [hello]  # one event id here


async def test_a_direct_chat_that_is_recorded_is_told_like_any_room(coming: Coming) -> None:
    """An invite may call a room of any size a direct chat: its members are told what is recorded, and it is noted."""
    while await coming.speak():
        pass
    async with coming.world.store.write() as db:
        await db.execute(tables.consent_notices.delete())
        await rooms.save_room(db, replace(await coming.room(), direct=True, recording_on=True))
        said = EventId("$on")
        change = Change(0, coming.world.clock(), ROOM, ALICE, "record", before="off", after="on", event_id=said)
        await disclosing.note(db, change)
    assert await coming.speak()
    (_, told) = coming.homeserver.sent[-1]
    assert "From now on I record" in told
    async with coming.world.store.read() as db:
        assert [notice.body for notice in await consent_notices.of_room(db, ROOM)] == [told]


async def test_a_mere_chat_is_greeted_and_nothing_is_noted(coming: Coming) -> None:
    """Nobody is recorded there."""
    async with coming.world.store.write() as db:
        await rooms.save_room(db, replace(await coming.room(), direct=True, recording_on=False))
    while await coming.speak():
        pass
    assert "I record nothing here" in coming.homeserver.sent[-1][1]
    async with coming.world.store.read() as db:
        assert await consent_notices.of_room(db, ROOM) == ()
