"""The choice of the session that a message belongs to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.recording.policy import MAX_CHUNKS
from bot.recording.session import joining
from storage.records import Chunk, ChunkState, EndedBy, Recording, RecordingState
from tests.recording.session.samples import a_session
from tests.recording.session.world import begun, said
from tests.recording.world import LIMITS, NOON, absent, limits, mp4, seconds, stored

GAP = LIMITS.session_gap_s
HOUR = timedelta(hours=1)


def at(time: datetime) -> Chunk:
    return replace(stored("$m", None, mp4()), sent_at=time)


@pytest.mark.parametrize(
    ("claimed", "before", "after", "counts"),
    [
        (NOON, None, None, NOON),
        (NOON + HOUR + seconds(1), None, None, NOON + HOUR),  # not behind the time at which it was heard
        (None, NOON, None, NOON + HOUR),
        (NOON - seconds(5), NOON, None, NOON),  # two servers' clocks differ a little
        (NOON - seconds(GAP), NOON, None, NOON + HOUR),  # a clock that is wrong by a whole gap tells nothing
        (datetime(1970, 1, 1, tzinfo=UTC), NOON, None, NOON + HOUR),
        (datetime(9999, 12, 31, tzinfo=UTC), NOON, None, NOON + HOUR),
        (NOON + seconds(9), NOON, NOON + seconds(5), NOON + seconds(5)),  # nor behind the message after it
        (NOON - HOUR, None, NOON, NOON - HOUR),
    ],
)
def test_times_rise_with_the_timeline(
    claimed: datetime | None, before: datetime | None, after: datetime | None, counts: datetime
) -> None:
    """A sender's word is bounded by the messages beside it, and by when it was heard."""
    found = joining.said_at(
        replace(said(), sent_at=claimed),
        at(before) if before else None,
        at(after) if after else None,
        NOON + HOUR,
        LIMITS,
        past=False,
    )
    assert found == counts


def test_a_wrong_time_out_of_the_past_is_that_of_the_message_before() -> None:
    """The time of hearing says nothing then."""
    message = said(at=NOON - HOUR)
    assert joining.said_at(message, at(NOON), None, NOON + HOUR, LIMITS, past=True) == NOON


def test_less_than_the_gap_goes_on() -> None:
    """The gap itself begins another session."""
    assert joining.follows(NOON, NOON + seconds(GAP - 0.001), LIMITS)
    assert not joining.follows(NOON, NOON + seconds(GAP), LIMITS)
    assert not joining.follows(None, NOON, LIMITS)


def ended(by: EndedBy | None) -> Recording:
    return replace(begun(said()), state=RecordingState.COMPLETE, ended_by=by)


@pytest.mark.parametrize(
    ("session", "behind", "between"),
    [
        (begun(said()), True, True),
        (ended(EndedBy.GAP), True, True),
        (ended(EndedBy.REMOVED), False, True),
        (ended(EndedBy.STOPPED), False, True),
        (ended(EndedBy.LIMIT), False, False),
        (ended(EndedBy.SWITCHED_OFF), False, False),
        (replace(ended(None), state=RecordingState.DELETED), False, False),
        (replace(ended(EndedBy.GAP), past=True), False, False),
        (replace(ended(EndedBy.GAP), chosen=True), False, False),
    ],
)
def test_what_a_session_takes(session: Recording, behind: bool, between: bool) -> None:
    """A closed session takes no message behind its end, and may be completed in the middle."""
    assert joining.takes(session, between=False) is behind
    assert joining.takes(session, between=True) is between


def test_a_session_is_full() -> None:
    """By messages, or by the length of what is heard in it."""
    few = limits(max_broadcast_s=10)
    _, chunks = a_session("ann 4", "ben 4")
    assert joining.has_room(chunks, 2000, few)
    assert not joining.has_room(chunks, 2001, few)
    assert joining.has_room([replace(chunks[0], state=ChunkState.REDACTED), chunks[1]], 6000, few)
    assert not joining.has_room(chunks * (MAX_CHUNKS // 2), 1, LIMITS)


def test_a_false_length_fills_no_session() -> None:
    """A day that somebody announces counts as ten minutes until the message is here."""
    assert joining.has_room([absent("$x", None, ChunkState.WAITING_FOR_MEDIA, announced_ms=86_400_000)], 1000, LIMITS)
