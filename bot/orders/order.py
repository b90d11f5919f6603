"""The common part of all orders, and what orders about a recording, a room or an event share. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Self

from pydantic import TypeAdapter, ValidationError

from bot.errors import MisfitJob
from storage.records import EventId, Job, JobKind, JobName, NewJob, RecordingId, RoomId


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


@dataclass(frozen=True, slots=True)
class OfRecording(Order):
    subject_field = "recording"
    recording: RecordingId

    @classmethod
    def about(cls, recording: RecordingId) -> JobName:
        return JobName(cls.kind, str(recording))


@dataclass(frozen=True, slots=True)
class OfRoom(Order):
    subject_field = "room_id"
    room_id: RoomId

    @classmethod
    def about(cls, room_id: RoomId) -> JobName:
        return JobName(cls.kind, room_id)


@dataclass(frozen=True, slots=True)
class OfEvent(Order):
    subject_field = "event_id"
    event_id: EventId

    @classmethod
    def about(cls, event_id: EventId) -> JobName:
        return JobName(cls.kind, event_id)


@dataclass(frozen=True, slots=True)
class OfEventInRoom(OfEvent):
    """An order whose room waits for its turn with it."""

    room_id: RoomId

    @property
    def turn(self) -> str:
        return self.room_id


@dataclass(frozen=True, slots=True)
class OnceInRoom(OfEventInRoom):
    """An order that an event gives once for ever."""

    @property
    def once(self) -> bool:
        return True
