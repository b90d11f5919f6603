"""The shell around the machine: the journal in, recordings and jobs out."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bot import orders, topics
from bot.errors import GiveUp, TryLater
from bot.matrix.media import FetchedMedia
from bot.recorder import Recorder
from bot.recording.broadcast import machine
from storage import archive, jobs, journal
from storage.database import Connection
from storage.errors import StoreBusyError
from storage.records import (
    ChunkState,
    EventId,
    HeardEvent,
    Json,
    MediaSource,
    RecordingState,
    RoomId,
    SessionId,
    UserId,
    Withheld,
)
from tests.recording.world import limits
from tests.world import ALICE, ROOM, START, World, batch, chunk, download, heard, info, sealed, state

C1 = EventId("$c1")


def opened(wrapper: HeardEvent) -> HeardEvent:
    """Return the wrapper's chunk, as a key shows it."""
    return replace(chunk(wrapper.event_id, 1), encrypted=True, clear_relation=wrapper.clear_relation)


async def chunk_state(world: World, event_id: EventId = C1) -> ChunkState | None:
    async with world.store.read() as db:
        found = await archive.chunk_of_event(db, event_id)
    return found.state if found else None


async def kept(world: World, event_id: EventId) -> Any:
    """Return what the journal still holds of an event."""
    async with world.store.read() as db:
        every = [*await journal.sealed(db), *await journal.unhandled(db, 100)]
    return [one.event for one in every if one.event_id == event_id]


async def test_a_broadcast_is_followed_and_its_chunks_are_fetched(world: World) -> None:
    """A started event makes a recording, a chunk makes a fetch."""
    await world.begin(chunk(C1, 1))
    assert (await world.recording()).state is RecordingState.LIVE
    assert await world.waiting(orders.Fetch.kind) == [{"recording": 1}]


async def test_a_key_that_comes_while_the_wrapper_is_dealt_with_opens_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event counts as it is when it is dealt with, not as it was when it was read."""
    await world.begin()
    read = journal.unhandled

    async def slowly(db: Connection, limit: int, now: datetime) -> tuple[HeardEvent, ...]:
        found = await read(db, limit, now)
        if found:
            await world.intake.take(batch(new_keys=frozenset({SessionId("session")})))
        return found

    await world.intake.take(batch(sealed(C1)))
    world.opens = opened
    monkeypatch.setattr(journal, "unhandled", slowly)
    await world.recorder.catch_up()
    monkeypatch.setattr(journal, "unhandled", read)
    await world.settle()
    assert await chunk_state(world) is ChunkState.WAITING_FOR_MEDIA
    assert await kept(world, C1) == []


async def test_a_mistake_about_one_event_keeps_no_other_waiting_and_is_mended_by_a_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that can't be handled stays in the journal, and the next version handles it."""

    def broken(*_: Any, **__: Any) -> Any:
        raise AssertionError("a mistake")

    with monkeypatch.context() as patched:
        patched.setattr(machine, "begin", broken)
        await world.begin(heard("$m", "m.room.message", {"msgtype": "m.text", "body": "!aircheck help"}))
    assert len(await world.waiting(orders.Command.kind)) == 1
    async with world.store.write() as db:
        assert await archive.recordings(db) == ()
        assert await journal.try_again(db) == 1
    await world.settle()
    assert (await world.recording()).state is RecordingState.LIVE


async def test_a_store_in_trouble_loses_no_event(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is no mistake about the event: it is dealt with when there is room."""

    async def busy(*_: Any) -> None:
        raise StoreBusyError("the database can't be used now")

    await world.intake.take(batch(info(START, "started")))
    with monkeypatch.context() as patched:
        patched.setattr(archive, "add_recording", busy)
        with pytest.raises(StoreBusyError):
            await world.recorder.catch_up()
    await world.settle()
    assert (await world.recording()).state is RecordingState.LIVE


async def test_a_redacted_chunk_waits_for_no_key(world: World) -> None:
    """Its wrapper goes: what nobody may hear is not kept in case that it can be read."""
    await world.begin(sealed(C1))
    assert await chunk_state(world) is ChunkState.WAITING_FOR_KEY
    assert len(await kept(world, C1)) == 1
    await world.hear(heard("$r", "m.room.redaction", {}, redacts=C1))
    assert await chunk_state(world) is ChunkState.REDACTED
    assert await kept(world, C1) == []


@pytest.mark.parametrize("junk", [{"sender": ["junk"]}, {"content": {"msgtype": "m.text", "body": ["junk"]}}])
async def test_what_no_room_could_have_said_is_no_command(world: World, junk: Json) -> None:
    """A homeserver may send anything; nobody is answered."""
    said = heard("$m", "m.room.message", {"msgtype": "m.text", "body": "!aircheck help"})
    async with world.store.write() as db:
        await journal.add(db, replace(said, event={**said.event, **junk}), world.clock())
    await world.settle()
    assert await world.waiting(orders.Command.kind) == []


async def test_a_deleted_recording_is_not_announced(world: World) -> None:
    """Notices that wait for a recording are cancelled when it is deleted."""
    await world.begin()
    async with world.store.write() as db:
        told = orders.Notice(topics.episode_published(START), RoomId("!room:hs"), "…")
        await jobs.add(db, told.job(), world.clock())
    await world.hear(heard("$r", "m.room.redaction", {}, redacts=START))
    assert (await world.recording()).state is RecordingState.DELETED
    async with world.store.read() as db:
        assert await jobs.find(db, told.job().name) is None


async def test_a_name_that_no_database_holds_is_cleaned(world: World) -> None:
    """A lone surrogate in a display name costs nobody their recording."""
    joined = state("m.room.member", {"membership": "join", "displayname": "A\ud800"}, ALICE, event_id="$j")
    await world.hear(before=(joined,))
    await world.begin()
    assert (await world.recording()).broadcaster_name == "A\ufffd"


async def reasons(world: World) -> dict[str, str | None]:
    async with world.store.read() as db:
        (recording,) = await archive.recordings(db, ROOM)
        return {str(chunk.event_id): chunk.reason for chunk in await archive.chunks(db, recording.id)}


async def test_a_name_that_somebody_else_gave_is_not_the_speakers(world: World) -> None:
    """Whoever removes a member writes their m.room.member, and could call them what they like."""
    called = {"membership": "ban", "displayname": "Thief"}
    await world.hear(heard("$ban", "m.room.member", called, state_key=ALICE, sender="@mallory:hs"))
    await world.begin()
    assert (await world.recording()).broadcaster_name is None


async def test_a_chunk_whose_key_is_withheld_says_why_until_the_key_comes(world: World) -> None:
    """The client's note counts for the chunk before it and for the one after it; junk notes count for none."""
    await world.intake.take(batch(info(START, "started"), sealed("$before")))
    await world.recorder.catch_up()
    session = SessionId("session")
    notes = (
        Withheld(session, ALICE, "m.unverified"),
        Withheld(SessionId("x" * 300), ALICE, "m.unverified"),
        Withheld(SessionId("other"), ALICE, "no code\n"),
    )
    await world.intake.take(batch(withheld=notes))
    await world.intake.take(batch(sealed("$after"), sealed("$other", "other")))
    await world.recorder.catch_up()
    said = "withheld:m.unverified"
    assert await reasons(world) == {"$before": said, "$after": said, "$other": None}
    world.opens = opened
    await world.intake.take(batch(new_keys=frozenset({session})))
    await world.recorder.catch_up()
    assert await reasons(world) == {"$before": None, "$after": None, "$other": None}


async def test_a_key_is_withheld_by_its_speaker_alone(world: World) -> None:
    """A note of another member on the speaker's session is ignored, before the speaker's own note and after."""
    session, mallory = SessionId("session"), UserId("@mallory:hs")
    await world.hear(withheld=(Withheld(session, mallory, "m.blacklisted"),))
    await world.begin(sealed("$before"))
    await world.hear(withheld=(Withheld(session, mallory, "m.unauthorised"),))
    assert await reasons(world) == {"$before": None}
    notes = [Withheld(SessionId(f"s{number}"), mallory, "m.blacklisted") for number in range(200)]
    await world.hear(withheld=(*notes, Withheld(session, ALICE, "m.unverified")))
    await world.hear(sealed("$after"), withheld=(Withheld(session, mallory, "m.blacklisted"),))
    assert await reasons(world) == {"$before": "withheld:m.unverified", "$after": "withheld:m.unverified"}


async def refuse(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
    """Media that are no sound."""
    raise GiveUp("no sound", reason="not_audio")


async def tell_of(world: World) -> list[Json]:
    """Return the notices that reply to the broadcast."""
    return [one for one in await world.waiting(orders.Notice.kind) if one.get("reply_to") == START]


async def test_nothing_to_hear_is_told_once(world: World) -> None:
    """A broadcast without sound is told to its room as a reply, also after a restart once only; sound that comes late
    makes an episode of it."""
    await world.begin(info("$stop", "stopped"))
    world.clock.pass_by(61)
    await world.work()
    assert (await world.recording()).state is RecordingState.EMPTY
    (told,) = await tell_of(world)
    assert "nothing to hear" in told["body"]
    async with world.store.write() as db:
        for job in await jobs.claim(db, [orders.Notice.kind], world.clock(), 10):
            await jobs.done(db, job.id, world.clock())
    await world.rise_again()
    world.download = refuse
    await world.hear(chunk("$c9", 9))
    for _ in range(2):
        await world.work_on()
        world.clock.pass_by(10)
    assert (await world.recording()).state is RecordingState.EMPTY
    assert await tell_of(world) == []
    world.download = download
    await world.hear(chunk(C1, 1))
    await world.work_on()
    assert (await world.recording()).state in (RecordingState.COMPLETE, RecordingState.INCOMPLETE)
    (published,) = await tell_of(world)
    assert "is ready" in published["body"]


async def test_a_past_broadcast_without_sound_is_not_told_alone(world: World) -> None:
    """A recording that a search of the history found gets no notice of its own."""
    async with world.store.write() as db:
        found = await world.recorder.adopt(db, (info(START, "started"), info("$stop", "stopped")))
    assert found is not None
    world.clock.pass_by(61)
    await world.work()
    assert (await world.recording()).state is RecordingState.EMPTY
    assert await tell_of(world) == []


async def test_nobody_is_abandoned_whose_words_are_not_read_yet(world: World) -> None:
    """After an outage all patience is over at once: a clock looks only when the journal's words were dealt with."""
    await world.begin()
    world.clock.pass_by(3600)
    await world.intake.take(batch(chunk(C1, 1)))
    async with world.store.write() as db:
        (job,) = await jobs.claim(db, [orders.Tick.kind], world.clock(), 10)
    with pytest.raises(TryLater):
        await world.recorder.tick(job)
    await world.settle()
    await world.recorder.tick(job)
    assert await state_of(world, START) is RecordingState.LIVE
    world.clock.pass_by(3600)
    await world.recorder.tick(job)
    assert await state_of(world, START) is not RecordingState.LIVE


async def test_an_end_comes_soon_after_an_outage_however_long_that_was(world: World) -> None:
    """While the homeserver is away a clock is looked at again and again; the pauses don't grow with it."""
    heard_all = False
    recorder = Recorder(world.store, limits(quiet_period_s=60), world.clock, hears=lambda: heard_all)
    world.handlers[orders.Tick.kind] = recorder.tick
    await world.begin()
    world.clock.pass_by(3600)
    for _ in range(20):
        assert await world.work_one([orders.Tick.kind])
        assert await state_of(world, START) is RecordingState.LIVE
        world.clock.pass_by(40)
    heard_all = True
    assert await world.work_one([orders.Tick.kind])
    assert await state_of(world, START) is not RecordingState.LIVE


async def state_of(world: World, broadcast: EventId) -> RecordingState:
    async with world.store.read() as db:
        recording = await archive.recording_by_event(db, broadcast)
    assert recording is not None
    return recording.state
