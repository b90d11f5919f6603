"""Orders about single events: commands and their confirmation, what is read again, and what is redacted. Pure."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from bot.orders.order import OfEventInRoom, OnceInRoom, Order
from storage.records import EventId, JobKind, Position, UserId


@dataclass(frozen=True, slots=True)
class HearAgain(OfEventInRoom):
    """Read an event from the homeserver, and hear it again at its place if it is a voice message."""

    kind = JobKind("hear_again")
    lasting = True


@dataclass(frozen=True, slots=True)
class Redaction(OfEventInRoom):
    """Ask the homeserver whether it has redacted an event."""

    kind = JobKind("redaction")
    lasting = True


@dataclass(frozen=True, slots=True)
class Unsend(OfEventInRoom):
    """Redact an event of the bot's own."""

    kind = JobKind("unsend")
    lasting = True


@dataclass(frozen=True, slots=True)
class Command(OnceInRoom):
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
class Confirm(OnceInRoom):
    """Carry out what a question asks about, if this reaction `to` it by `sender` confirms it. Times as in Command."""

    kind = JobKind("confirm")
    sender: UserId
    to: EventId
    position: Position
    received_at: datetime
    sent_at: datetime | None = None
    history: bool = False


@dataclass(frozen=True, slots=True)
class ImportKeys(Order):
    """Take in the room keys that lie in `file`."""

    kind = JobKind("import_keys")
    file: Path
    passphrase: str = field(repr=False)

    @property
    def subject(self) -> str:
        return self.file.name
