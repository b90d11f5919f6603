"""Broadcasts from a studio, by the real recorder, store and ffmpeg: what is uploaded becomes a recording like any
other, of which the homeserver knows nothing."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select

from bot import orders
from bot.demo.slicing import Slice
from bot.dialects import studio as events
from bot.intake import consent, shown
from bot.recorder import Recorder
from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger
from bot.recording.model import Change, Deleted, Ended
from bot.recording.policy import MAX_CHUNKS
from bot.recording.report import recording_json
from bot.studio.writing import GOOD_FOR, Problem, StudioRefusedError, Taken
from storage import archive, journal, optouts, originals, rooms, studios
from storage.records import (
    BlobKey,
    ChunkState,
    EndedBy,
    EventId,
    OptOut,
    Position,
    RecordingState,
    StudioState,
    UserId,
    Via,
)
from storage.tables import jobs as job_table
from tests.blobs import folder_of
from tests.booth import Booth, a_take
from tests.lab import decode
from tests.recording.world import limits
from tests.world import ALICE, ROOM, World, heard

SECOND = 48_000


@pytest.fixture
async def booth(world: World) -> Booth:
    return await Booth.open(world)


async def ledger_of(booth: Booth) -> Ledger:
    return lay_out(await booth.recording(), await booth.chunks())


async def asked(world: World) -> list[str]:
    """Return what the homeserver was asked for, or told, of a recording: the orders, whatever became of them."""
    kinds = [order.kind for order in (orders.Reread, orders.Redaction, orders.React)]
    async with world.store.read() as db:
        rows = await db.execute(select(job_table.c.subject).where(job_table.c.kind.in_(kinds)))
        return list(rows.scalars())


async def refusal(booth: Booth, data: bytes) -> Problem | None:
    try:
        await booth.send(data)
    except StudioRefusedError as refused:
        return refused.problem
    return None


# ---- a whole broadcast


async def test_a_broadcast_is_complete_at_its_stop_and_exact_to_the_sample(world: World, booth: Booth) -> None:
    """The Ogg pages prove that everything is there, the episode is as long as what was sent, and the original is the
    stream that was cut, sample for sample. The homeserver was asked for nothing."""
    take = a_take(7, 9.0)
    assert await booth.start() is Taken.NOW
    assert (await booth.recording()).state is RecordingState.LIVE
    await booth.play(take)
    await booth.stop()
    recording, episode = await booth.recording(), await booth.episode()
    assert (recording.state, recording.ended_by, recording.via) == (
        RecordingState.COMPLETE,
        EndedBy.STOPPED,
        Via.STUDIO,
    )
    whole = decode(b"".join([take[0].data, *(piece.data[headers(piece.data) :] for piece in take[1:])]))
    assert episode.samples == len(whole)
    assert [chunk.state for chunk in await booth.chunks()] == [ChunkState.STORED] * len(take)
    async with world.store.read() as db:
        original = await originals.of(db, recording.id)
    assert original is not None
    assert np.array_equal(decode(folder_of(world.store).read(original.blob)), whole)
    assert await asked(world) == []


def headers(data: bytes) -> int:
    """Return where the first page of sound begins."""
    return data.index(b"OggS", data.index(b"OggS", 4) + 4)


async def test_each_step_can_be_repeated(world: World, booth: Booth) -> None:
    """A slice that was taken is taken no second time; another sound with the same number is refused."""
    take = a_take(7, 5.0)
    assert [await booth.start(), await booth.start()] == [Taken.NOW, Taken.BEFORE]
    for piece, taken in ((take[0], Taken.NOW), (take[0], Taken.BEFORE)):
        assert await booth.send(piece.data, 1) is taken
    booth.sent = 0
    assert await refusal(booth, take[1].data) is Problem.OTHER_BYTES
    await booth.play(take[1:])
    await booth.stop()
    assert await booth.send(take[-1].data, len(take)) is Taken.BEFORE
    assert len(await booth.chunks()) == len(take)
    assert (await booth.recording()).state is RecordingState.COMPLETE


async def test_the_order_of_uploads_is_not_the_order_of_the_sound(world: World, booth: Booth) -> None:
    """Slices that come in any order are one stream."""
    take = a_take(7, 9.0)
    await booth.start()
    for number in (2, 1, len(take), *range(3, len(take))):
        await booth.send(take[number - 1].data, number)
    await world.work()
    await booth.stop(len(take))
    ledger = await ledger_of(booth)
    assert (await booth.recording()).state is RecordingState.COMPLETE
    assert [entry.sequence for entry in ledger.entries] == [*range(1, len(take) + 1)]
    assert ledger.samples == sum(piece.samples for piece in take) - 3840


async def test_a_missing_slice_is_silence_and_heals_when_it_comes(world: World, booth: Booth) -> None:
    """A number that never came is a gap of its true length, asked of nobody; it heals under the same GUID when its
    client sends it within a day after the stop."""
    take = a_take(7, 9.0)
    await booth.start()
    for number, piece in enumerate(take, start=1):
        if number != 3:
            await booth.send(piece.data, number)
    await world.work()
    await booth.stop(len(take))
    assert (await booth.recording()).state is RecordingState.FINISHING
    world.clock.pass_by(61)
    await world.work()
    assert (await booth.recording()).state is RecordingState.INCOMPLETE
    (gap,) = (await ledger_of(booth)).gaps
    before = take[0].samples + take[1].samples - 3840
    assert (gap.position, gap.samples, gap.reason) == (before, take[2].samples, "missing")
    guid = (await booth.episode()).guid
    world.clock.pass_by((GOOD_FOR / 2).total_seconds())
    assert await booth.send(take[2].data, 3) is Taken.NOW
    await world.work()
    assert (await booth.recording()).state is RecordingState.COMPLETE
    assert ((await booth.episode()).guid, (await ledger_of(booth)).gaps) == (guid, ())
    assert await asked(world) == []


async def test_a_page_that_died_leaves_a_take_without_an_end(world: World, booth: Booth) -> None:
    """A stream without its last page, followed by another one, loses nothing: the numbers prove that it is whole."""
    first, second = a_take(7, 6.0), a_take(8, 5.0, first=300)
    await booth.start()
    await booth.play(first[:-1])
    await booth.play(second)
    await booth.stop()
    world.clock.pass_by(61)
    await world.work()
    ledger = await ledger_of(booth)
    assert (await booth.recording()).state is RecordingState.COMPLETE
    assert ledger.gaps == ()
    assert ledger.samples == sum(piece.samples for piece in (*first[:-1], *second)) - 2 * 3840


async def test_chapters_begin_where_it_was_resumed(world: World, booth: Booth) -> None:
    """A pause is cut out; where it ends a chapter begins. The title and the description are those of the page."""
    booth = await Booth.open(world, title="Soup", description="All about soup")
    first, second = a_take(7, 4.0), a_take(8, 4.0, first=200)
    await booth.start()
    await booth.play(first)
    await booth.change(Change.PAUSED)
    assert (await booth.recording()).paused
    world.clock.pass_by(600)
    await booth.change(Change.RESUMED)
    await booth.play(second)
    await booth.stop()
    recording, episode = await booth.recording(), await booth.episode()
    assert recording.state is RecordingState.COMPLETE
    assert (recording.title, recording.description) == ("Soup", "All about soup")
    at = sum(piece.samples for piece in first) - 3840
    assert [mark.at for mark in episode.chapters] == [0, at * 1000 // SECOND]
    shown_as = recording_json(
        recording, await booth.chunks(), episode, title="Soup", given_title="Soup", named=str, path=None
    )
    assert (shown_as["kind"], shown_as["via"], shown_as["id"]) == ("voice_broadcast", "studio", recording.event_id)


# ---- the end


async def test_silence_ends_it_also_while_the_homeserver_is_away(world: World, booth: Booth) -> None:
    """A studio that is silent for too long is abandoned: no event of the homeserver could be a sign of life. Its client
    may come back, with what it kept, and a late stop counts."""
    take = a_take(7, 6.0)
    world.recorder = Recorder(world.store, limits(quiet_period_s=60), world.clock, hears=lambda: False)
    world.handlers[orders.Tick.kind] = world.recorder.tick
    await booth.start()
    await booth.play(take[:2])
    world.clock.pass_by(limits().abandoned_after_s + 1)
    await world.work()
    recording = await booth.recording()
    assert recording.ended_by is EndedBy.ABANDONED
    assert (await booth.now()).state is StudioState.LIVE
    await booth.play(take[2:])
    await booth.stop()
    world.clock.pass_by(61)
    await world.work()
    recording = await booth.recording()
    assert (recording.state, recording.ended_by) == (RecordingState.COMPLETE, EndedBy.STOPPED)
    assert await asked(world) == []


async def test_what_is_too_long_ends_the_studio(world: World, booth: Booth, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the longest length nothing more is taken, and what was not recorded is not kept."""
    monkeypatch.setattr("tests.world.limits", lambda **_: limits(quiet_period_s=60, max_broadcast_s=5))
    await world.rise_again()
    take = a_take(7, 9.0)
    await booth.start()
    for piece in take:
        if await refusal(booth, piece.data) is not None:
            break
        await world.work()
    recording = await booth.recording()
    assert recording.ended_by is EndedBy.LIMIT
    assert await refusal(booth, take[-1].data) is Problem.OVER
    assert ((await booth.now()).state, (await booth.now()).last) == (StudioState.OVER, None)


# ---- objections


def key_of(data: bytes) -> BlobKey:
    return BlobKey(hashlib.sha256(data).hexdigest())


async def on_disk(world: World, slices: list[Slice]) -> list[bool]:
    """Return which of these slices have a file."""
    there = world.files()
    return [key_of(piece.data) in there for piece in slices]


async def opt_out(world: World, since: Position) -> None:
    """Carry out an `optout` that Alice said at a position."""
    async with world.store.write() as db:
        await optouts.add(db, OptOut(ALICE, ROOM, since, out=True, at=world.clock()))
        objection = orders.CloseRefused(EventId("$optout"), since, ALICE, (ROOM,))
        await consent.close_refused(db, world.recorder.apply, objection, world.clock())


async def test_an_optout_takes_away_what_came_after_it(world: World, booth: Booth) -> None:
    """Sound that had come before stays; of what came after it nothing is kept, in the recording or on the disk, and the
    studio takes nothing more. What its client sent before, it need not send again."""
    take = a_take(7, 12.0)
    await booth.start()
    await booth.play(take[:2])
    async with world.store.read() as db:
        since = await journal.position(db)
    await booth.play(take[2:3])  # before the command is carried out
    await booth.send(take[3].data)  # not fetched yet
    await opt_out(world, since)
    await world.work()
    chunks = await booth.chunks()
    assert [chunk.state for chunk in chunks] == [ChunkState.STORED] * 2 + [ChunkState.REFUSED] * 2
    assert await on_disk(world, take) == [True, True, *[False] * (len(take) - 2)]
    assert await refusal(booth, take[4].data) is Problem.OVER
    assert ((await booth.now()).state, (await booth.recording()).ended_by) == (StudioState.OVER, EndedBy.SWITCHED_OFF)
    async with world.store.read() as db:
        assert [each.number for each in await studios.slices_of(db, booth.studio.id)] == [1, 2, 3, 4]


async def test_what_comes_in_after_an_objection_is_not_kept(world: World, booth: Booth) -> None:
    """A slice whose event waits in the journal while recording ends is no chunk, and its file goes."""
    take = a_take(7, 8.0)
    await booth.start()
    await booth.play(take[:1])
    file = world.store.blobs.part("upload")
    file.write_bytes(take[1].data)
    await booth.writing.add(booth.studio.id, "client", 2, file, key_of(take[1].data), len(take[1].data), None)
    async with world.store.write() as db:
        await world.recorder.apply(db, (await booth.recording()).id, Ended(EndedBy.SWITCHED_OFF))
    await world.work()
    assert len(await booth.chunks()) == 1
    assert await on_disk(world, take[:2]) == [True, False]
    assert (await booth.now()).state is StudioState.OVER


async def test_who_leaves_ends_their_studio(world: World, booth: Booth) -> None:
    """The broadcast ends with what had come so far."""
    take = a_take(7, 6.0)
    await booth.start()
    await booth.play(take[:2])
    await world.hear(heard("$left", "m.room.member", {"membership": "leave"}, state_key=ALICE))
    await world.work()
    assert (await booth.recording()).ended_by is EndedBy.LEFT
    assert (await booth.now()).state is StudioState.OVER
    assert await refusal(booth, take[2].data) is Problem.OVER


async def test_a_room_that_records_others_only_takes_nothing(world: World, booth: Booth) -> None:
    """`speakers` and `record off` are asked at every step."""
    take = a_take(7, 6.0)
    await booth.start()
    await booth.play(take[:1])
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, speakers=(UserId("@bob:hs"),)))
    assert await refusal(booth, take[1].data) is Problem.OVER
    async with world.store.write() as db:
        await rooms.save_room(db, replace(room, recording_on=False))
    assert await refusal(booth, take[1].data) is Problem.OVER
    assert await on_disk(world, take[:2]) == [True, False]


async def test_a_deleted_broadcast_leaves_no_file_and_takes_nothing(world: World, booth: Booth) -> None:
    """A recording that is deleted while it is live takes its slices with it: those that are stored, that wait to be
    fetched, and whose event waits to be handled."""
    take = a_take(7, 8.0)
    await booth.start()
    await booth.play(take[:2])
    await booth.send(take[2].data)
    async with world.store.write() as db:
        await world.recorder.apply(db, (await booth.recording()).id, Deleted())
    await world.work()
    assert await on_disk(world, take) == [False] * len(take)
    assert await refusal(booth, take[3].data) is Problem.OVER
    async with world.store.read() as db:
        assert await studios.slices_of(db, booth.studio.id) == ()


async def test_a_redaction_of_the_event_in_the_room_counts(world: World, booth: Booth) -> None:
    """Redacting the event of a slice takes its sound, and redacting the first event deletes the recording."""
    take = a_take(7, 8.0)
    await booth.start()
    await booth.play(take)
    await booth.shown_as(EventId("$info"))
    await booth.shown_as(EventId("$second"), 2)
    async with world.store.read() as db:
        assert await shown.event_of(db, await booth.recording()) == "$info"
        assert await shown.in_room(db, events.chunk_id(booth.studio, 2)) == "$second"
        assert await shown.in_room(db, events.chunk_id(booth.studio, 1)) is None
    await world.hear(heard("$r1", "m.room.redaction", {}, redacts="$second"))
    await world.work()
    assert [chunk.state for chunk in await booth.chunks()][:3] == ["stored", "redacted", "stored"]
    assert (await on_disk(world, take))[:3] == [True, False, True]
    await world.hear(heard("$r2", "m.room.redaction", {}, redacts="$info"))
    await world.work()
    assert (await booth.recording()).state is RecordingState.DELETED
    assert await on_disk(world, take) == [False] * len(take)


async def test_the_homeserver_can_not_give_such_a_name(world: World, booth: Booth) -> None:
    """An event that claims to be a studio's is kept nowhere, wherever it comes from."""
    forged = events.started(booth.studio, world.clock())
    await world.hear(forged, replace(forged, event_id=EventId("$real")))
    async with world.store.read() as db:
        assert await archive.recordings(db) == ()
        assert await journal.position_of(db, forged.event_id) is None


# ---- afterwards


async def test_the_keeper_ends_what_expired_and_forgets_what_is_settled(world: World, booth: Booth) -> None:
    """A studio that waits for a day, or whose client is silent for one, is over. A day after a stop the rows about
    slices go, not the sound; a month later a studio without a recording goes, too."""
    idle, silent = await Booth.open(world), await Booth.open(world)
    take = a_take(7, 4.0)
    await booth.start()
    await booth.play(take)
    await booth.stop()
    await silent.start()
    await silent.send(a_take(8, 4.0)[0].data)
    await world.work()
    await world.keeper.tidy()
    assert [(await each.now()).state for each in (booth, idle, silent)] == ["over", "waiting", "live"]
    world.clock.pass_by(GOOD_FOR.total_seconds() + 1)
    await world.work()  # the silent one is abandoned by then
    await world.keeper.tidy()
    assert [(await each.now()).state for each in (booth, idle, silent)] == ["over", "over", "over"]
    async with world.store.read() as db:
        assert await studios.slices_of(db, booth.studio.id) == ()
    assert await on_disk(world, take) == [True] * len(take)
    assert (await booth.now()).client is None
    world.clock.pass_by(31 * 86_400)
    await world.keeper.tidy()
    async with world.store.read() as db:
        assert await studios.get(db, idle.studio.id) is None
        assert await studios.get(db, booth.studio.id) is not None  # its address is still known
    await world.work()
    assert await on_disk(world, take) == [True] * len(take)


async def test_texts_of_what_never_began_go_like_those_of_what_ended(world: World) -> None:
    """Texts that were typed into a studio that expired in vain are kept no longer than those of one that ended."""
    idle = await Booth.open(world, title="Soup", description="All about soup")
    for _ in range(2):
        world.clock.pass_by(GOOD_FOR.total_seconds() + 1)
        await world.keeper.tidy()
    now = await idle.now()
    assert (now.state, now.title, now.description) == (StudioState.OVER, None, None)


async def test_what_waits_for_the_disk_is_kept(world: World, booth: Booth) -> None:
    """Slices that could not be stored yet are no rubbish, however long it takes; and they count among the room's
    bytes, once."""
    take = a_take(7, 4.0)
    await booth.start()
    for piece in take:
        await booth.send(piece.data)
    size = sum(len(piece.data) for piece in take)
    await booth.change(Change.STOPPED, booth.sent)
    world.clock.pass_by(2 * GOOD_FOR.total_seconds())
    await world.keeper.tidy()
    async with world.store.read() as db:
        assert await archive.bytes_of_room(db, ROOM) == size
    await world.work()
    assert (await booth.recording()).state is RecordingState.COMPLETE
    async with world.store.read() as db:
        original = await originals.of(db, (await booth.recording()).id)
        assert original is not None
        whole = size + (await booth.episode()).bytes + original.bytes
        assert await archive.bytes_of_room(db, ROOM) == whole


async def test_what_the_last_process_did_not_come_to_is_kept(world: World, booth: Booth) -> None:
    """A late slice was acknowledged and nothing more, and the bot is away for days: housekeeping at its start comes
    before the slice is handled, and takes nothing away."""
    take = a_take(7, 6.0)
    await booth.start()
    await booth.play([take[0], *take[2:]])
    await booth.stop(len(take))
    world.clock.pass_by(61)
    await world.work()
    late = take[1].data
    file = world.store.blobs.part("upload")
    file.write_bytes(late)
    await booth.writing.add(booth.studio.id, "client", len(take), file, key_of(late), len(late), None)
    world.clock.pass_by(3 * GOOD_FOR.total_seconds())
    await world.rise_again()
    await world.keeper.tidy()
    await world.work()
    assert (await booth.recording()).state is RecordingState.COMPLETE
    assert await on_disk(world, take) == [True] * len(take)


async def test_what_follows_a_beginning_that_failed_is_kept(
    world: World, booth: Booth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The beginning of a broadcast triggers a bug of ours: what its client sends is kept, also by housekeeping, until a
    version without the bug handles all of it."""
    take = a_take(7, 6.0)
    with monkeypatch.context() as buggy:
        buggy.setattr(world.recorder._hearing, "_start", fails)
        await booth.start()
        await booth.play(take[:2])
        await booth.change(Change.PAUSED)
        await booth.change(Change.RESUMED)
        await booth.play(take[2:])
        await booth.stop()
    world.clock.pass_by(40 * 86_400)
    await world.keeper.tidy()
    await world.keeper.sweep()
    await world.work()
    assert await on_disk(world, take) == [True] * len(take)
    await world.rise_again()
    async with world.store.write() as db:
        assert await journal.try_again(db) == 1 + len(take) + 3
    await world.work()
    world.clock.pass_by(61)
    await world.work()
    recording = await booth.recording()
    assert (recording.state, recording.ended_by) == (RecordingState.COMPLETE, EndedBy.STOPPED)
    assert (await ledger_of(booth)).gaps == ()
    await world.keeper.tidy()
    async with world.store.read() as db:
        assert await studios.slices_of(db, booth.studio.id) == ()
    assert await on_disk(world, take) == [True] * len(take)


async def fails(*_: object) -> None:
    raise RuntimeError("a bug")


async def test_no_slice_is_taken_that_no_recording_has(world: World, booth: Booth) -> None:
    """A number that is higher than a recording may have chunks is refused: what is acknowledged is kept."""
    await booth.start()
    assert await booth.send(b"the last one", MAX_CHUNKS) is Taken.NOW
    booth.sent = MAX_CHUNKS
    assert await refusal(booth, b"one too many") is Problem.TOO_MANY


async def test_a_plain_voice_message_is_no_chunk_of_a_studio(world: World, booth: Booth) -> None:
    """A studio loses no chunk into the room: what its speaker sends there is a message like any other."""
    await booth.start()
    content = {"msgtype": "m.audio", "url": "mxc://hs/m", "org.matrix.msc3245.voice": {}}
    await world.hear(heard("$m", "m.room.message", content))
    assert await booth.chunks() == ()
