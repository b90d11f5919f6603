"""Consent: objections, notices of what is recorded, questions, and the log of changes. Pure."""

from dataclasses import dataclass
from datetime import datetime

from storage.records.ids import EventId, Position, RoomId, UserId


@dataclass(frozen=True, slots=True)
class Change:
    """A row of the audit log: a person, or the bot itself, changed something. It holds nothing that was said."""

    id: int  # 0 before it is stored
    at: datetime
    room_id: RoomId | None  # None: everywhere
    by: UserId | None  # None: the bot itself, by a rule
    what: str  # the command, such as `record`, or the bot's own rule
    subject: str | None = None  # a recording's code, or a user
    before: str | None = None
    after: str | None = None
    event_id: EventId | None = None  # of the command


@dataclass(frozen=True, slots=True)
class OptOut:
    """A member's `optout` or `optin`, said in a room or, with an empty `room_id`, for everywhere."""

    user_id: UserId
    room_id: RoomId
    position: Position  # of the command in the journal
    out: bool  # False: opted in again
    at: datetime  # when the command was sent
    event_id: EventId | None = None  # of the command


EVERYWHERE = RoomId("")
"""The room of an opt-out that holds everywhere."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question of the bot's before it does what cannot be undone. Only its asker can confirm it, in the same room."""

    command: EventId  # the command that asked for it; its id names the question
    room_id: RoomId  # in which it is asked: the room, or the direct chat where the command was said
    asker: UserId
    verb: str
    words: tuple[str, ...]  # of the verb, as they will be carried out: a recording by its code
    asked_at: datetime
    encrypted: bool  # the command was encrypted
    event_id: EventId | None = None  # of the notice that asks; None: not known yet
    answered: bool = False  # carried out, ended, or replaced by a newer question
    about: RoomId = RoomId("")  # the room in which the verb is carried out
    thread: EventId | None = None  # the root of the command's thread
    sent_at: datetime | None = None  # origin_server_ts of the command, by the clock of its asker's homeserver
    said_at: datetime | None = None  # by our clock; None: it is not known to be in the room


@dataclass(frozen=True, slots=True)
class ConsentNotice:
    """A notice that told a room what is recorded, for whom and how long; the newest one stands."""

    event_id: EventId
    room_id: RoomId
    said_at: datetime
    body: str
    pinned: bool = False
