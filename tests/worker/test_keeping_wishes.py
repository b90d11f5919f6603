"""Wishes in the bot's account data: written once for each change, sealed, and carried out again after a restore."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot import orders
from bot.errors import GiveUp, TryLater
from bot.intake import catching_up, consent, disclosing, kept_wishes
from bot.intake import sealed_wishes as notes
from bot.intake.sealed_wishes import Forgotten, Objection, Wishes
from bot.worker.keeping_wishes import REFUSED_TIMES
from storage import archive, changes, jobs, journal, optouts, rooms
from storage import kept_wishes as own
from storage.records import (
    EVERYWHERE,
    Change,
    EventId,
    Job,
    Json,
    Position,
    Recorded,
    Recording,
    RecordingState,
    Retention,
    RoomId,
    UserId,
    Visibility,
)
from tests.factories import ALICE, NOW, ROOM, a_recording, a_room
from tests.worker.kept_world import BOB, Keeping
from tests.world import BOT, world_of

ELSEWHERE = RoomId("!elsewhere:hs")
KEY = b"k" * 32
EVERYTHING = Wishes(
    out=(Objection(BOB, NOW, NOW + timedelta(hours=1)), Objection(ALICE, NOW)),
    forgotten=(Forgotten(BOB, NOW),),
    deleted=(EventId("$gone"),),
    private=(EventId("$private"),),
    kept=(EventId("$kept"),),
    records=("messages",),
    visibility="private",
    retention="30 days",
    review=True,
    speakers=(ALICE,),
    studio=False,
)


@pytest.fixture
async def keeping(tmp_path: Path) -> AsyncIterator[Keeping]:
    async with world_of(tmp_path) as world:
        keeping = Keeping(world)
        await keeping.begin().begin()
        async with world.store.write() as db:
            await rooms.save_room(
                db,
                a_room(
                    visibility=Visibility.PUBLIC,
                    public_since=Position(1),
                    messages_since=Position(1),
                    told_at=Position(0),
                ),
            )
            for place, event in enumerate(("$gone", "$private", "$kept"), 1):
                recording = a_recording(event_id=EventId(event), public=True, position=Position(place))
                await archive.add_recording(db, recording)
        yield keeping


def test_what_is_kept_is_read_back_and_tells_little() -> None:
    """Sealed wishes open with the same key, for the same account and room; nothing of it is in clear, and its length
    is rounded up."""
    sealed = notes.seal(KEY, BOT, ROOM, EVERYTHING)
    assert notes.unseal(KEY, BOT, ROOM, sealed) == EVERYTHING
    assert notes.unseal(b"x" * 32, BOT, ROOM, sealed) is None
    assert notes.unseal(KEY, BOT, ELSEWHERE, sealed) is None
    assert notes.unseal(KEY, ALICE, ROOM, sealed) is None
    assert "bob" not in json.dumps(sealed)
    short = notes.seal(KEY, BOT, ROOM, Wishes())
    assert len(short["sealed"]) == len(notes.seal(KEY, BOT, ROOM, Wishes(review=True))["sealed"])


@pytest.mark.parametrize(
    "content", [{}, {"version": 1}, {"version": 1, "sealed": "?"}, {"version": 1, "sealed": "AA=="}]
)
def test_what_somebody_else_wrote_is_nothing(content: Json) -> None:
    """Account data that the bot did not write says nothing."""
    assert notes.unseal(KEY, BOT, ROOM, content) is None


def test_the_oldest_of_the_least_weight_goes_first() -> None:
    """A long list is bounded: opt-outs stay where recordings that are kept, or were deleted, don't fit."""
    many = tuple(EventId(f"${number}") for number in range(9000))
    out = tuple(Objection(UserId(f"@{number}:hs"), NOW) for number in range(200))
    bounded = notes.bounded(Wishes(out=out, deleted=many, kept=many, records=("calls",)))
    assert len(notes.to_bytes(bounded)) <= notes.MOST_BYTES
    assert bounded.out == out
    assert bounded.deleted == many[: len(bounded.deleted)]
    assert 0 < len(bounded.deleted) < len(many)
    assert not bounded.kept


async def test_each_change_is_written_once(keeping: Keeping) -> None:
    """An `optout` is written; changes that wait are written together, and what changes nothing is not written."""
    await keeping.opt_out()
    await keeping.note("delete", subject=(await keeping.recording("$gone")).code, after="deleted")
    await keeping.note("publish", subject=(await keeping.recording("$private")).code, after="private")
    await keeping.note("keep", subject=(await keeping.recording("$kept")).code)
    assert await keeping.work() == 1
    kept = await keeping.kept()
    assert kept is not None
    assert [each.user_id for each in kept.out] == [BOB]
    assert (kept.deleted, kept.private, kept.kept) == (("$gone",), ("$private",), ("$kept",))
    assert (kept.records, kept.visibility) == (("broadcasts", "messages"), "public")
    await keeping.note("announce", after="off")
    assert await keeping.work() == 0
    await keeping.opt_out(EVERYWHERE)
    assert await keeping.work() == 1
    everywhere = await keeping.kept(None)
    assert everywhere is not None
    assert [each.user_id for each in everywhere.out] == [BOB]


async def test_a_failure_keeps_nothing_up_and_is_known(keeping: Keeping) -> None:
    """The job waits where account data can't be written, for as long as that takes, and health is told since when."""
    handler = keeping.begin()
    for trouble in (TryLater("away"), GiveUp("no", reason="forbidden")):
        keeping.homeserver.trouble = trouble
        await keeping.opt_out()
        assert await keeping.work() == 0
        assert handler.troubled_since is not None
    keeping.homeserver.trouble = None
    keeping.world.clock.pass_by(3600)
    assert await keeping.work() == 1
    assert handler.troubled_since is None


async def test_a_room_that_is_refused_is_known_while_others_are_not(keeping: Keeping) -> None:
    """A homeserver that takes the wishes of all rooms but one, such as for their length, is told of for as long."""
    handler = keeping.begin()
    keeping.homeserver.withheld.add(ROOM)
    await keeping.opt_out()
    assert await keeping.work() == 0
    since = handler.troubled_since
    assert since is not None
    keeping.world.clock.pass_by(3600)
    await keeping.opt_out(EVERYWHERE)
    assert await keeping.work() == 1
    assert handler.troubled_since == since
    keeping.homeserver.withheld.clear()
    keeping.world.clock.pass_by(3600)
    assert await keeping.work() == 1
    assert handler.troubled_since is None


async def test_what_was_wished_since_the_backup_holds(keeping: Keeping) -> None:
    """After a restore everything that protects people holds before anything is heard: opt-outs of the room and of
    everywhere, deletions, what was unpublished, what must be approved, who may speak."""
    await keeping.keep(replace(EVERYTHING, forgotten=()))
    await keeping.keep(Wishes(out=(Objection(UserId("@carol:hs"), NOW),)), None)
    handler = await keeping.restored()
    await handler.read_first()
    assert (await keeping.recording("$gone")).state is RecordingState.DELETED
    assert not (await keeping.recording("$private")).public
    assert (await keeping.recording("$kept")).kept
    async with keeping.world.store.read() as db:
        room = await rooms.room(db, ROOM)
        assert await consent.is_out(db, ROOM, ALICE)
        assert await consent.is_out(db, ROOM, UserId("@carol:hs"))
        assert not await consent.is_out(db, ROOM, BOB)
        words = await optouts.of(db, BOB)
        assert [(word.out, word.at) for word in words] == [(True, NOW), (False, NOW + timedelta(hours=1))]
        again = words[-1].position
        assert again <= await journal.position(db)
        # What Bob said while he was out is found again behind it, and is known by its time.
        said = {"began": Position(again + 1), "sent_at": NOW + timedelta(minutes=30)}
        assert not await consent.may_record(db, ROOM, BOB, **said)  # type: ignore[arg-type]
    assert room is not None
    assert room.review
    assert room.speakers == (ALICE,)
    assert not room.studio


async def test_reading_twice_changes_nothing_more(keeping: Keeping) -> None:
    """Killed at any point, or restored once more, the bot carries out each wish once."""
    await keeping.keep(EVERYTHING)
    await (await keeping.restored()).read_first()

    async def rows() -> tuple[object, ...]:
        async with keeping.world.store.read() as db:
            return await optouts.every(db), await changes.every(db), await archive.recordings(db)

    before = await rows()
    await (await keeping.restored()).read_first()
    assert await rows() == before


async def test_nothing_is_written_before_it_was_read(keeping: Keeping) -> None:
    """Whatever the bot kept before the disaster is not replaced by what the backup knows, whoever is faster."""
    await keeping.keep(EVERYTHING)
    before = dict(keeping.homeserver.data)
    await keeping.restored()
    keeping.homeserver.trouble = TryLater("away")
    await keeping.note("announce", after="off")
    assert await keeping.work() == 0
    async with keeping.world.store.read() as db:
        assert await catching_up.awaited(db, ROOM) == "what was wished since the backup is being read"
    keeping.homeserver.trouble = None
    keeping.world.clock.pass_by(3600)
    assert await keeping.work() == 0
    assert keeping.homeserver.data == before
    assert (await keeping.recording("$gone")).state is RecordingState.DELETED


async def test_a_refusal_is_believed_in_the_end(keeping: Keeping) -> None:
    """A room whose wishes the homeserver keeps refusing opens without; it is told so."""
    handler = await keeping.restored()
    keeping.homeserver.trouble = GiveUp("no", reason="forbidden")
    for attempts, unread in ((0, True), (REFUSED_TIMES, False)):
        job = await job_of(keeping, attempts)
        with pytest.raises(TryLater) if unread else pytest.raises(AssertionError):
            await handler(job)
            raise AssertionError
        async with keeping.world.store.read() as db:
            assert await own.is_unread(db, ROOM) is unread


async def job_of(keeping: Keeping, attempts: int) -> Job:
    async with keeping.world.store.read() as db:
        found = await jobs.find(db, orders.KeepWishes.about(ROOM))
    assert found is not None
    return replace(found, attempts=attempts)


async def test_what_is_found_again_meets_the_wishes(keeping: Keeping) -> None:
    """A recording of after the backup that was deleted is deleted again before its room opens, one of a kind that was
    switched off waits for approval, and the notice says that wishes hold."""
    found = ("$found", "$forgotten", "$off")
    wishes = Wishes(
        deleted=(EventId("$found"),),
        forgotten=(Forgotten(BOB, NOW + timedelta(hours=2)),),
        records=("messages",),
        visibility="public",
    )
    await keeping.keep(wishes)
    await (await keeping.restored()).read_first()
    async with keeping.world.store.write() as db:
        for event, user_id in zip(found, (ALICE, BOB, ALICE), strict=True):
            recording = a_recording(
                event_id=EventId(event), position=Position(100), at=NOW + timedelta(hours=1), broadcaster=user_id
            )
            added = await archive.add_recording(db, recording)
            assert added.unreviewed is (event == "$found")
        room = await rooms.room(db, ROOM)
        assert room is not None
        await catching_up.end(
            db,
            keeping.world.recorder.apply,
            room,
            BOT,
            "then",
            "!aircheck",
            keeping.world.settings.retention,
            NOW + timedelta(hours=3),
        )
        opened = await rooms.room(db, ROOM)
        notices = [orders.Notice.of(job).body for job in await jobs.unfinished(db, orders.Notice.kind)]
    states = [(each.state is RecordingState.DELETED, each.unreviewed) for each in await all_of(keeping, found)]
    assert states == [(True, True), (True, False), (False, True)]
    assert opened is not None
    assert opened.behind is None
    assert opened.visibility is Visibility.PUBLIC
    assert Recorded.BROADCASTS not in opened.switched_on
    assert any("of that time hold" in notice for notice in notices)
    assert await keeping.work() == 1
    kept = await keeping.kept()
    assert kept is not None
    assert "$found" in kept.deleted


async def all_of(keeping: Keeping, events: tuple[str, ...]) -> list[Recording]:
    return [await keeping.recording(event) for event in events]


async def test_a_room_that_the_backup_does_not_know_keeps_its_wishes(keeping: Keeping) -> None:
    """An `optout` in a room that the bot joined after the backup holds there too."""
    await keeping.keep(Wishes(out=(Objection(BOB, NOW),), deleted=(EventId("$there"),)), ELSEWHERE)
    keeping.homeserver.joined = (ROOM, ELSEWHERE)
    await (await keeping.restored()).read_first()
    async with keeping.world.store.read() as db:
        assert await consent.is_out(db, ELSEWHERE, BOB)
        assert await kept_wishes.read(db, ELSEWHERE) is not None


async def test_rooms_that_were_joined_since_the_backup_are_found_later_too(keeping: Keeping) -> None:
    """A homeserver does not say at first in which rooms the bot is: nothing is written over what was wished in one that
    the backup does not know, which a sync has shown meanwhile."""
    await keeping.keep(Wishes(out=(Objection(BOB, NOW),)), ELSEWHERE)
    keeping.homeserver.joined = (ROOM, ELSEWHERE)
    keeping.homeserver.unlisted = TryLater("away")
    await (await keeping.restored()).read_first()
    async with keeping.world.store.write() as db:
        await rooms.save_room(db, a_room(room_id=ELSEWHERE))
        await disclosing.note(db, Change(0, NOW, ELSEWHERE, ALICE, "review", after="on"))
    assert await keeping.work() == 0
    keeping.homeserver.unlisted = None
    keeping.homeserver.withheld.add(ELSEWHERE)
    keeping.world.clock.pass_by(3600)
    await keeping.work()
    keeping.homeserver.withheld.clear()
    keeping.world.clock.pass_by(3600)
    await keeping.work()
    async with keeping.world.store.read() as db:
        assert await consent.is_out(db, ELSEWHERE, BOB)
    kept = await keeping.kept(ELSEWHERE)
    assert kept is not None
    assert [each.user_id for each in kept.out] == [BOB]


async def test_a_room_that_the_backup_does_not_know_is_asked_about_again(keeping: Keeping) -> None:
    """The bot asks again for what the homeserver does not tell before the first sync, though nothing changes in the
    room."""
    await keeping.keep(Wishes(out=(Objection(BOB, NOW),)), ELSEWHERE)
    keeping.homeserver.joined = (ROOM, ELSEWHERE)
    keeping.homeserver.withheld.add(ELSEWHERE)
    await (await keeping.restored()).read_first()
    keeping.homeserver.withheld.clear()
    keeping.world.clock.pass_by(3600)
    await keeping.work()
    async with keeping.world.store.read() as db:
        assert await consent.is_out(db, ELSEWHERE, BOB)


@pytest.mark.parametrize("seen_first", [True, False])
async def test_a_room_that_the_backup_does_not_know_keeps_its_settings(keeping: Keeping, seen_first: bool) -> None:
    """A room that goes on, as the heir of one that the backup knows, records and publishes no more than it did at the
    end, once."""
    await keeping.keep(Wishes(records=("messages",), visibility="private", review=True, speakers=(BOB,)), ELSEWHERE)
    keeping.homeserver.joined = (ROOM, ELSEWHERE)
    handler = await keeping.restored()
    if not seen_first:
        await handler.read_first()
    heir = a_room(
        room_id=ELSEWHERE, messages_wait=True, calls_on=True, visibility=Visibility.PUBLIC, public_since=Position(1)
    )
    async with keeping.world.store.write() as db:
        await rooms.save_room(db, heir)
        await disclosing.switched(db, ELSEWHERE, "record", NOW, on=True, by=None)
    await keeping.work()
    async with keeping.world.store.read() as db:
        room = await rooms.room(db, ELSEWHERE)
    assert room is not None
    assert room.switched_on == {Recorded.MESSAGES}
    assert (room.visibility, room.review, room.speakers) == (Visibility.PRIVATE, True, (BOB,))
    async with keeping.world.store.write() as db:
        await rooms.save_room(db, replace(room, recording_on=True))
        await disclosing.switched(db, ELSEWHERE, "record", NOW, on=True, by=ALICE)
    await keeping.work()
    async with keeping.world.store.read() as db:
        again = await rooms.room(db, ELSEWHERE)
    assert again is not None
    assert again.recording_on


@pytest.mark.parametrize("changed", [False, True])
async def test_a_rule_that_was_kept_before_the_backup_is_not_the_last(keeping: Keeping, changed: bool) -> None:
    """Wishes that were written last before the backup may be older than the rule in it; those written since are not."""
    await keeping.note("review")
    await keeping.work()
    async with keeping.world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, retention=Retention(days=9)))  # not written any more
    kept = await keeping.kept()
    assert kept is not None
    assert kept.retention == "forever"
    if changed:
        await keeping.keep(replace(kept, retention="20 days"))
    await (await keeping.restored()).read_first()
    async with keeping.world.store.read() as db:
        found = await kept_wishes.read(db, ROOM)
        assert await own.written(db, ROOM) is None
    assert found is not None
    assert found.retention == ("20 days" if changed else None)


@pytest.mark.parametrize("says", [False, True])
async def test_a_room_that_the_backup_does_not_know_keeps_its_rule(keeping: Keeping, says: bool) -> None:
    """Recordings stay for as long as was said in the room before the failure, or again after it."""
    await keeping.keep(Wishes(records=(), visibility="private", retention="10 days"), ELSEWHERE)
    keeping.homeserver.joined = (ROOM, ELSEWHERE)
    await (await keeping.restored()).read_first()
    async with keeping.world.store.write() as db:
        await rooms.save_room(db, a_room(room_id=ELSEWHERE))
        if says:
            await disclosing.note(db, Change(0, NOW, ELSEWHERE, ALICE, "retention", after="forever"))
    await keeping.work()
    async with keeping.world.store.read() as db:
        room = await rooms.room(db, ELSEWHERE)
    assert room is not None
    assert room.retention == Retention(days=None if says else 10)
