"""The shell around the machine: the journal in, recordings and jobs out."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bot import orders
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
from tests.recording.stage import limits
from tests.world import ALICE, ROOM, START, Shell, batch, chunk, download, heard, info, sealed, shell, state

C1 = EventId("$c1")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Shell]:
    async with shell(tmp_path / "data") as made:
        await made.join()
        yield made


def opened(wrapper: HeardEvent) -> HeardEvent:
    """The wrapper's chunk, as a key shows it."""
    return replace(chunk(wrapper.event_id, 1), encrypted=True, clear_relation=wrapper.clear_relation)


async def chunk_state(stage: Shell, event_id: EventId = C1) -> ChunkState | None:
    async with stage.store.read() as db:
        found = await archive.chunk(db, event_id)
    return found.state if found else None


async def kept(stage: Shell, event_id: EventId) -> Any:
    """What the journal still holds of an event."""
    async with stage.store.read() as db:
        every = [*await journal.sealed(db), *await journal.unhandled(db, 100)]
    return [one.event for one in every if one.event_id == event_id]


async def test_a_broadcast_is_followed_and_its_chunks_are_fetched(stage: Shell) -> None:
    """A started event makes a recording, a chunk makes a fetch."""
    await stage.hear(info(START, "started"), chunk(C1, 1))
    assert (await stage.recording()).state is RecordingState.LIVE
    assert await stage.waiting(orders.Fetch.kind) == [{"recording": 1}]


async def test_a_key_that_comes_while_the_wrapper_is_dealt_with_opens_it(
    stage: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event counts as it is when it is dealt with, not as it was when it was read."""
    await stage.hear(info(START, "started"))
    read = journal.unhandled

    async def slowly(db: Connection, limit: int, now: datetime) -> tuple[HeardEvent, ...]:
        found = await read(db, limit, now)
        if found:
            await stage.intake.take(batch(new_keys=frozenset({SessionId("session")})))
        return found

    await stage.intake.take(batch(sealed(C1)))
    stage.opens = opened
    monkeypatch.setattr(journal, "unhandled", slowly)
    await stage.recorder.catch_up()
    monkeypatch.setattr(journal, "unhandled", read)
    await stage.settle()
    assert await chunk_state(stage) is ChunkState.WAITING_FOR_MEDIA
    assert await kept(stage, C1) == []


async def test_a_mistake_about_one_event_keeps_no_other_waiting_and_is_mended_by_a_start(
    stage: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be dealt with stays written down, and the next version deals with it."""

    def broken(*_: Any, **__: Any) -> Any:
        raise AssertionError("a mistake")

    with monkeypatch.context() as patched:
        patched.setattr(machine, "begin", broken)
        await stage.hear(
            info(START, "started"), heard("$m", "m.room.message", {"msgtype": "m.text", "body": "!aircheck help"})
        )
    assert len(await stage.waiting(orders.Command.kind)) == 1
    async with stage.store.write() as db:
        assert await archive.recordings(db) == ()
        assert await journal.try_again(db) == 1
    await stage.settle()
    assert (await stage.recording()).state is RecordingState.LIVE


async def test_a_store_in_trouble_loses_no_event(stage: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is no mistake about the event: it is dealt with when there is room."""

    async def busy(*_: Any) -> None:
        raise StoreBusyError("the database can't be used now")

    await stage.intake.take(batch(info(START, "started")))
    with monkeypatch.context() as patched:
        patched.setattr(archive, "add_recording", busy)
        with pytest.raises(StoreBusyError):
            await stage.recorder.catch_up()
    await stage.settle()
    assert (await stage.recording()).state is RecordingState.LIVE


async def test_a_redacted_chunk_waits_for_no_key(stage: Shell) -> None:
    """Its wrapper goes: what nobody may hear is not kept in case that it can be read."""
    await stage.hear(info(START, "started"), sealed(C1))
    assert await chunk_state(stage) is ChunkState.WAITING_FOR_KEY
    assert len(await kept(stage, C1)) == 1
    await stage.hear(heard("$r", "m.room.redaction", {}, redacts=C1))
    assert await chunk_state(stage) is ChunkState.REDACTED
    assert await kept(stage, C1) == []


@pytest.mark.parametrize("junk", [{"sender": ["junk"]}, {"content": {"msgtype": "m.text", "body": ["junk"]}}])
async def test_what_no_room_could_have_said_is_no_command(stage: Shell, junk: Json) -> None:
    """A homeserver may send anything; nobody is answered."""
    said = heard("$m", "m.room.message", {"msgtype": "m.text", "body": "!aircheck help"})
    async with stage.store.write() as db:
        await journal.add(db, replace(said, event={**said.event, **junk}), stage.clock())
    await stage.settle()
    assert await stage.waiting(orders.Command.kind) == []


async def test_a_deleted_recording_is_not_announced(stage: Shell) -> None:
    """What was going to be said of it is taken back."""
    await stage.hear(info(START, "started"))
    async with stage.store.write() as db:
        told = orders.Notice(orders.episode_published(START), RoomId("!room:hs"), "…")
        await jobs.add(db, told.job(), stage.clock())
    before = len(await stage.waiting(orders.Notice.kind))
    await stage.hear(heard("$r", "m.room.redaction", {}, redacts=START))
    assert (await stage.recording()).state is RecordingState.DELETED
    assert len(await stage.waiting(orders.Notice.kind)) == before - 1


async def test_a_name_that_no_database_holds_is_cleaned(stage: Shell) -> None:
    """A lone surrogate in a display name costs nobody their recording."""
    joined = state("m.room.member", {"membership": "join", "displayname": "A\ud800"}, ALICE, event_id="$j")
    await stage.hear(before=(joined,))
    await stage.hear(info(START, "started"))
    assert (await stage.recording()).broadcaster_name == "A?"


async def reasons(stage: Shell) -> dict[str, str | None]:
    async with stage.store.read() as db:
        (recording,) = await archive.recordings(db, ROOM)
        return {str(chunk.event_id): chunk.reason for chunk in await archive.chunks(db, recording.id)}


async def test_a_name_that_somebody_else_gave_is_not_the_speakers(stage: Shell) -> None:
    """Whoever removes a member writes their m.room.member, and could call them what they like."""
    called = {"membership": "ban", "displayname": "Thief"}
    await stage.hear(heard("$ban", "m.room.member", called, state_key=ALICE, sender="@mallory:hs"))
    await stage.hear(info(START, "started"))
    assert (await stage.recording()).broadcaster_name is None


async def test_a_chunk_whose_key_is_withheld_says_why_until_the_key_comes(stage: Shell) -> None:
    """The client's note counts for the chunk before it and for the one after it; junk notes count for none."""
    await stage.intake.take(batch(info(START, "started"), sealed("$before")))
    await stage.recorder.catch_up()
    session = SessionId("session")
    notes = (
        Withheld(session, ALICE, "m.unverified"),
        Withheld(SessionId("x" * 300), ALICE, "m.unverified"),
        Withheld(SessionId("other"), ALICE, "no code\n"),
    )
    await stage.intake.take(batch(withheld=notes))
    await stage.intake.take(batch(sealed("$after"), sealed("$other", "other")))
    await stage.recorder.catch_up()
    said = "withheld:m.unverified"
    assert await reasons(stage) == {"$before": said, "$after": said, "$other": None}
    stage.opens = opened
    await stage.intake.take(batch(new_keys=frozenset({session})))
    await stage.recorder.catch_up()
    assert await reasons(stage) == {"$before": None, "$after": None, "$other": None}


async def test_a_key_is_withheld_by_its_speaker_alone(stage: Shell) -> None:
    """What another member says of the speaker's session counts for nothing, before the speaker's own word and after."""
    session, mallory = SessionId("session"), UserId("@mallory:hs")
    await stage.hear(withheld=(Withheld(session, mallory, "m.blacklisted"),))
    await stage.hear(info(START, "started"), sealed("$before"))
    await stage.hear(withheld=(Withheld(session, mallory, "m.unauthorised"),))
    assert await reasons(stage) == {"$before": None}
    notes = [Withheld(SessionId(f"s{number}"), mallory, "m.blacklisted") for number in range(200)]
    await stage.hear(withheld=(*notes, Withheld(session, ALICE, "m.unverified")))
    await stage.hear(sealed("$after"), withheld=(Withheld(session, mallory, "m.blacklisted"),))
    assert await reasons(stage) == {"$before": "withheld:m.unverified", "$after": "withheld:m.unverified"}


async def refuse(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
    """Media that are no sound."""
    raise GiveUp("no sound", reason="not_audio")


async def tell_of(stage: Shell) -> list[Json]:
    """What the room is told in reply to the broadcast."""
    return [one for one in await stage.waiting(orders.Notice.kind) if one.get("reply_to") == START]


async def test_nothing_to_hear_is_told_once(stage: Shell) -> None:
    """A broadcast without sound is told to its room as a reply, also after a restart once only; sound that comes late
    makes an episode of it."""
    await stage.hear(info(START, "started"), info("$stop", "stopped"))
    stage.clock.pass_by(61)
    await stage.work()
    assert (await stage.recording()).state is RecordingState.EMPTY
    (told,) = await tell_of(stage)
    assert "nothing to hear" in told["body"]
    async with stage.store.write() as db:
        for job in await jobs.claim(db, [orders.Notice.kind], stage.clock(), 10):
            await jobs.done(db, job.id, stage.clock())
    await stage.rise_again()
    stage.download = refuse
    await stage.hear(chunk("$c9", 9))
    for _ in range(2):
        await stage.work_on()
        stage.clock.pass_by(10)
    assert (await stage.recording()).state is RecordingState.EMPTY
    assert await tell_of(stage) == []
    stage.download = download
    await stage.hear(chunk(C1, 1))
    await stage.work_on()
    assert (await stage.recording()).state in (RecordingState.COMPLETE, RecordingState.INCOMPLETE)
    (published,) = await tell_of(stage)
    assert "is there" in published["body"]


async def test_a_past_broadcast_without_sound_is_not_told_alone(stage: Shell) -> None:
    """What a search of the history found is told of together, whatever became of it."""
    async with stage.store.write() as db:
        found = await stage.recorder.adopt(db, (info(START, "started"), info("$stop", "stopped")))
    assert found is not None
    stage.clock.pass_by(61)
    await stage.work()
    assert (await stage.recording()).state is RecordingState.EMPTY
    assert await tell_of(stage) == []


async def test_nobody_is_abandoned_whose_words_are_not_read_yet(stage: Shell) -> None:
    """After an outage all patience is over at once: a clock looks only when the journal's words were dealt with."""
    await stage.hear(info(START, "started"))
    stage.clock.pass_by(3600)
    await stage.intake.take(batch(chunk(C1, 1)))
    async with stage.store.write() as db:
        (job,) = await jobs.claim(db, [orders.Tick.kind], stage.clock(), 10)
    with pytest.raises(TryLater):
        await stage.recorder.tick(job)
    await stage.settle()
    await stage.recorder.tick(job)
    assert await state_of(stage, START) is RecordingState.LIVE
    stage.clock.pass_by(3600)
    await stage.recorder.tick(job)
    assert await state_of(stage, START) is not RecordingState.LIVE


async def test_an_end_comes_soon_after_an_outage_however_long_that_was(stage: Shell) -> None:
    """While the homeserver is away a clock is looked at again and again; the pauses don't grow with it."""
    heard_all = False
    recorder = Recorder(stage.store, limits(quiet_period_s=60), stage.clock, hears=lambda: heard_all)
    stage.handlers[orders.Tick.kind] = recorder.tick
    await stage.hear(info(START, "started"))
    stage.clock.pass_by(3600)
    for _ in range(20):
        assert await stage.work_one([orders.Tick.kind])
        assert await state_of(stage, START) is RecordingState.LIVE
        stage.clock.pass_by(40)
    heard_all = True
    assert await stage.work_one([orders.Tick.kind])
    assert await state_of(stage, START) is not RecordingState.LIVE


async def state_of(stage: Shell, broadcast: EventId) -> RecordingState:
    async with stage.store.read() as db:
        recording = await archive.recording_by_event(db, broadcast)
    assert recording is not None
    return recording.state
