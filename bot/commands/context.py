"""The context of a command (who asks, where, with which rights), and what a verb is.

Rights are read from the room's current state in the same transaction as the change. Unknown state gives no rights.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from bot import facts, rules
from bot.commands.parse import Words
from bot.commands.replies.manual import Form
from bot.event_types import MEMBER
from bot.feeds.addresses import Shelf, public_shelf
from bot.feeds.shown import person
from bot.intake import chats, disclosing
from bot.intake.consent import Apply
from bot.settings import Settings
from storage import archive, heirs, rooms
from storage.database import Connection
from storage.records import CallProtocol, Change, EventId, Position, Recording, Room, RoomId, UserId

CallsIn = Callable[[Connection, RoomId], Awaitable[Mapping[CallProtocol, bool | None]]]
"""The protocols of the calls that go on in a room with somebody in them who may be recorded, the one that counts first;
of each whether the bot is shown in it by a sticky event, None: not known yet."""


SecretOf = Callable[[Connection], Awaitable[bytes]]
"""The secret of personal addresses, as a transaction sees it."""


async def no_calls(_db: Connection, _room_id: RoomId) -> Mapping[CallProtocol, bool | None]:
    """Find no calls: for a program that was installed without what calls need."""
    return {}


@dataclass(frozen=True, slots=True)
class Asker:
    """The joined member who sent the command. `name` can be shown to the room's members."""

    user_id: UserId
    name: str
    mod: bool
    admin: bool

    @property
    def moderates(self) -> bool:
        return self.mod or self.admin


@dataclass(frozen=True, slots=True)
class Said:
    """The message that carries a command. `room_id` is where it was said, `received_at` our time, `sent_at` the
    sender's word."""

    room_id: RoomId
    received_at: datetime
    sent_at: datetime | None
    encrypted: bool
    thread: EventId | None = None
    reply_to: EventId | None = None


@dataclass(frozen=True, slots=True)
class ToConfirm:
    """A question in the place of an answer, before something that can't be undone. Once its asker has confirmed it, the
    verb is carried out with `words`, which name what the question named: a recording by its code."""

    question: str
    words: Words


@dataclass(frozen=True, slots=True)
class Context:
    """The context of one command. `db` is a transaction for writing if the command `changes` something; `text` is what
    follows the prefix.

    `podcast` is the podcast that the room belongs to, as one room (`storage.heirs`): for reading, never to be saved.
    `confirmed`: its asker was asked about it (`ToConfirm`) and said yes.
    """

    db: Connection
    text: str
    room: Room
    podcast: Room
    asker: Asker
    position: Position
    settings: Settings
    secret: SecretOf
    now: datetime
    verbs: "Mapping[str, Verb]"
    command: EventId
    said: Said
    apply: Apply
    calls_in: CallsIn
    confirmed: bool = False

    async def note(
        self, what: str, before: str | None, after: str | None, *, subject: str | None = None, everywhere: bool = False
    ) -> None:
        """Write a change into the audit log. `what` is the verb; `before` and `after` are as the verb takes them, never
        a text that somebody wrote; `subject` is a recording's code or a user, None for a policy of the room."""
        room_id = None if everywhere else self.room.room_id
        change = Change(0, self.now, room_id, self.asker.user_id, what, subject, before, after, self.command)
        await disclosing.note(self.db, change)

    async def in_room(self, room_id: RoomId) -> "Context | None":
        """Return the same context for another room; None where the bot or the asker is not a member."""
        room = await rooms.room(self.db, room_id)
        asker = await asker_of(self.db, room_id, self.asker.user_id, self.settings)
        if room is None or not room.joined or asker is None:
            return None
        podcast = await heirs.podcast(self.db, await heirs.line(self.db, room_id))
        return replace(self, room=room, podcast=podcast, asker=asker)

    def began(self, recording: Recording) -> bool:
        """Return whether the asker is the recording's broadcaster: its first speaker."""
        return recording.broadcaster == self.asker.user_id

    async def spoke_in(self, recording: Recording) -> bool:
        """Return whether the asker is one of the recording's speakers."""
        return await archive.spoke_in(self.db, self.asker.user_id, recording.id)

    async def in_own_chat(self) -> bool:
        """Return whether the room is the direct chat of the asker and the bot, and nobody else is in it."""
        return await chats.are_alone(self.db, self.room, self.asker.user_id, self.us)

    @property
    def us(self) -> UserId:
        """The bot's own user id."""
        return UserId(self.settings.matrix.user_id)

    @property
    def forms(self) -> tuple[Form, ...]:
        """The forms of all commands."""
        return tuple(form for verb in self.verbs.values() for form in verb.forms)

    @property
    def prefix(self) -> str:
        return self.settings.commands.prefix

    @property
    def public(self) -> Shelf:
        """The podcast's public addresses, whether they work now or not."""
        return public_shelf(self.settings.web.address, self.podcast.key)


Action = Callable[[Context], Awaitable[str | ToConfirm | None]]
"""The work of one command. It returns the answer; a refusal is an answer too, and then nothing was changed. What can't
be undone is done only in a context that is `confirmed`; else the action returns a question about it. None: a job that
the action ordered, once for this command, gives the answer."""


def never(_: Words) -> bool:
    return False


def always(_: Words) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Verb:
    """A command. `read` returns the action that its words ask for, None when they don't fit.

    `changes` tells for its words whether the command changes something or hands out a secret, so that in an encrypted
    room only an encrypted message does it; only such a command may ask for a confirmation.
    `everywhere`: it also works in a room whose podcast continues in another (`storage.heirs`).
    `of_chat` tells for its words whether, said in a direct chat without a podcast, they are about the chat, or about
    all rooms that the asker shares with the bot; else a question is about the only shared room, and a change has to
    name its room.
    `before` is awaited with the words before the transaction begins: it loads what takes its time.
    """

    name: str
    forms: tuple[Form, ...]
    read: Callable[[Words], Action | None]
    changes: Callable[[Words], bool]
    everywhere: bool = False
    of_chat: Callable[[Words], bool] = never
    before: Callable[[Words], Awaitable[None]] | None = None


async def asker_of(db: Connection, room_id: RoomId, user_id: UserId, settings: Settings) -> Asker | None:
    """Return the sender with their rights; None for whoever isn't joined by our state."""
    member = await rooms.state(db, room_id, MEMBER, user_id)
    if not facts.is_joined(member):
        return None
    return Asker(
        user_id=user_id,
        name=person(facts.display_name(member), user_id),
        mod=rules.is_mod(user_id, await rooms.power(db, room_id)),
        admin=user_id in settings.matrix.admins,
    )
