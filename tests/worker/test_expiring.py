"""Retention at work: the room is told, waits, and loses what nobody keeps."""

import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from bot import orders, words
from bot.recording.model import Deleted, RecordingEvent
from bot.settings import RetentionSettings
from bot.worker import expiring
from bot.worker.expiring import Expiring
from storage import archive, heirs, jobs, rooms
from storage.database import Connection
from storage.records import EventId, JobId, NewJob, Recording, RecordingId, RecordingState, Retention, RoomId
from tests.factories import a_recording, a_room
from tests.worker.retained import DAY, DAY_S, Retained, retained
from tests.world import ALICE, ROOM, heard

LIVE = RecordingState.LIVE
THIRTY = Retention(days=30)


@pytest.fixture(scope="module")
async def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Let the bot join the room once, for copies of its store."""
    directory = tmp_path_factory.mktemp("retention") / "data"
    async with retained(directory) as made:
        await made.join()
        await made.done()
    return directory


@pytest.fixture
async def world(begun: Path, tmp_path: Path) -> AsyncIterator[Retained]:
    async with retained(shutil.copytree(begun, tmp_path / "data")) as made:
        yield made


async def limit(world: Retained, **settings: int) -> None:
    """Start again with other settings."""
    world.settings = world.settings.model_copy(update={"retention": RetentionSettings(**settings)})
    await world.rise_again()


async def test_a_room_is_told_once_and_loses_it_a_week_later(world: Retained) -> None:
    """A notice says what goes, when, and how to keep it; a second one what has gone, and by which rule."""
    await world.rule(retention=THIRTY)
    old, kept = await world.old(31, title="Soup"), await world.old(90, kept=True)
    await world.days(0)
    told = (
        "This recording will be deleted by retention:\n"
        f"{old.code} · Soup, by Somebody · 27 November 2026, 14:05 (UTC) · older than 30 days\n"
        "`!aircheck keep CODE` keeps one for good: its speaker or a moderator can say so until then."
    )
    assert world.ears.words == [told]
    await world.days(1)
    await world.days(5.9)
    assert len(world.ears.words) == 1
    world.clock.pass_by(0.1 * DAY_S)
    await world.done()  # without the keeper: the next look was ordered for that moment
    gone = (
        "Retention has deleted this recording, with its audio and its page:\n"
        f"{old.code} · older than 30 days\nCopies in people's apps can't be called back."
    )
    assert world.ears.words == [told, gone]
    assert await world.states() == {old.event_id: "deleted", kept.event_id: "complete"}
    assert await world.log() == [("retention", None, old.code, "deleted")]
    await world.days(30)
    assert len(world.ears.words) == 2


async def test_what_is_not_told_does_not_go(world: Retained) -> None:
    """Nothing goes by the room's rule where the bot is muted; it tries each day, and the time begins when it is
    heard."""
    await world.rule(retention=THIRTY)
    old = await world.old(31)
    world.ears.muted = True
    for _ in range(10):
        await world.days(1)
    assert (await world.look(old)).expiry_told_at is None
    world.ears.muted = False
    await world.days(1)
    assert (await world.look(old)).expiry_told_at == world.clock()
    await world.days(6)
    assert (await world.states())[old.event_id] == "complete"
    await world.days(1)
    assert (await world.states())[old.event_id] == "deleted"


async def test_the_room_is_told_as_soon_as_the_bot_may_speak(world: Retained) -> None:
    """A refused warning is said when the power levels change; a later change says nothing more."""
    await world.rule(retention=THIRTY)
    old = await world.old(31)
    world.ears.muted = True
    await world.days(0)
    world.clock.pass_by(60)
    world.ears.muted = False
    for name in ("$levels", "$again"):
        await world.hear(heard(name, "m.room.power_levels", {"users": {ALICE: 100}}, state_key=""))
        due = [order.room_id for order in await world.ordered(orders.Expire)]
        assert due == [ROOM]  # the second is the one of a week later
        await world.done()
        assert [old.code in told for told in world.ears.words] == [True]
        assert (await world.look(old)).expiry_told_at == world.clock()


async def test_the_limit_of_the_administrator_holds_where_the_bot_is_muted(world: Retained) -> None:
    """After a week of trying, what is older than `max_days` goes."""
    await limit(world, max_days=60)
    old, young = await world.old(90), await world.old(50)
    world.ears.muted = True
    for _ in range(7):
        assert (await world.states())[old.event_id] == "complete"
        await world.days(1)
    await world.days(1)
    assert await world.states() == {old.event_id: "deleted", young.event_id: "complete"}
    assert await world.log() == [("retention.max_days", None, old.code, "deleted")]


async def test_a_room_that_the_bot_has_left_loses_what_was_promised(world: Retained) -> None:
    """Nothing is said there, and both rules hold after the time of notice."""
    await world.rule(retention=THIRTY, joined=False)
    old = await world.old(31)
    await world.days(0)
    await world.days(7)
    assert (await world.states())[old.event_id] == "deleted"
    assert world.ears.words == []


async def test_a_recording_that_is_kept_in_time_stays(world: Retained) -> None:
    """`keep` works until the last moment; after `unkeep` the room is told anew."""
    await world.rule(retention=THIRTY)
    old = await world.old(31)
    await world.days(0)
    await world.days(6.9)
    assert (
        await world.say("$keep", f"keep {old.code}") == f"{old.code} is kept: Alice said so. Retention leaves it alone."
    )
    await world.days(10)
    assert (await world.states())[old.event_id] == "complete"
    await world.say("$unkeep", f"unkeep {old.code}")
    assert (await world.look(old)).expiry_told_at == world.clock()
    await world.days(7)
    assert (await world.states())[old.event_id] == "deleted"


async def test_a_longer_rule_saves_what_was_told(world: Retained) -> None:
    """A rule that is made shorter again tells anew."""
    old = await world.old(31)
    await world.say("$short", "retention 30 days")
    assert (await world.look(old)).expiry_told_at is not None
    await world.days(6)
    await world.say("$long", "retention 90 days")
    await world.days(2)
    assert (await world.look(old)).expiry_told_at is None
    answer = await world.say("$again", "retention 30 days")
    assert "5 December 2026, 14:05 (UTC)" in answer
    await world.days(6.9)
    assert (await world.states())[old.event_id] == "complete"


async def test_without_a_time_of_notice_it_goes_after_the_command(world: Retained) -> None:
    """With `warn_days: 0` the answer is the only warning; what is live stays."""
    await limit(world, warn_days=0)
    first, second, third = await world.old(3), await world.old(2), await world.old(1)
    live = await world.old(9, state=LIVE)
    answer = await world.say("$rule", "retention 1 episode")
    assert [one.code in answer for one in (first, second, third, live)] == [True, True, False, False]
    states = await world.states()
    assert [states[one.event_id] for one in (first, second, third, live)] == [
        "deleted", "deleted", "complete", "live",
    ]  # fmt: skip
    assert f"{second.code} · older than the newest episode\n{first.code} · " in world.ears.words[-1]


async def test_many_go_some_at_a_time_and_are_told_together(world: Retained, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many transactions it takes, one notice lists the newest thirty and the number of the others."""
    monkeypatch.setattr(expiring, "AT_ONCE", 3)
    await world.rule(retention=Retention(episodes=1))
    codes = [(await world.old(days)).code for days in range(36)]
    await world.days(0)
    (told,) = world.ears.words
    assert told.startswith("These 35 recordings will be deleted by retention:\n")
    assert [code in told for code in codes] == [False, *[True] * 30, *[False] * 5]
    assert "\n… and 5 older ones\n" in told
    await world.days(7)
    assert list((await world.states()).values()).count("deleted") == 35
    assert len(world.ears.words) == 2
    assert world.ears.words[1].startswith("Retention has deleted these 35 recordings, ")
    assert len(await world.log()) == 35


async def test_a_look_is_made_once_for_all_that_goes(world: Retained, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many go, the podcast is read twice, and no transaction that writes reads more than it deletes; the order
    grows no longer than the notice."""
    monkeypatch.setattr(expiring, "AT_ONCE", 2)
    monkeypatch.setattr(words, "MOST_LISTED", 3)
    await limit(world, warn_days=0)
    await world.rule(retention=Retention(days=1))
    for days in range(2, 11):
        await world.old(days)
    reads, batches, orders_noted = [], [], []

    async def read_all(db: Connection, line: Sequence[RoomId]) -> tuple[Recording, ...]:
        reads.append(line)
        return await not_deleted(db, line)

    async def read_some(db: Connection, ids: Sequence[RecordingId]) -> dict[RecordingId, Recording]:
        batches.append(len(ids))
        return await by_id(db, ids)

    async def note(db: Connection, job_id: JobId, progress: NewJob, now: datetime) -> None:
        orders_noted.append(progress.payload)
        await note_all(db, job_id, progress, now)

    not_deleted, by_id, note_all = archive.not_deleted, archive.recordings_by_id, jobs.note
    monkeypatch.setattr(archive, "not_deleted", read_all)
    monkeypatch.setattr(archive, "recordings_by_id", read_some)
    monkeypatch.setattr(jobs, "note", note)
    await world.days(0)
    assert set((await world.states()).values()) == {"deleted"}
    assert (len(reads), batches) == (2, [2, 2, 2, 2, 1, 0])
    assert (len(orders_noted[-1]["gone"]), orders_noted[-1]["unlisted"]) == (3, 6)
    assert "these 9 recordings" in world.ears.words[-1]
    assert "… and 6 older ones" in world.ears.words[-1]


@pytest.mark.parametrize("what", ["kept", "newer deleted", "longer rule"])
async def test_a_change_while_recordings_go_spares_the_others(
    world: Retained, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A recording that is kept, or that the rule does not end any more, stays though the look had found it."""
    monkeypatch.setattr(expiring, "AT_ONCE", 1)
    await limit(world, warn_days=0)
    await world.rule(retention=Retention(episodes=1))
    newest, first, second = await world.old(1), await world.old(2), await world.old(3)
    apply = world.recorder.apply

    async def meanwhile(db: Connection, recording_id: RecordingId, event: RecordingEvent) -> None:
        await apply(db, recording_id, event)
        if recording_id != first.id:
            return
        match what:
            case "kept":
                await archive.save_recording(db, replace(second, kept=True))
            case "newer deleted":
                await apply(db, newest.id, Deleted())
            case _:
                room = await rooms.room(db, ROOM)
                assert room is not None
                await rooms.save_room(db, replace(room, retention=Retention(episodes=2)))

    world.handlers[orders.Expire.kind] = Expiring(world.store, world.settings, apply=meanwhile, clock=world.clock)
    await world.days(0)
    states = await world.states()
    assert (states[first.event_id], states[second.event_id]) == ("deleted", "complete")
    assert f"this recording, with its audio and its page:\n{first.code} · " in world.ears.words[-1]


async def test_a_warning_names_only_what_still_goes(world: Retained) -> None:
    """A recording that was kept while the warning waited is neither named nor counted as told."""
    await world.rule(retention=THIRTY)
    kept, old = await world.old(31), await world.old(32)
    async with world.store.write() as db:
        order = orders.Forewarn("expired:1", ROOM, (kept.id, old.id))
        await jobs.add(db, order.job(), world.clock())
        await archive.save_recording(db, replace(kept, kept=True))
    await world.done()
    (told,) = world.ears.words
    assert (kept.code in told, old.code in told) == (False, True)
    assert ((await world.look(kept)).expiry_told_at, (await world.look(old)).expiry_told_at) == (None, world.clock())
    async with world.store.write() as db:
        await jobs.add(db, orders.Forewarn("expired:2", ROOM, (kept.id, old.id)).job(), world.clock())
    await world.done()
    assert len(world.ears.words) == 1


async def test_a_clock_that_goes_wrong_deletes_nothing_early(world: Retained) -> None:
    """A clock a year ahead warns first; once it is set back, what it told counts for nothing."""
    await world.rule(retention=THIRTY)
    new = await world.old(1)
    await world.days(365)
    assert (await world.states())[new.event_id] == "complete"
    assert (await world.look(new)).expiry_told_at == world.clock()
    await world.days(-364)
    found = await world.look(new)
    assert (found.state, found.expiry_told_at, found.expiry_tried_at) == (RecordingState.COMPLETE, None, None)
    await world.days(29)
    assert (await world.states())[new.event_id] == "complete"


async def test_the_recordings_of_an_upgraded_room_count_with_those_of_the_new_one(world: Retained) -> None:
    """The present room's rule holds for both, and the present room is told."""
    new = RoomId("!new:hs")
    await world.rule(retention=Retention(episodes=5))
    earlier = await world.old(2)
    async with world.store.write() as db:
        await rooms.save_room(db, a_room(new, at=world.clock(), retention=Retention(episodes=1)))
        await heirs.inherit(db, ROOM, new)
        later = a_recording(at=world.clock() - DAY, room_id=new, event_id=EventId("$later"), broadcaster=ALICE)
        await archive.add_recording(db, later)
    await world.days(0)
    assert [earlier.code in told for told in world.ears.words] == [True]
    await world.days(7)
    assert await world.states() == {earlier.event_id: "deleted", "$later": "complete"}


async def test_a_podcast_without_a_rule_is_not_looked_at(world: Retained) -> None:
    """The keeper orders looks only where a rule may end something, or has told so."""
    await world.old(9)
    await world.keeper.expire()
    assert await world.ordered(orders.Expire) == []
    await world.rule(retention=THIRTY)
    await world.keeper.expire()
    assert await world.ordered(orders.Expire) == []  # once a day
    await world.days(1)
    marked = await world.old(24)
    await world.days(1)
    assert (await world.look(marked)).expiry_told_at is not None
    await world.rule(retention=Retention())
    await world.days(1)
    assert (await world.look(marked)).expiry_told_at is None
