"""Rooms that are named in a direct chat: `in ROOM COMMAND`, and the rooms that a command without one can be about.

A room is named by its id, an alias, a link, or the longest beginning of what follows that fits the name of one shared
room only. Rooms that the asker is not in are never found, so an answer tells nobody that they exist.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from bot import facts
from bot.commands.context import Action, Context, Verb
from bot.commands.parse import IN, Words
from bot.commands.replies import places as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.event_types import CANONICAL_ALIAS, ROOM_NAME
from bot.feeds.shown import SHOWN_CHARACTERS, shown
from bot.intake import chats
from bot.language import N_
from storage import heirs, rooms
from storage.database import Connection
from storage.records import RoomId, UserId

NAME_CHARACTERS = 2000  # as many as are kept
MOST_WORDS = 40
"""The longest beginning that is compared with names, in words."""

_WORD = re.compile(r"\S+")
_LINK = re.compile(
    r"(?:\[[^\]\n]{0,255}\]\()?<?https://matrix\.to/#/(?P<room>[^\s)>?]{1,800})(?:\?[^\s)>]{0,800})?>?\)?",
    re.IGNORECASE,
)
"""A room as clients write a mention of it: a link, or Markdown with one."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A room that the bot shares with the asker. `named`: it can be meant by its name, and is listed; a direct chat
    and a room that was upgraded can't."""

    room_id: RoomId
    name: str | None
    aliases: tuple[str, ...]
    named: bool = True

    @property
    def key(self) -> str:
        """The name as it is compared; empty where there is none."""
        return name_key(self.name or "")


@dataclass(frozen=True, slots=True)
class Fit:
    """The rooms that fit what follows `in`, and the command after it."""

    rooms: tuple[Shared, ...]
    rest: str = ""


def name_key(name: str) -> str:
    """Return a name as it is compared: in any case, whatever its white space, without what no answer shows."""
    return " ".join(shown(name, NAME_CHARACTERS).casefold().split())


def fit(text: str, shared: Sequence[Shared]) -> Fit:
    """Return the rooms that the beginning of a text names, and the text after it."""
    link = _LINK.match(text)
    if link is not None:
        return Fit(_by_address(unquote(link["room"]), shared), text[link.end() :].lstrip())
    words = list(_WORD.finditer(text))
    if words and words[0].group()[0] in "!#":
        found = _by_address(words[0].group(), shared)
        if found:
            return Fit(found, text[words[0].end() :].lstrip())
    lengths = range(1, min(len(words), MOST_WORDS) + 1)
    for count in sorted(lengths, key=lambda count: (count < len(words), count), reverse=True):
        end = words[count - 1].end()
        found = _by_name(name_key(text[:end]), shared)
        if found:
            return Fit(found, text[end:].lstrip())
    return Fit(())


def _by_address(address: str, shared: Sequence[Shared]) -> tuple[Shared, ...]:
    """Return the rooms with this id or alias. Several may claim an alias."""
    wanted = address.casefold()
    return tuple(
        room for room in shared if room.room_id == address or wanted in (alias.casefold() for alias in room.aliases)
    )


def _by_name(beginning: str, shared: Sequence[Shared]) -> tuple[Shared, ...]:
    """Return the rooms of this name, else those whose name begins with it."""
    named = [room for room in shared if room.named and beginning]
    same = tuple(room for room in named if room.key == beginning)
    return same or tuple(room for room in named if room.key.startswith(beginning))


def labels(some: Sequence[Shared], shared: Sequence[Shared]) -> list[str]:
    """Return what each of some rooms can be called after `in`: its name if no other shared room has it, else an alias,
    else its id."""
    keys = Counter(room.key for room in shared if room.named)
    return [_label(room, keys) for room in some]


def _label(room: Shared, keys: Counter[str]) -> str:
    name = shown(room.name or "", NAME_CHARACTERS)
    if room.named and name and len(name) <= SHOWN_CHARACTERS and keys[room.key] == 1 and "`" not in name:
        return name
    alias = next((alias for alias in room.aliases if "`" not in alias and len(alias) <= SHOWN_CHARACTERS), None)
    return alias or shown(room.room_id)


async def shared_with(db: Connection, user_id: UserId) -> tuple[Shared, ...]:
    """Return all rooms that the bot shares with a user, the one that changed last first."""
    joined = await rooms.joined_with(db, user_id)
    replaced = await heirs.replaced(db)
    ids = [room.room_id for room in joined]
    names = await rooms.states(db, ROOM_NAME, ids)
    aliases = await rooms.states(db, CANONICAL_ALIAS, ids)
    named = {room.room_id for room in joined if not await chats.is_mere_chat(db, room)} - replaced
    return tuple(
        Shared(
            room_id,
            facts.room_name(names.get(room_id)),
            facts.aliases(aliases.get(room_id)),
            named=room_id in named,
        )
        for room_id in ids
    )


async def which_room(context: Context, *, example: str) -> str:
    """Ask for the room that a command is about. `example`: a right command, without the prefix."""
    shared = await shared_with(context.db, context.asker.user_id)
    listed = [room for room in shared if room.named]
    return replies.which_room(labels(listed, shared), example)


async def unclear_room(context: Context, *, fitting: Sequence[Shared], example: str) -> str:
    """Answer `in` with words that fit no shared room, or several."""
    shared = await shared_with(context.db, context.asker.user_id)
    if fitting:
        return replies.several_fit(labels(fitting, shared), example)
    return replies.none_fits(labels([room for room in shared if room.named], shared), example)


async def _not_here(context: Context) -> str:
    return replies.ONLY_IN_CHAT


def _read(_: Words) -> Action | None:
    """Refuse the command: in a direct chat it is understood before this (`bot.commands.handle`)."""
    return _not_here


VERBS = (
    Verb(
        IN,
        (
            Form(
                "in ROOM COMMAND",
                Who.EVERYBODY,
                N_("in a direct chat with me: says a command in a room (its name, alias or id) that we share"),
                "in Kitchen radio list",
                Group.ROOM,
            ),
        ),
        _read,
        changes=False,
        everywhere=True,
    ),
)
