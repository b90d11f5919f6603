"""Transmissions of a walkie-talkie in one session: voice messages, and voice broadcasts."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.recording.ledger import Ledger
from bot.recording.model import (
    BroadcastChanged,
    BroadcastStarted,
    Change,
    ChunkSent,
    ChunkStored,
    Ended,
    FetchChunk,
    Finish,
    HandBack,
    RecordingEvent,
    Redacted,
    Silenced,
    Spoke,
    TakeBack,
    VoiceMessage,
)
from bot.recording.report import recording_json
from bot.recording.session import machine
from storage.records import (
    ChunkFacts,
    ChunkId,
    ChunkState,
    EndedBy,
    EventId,
    MediaSource,
    MxcUri,
    Position,
    RecordingId,
    RecordingKind,
    RecordingState,
    UserId,
    to_ms,
)
from tests.recording.world import DEVICE, LIMITS, NOON, PAGE, PRE_SKIP, ROOM, SECOND, World, blob, mp4, slices

ANN, BEN = UserId("@ann:hs"), UserId("@ben:hs")
LIVE = EventId("$live")
SOURCE = MediaSource(MxcUri("mxc://hs/x"))
OF_LIVE = (2 + 3) * PAGE - PRE_SKIP


def message(sender: UserId = ANN, *, in_turn: bool = True, at_s: float = 0) -> VoiceMessage:
    return VoiceMessage(sender, SOURCE, None, None, NOON, sender_name=str(sender)[1:4], in_turn=in_turn)


def walkie() -> World:
    """Return a session that a voice message of Ann's, `$m1`, of 4 s began at position 10."""
    first = message()
    begun = machine.begin(
        first,
        machine.Line(machine.TRANSMISSIONS),
        room_id=ROOM,
        event_id=EventId("$m1"),
        position=Position(10),
        said_at=NOON,
        now=NOON,
    )
    world = World(replace(begun, id=RecordingId(1), code="kfmtra", number=1), step=machine.step)
    world.tell(first, "$m1", 10)
    world.store("$m1", mp4(4))
    return world


def start(sender: UserId = BEN) -> BroadcastStarted:
    return BroadcastStarted(sender, DEVICE, NOON, sender_name="ben")


def chunk(sequence: int, *, in_turn: bool = True) -> ChunkSent:
    return ChunkSent(LIVE, BEN, sequence, SOURCE, None, None, NOON, in_turn=in_turn)


def stop(last: int | None = None) -> BroadcastChanged:
    return BroadcastChanged(LIVE, BEN, Change.STOPPED, last, DEVICE, NOON)


def speak(world: World, facts: list[ChunkFacts], *, at: int = 20) -> None:
    """Ben's broadcast `$live` begins, and sends these chunks, `$c1`, `$c2`, …"""
    world.tell(start(), LIVE, at)
    for number, each in enumerate(facts, start=1):
        world.tell(chunk(number), f"$c{number}", at + number)
        world.store(f"$c{number}", each)


def places(ledger: Ledger) -> list[tuple[str | None, int, int]]:
    return [(entry.chunk_id, to_ms(entry.position), to_ms(entry.samples)) for entry in ledger.entries]


def test_a_broadcast_stands_among_messages_with_a_second_before_and_after() -> None:
    """Its slices are joined without a seam, by its own numbers and pages; between transmissions is a second."""
    world = walkie()
    speak(world, slices([2, 3]))
    world.tell(stop(2), "$stop", 30)
    world.tell(message(), "$m2", 31)
    world.store("$m2", mp4(1))
    assert places(world.ledger) == [
        ("$m1", 0, 4000),
        ("$c1", 5000, 1520),
        ("$c2", 6520, 2400),
        ("$m2", 9920, 1000),
    ]
    assert [entry.continues for entry in world.ledger.entries] == [False, False, True, False]
    assert [entry.sequence for entry in world.ledger.entries] == [None, 1, 2, None]
    assert (world.ledger.complete, world.ledger.certain) == (True, True)


def test_a_whole_broadcast_is_handed_back_and_gives_the_floor_back() -> None:
    """When it has stopped, and all of its chunks are there, it is posted as a voice message, and its turn is over."""
    world = walkie()
    speak(world, slices([2, 3]))
    world.tell(stop(2), "$stop", 30)
    assert set(world.effects) == {HandBack(LIVE), Spoke(BEN, Position(20))}
    assert world.recording.state is RecordingState.LIVE


def test_the_floor_waits_for_an_announced_chunk_but_not_for_long() -> None:
    """`stopped` may come before the last chunk, which the homeserver would refuse without the floor."""
    world = walkie()
    speak(world, slices([2]))
    world.tell(stop(2), "$stop", 30)
    assert Spoke(BEN, Position(20)) not in world.effects
    early = replace(world)
    early.tell(chunk(2), "$c2", 31)
    assert Spoke(BEN, Position(20)) in early.effects
    world.wait(10)
    assert Spoke(BEN, Position(20)) in world.effects
    world.wait(60)
    assert not any(isinstance(effect, Spoke) for effect in world.effects)


def test_what_comes_without_the_floor_is_listed_and_not_heard() -> None:
    """A message out of turn is refused: not fetched, no sign of life, and nothing is incomplete for it."""
    world = walkie()
    world.tell(message(BEN, in_turn=False), "$race", 11)
    assert (world.chunk("$race").state, world.chunk("$race").reason) == (ChunkState.REFUSED, "out_of_turn")
    assert world.chunk("$race").source is None
    assert world.effects == []
    world.tell(Redacted(EventId("$race"), BEN))
    assert world.chunk("$race").state is ChunkState.REFUSED
    world.tell(Ended(EndedBy.STOPPED))
    assert world.recording.state is RecordingState.COMPLETE
    assert places(world.ledger) == [("$m1", 0, 4000), ("$race", 4000, 0)]


def test_a_broadcast_that_loses_the_floor_ends_there() -> None:
    """Chunks from there on are refused, and its announced number makes nothing missing."""
    world = walkie()
    speak(world, slices([2, 3, 1])[:2])
    world.tell(chunk(3, in_turn=False), "$c3", 40)
    assert Spoke(BEN, Position(20)) in world.effects
    world.tell(stop(7), "$stop", 41)
    world.tell(Ended(EndedBy.STOPPED))
    world.wait(60)
    assert world.recording.state is RecordingState.COMPLETE
    assert [str(entry.state) for entry in world.ledger.entries] == ["stored", "stored", "stored", "refused"]


def test_a_lost_chunk_of_a_broadcast_is_a_gap_in_the_session() -> None:
    """A number that is missing in the middle is silence of its true length, and the session is incomplete."""
    world = walkie()
    facts = slices([2, 3, 1])
    world.tell(start(), LIVE, 20)
    for number in (1, 3):
        world.tell(chunk(number), f"$c{number}", 20 + number)
        world.store(f"$c{number}", facts[number - 1])
    world.tell(stop(3), "$stop", 30)
    world.tell(Ended(EndedBy.STOPPED))
    world.wait(60)
    assert world.recording.state.value == "incomplete"
    assert [(gap.position, gap.samples) for gap in world.ledger.gaps] == [(5 * SECOND + 2 * PAGE - PRE_SKIP, 3 * PAGE)]
    shown = recording_json(world.recording, world.chunks, None, title="", given_title=None, named=str, path=None)
    assert [(one["sequence"], one["sender"]) for one in shown["chunks"] if one["event_id"] is None] == [(None, BEN)]
    world.tell(chunk(2), "$c2", 22)
    world.store("$c2", facts[1])
    assert world.recording.state is RecordingState.COMPLETE
    assert {Finish(), HandBack(LIVE)} <= set(world.effects)


def test_redacting_the_start_of_a_broadcast_takes_it_out() -> None:
    """Its chunks are redacted, its voice message is taken back, and what comes later is not fetched."""
    world = walkie()
    speak(world, slices([2, 3]))
    world.tell(stop(2), "$stop", 30)
    world.tell(message(), "$m2", 31)
    world.store("$m2", mp4(1))
    world.tell(Redacted(LIVE, BEN))
    assert TakeBack(LIVE) in world.effects
    assert [str(entry.state) for entry in world.ledger.entries] == ["stored", "redacted", "redacted", "stored"]
    assert places(world.ledger)[-1] == ("$m2", 5000, 1000)
    world.tell(chunk(3), "$c3", 32)
    assert not any(isinstance(effect, FetchChunk) for effect in world.effects)


def test_a_redacted_chunk_keeps_no_name() -> None:
    """The name of its speaker goes with its sound, and does not come back with the next event."""
    world = walkie()
    speak(world, slices([2, 3]))
    world.tell(Redacted(EventId("$c1"), BEN))
    world.tell(stop(2), "$stop", 30)
    assert (world.chunk("$c1").sender_name, world.chunk("$c2").sender_name) == (None, "ben")


def test_an_objection_ends_the_broadcast_of_its_speaker() -> None:
    """Earlier sound stays, later sound is passed over, and the others go on."""
    world = walkie()
    speak(world, slices([2, 3, 1])[:2])
    world.tell(Silenced(Position(21), BEN), "$out", 23)
    assert [str(entry.state) for entry in world.ledger.entries] == ["stored", "stored", "refused"]
    assert world.recording.state is RecordingState.LIVE
    assert world.recording.transmissions[0].ended_by is EndedBy.SWITCHED_OFF


def test_a_session_that_nobody_continues_ends_with_its_broadcasts() -> None:
    """After the gap a broadcast that never stopped is over, too."""
    world = walkie()
    speak(world, slices([2, 3]))
    world.wait(LIMITS.session_gap_s + 1)
    assert (world.recording.ended_by, world.recording.transmissions[0].ended_by) == (
        EndedBy.GAP,
        EndedBy.ABANDONED,
    )
    world.wait(60)
    assert world.recording.state is RecordingState.COMPLETE  # its pages prove it


@pytest.mark.parametrize("limit_s", [5.0])
def test_the_limit_counts_all_transmissions_together(limit_s: float) -> None:
    """A session ends where its messages and broadcasts together are longer than may be recorded."""
    world = walkie()
    world.limits = replace(LIMITS, max_broadcast_s=limit_s)
    speak(world, slices([2, 3]))
    assert world.recording.ended_by is EndedBy.LIMIT
    assert world.chunk("$c1").reason == "beyond_limit"


# ---- any order


def _all() -> list[list[tuple[str, int, RecordingEvent]]]:
    """Return rows of events with name and position, each in the one order that cause and effect allow."""
    facts = slices([2, 3, 1])
    rows: list[list[tuple[str, int, RecordingEvent]]] = [[(LIVE, 20, start())]]
    for number, each in enumerate(facts, start=1):
        name = f"$c{number}"
        stored = ChunkStored(ChunkId(name), blob(name), 1000, each)
        rows.append([(name, 20 + number, chunk(number)), (name, 20 + number, stored)])
    for name, position, length in (("$m1", 10, 4), ("$m2", 31, 2), ("$m3", 15, 1)):
        stored = ChunkStored(ChunkId(name), blob(name), 1000, mp4(length))
        rows.append([(name, position, message()), (name, position, stored)])
    rows.append([("$stop", 30, stop(3))])
    rows.append([("$race", 25, message(BEN, in_turn=False))])
    rows.append([("$late", 40, chunk(4, in_turn=False))])
    return rows


@given(data=st.data())
def test_any_order_and_any_duplicates_give_the_same_session(data: Any) -> None:
    """However messages, chunks, media and the end come, and however often, the ledger is the same in the end."""
    rows = _all()
    world = walkie()
    started, rest = rows[0], rows[1:]
    world.tell(started[0][2], LIVE, 20)  # the recorder knows no chunk before the start of its broadcast
    ended = data.draw(st.integers(0, 20))
    count = 0
    while rest:
        row = data.draw(st.sampled_from(rest))
        name, position, event = row.pop(0)
        for _ in range(data.draw(st.integers(1, 2))):
            world.tell(event, name, position)
        rest = [each for each in rest if each]
        count += 1
        if count == ended:
            world.tell(Ended(EndedBy.STOPPED))
    world.tell(Ended(EndedBy.STOPPED))
    world.wait(60)
    world.wait(LIMITS.session_gap_s)
    assert world.recording.state is RecordingState.COMPLETE
    assert [(entry.chunk_id, str(entry.state)) for entry in world.ledger.entries] == [
        ("$m1", "stored"),
        ("$m3", "stored"),
        ("$c1", "stored"),
        ("$c2", "stored"),
        ("$c3", "stored"),
        ("$late", "refused"),
        ("$race", "refused"),
        ("$m2", "stored"),
    ]
    assert world.ledger.samples == 7 * SECOND + 3 * SECOND + 6 * PAGE - PRE_SKIP
    assert world.recording.kind is RecordingKind.WALKIE_TALKIE
