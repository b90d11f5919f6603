"""The layout of a session's sound."""

from dataclasses import replace

from bot.recording.ledger import Ledger, fingerprint
from bot.recording.session import turns
from bot.recording.session.layout import MAX_GAP, MAX_SILENCE, lay_out
from storage.records import Chunk, ChunkState, DurationMs, Mark, Position, UserId
from tests.recording.session.samples import a_session
from tests.recording.world import SECOND, absent


def marks(chunks: list[Chunk], ledger: Ledger) -> list[tuple[int, str]]:
    session, _ = a_session("ann 1")
    found = turns.chapters(session, chunks, ledger, None, lambda name: name or "Somebody")
    return [(mark.at, mark.title) for mark in found]


def lost(chunk: Chunk, state: ChunkState, announced_ms: int | None = None, reason: str | None = None) -> Chunk:
    """Return a message without its sound."""
    announced = None if announced_ms is None else DurationMs(announced_ms)
    return replace(chunk, state=state, blob=None, facts=None, announced_ms=announced, reason=reason)


def test_one_second_lies_between_two_messages() -> None:
    """A pause of exactly 48,000 samples, before each message but the first."""
    session, chunks = a_session("ann 4", "ben 2.5", "ben 1")
    ledger = lay_out(session, reversed(chunks))
    assert [(entry.position, entry.pause) for entry in ledger.entries] == [
        (0, 0),
        (5 * SECOND, 48_000),
        (8.5 * SECOND, 48_000),
    ]
    assert (ledger.samples, ledger.gaps, ledger.complete) == (9.5 * SECOND, (), True)


def test_a_chapter_begins_with_the_first_sound_of_each_speaker_in_turn() -> None:
    """Two messages of one speaker are one turn."""
    session, chunks = a_session("ann 4", "ann 1", "ben 2", "ann 3")
    assert marks(chunks, lay_out(session, chunks)) == [(0, "Ann"), (7_000, "Ben"), (10_000, "Ann")]


def test_one_speaker_needs_no_chapters() -> None:
    """Nothing has to be told apart."""
    session, chunks = a_session("ann 4", "ann 1")
    assert marks(chunks, lay_out(session, chunks)) == []


def test_speakers_with_the_same_name_have_their_own_chapters() -> None:
    """Names are chosen freely; ids tell people apart."""
    session, chunks = a_session("ann 4", "ann 1")
    chunks[1] = replace(chunks[1], sender=UserId("@other:hs"))
    assert marks(chunks, lay_out(session, chunks)) == [(0, "Ann"), (5_000, "Ann")]


def test_a_removed_message_takes_no_time_and_no_chapter() -> None:
    """The session is as if it had not been said: no silence, no pause, and nothing is missing."""
    session, chunks = a_session("ann 4", "ben 2", "ann 3")
    for state, reason in [(ChunkState.REDACTED, "redacted"), (ChunkState.REFUSED, "not_wanted")]:
        left = [chunks[0], lost(chunks[1], state, 2000, reason), chunks[2]]
        ledger = lay_out(session, left)
        assert (ledger.samples, ledger.gaps, ledger.complete) == (8 * SECOND, (), True)
        assert marks(left, ledger) == []


def test_the_first_message_removed_leaves_no_pause() -> None:
    """The session begins with the first sound."""
    session, chunks = a_session("ann 4", "ben 2", "ann 3")
    left = [lost(chunks[0], ChunkState.REDACTED, 4000), *chunks[1:]]
    ledger = lay_out(session, left)
    assert (ledger.entries[1].position, ledger.samples) == (0, 6 * SECOND)
    assert marks(left, ledger) == [(0, "Ben"), (3_000, "Ann")]


def test_a_message_in_the_middle_that_cannot_be_heard_is_a_gap_of_its_length() -> None:
    """With a pause on both sides; its return moves nothing that comes after it."""
    session, chunks = a_session("ann 4", "ben 2", "ann 3")
    ledger = lay_out(session, [chunks[0], lost(chunks[1], ChunkState.WAITING_FOR_MEDIA, 2000), chunks[2]])
    assert [(gap.position, gap.samples) for gap in ledger.gaps] == [(5 * SECOND, 2 * SECOND)]
    assert (ledger.samples, ledger.complete, ledger.waiting) == (11 * SECOND, False, True)
    assert ledger.entries[2].position == lay_out(session, chunks).entries[2].position
    assert fingerprint(ledger) != fingerprint(lay_out(session, chunks))


def test_nothing_follows_the_last_sound() -> None:
    """A last message that can't be heard is listed, and is no silence."""
    session, chunks = a_session("ann 4", "ben 2")
    ledger = lay_out(session, [chunks[0], lost(chunks[1], ChunkState.DAMAGED, 2000)])
    assert (ledger.samples, ledger.gaps, len(ledger.entries), ledger.complete) == (4 * SECOND, (), 2, False)


def test_lengths_of_strangers_are_bounded() -> None:
    """A day of silence for each of a hundred messages is an hour in all, and ten minutes for one."""
    session, chunks = a_session("ann 4", "ben 2")
    day = [absent(f"$x{n}", None, ChunkState.DAMAGED, position=2, announced_ms=86_400_000) for n in range(100)]
    ledger = lay_out(session, [chunks[0], *day, replace(chunks[1], position=Position(3))])
    assert max(gap.samples for gap in ledger.gaps) == MAX_GAP
    assert sum(gap.samples for gap in ledger.gaps) == MAX_SILENCE


def test_marks_are_positions_in_milliseconds() -> None:
    """A chapter is a mark."""
    session, chunks = a_session("ann 4", "ben 2")
    ledger = lay_out(session, chunks)
    named = turns.chapters(session, chunks, ledger, None, lambda name: name or "Somebody")
    assert named == (Mark(DurationMs(0), "Ann"), Mark(DurationMs(5000), "Ben"))
