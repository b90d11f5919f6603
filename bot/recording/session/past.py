"""The order of past messages, and which of them belong together. Pure.

The homeserver gives the order; times are the words of strangers. So a time may part two neighbours, or keep them
together, but it moves nothing, and one that is wrong concerns only the messages beside it.
"""

from collections.abc import Sequence
from datetime import datetime

from bot.recording.policy import Limits
from bot.recording.session.joining import CLOSED
from storage.records import Position, Recording, RecordingState


def positions(known: Sequence[Position | None], after: Position) -> tuple[Position, ...]:
    """Return positions for messages in the order of the timeline, none before `after`. `known`: the positions at which
    they were heard; a message without one comes directly after the one before it, and never after the next: where there
    is no position between the two, they share one."""
    placed: list[Position] = []
    for index, position in enumerate(known):
        if position is None or position < after:
            following = min((each for each in known[index + 1 :] if each is not None and each >= after), default=None)
            position = Position(after + 1 if following is None else min(after + 1, following))
        placed.append(position)
        after = position
    return tuple(placed)


def said_at(sent_at: datetime | None, before: datetime | None, now: datetime) -> datetime:
    """Return the time that counts for a past message: its own, or that of the message before it where it has none."""
    return min(sent_at or before or now, now)


def belong_together(one: datetime | None, other: datetime | None, limits: Limits) -> bool:
    """Return whether two neighbours in the timeline are parts of one session."""
    return one is not None and other is not None and abs(other - one) < limits.session_gap


def may_grow(recording: Recording) -> bool:
    """Return whether a command adds past messages to the recording that an earlier one made of the same choice: not
    while another search makes it, and nothing of the past becomes public by it."""
    return (
        recording.chosen and recording.state is not RecordingState.LIVE and not (recording.public or closed(recording))
    )


def closed(recording: Recording) -> bool:
    """Return whether a recording takes no message behind its last."""
    return recording.state is RecordingState.DELETED or recording.ended_by in CLOSED


def takes(session: Recording, *, between: bool) -> bool:
    """Return whether a session takes a message that a search of the room's past found: nothing of the past becomes
    public by it. `between`: it stands between two of the session's own."""
    if session.public or session.chosen or session.state is RecordingState.DELETED:
        return False
    return between or (session.past and not closed(session))
