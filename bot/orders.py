"""Every kind of job as a frozen class: subject, payload, whether it is done once, whose turn it is. Pure.

An order becomes a row by `job()`, and is read back from one by `of`; `about` gives the name of an order that somebody
else may have made, to find, hasten or cancel it. Nobody else knows how kinds, subjects and payloads are written.

The handler of an order that is a verb is its gerund (`Fetch`: `Fetching`), of one that is a noun its plural
(`Notice`: `Notices`). Two that ask the recorder alone, `Tick` and `End`, are methods of it. Fields that have their
default are not written, so an order may gain fields, with defaults; a kind or a field that is renamed needs a migration
of the rows that wait.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import TypeAdapter, ValidationError

from bot import topics
from bot.errors import MisfitJob
from storage.records import (
    BlobKey,
    ChunkId,
    EndedBy,
    EventId,
    Job,
    JobKind,
    JobName,
    NewJob,
    Position,
    Recording,
    RecordingId,
    RetentionRule,
    RoomId,
    UserId,
)


@dataclass(frozen=True, slots=True)
class Order:
    """The common part of all orders."""

    kind: ClassVar[JobKind]
    subject_field: ClassVar[str] = ""
    """The field that is the job's subject; the others are its payload."""
    lasting: ClassVar[bool] = False
    """Tried again for ever after a mistake of ours: what would be lost, or stay, may still come right."""
    anywhere: ClassVar[bool] = False
    """Taken by `aircheck work` too: its handler needs the store, ffmpeg and media of the homeserver, but neither the
    Matrix session nor anything that the bot's process has in memory."""

    @property
    def subject(self) -> str:
        """The text that tells the order from others of its kind."""
        return str(getattr(self, self.subject_field))

    @property
    def once(self) -> bool:
        """Whether a second order with this subject is the same one for ever, not only while the first waits."""
        return False

    @property
    def turn(self) -> str | None:
        """The recording, room or person that waits for its turn with it; None: nobody."""
        return None

    def job(self, run_at: datetime | None = None) -> NewJob:
        """Return the row to be written, to be done at `run_at` (None: at once)."""
        written = _adapter(type(self)).dump_python(
            self, mode="json", exclude={self.subject_field}, exclude_defaults=True
        )
        return NewJob(self.kind, self.subject, written, run_at, self.once, self.turn)

    @classmethod
    def of(cls, job: Job) -> Self:
        """Read an order back from its row. Raises MisfitJob."""
        fields: dict[str, Any] = dict(job.payload)
        if cls.subject_field:
            fields[cls.subject_field] = job.subject
        try:
            order: Self = _adapter(cls).validate_python(fields)
        except ValidationError as error:
            wrong = ", ".join(sorted({str(part["loc"][0]) for part in error.errors() if part["loc"]}))
            raise MisfitJob(f"the payload of a {job.kind} job does not fit: {wrong}") from None
        return order


_adapters: dict[type[Order], TypeAdapter[Any]] = {}


def _adapter(order: type[Order]) -> TypeAdapter[Any]:
    """Return what writes and reads the fields of an order, made at its first use."""
    if order not in _adapters:
        _adapters[order] = TypeAdapter(order)
    return _adapters[order]


# ---- orders about a recording, a room or an event


@dataclass(frozen=True, slots=True)
class _OfRecording(Order):
    subject_field = "recording"
    recording: RecordingId

    @classmethod
    def about(cls, recording: RecordingId) -> JobName:
        return JobName(cls.kind, str(recording))


@dataclass(frozen=True, slots=True)
class _OfRoom(Order):
    subject_field = "room_id"
    room_id: RoomId

    @classmethod
    def about(cls, room_id: RoomId) -> JobName:
        return JobName(cls.kind, room_id)


@dataclass(frozen=True, slots=True)
class _OfEvent(Order):
    subject_field = "event_id"
    event_id: EventId

    @classmethod
    def about(cls, event_id: EventId) -> JobName:
        return JobName(cls.kind, event_id)


@dataclass(frozen=True, slots=True)
class _OfEventInRoom(_OfEvent):
    """An order whose room waits for its turn with it."""

    room_id: RoomId

    @property
    def turn(self) -> str:
        return self.room_id


@dataclass(frozen=True, slots=True)
class _OnceInRoom(_OfEventInRoom):
    """An order that an event gives once for ever."""

    @property
    def once(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Fetch(Order):
    """Download a chunk's media, decrypt and check them. `not_there` counts the answers without media that can be used;
    `judged_at` is when the last verdict was first given."""

    kind = JobKind("fetch")
    anywhere = True
    subject_field = "chunk_id"
    lasting = True
    chunk_id: ChunkId
    recording: RecordingId
    not_there: int = 0
    judged_at: datetime | None = None

    @property
    def turn(self) -> str:
        return str(self.recording)

    @classmethod
    def about(cls, chunk_id: ChunkId) -> JobName:
        return JobName(cls.kind, chunk_id)


@dataclass(frozen=True, slots=True)
class Tick(_OfRecording):
    """Look at a recording's clocks."""

    kind = JobKind("tick")
    lasting = True


@dataclass(frozen=True, slots=True)
class Encode(_OfRecording):
    """Bring the track of a running recording up to its chunks. A live track waits at a missing chunk, behind so many
    pieces (`held`), `until` then."""

    kind = JobKind("encode")
    anywhere = True
    lasting = True
    held: int | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finish(_OfRecording):
    """Make a recording's episode and publish it; `anew`: also where its audio is right already."""

    kind = JobKind("finish")
    anywhere = True
    lasting = True
    anew: bool = False


@dataclass(frozen=True, slots=True)
class End(_OfRecording):
    """End a recording for an outside cause. With `since` it is an objection, which counts from that position: who may
    still be recorded goes on."""

    kind = JobKind("end")
    lasting = True
    by: EndedBy
    since: Position | None = None


@dataclass(frozen=True, slots=True)
class HandBack(_OfRecording):
    """Post a finished recording as a voice message in its room, anew where its sound has changed; or settle what was
    being sent when it was withdrawn."""

    kind = JobKind("hand_back")
    lasting = True
    room_id: RoomId

    @property
    def turn(self) -> str:
        return self.room_id


@dataclass(frozen=True, slots=True)
class HandBackPart(_OfEvent):
    """Post the transmission of a session that began with this event, as `HandBack` posts a recording."""

    kind = JobKind("hand_back_part")
    lasting = True
    recording: RecordingId
    room_id: RoomId

    @property
    def turn(self) -> str:
        return self.room_id


@dataclass(frozen=True, slots=True)
class Cover(_OfRoom):
    """Make a room's picture. `tries` counts those of the `avatar` that could not be used so far."""

    kind = JobKind("cover")
    anywhere = True
    avatar: str | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class KeepOriginal(_OfRecording):
    """Join the original sound of a recording, where it is one Opus stream, to the file that feeds offer beside its
    episode."""

    kind = JobKind("keep_original")
    anywhere = True


@dataclass(frozen=True, slots=True)
class MakePortrait(Order):
    """Make the portrait of a speaker of a room of their avatar there, or remove it. `tries` counts those of the
    `avatar` that could not be used so far."""

    kind = JobKind("make_portrait")
    anywhere = True
    room_id: RoomId
    user_id: UserId
    avatar: str | None = None
    tries: int = 0

    @property
    def subject(self) -> str:
        return f"{self.room_id}|{self.user_id}"

    @property
    def turn(self) -> str:
        return self.room_id


@dataclass(frozen=True, slots=True)
class ChooseCover(Order):
    """Make a picture the cover of a room's podcast, and answer the command that asked for it. It is the event `picture`
    in the room `said_in`, where the command was said too."""

    kind = JobKind("choose_cover")
    subject_field = "command"
    command: EventId
    room_id: RoomId
    said_in: RoomId
    picture: EventId
    asker: UserId
    thread: EventId | None = None

    @property
    def once(self) -> bool:
        return True

    @property
    def turn(self) -> str:
        return self.room_id


@dataclass(frozen=True, slots=True)
class Refresh(_OfRoom):
    """Read a room's current state from the homeserver."""

    kind = JobKind("refresh")


@dataclass(frozen=True, slots=True)
class CatchUp(_OfRoom):
    """Read what happened in a room since the backup that it was restored from, then open its podcast. `read`: the
    room's state was read."""

    kind = JobKind("catch_up")
    lasting = True
    read: bool = False


@dataclass(frozen=True, slots=True)
class ShowRoom(_OfRoom):
    """Bring the room's state event `org.aircheck.room` up to its settings."""

    kind = JobKind("show_room")


@dataclass(frozen=True, slots=True)
class CheckFeed(_OfRoom):
    """Test the feed of a room's podcast, the personal one of the `asker` where it is private, and answer their
    `command`, which was said in `said_in`."""

    kind = JobKind("check_feed")
    command: EventId
    said_in: RoomId
    asker: UserId
    thread: EventId | None = None

    @property
    def turn(self) -> str:
        return self.asker


@dataclass(frozen=True, slots=True)
class PingHub(_OfRoom):
    """Tell the WebSub hub that a public podcast has changed, the first time at `since`; all changes of a podcast until
    then are the same order. `room_id` is the present room."""

    kind = JobKind("ping_hub")
    since: datetime

    @property
    def turn(self) -> str:
        return self.room_id


@dataclass(frozen=True, slots=True)
class Pin(_OfRoom):
    """Pin the room's newest notice of what is recorded, and none of the bot's older ones. `written`: the event that an
    attempt wrote; what somebody else pinned just before it may be lost."""

    kind = JobKind("pin")
    written: EventId | None = None


@dataclass(frozen=True, slots=True)
class KeepFloor(_OfRoom):
    """Bring a room's power levels and its floor event up to its walkie-talkie, and look at its clocks."""

    kind = JobKind("keep_floor")
    lasting = True


@dataclass(frozen=True, slots=True)
class KeepCalls(_OfRoom):
    """Look at a room's calls: join one that is to be recorded, go on with it, or leave it."""

    kind = JobKind("keep_calls")
    lasting = True


@dataclass(frozen=True, slots=True)
class Walk(_OfRoom):
    """Read the next page of what a sync left out of a room's timeline."""

    kind = JobKind("walk")
    lasting = True


@dataclass(frozen=True, slots=True)
class Invite(_OfRoom):
    """Join the room that `inviter` invited the bot to, or leave the invite alone; decline or leave a `space`."""

    kind = JobKind("invite")
    inviter: UserId
    space: bool = False

    @property
    def turn(self) -> str:
        return self.inviter


@dataclass(frozen=True, slots=True)
class ForgetMember(_OfEvent):
    """Delete the rest of the recordings of `user_id`, who asked for it by this command: those in which they speak
    `alone`, and their part of those that are `shared`. Then say `report` in the room where the command was said."""

    kind = JobKind("forget_member")
    lasting = True
    user_id: UserId
    room_id: RoomId
    report: str
    alone: tuple[RecordingId, ...] = ()
    shared: tuple[RecordingId, ...] = ()

    @property
    def once(self) -> bool:
        return True

    @property
    def turn(self) -> str:
        return self.user_id


@dataclass(frozen=True, slots=True)
class CloseRefused(_OfEvent):
    """Close the recordings behind `after` that had ended when this command, at `since` in the timeline, objected to
    what is recorded of `user_id` and in `room_ids` (None: of all)."""

    kind = JobKind("close_refused")
    lasting = True
    since: Position
    user_id: UserId | None = None
    room_ids: tuple[RoomId, ...] | None = None
    after: RecordingId | None = None

    @property
    def once(self) -> bool:
        return True

    @property
    def turn(self) -> str | None:
        return self.user_id


@dataclass(frozen=True, slots=True)
class Leave(_OfRoom):
    """Leave a room, as the moderator `asker` asked at `asked_at`, by a `command`."""

    kind = JobKind("leave")
    lasting = True
    reason: str
    asked_at: datetime
    asker: UserId | None = None
    command: EventId | None = None


@dataclass(frozen=True, slots=True)
class Backfill(_OfRoom):
    """Find and record a room's past broadcasts, none that began before `since`; and how far that has come."""

    kind = JobKind("backfill")
    since: datetime | None = None
    reply_to: EventId | None = None
    asker: UserId | None = None
    cursor: str | None = None
    """The start of the next page of the room's history."""
    walked: bool = False
    """Whether the history was read to its end."""
    known: int = 0
    """The number of broadcasts met that were recorded before."""
    adopted: tuple[EventId, ...] = ()
    """The started events of those that became recordings."""

    @property
    def turn(self) -> str | None:
        return self.asker


@dataclass(frozen=True, slots=True)
class Gathered:
    """The progress of a search of the history for past voice messages."""

    cursor: str | None = None
    """The start of the next page of the room's history."""
    position: Position | None = None
    """The position of the last voice message that was met."""
    recordings: tuple[RecordingId, ...] = ()
    """The recordings that were begun, or that messages were added to."""
    known: tuple[RecordingId, ...] = ()
    """Other recordings, which hold messages that were met."""
    elsewhere: int = 0
    """Messages in these other recordings."""
    refused: int = 0
    """Messages whose senders may not be recorded."""
    sealed: int = 0
    """Messages that can't be decrypted."""
    beyond: int = 0
    """Messages for which the recording has no room."""
    narrower: int = 0
    """Messages that fewer people may read than hear the recording."""


@dataclass(frozen=True, slots=True)
class MakeEpisode(_OnceInRoom):
    """Make one recording of the voice messages from `message` on up to this command of `asker`'s, who is a `mod` or is
    to be its sender; then answer it. And how far that has come."""

    kind = JobKind("make_episode")
    lasting = True
    message: EventId
    asker: UserId
    mod: bool
    thread: EventId | None = None
    """The thread that the command was said in."""
    of_thread: EventId | None = None
    """The thread that the messages stand in."""
    so_far: Gathered = Gathered()
    walked: bool = False
    """Whether all messages were read."""


@dataclass(frozen=True, slots=True)
class BackfillMessages(_OfRoom):
    """Find and record a room's past voice messages, none that was sent before `since`, and none that came after the
    order: the sync brings those, and what their senders objected to. And how far that has come: first back to the
    oldest message, then onwards from there."""

    kind = JobKind("backfill_messages")
    since: datetime | None = None
    asker: UserId | None = None
    command: EventId | None = None
    """The command, where it was said in the room: the search ends there."""
    at: Position | None = None
    """The position of the command."""
    asked_at: datetime | None = None
    """The time of the command. It counts for what the bot did not hear, where the command was said elsewhere."""
    passed: bool = False
    """Whether the way back has come to the command."""
    cursor: str | None = None
    """The start of the next page on the way back."""
    first: EventId | None = None
    """The oldest message so far."""
    reached: bool = False
    """Whether the way back has come to its end."""
    so_far: Gathered = Gathered()
    walked: bool = False
    """Whether all messages were read."""

    @property
    def turn(self) -> str | None:
        return self.asker


@dataclass(frozen=True, slots=True)
class Reread(_OfEventInRoom):
    """Read from the homeserver what the sync did not show of a broadcast; the event is its started event. `unknown`:
    nobody heard it begin, an event only refers to it."""

    kind = JobKind("reread")
    lasting = True
    sender: UserId
    unknown: bool = False

    @classmethod
    def known(cls, recording: Recording) -> Self:
        """Make the order to read a recorded broadcast again."""
        return cls(recording.event_id, recording.room_id, recording.broadcaster)


@dataclass(frozen=True, slots=True)
class HearAgain(_OfEventInRoom):
    """Read an event from the homeserver, and hear it again at its place if it is a voice message."""

    kind = JobKind("hear_again")
    lasting = True


@dataclass(frozen=True, slots=True)
class Redaction(_OfEventInRoom):
    """Ask the homeserver whether it has redacted an event."""

    kind = JobKind("redaction")
    lasting = True


@dataclass(frozen=True, slots=True)
class Unsend(_OfEventInRoom):
    """Redact an event of the bot's own."""

    kind = JobKind("unsend")
    lasting = True


@dataclass(frozen=True, slots=True)
class TakeAway(_OnceInRoom):
    """Redact a member's reaction to the panel of a walkie-talkie, once it was acted on."""

    kind = JobKind("take_away")


@dataclass(frozen=True, slots=True)
class PutButtons(_OnceInRoom):
    """React to a panel with each of its buttons, so that members need only tap them."""

    kind = JobKind("put_buttons")


@dataclass(frozen=True, slots=True)
class MakeWalkie(_OfEvent):
    """Make a room with a walkie-talkie, as this command of `asker` asked for in a direct chat, and invite `users`.
    `made`: the room that an attempt made."""

    kind = JobKind("make_walkie")
    asker: UserId
    name: str
    users: tuple[UserId, ...]
    said_in: RoomId
    thread: EventId | None = None
    made: RoomId | None = None

    @property
    def once(self) -> bool:
        return True

    @property
    def turn(self) -> str:
        return self.asker


@dataclass(frozen=True, slots=True)
class Command(_OnceInRoom):
    """Carry out what `body`, said to the bot in a room, asks for, and answer. `sent_at` is the sender's word (None: it
    can't be believed), `received_at` ours; `history`: it was read from the past; `mentions` are user ids."""

    kind = JobKind("command")
    sender: UserId
    body: str
    position: Position
    sent_at: datetime | None = None
    history: bool = False
    encrypted: bool = False
    thread: EventId | None = None
    mentions: tuple[str, ...] = ()
    reply_to: EventId | None = None
    received_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Confirm(_OnceInRoom):
    """Carry out what a question asks about, if this reaction `to` it by `sender` confirms it. Times as in Command."""

    kind = JobKind("confirm")
    sender: UserId
    to: EventId
    position: Position
    received_at: datetime
    sent_at: datetime | None = None
    history: bool = False


# ---- what the bot says

ANSWERED_WITHIN = timedelta(minutes=10)
"""The age of a command after which its answer helps nobody."""


@dataclass(frozen=True, slots=True)
class React(_OnceInRoom):
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
    """Tell a user something in their direct chat, once they are in it: their address of the podcast of `room_id`, or
    `body`. `invited` is the chat that they were invited to for it."""

    kind = JobKind("direct")
    subject_field = "topic"
    topic: str
    user_id: UserId
    room_id: RoomId | None = None
    body: str | None = None
    invited: RoomId | None = None

    @classmethod
    def address(cls, user_id: UserId, room_id: RoomId) -> Self:
        """Make an order to send a user their address."""
        return cls(f"{user_id}|{room_id}", user_id, room_id=room_id)

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


@dataclass(frozen=True, slots=True)
class Forewarn(Order):
    """Tell a room which of these `recordings` retention will end, and when. The list only shrinks: the first try may
    have been accepted though nobody knows, and its notice named them all."""

    kind = JobKind("forewarn")
    subject_field = "topic"
    topic: str
    room_id: RoomId
    recordings: tuple[RecordingId, ...] = ()

    @property
    def once(self) -> bool:
        return True

    @property
    def turn(self) -> str:
        return self.room_id


# ---- housekeeping


@dataclass(frozen=True, slots=True)
class Expire(_OfRoom):
    """Delete the recordings of a podcast whose time by retention is over, and have its room told of the next ones.
    `gone`: the codes of the first that were deleted so far, each with the rule that it went by; `unlisted`: the number
    of the others."""

    kind = JobKind("expire")
    lasting = True
    gone: tuple[tuple[str, RetentionRule], ...] = ()
    unlisted: int = 0

    def with_more(self, gone: Sequence[tuple[str, RetentionRule]], most: int) -> Self:
        """Add deleted recordings; at most so many are listed."""
        every = (*self.gone, *gone)
        return replace(self, gone=every[:most], unlisted=self.unlisted + len(every[most:]))


@dataclass(frozen=True, slots=True)
class Forget(Order):
    """Remove blobs that nothing refers to any more. Another set of blobs is another job. `recording`: the one whose
    sound they hold, where they stay for a while."""

    kind = JobKind("forget")
    lasting = True
    blobs: tuple[BlobKey, ...]
    recording: RecordingId | None = None

    @property
    def subject(self) -> str:
        return hashlib.sha256("".join(self.blobs).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CheckEpisode(_OfRecording):
    """Compare the file of an episode with its row: where it is gone or cut, list it nowhere until it is made again, and
    tell its room. The web orders it when it meets such a file."""

    kind = JobKind("check_episode")
    anywhere = True
    lasting = True


@dataclass(frozen=True, slots=True)
class Mend(_OfRecording):
    """Bring back the files of a recording that are lost or damaged: fetch its chunks, make everything else again.
    `track`: rows of its track can't be read, so the track is made again too."""

    kind = JobKind("mend")
    track: bool = False


@dataclass(frozen=True, slots=True)
class MendRoom(_OfRoom):
    """Make the pictures of a room again that are lost or damaged."""

    kind = JobKind("mend_room")


@dataclass(frozen=True, slots=True)
class ForgetStems(_OfRecording):
    """Remove the files into which the stems of a deleted call were written."""

    kind = JobKind("forget_stems")
    lasting = True


@dataclass(frozen=True, slots=True)
class ImportKeys(Order):
    """Take in the room keys that lie in `file`."""

    kind = JobKind("import_keys")
    file: Path
    passphrase: str = field(repr=False)

    @property
    def subject(self) -> str:
        return self.file.name


@dataclass(frozen=True, slots=True)
class RenewAddresses(Order):
    """Make a new secret: all personal addresses end."""

    kind = JobKind("renew_addresses")
    lasting = True

    @property
    def subject(self) -> str:
        return "all"


@dataclass(frozen=True, slots=True)
class NoteEnded(Order):
    """Note the personal addresses that had ended before ended ones were noted."""

    kind = JobKind("note_ended")

    @property
    def subject(self) -> str:
        return "all"


def of_recording(
    recording: Recording, chunks: Iterable[ChunkId], told: Iterable[str], parts: Iterable[EventId] = ()
) -> list[JobName]:
    """Name all that a recording may still ask for; `told`: of what a room is told, as in `wording.TOLD`; `parts`: the
    broadcasts that are its transmissions."""
    event_id = recording.event_id
    return [
        *map(Fetch.about, chunks),
        *(order.about(part) for order in (HandBackPart, Reread) for part in parts),
        *(order.about(recording.id) for order in (Encode, Finish, HandBack, KeepOriginal, CheckEpisode, Tick, End)),
        Reread.about(event_id),
        React.about(event_id),
        Notice.about(topics.recording_begun(event_id)),
        *(Notice.about(topics.told_of(what, event_id)) for what in told),
    ]


def announcements_of(recording: Recording) -> list[JobName]:
    """Name the notices that announce a recording."""
    return [Notice.about(topic(recording.event_id)) for topic in (topics.episode_published, topics.episode_waits)]


ORDERS: tuple[type[Order], ...] = (
    Fetch, Tick, Encode, Finish, End, Cover, Refresh, Walk, Invite, Backfill, Reread, Redaction, Command, Confirm,
    Notice, Direct, Forget, ImportKeys, RenewAddresses, Expire, Forewarn, ShowRoom, HandBack, HandBackPart, Unsend,
    Pin, ChooseCover, Leave, ForgetMember, React, CloseRefused, KeepFloor, MakeEpisode, BackfillMessages,
    TakeAway, PutButtons, MakeWalkie, HearAgain, ForgetStems, KeepCalls, PingHub,
    KeepOriginal, MakePortrait, CheckEpisode, CheckFeed, NoteEnded, CatchUp, Mend, MendRoom,
)  # fmt: skip
KINDS = {order.kind: order for order in ORDERS}
