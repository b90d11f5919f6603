"""A deleted recording leaves its tombstone, and nothing else: in no table, in no file, in no message of the bot's."""

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import select

from bot import language, orders, words
from bot.event_types import FLOOR, POWER_LEVELS
from bot.intake import announcements
from bot.matrix.sending import Sending
from bot.recording.broadcast.words import WORDS as BROADCAST
from bot.recording.model import Deleted, Ended, NotHeard, NoticeSent, SlicesKept, WentAway
from bot.worker.forgetting import ForgettingStems
from bot.worker.notices import Notices
from storage import archive, calls, history_checks, jobs, journal, rooms, tables
from storage.records import (
    Announce,
    BlobKey,
    CallEvent,
    CallEventKind,
    CallProtocol,
    EndedBy,
    EventId,
    HeardEvent,
    Job,
    JobState,
    Json,
    Position,
    RecordingId,
    RecordingState,
    RoomId,
    Samples,
    StudioState,
    UserId,
)
from tests.blobs import folder_of
from tests.booth import Booth
from tests.factories import NOW
from tests.recorder import talk
from tests.recorder.test_transmitting import a_round
from tests.recording.call.world import closed, slice_of
from tests.worker.quick import without_ffmpeg
from tests.world import ALICE, INFO, ROOM, START, Killed, World, chunk, heard, info, sealed, world_of

Rows = dict[str, list[dict[str, Any]]]
LATE = (chunk("$late", 4), sealed("$late-sealed"), chunk("$c1", 1))


@dataclass
class Room:
    """The messages of the bot in a room. `before_answer` runs once, between a message and the answer to its request."""

    said: dict[str, Json] = field(default_factory=dict)  # by transaction
    before_answer: Callable[[], Any] | None = None

    async def send(self, _: RoomId, __: str, content: Json, *, txn_id: str) -> EventId:
        self.said.setdefault(txn_id, content)
        if (then := self.before_answer) is not None:
            self.before_answer = None
            await then()
        return EventId(f"${txn_id}")


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: Room) -> AsyncIterator[World]:
    without_ffmpeg(monkeypatch)
    async with world_of(tmp_path / "data") as world:
        await world.join()
        speak(world, room)
        await all_done(world)
        yield world


def speak(world: World, room: Room) -> None:
    notices = Notices(world.store, cast("Sending", room), world.settings, apply=world.recorder.apply, clock=world.clock)
    world.handlers[orders.Notice.kind] = notices


async def all_done(world: World) -> None:
    await world.work()
    while await world.work_one([orders.Notice.kind]):
        await world.work()


async def broadcast(world: World) -> None:
    """Record a broadcast that has a bit of everything: a title, a sealed chunk, a candidate, an episode that healed."""
    lost = {"msgtype": "m.audio", "url": "mxc://hs/lost", "org.matrix.msc3245.voice": {}}
    await world.begin(chunk("$c1", 1), chunk("$c2", 2), sealed("$sealed"), heard("$lost", "m.room.message", lost))
    await all_done(world)
    await world.hear(info("$stop", "stopped", last_chunk_sequence=4))
    world.clock.pass_by(61)
    await all_done(world)
    await world.hear(chunk("$c3", 3))
    async with world.store.write() as db:
        recording = await world.recording()
        await archive.save_recording(db, replace(recording, title="Soup", description="All about soup"))
        await history_checks.note(db, recording.id, world.clock())
        await jobs.add(db, orders.Finish(recording.id, anew=True).job(), world.clock())
    await all_done(world)


async def delete(world: World) -> None:
    async with world.store.write() as db:
        await world.recorder.apply(db, (await world.recording()).id, Deleted())


async def all_rows(world: World) -> Rows:
    """Read all rows but that of the process which owns the store: with PostgreSQL it renews its lease meanwhile."""
    async with world.store.read() as db:
        return {
            table.name: [dict(row._mapping) for row in await db.execute(select(table))]
            for table in tables.metadata.sorted_tables
            if table is not tables.owner
        }


def files(world: World) -> set[Path]:
    found = (path for path in world.store.directory.rglob("*") if path.is_file())
    return {path for path in found if not path.name.startswith("aircheck.db")}


def added(before: Rows, after: Rows) -> Rows:
    """Return the rows of each table that were not there before, as they are now."""
    return {name: [row for row in rows if row not in before[name]] for name, rows in after.items()}


def is_tombstone(row: dict[str, Any]) -> bool:
    texts = ("title", "description", "broadcaster_name", "device_id", "quiet_until", "notice", "cover")
    lists = ("speakers", "transmissions", "stems", "aways", "unheard", "turns")
    empty = (*texts, *lists)
    return row["state"] is RecordingState.DELETED and not any(row[name] for name in empty)


ALLOWED: dict[str, Callable[[dict[str, Any]], bool]] = {
    "recordings": is_tombstone,
    "journal": lambda row: row["handled"] and row["event"] is None and row["clear_relation"] is None,
    "jobs": lambda row: row["payload"] == {} and (row["state"] is JobState.DONE or row["kind"] == orders.Refresh.kind),
    "room_state": lambda row: row["type"] == INFO and set(row["content"]) == {"broadcast"},
    "rooms": lambda row: row["room_id"] == ROOM,  # its revision
    "newest_heard": lambda _: True,
    "meta": lambda row: row["key"] in ("sync_token", "newest"),
}
"""Rows that a recording may leave, by table; none in any other table, whichever comes later."""


async def test_a_deleted_recording_leaves_nothing_but_its_tombstone(world: World) -> None:
    """Every table and the disk are as before, but for ids: also what waits to be fetched, decrypted, proved or
    removed."""
    before, on_disk = await all_rows(world), files(world)
    await broadcast(world)
    full = await all_rows(world)
    filled = {name for name in full if added(before, full)[name]}
    assert filled >= {"recordings", "chunks", "episodes", "tracks", "cuts", "extents", "asked", "journal", "jobs"}
    assert {row["state"] for row in full["chunks"]} >= {"stored", "waiting_for_key", "candidate"}
    assert any(job.kind == orders.Forget.kind and job.run_at > world.clock() for job in await waiting(world))
    assert files(world) > on_disk
    await delete(world)
    await all_done(world)
    for name, rows in added(before, await all_rows(world)).items():
        for row in rows:
            assert name in ALLOWED, f"left in {name}: {row}"
            assert ALLOWED[name](row), f"left in {name}: {row}"
    assert files(world) == on_disk


def message(name: str, sender: str) -> HeardEvent:
    content = {"msgtype": "m.audio", "url": f"mxc://hs/{name}", "org.matrix.msc3245.voice": {}}
    at = round(NOW.timestamp() * 1000)
    return heard(f"${name}", "m.room.message", content, sender=sender, origin_server_ts=at)


async def session(world: World) -> tuple[HeardEvent, ...]:
    """Record a session of two speakers until it is announced, and return its messages."""
    async with world.store.write() as db:
        known = await rooms.room(db, ROOM)
        assert known is not None
        await rooms.save_room(db, replace(known, messages_since=Position(0)))
    messages = (message("m1", ALICE), message("m2", "@bob:hs"), message("m3", ALICE))
    await world.hear(*messages)
    await all_done(world)
    world.clock.pass_by(3600)
    await all_done(world)
    return messages


async def test_a_deleted_session_leaves_the_ids_of_its_messages(world: World) -> None:
    """No names, sound or jobs are left; and its messages, heard again, begin no other recording."""
    before, on_disk = await all_rows(world), files(world)
    messages = await session(world)
    async with world.store.write() as db:
        (recording,) = await archive.recordings(db)
        assert await archive.episode(db, recording.id) is not None
        await world.recorder.apply(db, recording.id, Deleted())
    await all_done(world)
    erased = {"erased_messages": lambda row: row["event_id"] in {event.event_id for event in messages}}
    for again in range(2):
        for name, rows in added(before, await all_rows(world)).items():
            for row in rows:
                assert name in ALLOWED | erased, f"left in {name}: {row}"
                assert (ALLOWED | erased)[name](row), f"left in {name}: {row}"
        assert files(world) == on_disk
        if not again:
            async with world.store.write() as db:
                for event in messages:
                    await journal.requeue(db, replace(event, history=True), world.clock())
            await all_done(world)


async def test_a_deleted_session_of_a_walkie_talkie_leaves_the_ids_of_its_messages(world: World) -> None:
    """Messages, broadcasts and what was said out of turn go; what tells of the room's floor stays."""
    await talk.switch_on(world)
    before, on_disk = await all_rows(world), files(world)
    said = a_round(world)
    await world.hear(*said)
    await all_done(world)
    world.clock.pass_by(3600)
    await all_done(world)
    recording, chunks = await talk.session(world)
    assert {str(chunk.state) for chunk in chunks} == {"stored", "refused"}
    assert len(recording.transmissions) == 1
    async with world.store.write() as db:
        assert await archive.episode(db, recording.id) is not None
        await world.recorder.apply(db, recording.id, Deleted())
    await all_done(world)
    ids = {event.event_id for event in said}
    of_the_room = (POWER_LEVELS, FLOOR)
    allowed = ALLOWED | {
        "erased_messages": lambda row: row["event_id"] in ids,
        "transmissions": lambda row: row["event_id"] in ids,
        "floor_marks": lambda _: True,
        "room_state": lambda row: row["type"] in of_the_room or ALLOWED["room_state"](row),
    }
    for again in range(2):
        for name, rows in added(before, await all_rows(world)).items():
            for row in rows:
                assert name in allowed, f"left in {name}: {row}"
                assert allowed[name](row), f"left in {name}: {row}"
        assert files(world) == on_disk
        if not again:
            async with world.store.write() as db:
                for event in said:
                    await journal.requeue(db, replace(event, history=True), world.clock())
            await all_done(world)


async def test_a_deleted_broadcast_of_a_studio_leaves_nothing_but_its_tombstone(world: World) -> None:
    """Slices, texts and the cover go; of the studio only its ids stay, which refuse what comes late."""
    before, on_disk = await all_rows(world), files(world)
    cover = put(world, b"a cover")
    booth = await Booth.open(world, title="Soup", description="All about soup", cover=cover)
    await booth.start()
    for number in range(3):
        await booth.send(f"slice {number}".encode())
        await all_done(world)
    await booth.stop()
    await booth.send(b"slice 2", 3)
    await all_done(world)
    assert (await booth.recording()).cover == cover
    async with world.store.write() as db:
        await world.recorder.apply(db, (await booth.recording()).id, Deleted())
    await all_done(world)
    allowed = ALLOWED | {"studios": is_bare}
    for name, rows in added(before, await all_rows(world)).items():
        for row in rows:
            assert name in allowed, f"left in {name}: {row}"
            assert allowed[name](row), f"left in {name}: {row}"
    assert files(world) == on_disk


def is_bare(row: dict[str, Any]) -> bool:
    texts = ("client", "title", "description", "cover", "last")
    return row["state"] is StudioState.OVER and not any(row[name] for name in texts)


def put(world: World, sound: bytes) -> BlobKey:
    """Store sound as a file, as a slice or a stem that is closed."""
    key = BlobKey(hashlib.sha256(sound).hexdigest())
    part = world.store.blobs.part(key)
    part.write_bytes(sound)
    folder_of(world.store).add(part, key)
    return key


async def call(world: World) -> RecordingId:
    """Record a call with all that belongs to one: slices, a stem that is closed and one that is open, events, and who
    was told."""
    async with world.store.write() as db:
        known = await rooms.room(db, ROOM)
        assert known is not None
        await rooms.save_room(db, replace(known, calls_on=True))
        calling, apply = world.recorder.calling, world.recorder.apply
        begun = await calling.begin(
            db, ROOM, CallProtocol.MSC3401, "call", events=[EventId("$call")], broadcaster=UserId(ALICE)
        )
        assert begun is not None
        await apply(db, begun.id, NoticeSent(EventId("$notice")))
        for number, device in enumerate(("ONE", "TWO"), start=1):
            await calling.open_stem(db, begun.id, UserId(ALICE), device, Samples(0))
            sound = put(world, f"slice {number}".encode())
            kept = replace(slice_of(number, 0, UserId(ALICE)), blob=sound, recording_id=begun.id)
            await apply(db, begun.id, SlicesKept((kept,)))
        await apply(db, begun.id, replace(closed(1, 10), blob=put(world, b"stem")))
        await apply(db, begun.id, NotHeard(UserId(ALICE), "ONE", CallEventKind.UNREACHABLE, Samples(5)))
        await apply(db, begun.id, WentAway(Samples(10)))
        await calls.note(db, begun.id, [CallEvent(Samples(0), UserId(ALICE), CallEventKind.JOINED, "ONE")])
        await calls.note_told(db, begun.id, [UserId(ALICE)])
    return begun.id


@pytest.mark.parametrize("ends", [False, True])
async def test_a_deleted_call_leaves_nothing_but_its_tombstone(world: World, *, ends: bool) -> None:
    """Slices, the files of stems, events and the list of who was told go, from a call that runs or has ended; what is
    still being written then goes too."""
    before, on_disk = await all_rows(world), files(world)
    recording_id = await call(world)
    async with world.store.write() as db:
        if ends:
            await world.recorder.apply(db, recording_id, Ended(EndedBy.STOPPED))
        await world.recorder.apply(db, recording_id, Deleted())
        late = replace(slice_of(2, 1, UserId(ALICE)), blob=put(world, b"late"), recording_id=recording_id)
        await world.recorder.apply(db, recording_id, SlicesKept((late,)))
        await world.recorder.apply(db, recording_id, replace(closed(2, 20), blob=put(world, b"late stem")))
    await all_done(world)
    world.handlers[orders.ForgetStems.kind] = ForgettingStems(world.store)
    assert await world.work_one([orders.ForgetStems.kind])
    orders_to_leave = {"jobs": lambda row: row["kind"] == orders.KeepCalls.kind or ALLOWED["jobs"](row)}
    allowed = ALLOWED | orders_to_leave
    for name, rows in added(before, await all_rows(world)).items():
        for row in rows:
            assert name in allowed, f"left in {name}: {row}"
            assert allowed[name](row), f"left in {name}: {row}"
    assert files(world) == on_disk


async def waiting(world: World) -> list[Job]:
    async with world.store.read() as db:
        return [job for kind in world.handlers for job in await jobs.unfinished(db, kind)]


async def test_what_comes_late_is_refused(world: World) -> None:
    """Chunks, keys, redactions and the events of its past, told again, do not revive a deleted recording."""
    await broadcast(world)
    await delete(world)
    await all_done(world)
    on_disk, tombstone = files(world), await world.recording()
    await world.hear(*LATE, heard("$r", "m.room.redaction", {}, redacts="$c2"), info("$again", "resumed"))
    world.opens = lambda wrapper: replace(chunk(wrapper.event_id, 5), encrypted=True)
    await world.intake.open_all()
    async with world.store.write() as db:
        for event in (info(START, "started"), *LATE):
            await journal.requeue(db, replace(event, history=True), world.clock())
    await all_done(world)
    world.clock.pass_by(100_000)
    await all_done(world)
    rows = await all_rows(world)
    assert await world.recording() == tombstone
    assert [rows[name] for name in ("chunks", "episodes", "tracks", "asked")] == [[], [], [], []]
    assert files(world) == on_disk


# ---- the room


def edits(room: Room) -> list[Json]:
    return [content for content in room.said.values() if "m.new_content" in content]


async def announcement(world: World, room: Room) -> EventId:
    announced = (await world.recording()).announced_as
    assert announced is not None
    assert "is ready" in room.said[announced.removeprefix("$")]["body"]
    return announced


async def test_the_announcement_says_that_the_recording_was_deleted(world: World, room: Room) -> None:
    """The bot edits its own message, which leads nowhere and names no title any more."""
    await broadcast(world)
    announced = await announcement(world, room)
    await delete(world)
    await all_done(world)
    (edit,) = edits(room)
    assert edit["m.relates_to"] == {"rel_type": "m.replace", "event_id": announced}
    assert edit["m.new_content"]["body"] == "This recording was deleted."
    assert edit["body"] == "* This recording was deleted."
    assert edit["m.mentions"] == edit["m.new_content"]["m.mentions"] == {}


async def test_the_edit_speaks_the_rooms_language(world: World, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The room's language, not the default one."""
    spoken = []

    def translate(text: str) -> str:
        spoken.append(language.current())
        return text

    monkeypatch.setattr(announcements, "_", translate)
    async with world.store.write() as db:
        known = await rooms.room(db, ROOM)
        assert known is not None
        await rooms.save_room(db, replace(known, language="de"))
    await broadcast(world)
    await delete(world)
    assert spoken == ["de"]


async def test_an_announcement_that_was_not_said_yet_is_never_said(world: World, room: Room) -> None:
    """Neither does an edit follow."""
    await world.begin(chunk("$c1", 1))
    await world.work()
    await world.hear(info("$stop", "stopped", last_chunk_sequence=1))
    world.clock.pass_by(61)
    await world.work()
    assert len(await world.waiting(orders.Notice.kind)) == 1
    await delete(world)
    await all_done(world)
    assert not any("is ready" in content["body"] or "m.new_content" in content for content in room.said.values())


async def test_an_announcement_that_is_being_said_is_taken_back(world: World, room: Room) -> None:
    """The recording is deleted between the message and the answer to its request."""
    room.before_answer = lambda: delete(world)
    await broadcast(world)
    assert len(edits(room)) == 1


@pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after"])
async def test_a_death_between_announcement_and_note_leaves_no_announcement(
    world: World, room: Room, after_commit: bool
) -> None:
    """The announcement is said again under its transaction id, and taken back."""

    async def die() -> None:
        if after_commit:
            await delete(world)
        raise Killed

    room.before_answer = die
    with pytest.raises(Killed):
        await broadcast(world)
    await world.rise_again()
    speak(world, room)
    if not after_commit:
        await all_done(world)
        await delete(world)
    await all_done(world)
    assert len(edits(room)) == 1


async def test_an_announcement_whose_answer_was_lost_is_taken_back(world: World, room: Room) -> None:
    """The recording is deleted before the next attempt, which learns the event that is to be edited."""

    async def die() -> None:
        raise Killed

    room.before_answer = die
    with pytest.raises(Killed):
        await broadcast(world)
    await world.rise_again()
    speak(world, room)
    await delete(world)
    assert not any("is ready" in str(payload) for payload in await world.waiting(orders.Notice.kind))
    await all_done(world)
    assert [edit["m.new_content"]["body"] for edit in edits(room)] == [words.ANNOUNCED_IS_GONE]


async def approve(world: World) -> None:
    recording = await world.recording()
    async with world.store.write() as db:
        await archive.save_recording(db, replace(recording, unreviewed=False))
        await jobs.add(db, orders.Finish(recording.id).job(), world.clock())
    await world.work()


@pytest.mark.parametrize("announce", [Announce.QUIET, Announce.OFF])
async def test_nothing_waits_for_approval_after_it(world: World, room: Room, announce: Announce) -> None:
    """The first notice is edited at the approval, the newest one at the deletion."""
    async with world.store.write() as db:
        known = await rooms.room(db, ROOM)
        assert known is not None
        await rooms.save_room(db, replace(known, review=True))
    await broadcast(world)
    async with world.store.write() as db:
        await rooms.save_room(db, replace(known, review=True, announce=announce))
    waits = (await world.recording()).announced_as
    await approve(world)
    await all_done(world)
    (edit,) = edits(room)
    assert (edit["m.relates_to"]["event_id"], edit["m.new_content"]["body"]) == (waits, words.WAITED)
    newest = (await world.recording()).announced_as
    assert (newest == waits) is (announce is Announce.OFF)
    await delete(world)
    await all_done(world)
    (_, gone) = edits(room)
    assert (gone["m.relates_to"]["event_id"], gone["m.new_content"]["body"]) == (newest, words.ANNOUNCED_IS_GONE)


async def test_a_late_answer_that_it_waits_is_edited_after_the_approval(world: World, room: Room) -> None:
    """The approval came between the request and its answer."""
    async with world.store.write() as db:
        known = await rooms.room(db, ROOM)
        assert known is not None
        await rooms.save_room(db, replace(known, review=True))
    room.before_answer = lambda: approve(world)
    await broadcast(world)
    (edit,) = edits(room)
    assert edit["m.new_content"]["body"] == words.WAITED
    assert await announcement(world, room) != edit["m.relates_to"]["event_id"]


async def test_a_redacted_broadcast_is_told_once(world: World, room: Room) -> None:
    """The room learns why the recording is gone; nobody asked for it by a command."""
    await broadcast(world)
    for number in range(2):
        await world.hear(heard(f"$r{number}", "m.room.redaction", {}, redacts=START))
        await all_done(world)
    assert (await world.recording()).state is RecordingState.DELETED
    told = [content["body"] for content in room.said.values() if "redacted" in content["body"]]
    assert told == [BROADCAST.told["removed"]]
    assert len(edits(room)) == 1
