"""Voice messages of somebody whose broadcast is open: a chunk that was lost, or a part of a session, never both."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from bot.errors import GiveUp
from bot.matrix.media import FetchedMedia
from storage import orphans, rooms
from storage.records import HeardEvent, RecordingState
from tests.line.speaker import sliced
from tests.recorder.voices import BEN, joined, messages, record_messages, redaction, session_of, sessions, voice
from tests.world import ROOM, START, World, chunk, info

DAY_S = 24 * 3600


@pytest.fixture(autouse=True)
async def _messages_are_recorded(world: World) -> None:
    await world.hear(joined(BEN, "Ben"))
    await record_messages(world)


def serves(world: World, files: dict[str, bytes]) -> None:
    """Put these files on the homeserver; every other one is a WAV, and an empty one is not there."""
    whole = world.download

    async def download(source: Any, part: Any, most: int) -> FetchedMedia:
        name = source.mxc.rpartition("/")[2]
        if name not in files:
            return await whole(source, part, most)
        if not files[name]:
            raise GiveUp("404", reason="not_found")
        part.write_bytes(files[name])
        return FetchedMedia(len(files[name]), hashlib.sha256(files[name]).hexdigest())

    world.download = download


def message(world: World, name: str, **more: Any) -> HeardEvent:
    return voice(name, world.clock(), **more)


async def candidates(world: World) -> int:
    async with world.store.read() as db:
        return sum([len(await orphans.of(db, one.recording.id)) for one in await sessions(world)])


async def test_a_message_whose_container_proves_nothing_joins_its_session_at_once(world: World) -> None:
    """Its place is that in the timeline, also behind a message that came later."""
    await world.hear(message(world, "$1", who=BEN))
    await world.begin(message(world, "$2"), message(world, "$3", who=BEN))
    assert await candidates(world) == 1
    await world.work_on()
    assert await messages(world) == [["$1", "$2", "$3"], []]
    assert await candidates(world) == 0


async def test_a_whole_stream_joins_and_a_slice_of_a_broadcast_waits(world: World) -> None:
    """Pages that begin and end are no slice."""
    (whole,), (first, second) = sliced(2), sliced(1, 1)
    serves(world, {"whole": whole, "c1": first, "slice": second})
    await world.begin(chunk("$c1", 1), message(world, "$whole"))
    await world.work_on()
    assert [one.messages for one in await sessions(world)] == [["$c1"], ["$whole"]]
    await world.hear(message(world, "$slice"))
    await world.work_on()
    assert [one.messages for one in await sessions(world)] == [["$c1", "$slice"], ["$whole"]]


async def test_a_message_that_can_be_no_chunk_joins_at_once(world: World) -> None:
    """A reply is looked into by nobody."""
    await world.begin(message(world, "$1", **{"m.in_reply_to": {"event_id": "$x"}}))
    assert await candidates(world) == 0
    assert (await session_of(world, "$1")).messages == ["$1"]


async def test_what_is_not_there_joins_when_the_broadcast_is_complete(world: World) -> None:
    """A broadcast that lacks nothing has no lost chunk."""
    (first,) = sliced(1)
    serves(world, {"c1": first, "away": b""})
    await world.begin(chunk("$c1", 1), message(world, "$away"))
    await world.work_on()
    assert await candidates(world) == 1
    await world.hear(info("$stop", "stopped", last_chunk_sequence=1))
    await world.work_on()
    assert (await world.recording()).state is RecordingState.COMPLETE
    assert (await session_of(world, "$away")).messages == ["$away"]
    assert await candidates(world) == 0


async def test_what_is_left_joins_a_day_after_the_end(world: World) -> None:
    """Until then a late chunk may prove it; a recording that lacks something keeps it so long."""
    first, _, third = sliced(1, 1, 1)
    serves(world, {"c1": first, "slice": third, "c2": b""})
    await world.begin(chunk("$c1", 1), chunk("$c2", 2), message(world, "$slice"))
    await world.hear(info("$stop", "stopped", last_chunk_sequence=3))
    world.clock.pass_by(700)
    await world.work_on()
    assert (await world.recording()).state is RecordingState.INCOMPLETE
    assert await candidates(world) == 1
    world.clock.pass_by(DAY_S - 700)
    await world.work_on()
    assert await candidates(world) == 1
    world.clock.pass_by(60)
    await world.work_on()
    assert await candidates(world) == 0
    assert (await session_of(world, "$slice")).messages == ["$slice"]


async def test_a_redacted_candidate_joins_nothing(world: World) -> None:
    """Nor does it after the broadcast."""
    (first,) = sliced(1)
    serves(world, {"c1": first, "away": b""})
    await world.begin(chunk("$c1", 1), message(world, "$away"))
    await world.hear(redaction("$r", "$away"))
    await world.hear(info("$stop", "stopped", last_chunk_sequence=1))
    await world.work_on()
    assert [one.messages for one in await sessions(world)] == [["$c1"]]


async def test_a_broadcast_that_is_taken_back_leaves_the_messages(world: World) -> None:
    """They were events of their own."""
    serves(world, {"away": b""})
    await world.begin(message(world, "$away"))
    await world.hear(redaction("$r", START))
    assert [one.messages for one in await sessions(world)] == [["$away"]]


async def test_beyond_the_most_candidates_messages_join(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody loses so many chunks."""
    monkeypatch.setattr("bot.recording.broadcast.orphans.MAX_CANDIDATES", 1)
    serves(world, {"away": b""})
    await world.begin(message(world, "$away"), message(world, "$2"))
    assert (await candidates(world), (await session_of(world, "$2")).messages) == (1, ["$2"])


async def test_where_messages_are_not_recorded_nothing_changes(world: World) -> None:
    """A candidate that is none is kept for the status, and goes with the others."""
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, messages_since=None))
    await world.begin(message(world, "$1"))
    await world.work_on()
    assert await candidates(world) == 1
    assert len(await sessions(world)) == 1
