"""Voice messages become sessions, through the whole line but for the homeserver."""

from dataclasses import replace
from datetime import timedelta
from itertools import starmap

import pytest

from bot.recording.model import Deleted
from storage import journal, rooms
from storage.records import ChunkState, DurationMs, EndedBy, Mark, Position, RecordingKind, RecordingState
from tests.recorder.voices import (
    BEN,
    SECOND,
    in_thread,
    joined,
    messages,
    record_messages,
    redaction,
    reply_to,
    session_of,
    sessions,
    voice,
)
from tests.world import ROOM, World, batch, heard

MINUTE = timedelta(minutes=1)
GAP_S = 600.0


@pytest.fixture(autouse=True)
async def _messages_are_recorded(world: World) -> None:
    await world.hear(joined(BEN, "Ben"))
    await record_messages(world)


async def test_two_speakers_a_thread_and_a_reply(world: World) -> None:
    """The main timeline is one episode with a chapter for each turn, the thread another one."""
    now = world.clock()
    await world.hear(
        voice("$1", now - 5 * MINUTE),
        voice("$2", now - 4 * MINUTE, who=BEN, **in_thread("$1")),
        voice("$3", now - 3 * MINUTE, who=BEN, **reply_to("$1")),
        voice("$4", now - 2 * MINUTE, **in_thread("$1")),
        voice("$5", now - MINUTE),
    )
    assert await messages(world) == [["$1", "$3", "$5"], ["$2", "$4"]]
    await world.work()
    world.clock.pass_by(GAP_S)
    await world.work()
    main, thread = await sessions(world)
    for one in (main, thread):
        assert (one.recording.state, one.recording.ended_by) == (RecordingState.COMPLETE, EndedBy.GAP)
        assert one.recording.kind is RecordingKind.VOICE_MESSAGES
    assert (main.recording.event_id, main.recording.ended_at) == ("$1", now - MINUTE)
    assert [(entry.position, entry.pause) for entry in main.ledger.entries] == [
        (0, 0),
        (2 * SECOND, 48_000),
        (4 * SECOND, 48_000),
    ]
    assert main.episode is not None
    assert thread.episode is not None
    assert (main.episode.samples, thread.episode.samples) == (5 * SECOND, 3 * SECOND)
    assert main.episode.chapters == tuple(
        starmap(Mark, [(DurationMs(0), "Alice"), (DurationMs(2000), "Ben"), (DurationMs(4000), "Alice")])
    )
    assert (main.recording.thread, thread.recording.thread) == (None, "$1")


async def test_one_speaker_has_no_chapters(world: World) -> None:
    """Nothing has to be told apart."""
    now = world.clock()
    await world.hear(voice("$1", now - MINUTE), voice("$2", now))
    await world.work()
    world.clock.pass_by(GAP_S)
    await world.work()
    (one,) = await sessions(world)
    assert one.episode is not None
    assert (one.episode.samples, one.episode.chapters) == (3 * SECOND, ())


async def test_the_gap_itself_begins_another_session(world: World) -> None:
    """Times are those at which messages were sent, however late they are heard."""
    at = world.clock() - timedelta(hours=1)
    gap = timedelta(seconds=GAP_S)
    second = at + gap - timedelta(milliseconds=1)
    await world.hear(voice("$1", at), voice("$2", second, who=BEN), voice("$3", second + gap))
    assert await messages(world) == [["$1", "$2"], ["$3"]]
    await world.work()
    assert [one.recording.state for one in await sessions(world)] == [RecordingState.COMPLETE, RecordingState.COMPLETE]
    assert [one.recording.number for one in await sessions(world)] == [1, 2]


async def test_what_was_said_before_is_not_recorded(world: World) -> None:
    """Only what stands behind the command, or the notice, in the timeline."""
    now = world.clock()
    async with world.store.write() as db:
        position = await journal.position(db)
    await record_messages(world, Position(position + 1))
    await world.hear(voice("$1", now), voice("$2", now))
    assert await messages(world) == [["$2"]]


async def test_an_early_redaction_leaves_nothing_to_record(world: World) -> None:
    """Federation keeps no order: the message is there after its redaction."""
    now = world.clock()
    await world.hear(redaction("$r", "$1"), voice("$1", now), voice("$2", now))
    assert await messages(world) == [["$2"]]


async def test_the_first_message_redacted_leaves_the_session_its_id(world: World) -> None:
    """Its sound and its chapter go; the episode keeps its GUID."""
    now = world.clock()
    await world.hear(voice("$1", now - 2 * MINUTE), voice("$2", now - MINUTE, who=BEN), voice("$3", now, who=BEN))
    await world.work()
    world.clock.pass_by(GAP_S)
    await world.work()
    before = await session_of(world, "$1")
    await world.hear(redaction("$r", "$1"))
    await world.work()
    after = await session_of(world, "$1")
    assert before.episode is not None
    assert after.episode is not None
    assert (after.episode.guid, after.episode.samples) == (before.episode.guid, 3 * SECOND)
    assert (after.chunks[0].state, after.episode.chapters) == (ChunkState.REDACTED, ())
    await world.hear(redaction("$r2", "$2", BEN), redaction("$r3", "$3", BEN))
    await world.work()
    gone = await session_of(world, "$1")
    assert (gone.recording.state, gone.episode) == (RecordingState.EMPTY, None)


async def test_a_day_of_the_bot_away_splits_what_was_said_by_when_it_was_said(world: World) -> None:
    """All of it comes at once; its own times count."""
    now = world.clock()
    await world.hear(voice("$1", now))
    world.clock.pass_by(24 * 3600)
    at = world.clock()
    await world.hear(
        voice("$2", now + 5 * MINUTE, who=BEN), voice("$3", at - 60 * MINUTE), voice("$4", at - 55 * MINUTE)
    )
    assert await messages(world) == [["$1", "$2"], ["$3", "$4"]]


async def test_removed_and_back_begins_another_session(world: World) -> None:
    """The first one is over, also when the bot is back within the gap."""
    now = world.clock()
    await world.hear(voice("$1", now))
    await world.intake.take(batch(joined=False))
    await world.work_on()
    assert [one.recording.ended_by for one in await sessions(world)] == [EndedBy.REMOVED]
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, joined=True, messages_since=await journal.position(db)))
    await world.hear(voice("$2", now + MINUTE))
    assert await messages(world) == [["$1"], ["$2"]]


async def test_a_session_of_a_deleted_one_is_not_begun_again(world: World) -> None:
    """Messages that were deleted are not recorded when they are found once more."""
    now = world.clock()
    await world.hear(voice("$1", now), voice("$2", now, who=BEN))
    (session,) = await sessions(world)
    async with world.store.write() as db:
        await world.recorder.apply(db, session.recording.id, Deleted())
        await journal.prune(db, now + timedelta(days=40))
    await world.hear(voice("$1", now), voice("$2", now, who=BEN))
    assert await messages(world) == []


async def test_names_are_kept_short(world: World) -> None:
    """A display name of 60 KB is not stored with every message."""
    await world.hear(joined(BEN, "x" * 60_000))
    await world.hear(voice("$1", world.clock(), who=BEN))
    (session,) = await sessions(world)
    assert session.chunks[0].sender_name == "x" * 255


async def test_other_messages_are_none(world: World) -> None:
    """An edit, a plain audio file and what another bot handed back are no voice messages."""
    now = world.clock()
    file = heard("$file", "m.room.message", {"msgtype": "m.audio", "url": "mxc://hs/file"})
    edit = voice("$edit", now, rel_type="m.replace", event_id="$1")
    back = voice("$back", now)
    back.event["content"]["org.aircheck.recording"] = "kfmtra"
    await world.hear(file, edit, back)
    assert await messages(world) == []
