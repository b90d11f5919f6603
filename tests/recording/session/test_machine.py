"""The life of a session of voice messages."""

from datetime import timedelta

import pytest

from bot.recording import chunks
from bot.recording.model import (
    ChunkSealed,
    ChunkSent,
    Deleted,
    Ended,
    Erase,
    FetchChunk,
    Finish,
    Forget,
    Forgotten,
    LookAgain,
    Release,
    Silenced,
    Withdraw,
)
from bot.recording.session import machine
from storage.records import (
    ChunkState,
    EndedBy,
    MediaSource,
    MxcUri,
    Position,
    RecordingKind,
    RecordingState,
    SessionId,
    UserId,
    chunk_id_of,
)
from tests.recording.session.world import ANN, BEN, FIRST, Session, said
from tests.recording.world import LIMITS, NOON, blob, limits, seconds

GAP = LIMITS.session_gap_s


def over(*speakers: UserId) -> Session:
    """Return a session of whole messages that is over and decided."""
    session = Session()
    session.store("$1")
    for who in speakers:
        session.now += seconds(60)
        session.say(who)
    session.wait(GAP)
    return session


def test_a_message_is_fetched_and_begins_the_clock() -> None:
    """A session lives for the gap from its first message."""
    session = Session()
    assert session.effects == [FetchChunk(chunk_id_of(FIRST))]
    assert machine.first_effects(session.recording, LIMITS) == (LookAgain(NOON + LIMITS.session_gap),)
    assert session.recording.kind is RecordingKind.VOICE_MESSAGES


def test_whoever_speaks_within_the_gap_goes_on_with_it() -> None:
    """A Tick before the gap is over asks for another at its end."""
    session = Session()
    session.store("$1")
    session.now += seconds(GAP - 1)
    session.say(BEN)
    session.wait(1)
    assert (session.state, session.effects) == (
        RecordingState.LIVE,
        [LookAgain(NOON + seconds(GAP - 1) + LIMITS.session_gap)],
    )


def test_nobody_speaks_for_the_gap_and_it_is_complete_at_once() -> None:
    """A message is whole when it is sent: nothing more is waited for."""
    session = over(BEN)
    assert (session.state, session.recording.ended_by) == (RecordingState.COMPLETE, EndedBy.GAP)
    assert session.recording.ended_at == NOON + seconds(60)
    assert session.effects == [Finish()]


def test_a_clock_that_is_set_back_delays_the_end_by_one_gap() -> None:
    """The time of a message never lies behind the time at which it was heard, by the clock as it is now."""
    session = Session()
    session.store("$1")
    session.now -= timedelta(days=300)
    states = [session.wait(0).recording.state, session.wait(GAP).recording.state]
    assert states == [RecordingState.LIVE, RecordingState.COMPLETE]


def test_media_that_are_not_here_are_waited_for_and_heal_it() -> None:
    """Without them the session is incomplete, and once they are here complete under the same id."""
    session = Session()
    session.store("$1")
    session.send(BEN)
    session.tell(Ended(EndedBy.GAP))
    session.wait(GAP + LIMITS.quiet_period_s + 600)
    assert session.state is RecordingState.INCOMPLETE
    session.store("$2")
    assert (session.state, session.effects) == (RecordingState.COMPLETE, [Finish()])


def test_a_late_message_reopens_it_and_moves_its_end() -> None:
    """The session ends with its last message, whenever that was found."""
    session = over()
    session.now = NOON + timedelta(days=1)
    session.tell(said(BEN, NOON + seconds(30)), "$9", 9)
    assert session.state is RecordingState.FINISHING
    session.store("$9")
    assert (session.state, session.recording.ended_at) == (RecordingState.COMPLETE, NOON + seconds(30))
    assert Finish() in session.effects


def test_the_same_event_twice_changes_nothing() -> None:
    """A chunk is known by its event."""
    session = over(BEN)
    before = (session.recording, session.chunks)
    session.send(ANN, name="$1")
    session.store("$1")
    assert (session.recording, session.chunks, session.effects) == (*before, [])


def test_a_redacted_message_is_taken_out_also_the_first() -> None:
    """The session keeps the id of its first message, and the speaker's name goes."""
    session = over(BEN)
    session.redact("$1")
    assert session.recording.event_id == FIRST
    assert (session.state, session.chunk("$1").sender_name) == (RecordingState.COMPLETE, None)
    assert {Forget(blob("$1")), Finish()} <= set(session.effects)


def test_without_its_last_sound_the_episode_is_withdrawn() -> None:
    """Nothing that can be heard is no episode."""
    session = over()
    session.redact("$1")
    assert session.state is RecordingState.EMPTY
    assert Withdraw() in session.effects


def test_after_its_last_sound_was_redacted_a_late_message_brings_it_back() -> None:
    """The recording was never deleted."""
    session = over()
    session.redact("$1")
    session.send(BEN, name="$2")
    session.store("$2")
    assert (session.state, session.effects[-1]) == (RecordingState.COMPLETE, Finish())


def test_one_who_objects_is_passed_over_and_the_others_go_on() -> None:
    """Their earlier messages stay; the later ones go."""
    session = Session()
    session.store("$1")
    session.say(BEN)
    session.say(ANN)
    objected = session.tell(Silenced(Position(2), ANN))
    assert [chunk.state for chunk in objected.chunks] == [ChunkState.STORED, ChunkState.STORED, ChunkState.REFUSED]
    states = [objected.recording.state, session.wait(GAP).recording.state]
    assert states == [RecordingState.LIVE, RecordingState.COMPLETE]


def test_one_who_objects_alone_ends_it() -> None:
    """Nobody is left to go on."""
    session = Session()
    session.store("$1")
    session.tell(Silenced(Position(5), ANN))
    assert session.recording.ended_by is EndedBy.SWITCHED_OFF


def test_only_others_who_are_heard_go_on_without_one_who_objects() -> None:
    """Somebody whose messages were all taken back takes no part."""
    session = Session()
    session.store("$1")
    session.say(BEN)
    session.redact("$2")
    session.tell(Silenced(Position(5), ANN))
    assert session.recording.ended_by is EndedBy.SWITCHED_OFF


def test_more_of_a_speaker_lays_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session has thousands of messages, and a write transaction waits for each; only a new speaker, or a name that
    was not known, changes who is credited."""
    session = Session()
    session.store("$1")
    session.say(BEN)
    session.send(ANN)
    with monkeypatch.context() as patch:
        patch.delattr(machine, "lay_out")
        session.store("$3")
    assert [credit.user_id for credit in session.recording.speakers] == [ANN, BEN]
    session.redact("$1")
    assert [credit.user_id for credit in session.recording.speakers] == [BEN, ANN]


def test_one_who_is_forgotten_leaves_no_sound_and_no_name() -> None:
    """The others' part stays."""
    session = over(BEN)
    session.tell(Forgotten(ANN))
    assert [(chunk.state, chunk.sender_name) for chunk in session.chunks] == [
        (ChunkState.REDACTED, None),
        (ChunkState.STORED, "Ben"),
    ]
    assert session.recording.broadcaster_name != "Ann"


def test_whoever_is_forgotten_is_taken_out_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session has thousands of messages, and a write transaction waits for it."""
    session = over(*[BEN, ANN] * 10)
    monkeypatch.delattr(chunks, "with_chunk")  # which looks at all of them for each
    session.tell(Forgotten(ANN))
    assert {chunk.state for chunk in session.chunks if chunk.sender == ANN} == {ChunkState.REDACTED}
    assert {effect for effect in session.effects if isinstance(effect, Forget)} == {
        Forget(blob(f"${number}")) for number in range(1, 22, 2)
    }


def test_a_deleted_session_keeps_nothing_that_comes() -> None:
    """Media that were under way are forgotten."""
    session = over()
    session.tell(Deleted())
    assert session.effects == [Erase()]
    session.store("$1")
    assert (session.state, session.effects) == (RecordingState.DELETED, [Forget(blob("$1"))])


@pytest.mark.parametrize("by", [EndedBy.REMOVED, EndedBy.SWITCHED_OFF, EndedBy.STOPPED])
def test_an_end_from_outside_counts_once(by: EndedBy) -> None:
    """A later end changes nothing."""
    session = Session()
    session.store("$1")
    session.tell(Ended(by))
    session.tell(Ended(EndedBy.LIMIT))
    assert session.recording.ended_by is by


def test_chunks_that_name_a_session_change_nothing() -> None:
    """Anybody can send an event that refers to its first message."""
    session = over()
    before = (session.recording, session.chunks)
    source = MediaSource(MxcUri("mxc://hs/y"))
    session.tell(ChunkSent(FIRST, ANN, 1, source, None, None, NOON), "$7", 7)
    session.tell(ChunkSealed(FIRST, ANN, SessionId("s"), NOON), "$8", 8)
    assert (session.recording, session.chunks, session.effects) == (*before, [])


def test_a_message_that_is_too_long_for_the_rest_is_released() -> None:
    """Its true length goes with it, and the session is over."""
    session = Session(limits(max_broadcast_s=10))
    session.store("$1", 6)
    session.send(BEN, announced_ms=1)
    session.store("$2", 5)
    assert [chunk.event_id for chunk in session.chunks] == [FIRST]
    assert session.recording.ended_by is EndedBy.LIMIT
    (released,) = (effect for effect in session.effects if isinstance(effect, Release))
    assert (released.chunk.event_id, released.chunk.announced_ms) == ("$2", 5000)
    assert released.chunk.source is not None
    assert Forget(blob("$2")) in session.effects


def test_the_same_media_sent_by_two_are_both_heard_and_count_twice() -> None:
    """They are two messages."""
    session = Session(limits(max_broadcast_s=10))
    session.store("$1", 4, media="same")
    session.send(BEN)
    session.store("$2", 4, media="same")
    assert session.ledger.samples == (4 + 1 + 4) * 48_000
    session.send(ANN)
    session.store("$3", 4, media="same")
    assert any(isinstance(effect, Release) for effect in session.effects)


def test_one_message_beyond_the_limit_is_refused() -> None:
    """Another session could not take it either."""
    session = Session(limits(max_broadcast_s=10))
    session.store("$1", 11)
    assert (session.chunk("$1").state, session.chunk("$1").reason) == (ChunkState.REFUSED, "beyond_limit")
