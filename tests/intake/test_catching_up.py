"""Rooms that were restored from a backup: closed until what happened since is known, and then in the safe direction."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import orders
from bot.errors import GiveUp, TryLater
from bot.event_types import DISCLOSURE
from bot.intake import arrival, catching_up, sealed_wishes
from bot.intake.sealed_wishes import Wishes
from bot.settings import validate
from bot.web.access import Claim, Family, Verdict, decide
from bot.worker.catching_up import CatchingUp
from bot.worker.expiring import Expiring
from storage import archive, changes, found_again, gaps, jobs, journal, kept_wishes, rooms, walkies
from storage.found_again import Trace
from storage.place import Place
from storage.records import (
    Behind,
    EventId,
    HeardEvent,
    Job,
    Json,
    Position,
    Recorded,
    Recording,
    Retention,
    Room,
    StateEvent,
    UserId,
    Visibility,
    Walkie,
)
from storage.store import Store
from tests.factories import NOW, ROOM, a_recording, a_room

US, SOMEBODY = UserId("@bot:hs"), UserId("@mallory:hs")
SETTINGS = validate({"matrix": {"homeserver": "http://127.0.0.1:1", "user_id": US}})


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A store that was just restored, with a public room that records everything."""
    store = await Store.own(Place(tmp_path / "data"))
    room = a_room(
        visibility=Visibility.PUBLIC, public_since=Position(1), messages_since=Position(1), calls_on=True, key="k" * 32
    )
    async with store.write() as db:
        await rooms.save_room(db, room)
        await archive.add_recording(db, a_recording(public=True, announced_as=EventId("$announced")))
        await walkies.save(db, Walkie(ROOM, on=True, floor_s=60, guard_s=1))
        await catching_up.begin(db, NOW, NOW)
    await nothing_was_wished(store)
    yield store
    await store.close()


async def room_of(store: Store) -> Room:
    async with store.read() as db:
        room = await rooms.room(db, ROOM)
    assert room is not None
    return room


async def recording_of(store: Store) -> Recording:
    async with store.read() as db:
        (recording,) = await archive.recordings(db, ROOM)
    return recording


async def begin_anew(store: Store, room: Room, *recordings: Recording) -> None:
    """Make the store one that was restored with this room, and more recordings."""
    async with store.write() as db:
        await rooms.save_room(db, room)
        for recording in recordings:
            await archive.add_recording(db, recording)
        await catching_up.begin(db, NOW, NOW)
    await nothing_was_wished(store)


async def nothing_was_wished(store: Store) -> None:
    """Let the bot have read its account data, and found nothing there."""
    async with store.write() as db:
        for room_id in await kept_wishes.unread(db):
            await kept_wishes.note_read(db, room_id, None)


class Homeserver:
    """The homeserver, as far as the handler asks it for a room's state."""

    def __init__(self, *state: Json, refuses: str | None = None) -> None:
        self._state = list(state)
        self._refuses = refuses

    async def room_state(self, room_id: str) -> list[Json]:
        if self._refuses is not None:
            raise GiveUp("refused", reason=self._refuses)
        return self._state


def handler_of(store: Store, homeserver: Homeserver, *, in_touch: bool = True) -> CatchingUp:
    async def take_state(room_id: Any, state: list[Json], at: Position) -> None:
        async with store.write() as db:
            for event in state:
                await rooms.save_state(
                    db, StateEvent(room_id, event["type"], "", event["sender"], event["content"], at, EventId("$s"))
                )

    return CatchingUp(
        store,
        SETTINGS,
        homeserver,  # type: ignore[arg-type]
        us=US,
        take_state=take_state,
        in_touch=lambda: in_touch,
        apply=no_deletion,
        clock=lambda: NOW,
    )


async def job_of(store: Store) -> Job:
    async with store.read() as db:
        (job,) = await jobs.unfinished(db, orders.CatchUp.kind)
    return job


def said(sender: UserId = US, **content: Any) -> Json:
    return {"type": DISCLOSURE, "sender": sender, "content": content}


EVERYTHING = ["broadcasts", "messages", "calls"]


async def catch_up(store: Store, *state: Json) -> None:
    await handler_of(store, Homeserver(*state))(await job_of(store))


async def test_a_room_that_is_behind_serves_nobody(store: Store) -> None:
    """Public and personal addresses answer later while a room is behind, and open with it."""
    for behind, verdict in ((Behind.WALKED, Verdict.LATER), (None, Verdict.OPEN)):
        room = replace(await room_of(store), behind=behind)
        assert decide(Claim(Family.PUBLIC, room), fresh=True).verdict is verdict
    async with store.read() as db:
        assert (await room_of(store)).behind is Behind.WALKED
        walkie = await walkies.get(db, ROOM)
    assert walkie is not None
    assert not walkie.on


async def test_a_room_opens_when_everything_is_known(store: Store) -> None:
    """A state event that says the same changes nothing but that the room is open, and was told."""
    await catch_up(store, said(records=EVERYTHING, visibility="public"))
    room = await room_of(store)
    assert room.behind is None
    assert room.visibility is Visibility.PUBLIC
    assert room.switched_on == set(Recorded)
    async with store.read() as db:
        notices = [orders.Notice.of(job) for job in await jobs.unfinished(db, orders.Notice.kind)]
    assert any("restored from a backup of 20 November 2026" in notice.body for notice in notices)


async def test_what_was_closed_since_the_backup_stays_closed(store: Store) -> None:
    """`record off` and `publish private` of the time between are read from the bot's own state event, and logged."""
    await catch_up(store, said(records=["messages"], visibility="private"))
    room = await room_of(store)
    assert room.switched_on == {Recorded.MESSAGES}
    assert room.visibility is Visibility.PRIVATE
    assert not (await recording_of(store)).public
    async with store.read() as db:
        changed = {(change.what, change.after) for change in await changes.of_rooms(db, [ROOM], 9)}
    assert {("record", "off"), ("record calls", "off"), ("publish", "private")} <= changed


@pytest.mark.parametrize("state", [(), (said(SOMEBODY, records=EVERYTHING, visibility="public"),), (said(),)])
async def test_what_is_not_known_is_private(store: Store, state: tuple[Json, ...]) -> None:
    """Without a state event of the bot's own a podcast is private: nobody knows whether it was still public."""
    await catch_up(store, *state)
    assert (await room_of(store)).visibility is Visibility.PRIVATE


async def test_what_was_opened_since_the_backup_stays_closed(store: Store) -> None:
    """A state event opens nothing: more may be recorded or public only where somebody says it again."""
    async with store.write() as db:
        narrow = replace(await room_of(store), visibility=Visibility.PRIVATE, public_since=None, calls_on=False)
        await rooms.save_room(db, narrow)
    await catch_up(store, said(records=EVERYTHING, visibility="public"))
    room = await room_of(store)
    assert room.visibility is Visibility.PRIVATE
    assert Recorded.CALLS not in room.switched_on


async def test_a_room_waits_for_its_history_its_events_and_its_jobs(store: Store) -> None:
    """A gap that is read, an event that is not handled and a reading that is under way keep the room closed."""
    handler = handler_of(store, Homeserver(said(records=EVERYTHING, visibility="public")))
    with pytest.raises(TryLater, match="not heard"):
        await handler_of(store, Homeserver(), in_touch=False)(await job_of(store))
    async with store.write() as db:
        event = HeardEvent(ROOM, EventId("$new"), {"type": "m.room.redaction"})
        await journal.add(db, event, NOW)
        gap = await gaps.open_gap(
            db, ROOM, cursor="c", until_token="t", until_event=None, low=Position(9), hold_until=NOW, now=NOW
        )
        await jobs.add(db, orders.Redaction(EventId("$old"), ROOM).job(NOW + timedelta(days=1)), NOW)
    with pytest.raises(TryLater, match="history"):
        await handler(await job_of(store))
    async with store.write() as db:
        await gaps.save(db, replace(gap, walking=False))
    with pytest.raises(TryLater, match="events"):
        await handler(await job_of(store))
    async with store.write() as db:
        pending = await journal.pending(db, event.event_id)
        assert pending is not None
        await journal.handled(db, pending)
    with pytest.raises(TryLater, match="redaction"):
        await handler(await job_of(store))
    async with store.write() as db:
        await jobs.cancel(db, [orders.Redaction.about(EventId("$old"))])
    await handler(await job_of(store))
    assert (await room_of(store)).behind is None


async def test_a_history_that_can_t_be_read_is_replaced_by_questions(store: Store) -> None:
    """Each recording is compared with the homeserver before a room opens whose history could not be walked."""
    async with store.write() as db:
        await catching_up.not_walked(db, ROOM)
    handler = handler_of(store, Homeserver(said(records=EVERYTHING, visibility="public")))
    with pytest.raises(TryLater, match="compared"):
        await handler(await job_of(store))
    assert (await room_of(store)).behind is Behind.ASKED
    async with store.read() as db:
        (asked,) = await jobs.unfinished(db, orders.Reread.kind)
        assert orders.Reread.of(asked).event_id == (await recording_of(store)).event_id
    with pytest.raises(TryLater, match="reread"):
        await handler(await job_of(store))
    async with store.write() as db:
        await jobs.drop(db, asked.id)
    await handler(await job_of(store))
    assert (await room_of(store)).behind is None


async def test_a_room_that_the_bot_is_out_of_stays_behind(store: Store) -> None:
    """The bot was removed since the backup: the room stays closed, and catches up when it is invited again."""
    job = await job_of(store)
    await handler_of(store, Homeserver(refuses="forbidden"))(job)
    room = await room_of(store)
    assert (room.joined, room.behind) == (False, Behind.WALKED)
    async with store.write() as db:
        await jobs.done(db, job.id, NOW)
        await arrival.joined(db, ROOM, NOW, us=US, publishes=lambda _: True)
    assert (await room_of(store)).behind is Behind.WALKED
    await job_of(store)


@pytest.mark.parametrize("encrypted", [True, False])
async def test_a_recording_whose_announcement_was_edited_is_held(store: Store, *, encrypted: bool) -> None:
    """The bot edits the announcement of what is deleted: after a restore such a recording is held for approval. An edit
    by anybody else counts for nothing."""
    relation = {"rel_type": "m.replace", "event_id": "$announced"}
    for sender, held in ((SOMEBODY, False), (US, True)):
        content = {"ciphertext": "…"} if encrypted else {"m.relates_to": relation}
        event = {"type": "m.room.message", "sender": sender, "content": content}
        heard = HeardEvent(ROOM, EventId("$edit"), event, clear_relation=relation if encrypted else None)
        async with store.write() as db:
            await catching_up.own_message(db, US, heard, NOW)
        assert (await recording_of(store)).unreviewed is held


def reply(name: str, to: str, *, encrypted: bool) -> HeardEvent:
    return own_event(name, {"m.in_reply_to": {"event_id": to}}, encrypted=encrypted)


def own_event(name: str, relation: Json, *, encrypted: bool, sender: UserId = US) -> HeardEvent:
    content = {"ciphertext": "…"} if encrypted else {"m.relates_to": relation}
    event = {"type": "m.room.message", "sender": sender, "content": content}
    return HeardEvent(ROOM, EventId(name), event, clear_relation=relation if encrypted else None)


@pytest.mark.parametrize("edit_first", [True, False])
@pytest.mark.parametrize("encrypted", [True, False])
async def test_a_recording_that_is_found_again_is_held_if_it_was_deleted(
    store: Store, *, encrypted: bool, edit_first: bool
) -> None:
    """A recording that was made and deleted after the backup waits for approval when it is found again; one whose
    announcement was left alone does not."""
    edit = own_event("$edit", {"rel_type": "m.replace", "event_id": "$said"}, encrypted=encrypted)
    said_first = [reply("$said", "$gone", encrypted=encrypted), edit]
    traces = [*(said_first[::-1] if edit_first else said_first), reply("$other", "$stays", encrypted=encrypted)]
    async with store.write() as db:
        for heard in traces:
            await catching_up.own_message(db, US, heard, NOW)
        gone = await archive.add_recording(db, a_recording(event_id=EventId("$gone"), position=Position(2)))
        stays = await archive.add_recording(db, a_recording(event_id=EventId("$stays"), position=Position(3)))
    assert (gone.unreviewed, stays.unreviewed) == (True, False)
    async with store.read() as db:
        assert await archive.recording(db, gone.id) == gone


async def test_traces_of_a_room_that_is_not_behind_are_no_matter(store: Store) -> None:
    """Nothing is noted in everyday work, and notes by message go when the room opens."""
    await catch_up(store, said(records=EVERYTHING, visibility="public"))
    async with store.write() as db:
        await catching_up.own_message(db, US, reply("$said", "$started", encrypted=False), NOW)
        assert await found_again.get(db, ROOM, Trace.ANSWERED, EventId("$started")) is None
    await begin_anew(store, await room_of(store))
    async with store.write() as db:
        await catching_up.own_message(db, US, reply("$said", "$new", encrypted=False), NOW)
    await catch_up(store, said(records=EVERYTHING, visibility="public"))
    async with store.read() as db:
        assert await found_again.get(db, ROOM, Trace.ANSWERED, EventId("$new")) == "$said"
        assert await found_again.get(db, ROOM, Trace.ANSWERS, EventId("$said")) is None


async def test_a_room_that_the_bot_was_out_of_opens_when_it_is_out(store: Store) -> None:
    """A podcast of a room that the bot had left stays closed until the homeserver says that it is out; of the state of
    then, where it tells that, what was made private stays so."""
    out = replace(await room_of(store), joined=False)
    left = {"type": "m.room.member", "state_key": US, "sender": US, "content": {"membership": "leave"}}
    event = {"state_key": "", **said(records=[], visibility="private")}
    for homeserver, visibility in (
        (Homeserver(refuses="forbidden"), Visibility.PUBLIC),
        (Homeserver(left), Visibility.PUBLIC),
        (Homeserver(left, event), Visibility.PRIVATE),
    ):
        await begin_anew(store, out)
        assert (await room_of(store)).behind is Behind.OUT
        with pytest.raises(TryLater, match="not heard"):
            await handler_of(store, homeserver, in_touch=False)(await job_of(store))
        await handler_of(store, homeserver)(await job_of(store))
        room = await room_of(store)
        assert (room.behind, room.visibility) == (None, visibility)
    assert not (await recording_of(store)).public


async def test_a_room_that_the_bot_is_back_in_compares_each_recording(store: Store) -> None:
    """Invited again after the backup: the history of before can't be walked, so each recording is compared."""
    await begin_anew(store, replace(await room_of(store), joined=False))
    joins = {"type": "m.room.member", "state_key": US, "sender": US, "content": {"membership": "join"}}
    with pytest.raises(TryLater, match="in the room again"):
        await handler_of(store, Homeserver(joins))(await job_of(store))
    async with store.write() as db:
        await arrival.joined(db, ROOM, NOW, us=US, publishes=lambda _: True)
    with pytest.raises(TryLater, match="compared"):
        await handler_of(store, Homeserver(said(records=EVERYTHING, visibility="public")))(await job_of(store))
    assert (await room_of(store)).behind is Behind.ASKED


@pytest.mark.parametrize(
    ("said_rule", "kept_for", "held_ages"),
    [("10 days", 30, [20, 40]), ("90 days", 90, [40]), ("30 days", 30, [40]), ("5 episodes", None, [40])],
)
async def test_the_shorter_rule_hides_and_the_longer_one_deletes(
    store: Store, said_rule: str, kept_for: int | None, held_ages: list[int]
) -> None:
    """A recording that either rule has ended, of before or after the backup, waits for approval. Where the state event
    alone tells of the later rule, which may be an old one, the longer one deletes, after the room was told anew; while
    a room is behind neither does."""
    await begin_with_rule(store)
    await catch_up(store, said(records=EVERYTHING, visibility="public", retention=said_rule))
    assert (await room_of(store)).retention == Retention(days=kept_for)
    await ended_are_held(store, held_ages)


@pytest.mark.parametrize(
    ("kept_rule", "said_rule", "rule", "held_ages"),
    [
        ("10 days", "10 days", Retention(days=10), [20, 40]),  # shorter
        ("10 days", None, Retention(days=10), [20, 40]),  # without a state event
        ("90 days", "90 days", Retention(days=90), [40]),  # longer
        ("forever", "60 days", Retention(), [40]),  # within the administrator's limit of then
        ("5 episodes", "5 episodes", Retention(episodes=5), [40]),
        ("10 days", "90 days", Retention(days=90), [20, 40]),  # one of the two is older: nobody knows which
        ("5 episodes", "10 days", Retention(), [20, 40]),
    ],
)
async def test_the_last_rule_holds_where_it_is_certain(
    store: Store, kept_rule: str, said_rule: str | None, rule: Retention, held_ages: list[int]
) -> None:
    """A rule that was said since the backup, shorter or longer, holds as the bot kept it in its account data; where the
    state event says another one, nothing is deleted that one of them keeps. The room is told anew first, in any
    case."""
    await begin_with_rule(store)
    wishes = Wishes(records=tuple(EVERYTHING), visibility="public", retention=kept_rule)
    async with store.write() as db:
        await kept_wishes.note_read(db, ROOM, sealed_wishes.to_bytes(wishes).decode())
    shown = [said(records=EVERYTHING, visibility="public", retention=said_rule)] if said_rule else []
    await catch_up(store, *shown)
    assert (await room_of(store)).retention == rule
    await ended_are_held(store, held_ages)


async def begin_with_rule(store: Store) -> None:
    """Restore a room that keeps recordings for 30 days, with two old ones of which it was told, and look at them."""
    old = [
        a_recording(
            event_id=EventId(f"${age}"),
            position=Position(age),
            at=NOW - timedelta(days=age),
            expiry_tried_at=NOW - timedelta(days=9),
            expiry_told_at=NOW - timedelta(days=9),
        )
        for age in (20, 40)
    ]
    await begin_anew(store, replace(await room_of(store), retention=Retention(days=30)), *old)
    expire = orders.Expire(ROOM).job(NOW)
    async with store.write() as db:
        await jobs.add(db, expire, NOW)
        row = await jobs.find(db, expire.name)
    assert row is not None
    await Expiring(store, SETTINGS, apply=no_deletion, clock=lambda: NOW)(row)


async def ended_are_held(store: Store, held_ages: list[int]) -> None:
    """Compare which recordings are held, of how many days; the room is to be told anew of all."""
    async with store.read() as db:
        held = [each for each in await archive.recordings(db, ROOM) if each.unreviewed]
        notices = [orders.Notice.of(job) for job in await jobs.unfinished(db, orders.Notice.kind)]
        assert await jobs.unfinished(db, orders.Expire.kind)
    assert [(NOW - each.started_at).days for each in held] == held_ages
    assert not any(each.expiry_told_at or each.expiry_tried_at for each in held)
    assert any("older than the rule" in notice.body for notice in notices)


async def no_deletion(*_: object) -> None:
    raise AssertionError("a recording of a room that is behind was deleted")
