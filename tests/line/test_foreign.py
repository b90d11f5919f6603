"""Events of another member, another room, another state key or another time change nothing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.matrix.batch import RoomBatch
from storage.records import HeardEvent, RecordingState, RoomId, UserId
from tests.line.replay import ALICE, Capture, Replay, assert_heard_whole
from tests.line.speaker import Speaker, sliced

CAROL = UserId("@carol:lab.local")
QUIET_S = 60

Foreign = Callable[[Speaker, list[bytes]], HeardEvent]


def someone_elses_chunk(alice: Speaker, media: list[bytes]) -> HeardEvent:
    return alice.sends(media[2], 2, sender=CAROL)


def someone_elses_stop(alice: Speaker, _: list[bytes]) -> HeardEvent:
    return alice.tells("stopped", 1, sender=CAROL, state_key=CAROL)


def a_stop_under_another_state_key(alice: Speaker, _: list[bytes]) -> HeardEvent:
    return alice.tells("stopped", 1, state_key=CAROL)


def a_stop_in_somebodys_name(alice: Speaker, _: list[bytes]) -> HeardEvent:
    return alice.tells("stopped", 1, sender=CAROL, state_key=ALICE)


def a_chunk_in_another_room(alice: Speaker, media: list[bytes]) -> HeardEvent:
    return replace(alice.sends(media[2], 2), room_id=RoomId("!elsewhere:lab.local"))


def a_stop_in_another_room(alice: Speaker, _: list[bytes]) -> HeardEvent:
    return replace(alice.tells("stopped", 1), room_id=RoomId("!elsewhere:lab.local"))


def a_chunk_of_no_broadcast(alice: Speaker, media: list[bytes]) -> HeardEvent:
    """Make a chunk that refers to a message instead of a `started`."""
    other = replace(alice, broadcast=alice.capture.broadcast[1].event_id, uploads=alice.uploads)
    return other.sends(media[2], 2)


def a_chunk_of_a_chunk(alice: Speaker, media: list[bytes]) -> HeardEvent:
    first = alice.sends(media[0], 1)
    return replace(alice, broadcast=first.event_id).sends(media[2], 2)


def a_payload_that_names_it_in_another_wrapper(alice: Speaker, media: list[bytes]) -> HeardEvent:
    """Make a chunk whose payload names the broadcast and whose wrapper names another event."""
    elsewhere = {"rel_type": "m.reference", "event_id": "$another-broadcast"}
    return replace(alice.sends(media[2], 2), encrypted=True, clear_relation=elsewhere)


def a_wrapper_that_names_it_by_somebody_else(alice: Speaker, media: list[bytes]) -> HeardEvent:
    """Make a chunk of another member whose wrapper names the broadcast and whose payload names another one."""
    elsewhere = {"rel_type": "m.reference", "event_id": "$another-broadcast"}
    sent = replace(alice, uploads=alice.uploads).sends(media[2], 2, sender=CAROL)
    content = {**sent.event["content"], "m.relates_to": elsewhere}
    return replace(sent, event={**sent.event, "content": content}, encrypted=True, clear_relation=alice.relation)


@pytest.mark.parametrize(
    "foreign",
    [
        someone_elses_chunk,
        someone_elses_stop,
        a_stop_under_another_state_key,
        a_stop_in_somebodys_name,
        a_chunk_in_another_room,
        a_stop_in_another_room,
        a_chunk_of_no_broadcast,
        a_chunk_of_a_chunk,
        a_payload_that_names_it_in_another_wrapper,
        a_wrapper_that_names_it_by_somebody_else,
    ],
)
async def test_what_is_foreign_neither_adds_nor_ends(
    replay: Replay, room: Capture, tmp_path: Path, foreign: Foreign
) -> None:
    """Foreign events in the middle of a broadcast neither end it nor appear in its ledger."""
    alice, media = Speaker(room), sliced(2, 2, 1)
    started = alice.starts()
    strange = foreign(alice, media)
    chunks = [alice.sends(data, number) for number, data in enumerate(media, 1)]
    replay.serves(alice.uploads)
    await replay.tell(room.room, [started, chunks[0]])
    if strange.room_id != room.room:
        await replay.tell(strange.room_id, [strange])
    else:
        await replay.tell(room.room, [strange])
    assert (await replay.recording(alice.broadcast)).state is RecordingState.LIVE
    await replay.tell(room.room, [*chunks[1:], alice.tells("stopped", 3)])
    assert (await replay.recording(alice.broadcast)).state is RecordingState.COMPLETE
    assert set(await replay.chunks(alice.broadcast)) == {one.event_id for one in chunks}
    await assert_heard_whole(await replay.audio(alice.broadcast), media, tmp_path)


async def test_a_wrapper_and_a_payload_that_differ_count_by_the_wrapper(replay: Replay, room: Capture) -> None:
    """If the relations of wrapper and payload of a speaker's chunk differ, the wrapper's counts."""
    alice, media = Speaker(room), sliced(2, 1)
    started = alice.starts()
    sent = alice.sends(media[1], 2)
    inside = {**sent.event["content"], "m.relates_to": {"rel_type": "m.reference", "event_id": "$another-broadcast"}}
    sent = replace(sent, event={**sent.event, "content": inside}, encrypted=True, clear_relation=alice.relation)
    first = alice.sends(media[0], 1)
    replay.serves(alice.uploads)
    await replay.tell(room.room, [started, first, sent, alice.tells("stopped", 2)])
    assert set(await replay.chunks(alice.broadcast)) == {first.event_id, sent.event_id}
    assert (await replay.recording(alice.broadcast)).state is RecordingState.COMPLETE


def created_at(room: Capture) -> datetime:
    event = next(one.event for one in room.room_events if one.event["type"] == "m.room.create")
    return datetime.fromtimestamp(event["origin_server_ts"] / 1000, UTC)


@pytest.mark.parametrize("year", [1970, 2099])
async def test_a_senders_time_orders_nothing_and_is_shown_within_reason(
    replay: Replay, room: Capture, tmp_path: Path, year: int
) -> None:
    """A sender's time of 1970 or 2099 loses, ends or reorders nothing, and the feed shows a possible date."""
    alice, media = Speaker(room), sliced(2, 2, 1)
    alice.at_ms = max(1, round(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000))
    heard = [alice.starts(), *(alice.sends(data, number) for number, data in enumerate(media, 1))]
    heard.append(alice.tells("stopped", 3))
    times = list(range(len(heard)))
    backwards = [
        replace(one, event={**one.event, "origin_server_ts": one.event["origin_server_ts"] - 5000 * at})
        for one, at in zip(heard, times, strict=True)
    ]
    replay.serves(alice.uploads)
    before = replay.clock()
    await replay._sync(rooms=(batch_of(room, backwards),))
    while await replay.recorder.catch_up():
        pass
    await replay.settled()
    await replay.pass_by(QUIET_S)
    recording = await replay.recording(alice.broadcast)
    assert recording.state is RecordingState.COMPLETE
    assert created_at(room) <= recording.started_at <= before
    assert recording.ended_at is not None
    assert recording.started_at <= recording.ended_at <= replay.clock()
    assert list(await replay.chunks(alice.broadcast)) == [one.event_id for one in heard[1:4]]
    await assert_heard_whole(await replay.audio(alice.broadcast), media, tmp_path)


def batch_of(room: Capture, heard: list[HeardEvent]) -> RoomBatch:
    return RoomBatch(room.room, joined=True, timeline=tuple(heard))
