"""Events of a studio in its room: each once and in order, wherever the process dies; known again when
they come back; and gone with the sound that they hold."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot import dialects, orders
from bot.dialects.studio import chunk_id
from bot.errors import TryLater
from bot.event_types import MSC3888_CHUNK, MSC3888_INFO
from bot.intake import catching_up, disclosing
from bot.recording.model import BroadcastChanged, BroadcastStarted, Change, ChunkSent, Ended, Silenced
from bot.studio import writing
from storage import archive, jobs, journal, optouts, studio_events
from storage.records import (
    Chunk,
    EndedBy,
    EventId,
    HeardEvent,
    MediaSource,
    OptOut,
    Position,
    RecordingState,
    UserId,
)
from tests.worker.broadcast_world import OURS, POWER, Homeserver, Town, town
from tests.worker.quick import every, without_ffmpeg
from tests.world import ALICE, BOT, ROOM, Killed, batch, heard, media_of, state

WHOLE = ["started", 1, 2, "paused", "resumed", 3, "stopped"]
OTHER = UserId("@other:hs")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ffmpeg(monkeypatch)


@pytest.fixture
async def begun(tmp_path: Path) -> Path:
    """Prepare a store with a room that wants events and a studio in it, for copies of it."""
    async with town(tmp_path / "begun") as world:
        await world.prepare()
    return tmp_path / "begun"


@pytest.fixture
async def world(begun: Path) -> AsyncIterator[Town]:
    async with town(begun) as made:
        yield made


async def chunks_of(world: Town) -> tuple[Chunk, ...]:
    recording = await world.recording()
    async with world.store.read() as db:
        return await archive.chunks(db, recording.id)


async def recordings_of(world: Town) -> int:
    async with world.store.read() as db:
        return len(await archive.recordings(db, ROOM, 100))


async def test_the_room_hears_it(world: Town) -> None:
    """Its info events and chunks come in the order in which they were made, as the dialect reads them from others, and
    say who speaks; nothing of them is a message."""
    await world.broadcast()
    server = world.homeserver
    assert server.said == WHOLE
    started = server.timeline[0].event_id
    read = [dialects.read(event) for event in server.timeline]
    assert isinstance(read[0], BroadcastStarted)
    assert read[0].sender == BOT
    changes = [event for event in read if isinstance(event, BroadcastChanged)]
    assert [(change.broadcast, change.last_sequence) for change in changes] == [
        (started, 2),
        (started, 2),
        (started, 3),
    ]
    chunks = [event for event in read if isinstance(event, ChunkSent)]
    assert [(chunk.broadcast, chunk.sequence, chunk.announced_ms) for chunk in chunks] == [
        (started, number, 1000) for number in (1, 2, 3)
    ]
    slices = [media_of(MediaSource(f"mxc://studio/{number}")) for number in (1, 2, 3)]  # type: ignore[arg-type]
    assert [data for data, _, _ in server.uploaded] == slices
    assert [chunk.announced_bytes for chunk in chunks] == [*map(len, slices)]
    for event in server.timeline:
        assert event.event["content"]["org.aircheck.speaker"] == {"user_id": ALICE, "display_name": "Alice"}
        assert event.event["type"] in (MSC3888_INFO, MSC3888_CHUNK)
    assert {event.event.get("state_key") for event in server.timeline} == {BOT, None}
    assert await world.rows() == {
        name: server.timeline[place].event_id
        for place, name in enumerate(("started", "1", "2", "change-1", "change-2", "3", "change-3"))
    }
    assert (await world.studio()).info_event == started
    assert (await world.recording()).state is RecordingState.COMPLETE


async def test_a_room_that_did_not_ask_for_it_hears_nothing(world: Town) -> None:
    """Without `studio events on` no row and no order is written, and nothing is sent."""
    await world.policy(studio_events=False)
    await world.broadcast()
    assert world.homeserver.asked == []
    assert await world.rows() == {}
    async with world.store.read() as db:
        assert await jobs.unfinished(db, orders.SendBroadcast.kind) == ()
    assert len(await chunks_of(world)) == 3


async def test_it_is_switched_in_the_middle(world: Town) -> None:
    """A broadcast whose beginning the room was not sent is not sent later; one that is switched off ends in the room
    when it ends."""
    await world.start()
    await world.slice(1)
    await world.policy(studio_events=False)
    await world.slice(2)
    await world.change(Change.PAUSED)
    await world.change(Change.STOPPED, 2)
    await world.finish()
    assert world.homeserver.said == ["started", 1, "stopped"]


async def test_it_is_switched_on_too_late(world: Town) -> None:
    """A broadcast whose beginning the room was not sent is not sent at all."""
    await world.policy(studio_events=False)
    await world.start()
    await world.policy(studio_events=True)
    await world.slice(1)
    await world.change(Change.STOPPED, 1)
    await world.finish()
    assert world.homeserver.timeline == []


async def test_an_encrypted_room_gets_sealed_files(world: Town) -> None:
    """Files are sealed before they are uploaded, and say neither their type nor their name."""
    world.homeserver.encrypted = True
    await world.broadcast()
    chunks = [content for content in world.homeserver.contents if "sequence" in content]
    assert all("url" not in content and content["file"]["v"] == "v2" for content in chunks)
    assert world.homeserver.said == WHOLE


# ---- deaths


async def story(world: Town) -> None:
    """Tell a whole broadcast; what was done before a death is done again."""
    await world.start()
    await world.work()
    for number in (1, 2):
        await world.slice(number)
    await world.work()
    await world.change(Change.PAUSED)
    await world.change(Change.RESUMED)
    await world.slice(3)
    await world.work()
    await world.change(Change.STOPPED, 3)
    await world.finish()


async def go_on(world: Town) -> None:
    """Go on after a death, as the client does, which sends again what it has no answer to."""
    await world.rise_again()
    world.dies_at, world.homeserver.left = None, None
    studio = await world.studio()
    await world.start() if studio.ended_at is None else None
    for number in (1, 2):
        await world.slice(number)
    if studio.changes < 1:
        await world.change(Change.PAUSED)
    if studio.changes < 2:
        await world.change(Change.RESUMED)
    await world.slice(3)
    await world.change(Change.STOPPED, 3)
    world.clock.pass_by(1)
    await world.finish()


async def told(world: Town) -> tuple[list[str | int], list[str]]:
    """Return what the room was told in the end, and what is left to be done."""
    async with world.store.read() as db:
        left = [job.subject for kind in OURS for job in await jobs.unfinished(db, kind)]
    known = [str(event) for event in (await world.rows()).values()]
    assert sorted(known) == sorted(event.event_id for event in world.homeserver.visible)
    return world.homeserver.said, left


@pytest.mark.parametrize("forgotten", [False, True], ids=["soon", "later"])
async def test_a_death_at_each_request(begun: Path, tmp_path: Path, forgotten: bool) -> None:
    """Whatever request the process dies at, before it is taken or before its answer is read, the room has each event
    once, also when the homeserver has forgotten its transactions. Of the two in turn; with AIRCHECK_KILL_POINTS=all at
    both."""
    async with town(begun, homeserver := Homeserver()) as world:
        await story(world)
    requests = len(homeserver.asked)
    assert requests == len(WHOLE) + 3
    for number in range(1, requests + 1):
        for taken in (number % 2 == 0, number % 2 == 1)[:: every(2)]:
            async with town(tmp_path / f"{number}-{taken}") as world:
                await world.prepare()
                world.homeserver.left, world.homeserver.taken = number, taken
                with pytest.raises(Killed):
                    await story(world)
                if forgotten:
                    world.homeserver.forget_transactions()
                await go_on(world)
                assert await told(world) == (WHOLE, []), (number, taken)


@pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after"])
async def test_a_death_at_each_write(tmp_path: Path, after_commit: bool) -> None:
    """Whatever write of the sender the process dies at, before it is kept or after, the room has each event once."""
    writes, number = 0, 0
    while number <= writes:
        async with town(tmp_path / f"{number}") as world:
            await world.prepare()
            if number == 0:
                await story(world)
                writes = world.writes
            else:
                world.dies_at, world.store.after_commit = number, after_commit
                with pytest.raises(Killed):
                    await story(world)
                await go_on(world)
            assert await told(world) == (WHOLE, []), number
        number += every(5)


async def test_the_homeserver_is_away(world: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive does not wait for the room: the recording is complete while nothing could be sent, and late slices
    come behind the rest."""

    async def away(*_: Any, **__: Any) -> EventId:
        raise TryLater("the homeserver is away")

    with monkeypatch.context() as trouble:
        trouble.setattr(world.homeserver, "set_state", away)
        await world.start()
        await world.slice(1)
        await world.slice(3)
        await world.change(Change.STOPPED, 3)
        await world.finish()
        assert world.homeserver.timeline == []
        assert len(await chunks_of(world)) == 2
        await world.slice(2)
        await world.finish()
        assert (await world.recording()).state is RecordingState.COMPLETE
    world.clock.pass_by(600)
    await world.work()
    assert world.homeserver.said == ["started", 1, 3, "stopped", 2]


# ---- coming back


async def test_they_come_back(world: Town) -> None:
    """Events of a studio that come back with a sync are not recorded a second time, and nobody asks for them."""
    await world.broadcast()
    asked = len(world.homeserver.asked)
    await world.echo()
    await world.finish()
    assert await recordings_of(world) == 1
    assert len(await chunks_of(world)) == 3
    assert len(world.homeserver.asked) == asked
    assert await world.waiting(orders.Reread.kind) == []


async def test_they_come_back_undecryptable(world: Town) -> None:
    """A chunk whose key is lost belongs to nothing, by the beginning that it refers to."""
    world.homeserver.encrypted = True
    await world.broadcast()
    sealed = [
        replace(event, event={**event.event, "type": "m.room.encrypted", "content": {"ciphertext": "…"}})
        for event in world.homeserver.timeline
        if event.encrypted
    ]
    await world.hear(*sealed)
    assert await world.waiting(orders.Reread.kind) == []
    assert len(await chunks_of(world)) == 3


async def test_an_answer_that_was_lost_comes_back(world: Town) -> None:
    """An event whose answer nobody read is known when a sync brings it, and is not looked for or sent again."""
    server = world.homeserver
    server.left, server.taken = 3, True  # the start, an upload, and the event of the chunk
    await world.start()
    await world.slice(1)
    with pytest.raises(Killed):
        await world.work()
    server.left = None
    await world.rise_again()
    server.forget_transactions()
    await world.echo()
    assert await world.rows() == {"started": "$room-1", "1": "$room-2"}
    await world.work()
    assert server.said == ["started", 1]


async def test_a_store_that_is_older_than_the_events(world: Town) -> None:
    """In a restored store, which has no rows of them, they are known by their mark: those of a studio that it knows are
    redacted with its recording, and those of another one are recorded by nobody."""
    await world.start()
    await world.slice(1)
    await world.work()
    key = (await world.studio()).key
    async with world.store.write() as db:
        await catching_up.begin(db, world.clock(), world.clock())
        for row in await studio_events.of(db, key):
            await studio_events.drop(db, row.id)
    strange = [
        replace(event, event_id=EventId(f"{event.event_id}-strange"), event=_of_another(event, "0" * 32))
        for event in world.homeserver.timeline
    ]
    await world.echo()
    await world.hear(*strange)
    assert await world.rows() == {"started": "$room-1", "1": "$room-2"}
    assert await recordings_of(world) == 1
    await world.delete()
    await world.policy(behind=None)
    await world.work()
    assert world.homeserver.redacted == ["$room-1", "$room-2"]


async def test_what_was_sent_after_a_backup_is_redacted_too(tmp_path: Path, begun: Path) -> None:
    """A backup is made in the middle of a broadcast, and the bot ends it in the restored store: changes of the room
    that the store gives other numbers go with the recording, as all else of it."""
    async with town(begun) as world:
        await world.start()
        await world.slice(1)
        await world.work()
        homeserver = world.homeserver
    backup = shutil.copytree(begun, tmp_path / "backup")
    async with town(begun, homeserver) as world:
        for step in (Change.PAUSED, Change.RESUMED, 2, Change.STOPPED):
            await (world.change(step) if isinstance(step, Change) else world.slice(step))
            await world.work()
    said = ["started", 1, "paused", "resumed", 2, "stopped"]
    assert homeserver.said == said
    homeserver.forget_transactions()
    async with town(backup, homeserver) as world:
        async with world.store.write() as db:
            await catching_up.begin(db, world.clock(), world.clock())
            await writing.end_all(db, world.clock())
        await world.echo()
        await world.policy(behind=None)
        await world.finish()
        assert homeserver.said == [*said, "stopped"]
        await world.echo()
        await world.delete()
        await world.work()
        assert homeserver.said == []


async def test_a_sealed_slice_that_was_sent_after_a_backup_is_redacted_too(world: Town) -> None:
    """A slice whose room key is not in a restored store is known by the beginning that it refers to."""
    world.homeserver.encrypted = True
    await world.start()
    await world.slice(1)
    await world.work()
    async with world.store.write() as db:
        row = await studio_events.get(db, (await world.studio()).key, "1")
        assert row is not None
        await studio_events.drop(db, row.id)
    (slice_event,) = [event for event in world.homeserver.timeline if event.encrypted]
    content = {"ciphertext": "…", "m.relates_to": slice_event.clear_relation}
    sealed = {**slice_event.event, "type": "m.room.encrypted", "content": content}
    for _ in range(2):
        await world.hear(replace(slice_event, event=sealed))
    await world.delete()
    await world.work()
    assert world.homeserver.redacted == ["$room-1", "$room-2"]


def _of_another(event: HeardEvent, key: str) -> dict[str, Any]:
    mark = event.event["content"]["org.aircheck.studio"].partition(".")[2]
    content = event.event["content"] | {"org.aircheck.studio": f"{key}.{mark}"}
    return {**event.event, "event_id": f"{event.event_id}-strange", "content": content}


async def test_what_was_sent_after_a_backup_is_looked_for(world: Town) -> None:
    """An event that waited when the backup was made may have been sent since: it is looked for, and not sent again."""
    await world.start()
    await world.slice(1)
    await world.work()
    async with world.store.write() as db:
        row = await studio_events.get(db, (await world.studio()).key, "1")
        assert row is not None
        await studio_events.drop(db, row.id)
        await studio_events.add(db, replace(row, id=0, event_id=None, tried=False))  # as the backup has it
        await jobs.add(db, orders.SendBroadcast(row.key, ROOM).job(), world.clock())
        await catching_up.begin(db, world.clock(), world.clock())
    world.homeserver.forget_transactions()
    await world.work()  # nothing is sent before the room's history was read
    assert world.homeserver.said == ["started", 1]
    await world.policy(behind=None)
    world.clock.pass_by(61)
    await world.work()
    assert world.homeserver.said == ["started", 1]
    assert await world.rows() == {"started": "$room-1", "1": "$room-2"}


async def test_another_bots_studio_is_a_broadcast_like_any_other(world: Town) -> None:
    """A studio of another bot is recorded as what that bot sends: a broadcast of its own."""
    await world.broadcast()
    theirs = [_of_other_bot(event) for event in world.homeserver.timeline]
    member = state("m.room.member", {"membership": "join"}, OTHER, OTHER)
    await world.intake.take(batch(before=(member,)))
    await world.hear(*theirs)
    async with world.store.read() as db:
        recording = await archive.recording_by_event(db, theirs[0].event_id)
        assert recording is not None
        assert (recording.broadcaster, recording.via) == (OTHER, None)
        assert len(await archive.chunks(db, recording.id)) == 3


async def test_who_objected_is_not_recorded_from_another_bots_studio(world: Town) -> None:
    """Nobody who opted out here is recorded from another bot's studio."""
    await world.broadcast()
    theirs = [_of_other_bot(event) for event in world.homeserver.timeline]
    member = state("m.room.member", {"membership": "join"}, OTHER, OTHER)
    await world.intake.take(batch(before=(member,)))
    async with world.store.write() as db:
        await optouts.add(db, OptOut(ALICE, ROOM, Position(9), True, world.clock()))
    await world.hear(*theirs)
    assert await recordings_of(world) == 1


def _of_other_bot(event: HeardEvent) -> HeardEvent:
    content = dict(event.event["content"])
    if "m.relates_to" in content:
        relation = content["m.relates_to"]
        content["m.relates_to"] = relation | {"event_id": f"{relation['event_id']}-other"}
    key = {"state_key": OTHER} if "state_key" in event.event else {}
    name = EventId(f"{event.event_id}-other")
    return replace(
        event, event_id=name, event={**event.event, "event_id": name, "sender": OTHER, "content": content, **key}
    )


# ---- taking back


async def test_a_deletion_takes_all_of_it_back(world: Town) -> None:
    """Every event of a deleted recording is redacted, the first one first, and no row is left."""
    await world.broadcast()
    await world.delete()
    await world.work()
    assert world.homeserver.visible == []
    assert world.homeserver.redacted == [event.event_id for event in world.homeserver.timeline]
    assert await world.rows() == {}
    await world.work()
    assert world.homeserver.said == []


@pytest.mark.parametrize("taken", [False, True], ids=["before", "after"])
async def test_a_deletion_while_it_is_sent(world: Town, taken: bool) -> None:
    """A chunk that may have been sent when the recording was deleted is redacted if it was, and never sent if it was
    not."""
    server = world.homeserver
    server.left, server.taken = 3, taken
    await world.start()
    await world.slice(1)
    with pytest.raises(Killed):
        await world.work()
    server.left = None
    await world.rise_again()
    await world.delete()
    await world.work()
    assert len(server.timeline) == 1 + int(taken)
    assert server.visible == []
    assert await world.rows() == {}


async def test_a_deletion_during_the_request(world: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that is deleted while a chunk of it is sent is redacted at once, with that chunk."""
    send = world.homeserver.send

    async def deleted_meanwhile(*args: Any, **kwargs: Any) -> EventId:
        await world.delete()
        return await send(*args, **kwargs)

    monkeypatch.setattr(world.homeserver, "send", deleted_meanwhile)
    await world.start()
    await world.slice(1)
    await world.work()
    assert len(world.homeserver.timeline) == 2
    assert world.homeserver.visible == []


async def test_an_answer_that_comes_after_the_deletion(world: Town) -> None:
    """A chunk that appears in the room after its recording was deleted is redacted."""
    await world.start()
    await world.slice(1)
    await world.work()
    late = world.homeserver.timeline[1]
    async with world.store.write() as db:
        row = await studio_events.get(db, (await world.studio()).key, "1")
        assert row is not None
        await studio_events.drop(db, row.id)
    await world.delete()
    await world.work()
    assert world.homeserver.said == [1]
    await world.hear(late)
    await world.work()
    assert world.homeserver.said == []


async def test_sound_that_is_taken_out_goes_from_the_room(world: Town) -> None:
    """A chunk whose sound was taken out of the recording is redacted, and one that is taken out before it was sent is
    not sent."""
    await world.start()
    await world.slice(1)
    await world.slice(2)
    await world.work()
    await world.slice(3)
    await world.settle()
    recording, studio = await world.recording(), await world.studio()
    async with world.store.write() as db:
        since = await journal.position_of(db, chunk_id(studio, 1))
        assert since is not None
        await world.recorder.apply(db, recording.id, Silenced(since))
    await world.work()
    assert world.homeserver.said == ["started", 1, "stopped"]
    assert len(world.homeserver.uploaded) == 2


@pytest.mark.parametrize("gap", [False, True], ids=["at once", "in a gap"])
async def test_a_redaction_in_the_room_reaches_the_archive(world: Town, gap: bool) -> None:
    """A moderator who redacts a chunk takes its sound out of the recording, and with the first event the recording is
    deleted; nothing that is redacted already is redacted by the bot. A member without the power changes nothing."""
    await world.broadcast()
    server = world.homeserver
    started, first = server.timeline[0].event_id, server.timeline[1].event_id

    async def redact(event_id: EventId, sender: UserId = ALICE) -> None:
        event = heard(f"$of-{event_id}-{sender}", "m.room.redaction", {}, redacts=event_id, sender=sender)
        await world.hear(replace(event, history=gap))
        server.redacted.append(event_id) if sender == ALICE else None
        await world.work()

    await redact(first, OTHER)
    assert [chunk.state for chunk in await chunks_of(world)] == ["stored"] * 3
    assert [order.event_id for order in await world.ordered(orders.Redaction)] == []
    await redact(first)
    assert [chunk.state for chunk in await chunks_of(world)] == ["redacted", "stored", "stored"]
    assert server.asked.count("redact") == 0
    await redact(started)
    assert (await world.recording()).state is RecordingState.DELETED
    assert server.visible == []
    assert server.asked.count("redact") == len(WHOLE) - 2


@pytest.mark.parametrize("redacted", ["$room-2", "$again"])
async def test_what_the_room_has_twice_goes_with_its_sound(world: Town, redacted: str) -> None:
    """A slice that is in the room a second time, as after a restore, is gone from it with its sound, whichever of both
    a moderator redacts; and with it what can't be read, and may be that slice."""
    await world.broadcast()
    first = world.homeserver.timeline[1]
    relation = first.event["content"]["m.relates_to"]
    unread = {**first.event, "type": "m.room.encrypted", "content": {"ciphertext": "…", "m.relates_to": relation}}
    await world.hear(
        replace(first, event_id=EventId("$again")),
        replace(first, event_id=EventId("$unread"), event=unread, encrypted=True, clear_relation=relation),
    )
    await world.hear(heard("$r", "m.room.redaction", {}, redacts=redacted))
    await world.work()
    assert [chunk.state for chunk in await chunks_of(world)] == ["redacted", "stored", "stored"]
    assert {*world.homeserver.redacted} == {"$room-2", "$again", "$unread"} - {redacted}


async def test_a_redaction_before_the_answer(world: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk that was redacted before the bot knew which event it had become loses its sound."""
    send = world.homeserver.send

    async def redacted_meanwhile(*args: Any, **kwargs: Any) -> EventId:
        event_id = await send(*args, **kwargs)
        await world.hear(heard("$r", "m.room.redaction", {}, redacts=event_id))
        return event_id

    monkeypatch.setattr(world.homeserver, "send", redacted_meanwhile)
    await world.start()
    await world.slice(1)
    await world.work()
    assert [chunk.state for chunk in await chunks_of(world)] == ["redacted"]
    assert await world.rows() == {"started": "$room-1"}


async def test_an_end_from_outside_ends_it_in_the_room(world: Town) -> None:
    """A recording that is ended from outside, as by its longest length, ends in the room too."""
    await world.start()
    await world.slice(1)
    await world.work()
    recording = await world.recording()
    async with world.store.write() as db:
        await world.recorder.apply(db, recording.id, Ended(EndedBy.LIMIT))
    await world.work()
    assert world.homeserver.said == ["started", 1, "stopped"]


# ---- power


async def test_a_bot_without_the_power_says_so_once(world: Town) -> None:
    """A broadcast that the bot may not send is not sent at all; the room is told once, and the archive has it all."""
    await world.intake.take(batch(before=(state("m.room.power_levels", {"users": {ALICE: 100}}, event_id="$less"),)))
    await world.broadcast()
    assert world.homeserver.asked == []
    assert await world.rows() == {}
    notices = [order.body for order in await world.ordered(orders.Notice) if order.topic.startswith("studio events:")]
    assert len(notices) == 1
    assert MSC3888_INFO in notices[0]
    assert (await world.recording()).state is RecordingState.COMPLETE


async def test_a_bot_that_is_muted_goes_on_when_it_may(world: Town) -> None:
    """Events that could not be sent for want of power are sent as soon as the room's levels allow it."""
    await world.start()
    await world.slice(1)
    await world.work()
    muted = state("m.room.power_levels", {**POWER, "events_default": 50}, event_id="$muted")
    await world.intake.take(batch(before=(muted,)))
    await world.slice(2)
    await world.work()
    assert world.homeserver.said == ["started", 1]
    await world.intake.take(batch(before=(state("m.room.power_levels", POWER, event_id="$again"),)))
    async with world.store.write() as db:
        await disclosing.speak_again(db, ROOM, world.clock())
    await world.work()
    assert world.homeserver.said == ["started", 1, 2]


async def test_a_refusal_is_tried_again(world: Town) -> None:
    """A homeserver that refuses an event is asked again later, and nothing is lost."""
    world.homeserver.refuses = True
    await world.start()
    await world.slice(1)
    await world.work()
    world.homeserver.refuses = False
    world.clock.pass_by(3700)
    await world.work()
    assert world.homeserver.said == ["started", 1]


async def test_a_slice_that_is_too_large_is_left_out(world: Town) -> None:
    """A slice that the homeserver does not take is left out, and the rest is sent."""
    world.homeserver.largest = 10
    await world.start()
    await world.slice(1)
    await world.change(Change.STOPPED, 1)
    await world.finish()
    assert world.homeserver.said == ["started", "stopped"]


async def test_a_room_that_the_bot_left(world: Town) -> None:
    """Nothing is tried in a room that the bot left."""
    await world.start()
    await world.policy(joined=False)
    await world.work()
    assert world.homeserver.asked == []
