"""Orders to say something: in a room, by a reaction, or in a direct chat. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from bot import topics
from bot.orders.order import OnceInRoom, Order
from storage.records import EventId, Job, JobKind, JobName, Recording, RecordingId, RoomId, Studio, StudioId, UserId

ANSWERED_WITHIN = timedelta(minutes=10)
"""The age of a command after which its answer helps nobody."""


@dataclass(frozen=True, slots=True)
class React(OnceInRoom):
    """React to an event, once."""

    kind = JobKind("react")
    key: str


@dataclass(frozen=True, slots=True)
class Notice(Order):
    """Say something in a room, once for each topic: in a thread, or as an answer to an event. One that `greets` has its
    words made when it is said; `asks`: the command that it asks a question about; `announces`: the recording whose
    episode it announces; `replaces`: the notice of the bot's own that it is put in place of; `begins`: the recording
    whose beginning it tells; `panel`: members react to it; `prefixed`: the body has `{prefix}` in front of the commands
    that it names; `during`: the recording outside of which it is not true; `opens`: the sound of that recording waits
    for it; `mentions`: the users whom it notifies. Once the homeserver `refused` it, it waits until the bot may speak,
    but not longer than `until`."""

    kind = JobKind("notice")
    subject_field = "topic"
    topic: str
    """Made by `bot.topics`."""
    room_id: RoomId
    body: str
    reply_to: EventId | None = None
    thread: EventId | None = None
    greets: bool = False
    asks: EventId | None = None
    announces: RecordingId | None = None
    replaces: EventId | None = None
    begins: RecordingId | None = None
    panel: bool = False
    prefixed: bool = False
    during: RecordingId | None = None
    opens: bool = False
    mentions: tuple[UserId, ...] = ()
    until: datetime | None = None
    refused: bool = False

    @classmethod
    def on(cls, recording: Recording, what: str, body: str) -> Self:
        """Make the notice of something that a recording met, such as its limit; `what` as in `wording.TOLD`."""
        return cls(topics.told_of(what, recording.event_id), recording.room_id, body, reply_to=recording.event_id)

    @classmethod
    def about(cls, topic: str) -> JobName:
        """Name the notice of a topic, or by the beginning of one all that begin so."""
        return JobName(cls.kind, topic)

    @property
    def once(self) -> bool:
        return True

    @property
    def turn(self) -> str:
        return self.room_id


def is_welcome(job: Job, room_id: RoomId) -> bool:
    """Return whether a job greets this room."""
    return job.kind == Notice.kind and job.subject.startswith(topics.welcomes(room_id))


def is_panel(job: Job, room_id: RoomId) -> bool:
    """Return whether a job posts a panel of this room's walkie-talkie."""
    return job.kind == Notice.kind and job.subject.startswith(topics.panels(room_id))


def command_answered_by(job: Job) -> EventId | None:
    """Return the command that a job answers; None where it is no answer."""
    head = topics.answer(EventId(""))
    is_answer = job.kind == Notice.kind and job.subject.startswith(head)
    return EventId(job.subject.removeprefix(head)) if is_answer else None


@dataclass(frozen=True, slots=True)
class Direct(Order):
    """Tell a user something in their direct chat, once they are in it: their address of the podcast of `room_id`, the
    address of their `studio`, or `body`. `invited` is the chat that they were invited to for it."""

    kind = JobKind("direct")
    subject_field = "topic"
    topic: str
    user_id: UserId
    room_id: RoomId | None = None
    body: str | None = None
    invited: RoomId | None = None
    studio: StudioId | None = None

    @classmethod
    def address(cls, user_id: UserId, room_id: RoomId) -> Self:
        """Make an order to send a user their address."""
        return cls(f"{user_id}|{room_id}", user_id, room_id=room_id)

    @classmethod
    def of_studio(cls, studio: Studio) -> Self:
        """Make an order to send a member the address of their studio."""
        return cls(f"{studio.user_id}|studio|{studio.id}", studio.user_id, studio=studio.id)

    @classmethod
    def disk_full(cls, user_id: UserId, now: datetime, body: str) -> Self:
        """Make an order to warn an administrator; all of one day are the same order."""
        return cls(f"{user_id}|disk|{now:%Y-%m-%d}", user_id, body=body)

    @classmethod
    def files_lost(cls, user_id: UserId, now: datetime, body: str) -> Self:
        """Make an order to warn an administrator that files are lost; all of one day are the same order."""
        return cls(f"{user_id}|files|{now:%Y-%m-%d}", user_id, body=body)

    @classmethod
    def restored(cls, user_id: UserId, now: datetime, body: str) -> Self:
        """Make an order to tell an administrator of a restore."""
        return cls(f"{user_id}|restored|{now.isoformat()}", user_id, body=body)

    @classmethod
    def closed(cls, user_id: UserId, command: EventId, body: str) -> Self:
        """Make an order to tell a member, once, which recordings their `optout` has closed."""
        return cls(f"{user_id}|closed|{command}", user_id, body=body)

    @classmethod
    def to(cls, user_id: UserId) -> JobName:
        """Name all orders to one user, by the beginning of their subjects."""
        return JobName(cls.kind, f"{user_id}|")

    @property
    def is_asked_for(self) -> bool:
        """Whether the user wants it; words are the bot's own."""
        return self.body is None

    @property
    def once(self) -> bool:
        return not self.is_asked_for

    @property
    def turn(self) -> str:
        return self.user_id
