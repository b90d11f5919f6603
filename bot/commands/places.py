"""Rooms that are named in a direct chat: `in ROOM COMMAND`, and the rooms that a command without one can be about.

A room is named by its id, an alias, a link, or the longest beginning of what follows that fits the name of one shared
room only. Rooms that the asker is not in are never found, so an answer tells nobody that they exist.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from urllib.parse import unquote

from bot import facts
from bot.commands.context import Action, Context, Verb, never
from bot.commands.parse import IN, Words
from bot.commands.replies import places as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.event_types import CANONICAL_ALIAS, ROOM_NAME
from bot.feeds.shown import SHOWN_CHARACTERS, shown
from bot.feeds.text import without_isolates
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
    shown: str = field(init=False)
    """The name as an answer shows it; empty where there is none."""
    key: str = field(init=False)
    """The name as it is compared."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shown", shown(self.name or "", NAME_CHARACTERS))
        object.__setattr__(self, "key", _compared(self.shown))


@dataclass(frozen=True, slots=True)
class Fit:
    """The rooms that fit what follows `in`, and the command after it."""

    rooms: tuple[Shared, ...]
    rest: str = ""


def name_key(name: str) -> str:
    """Return a name as it is compared: in any case, whatever its white space, without what no answer shows."""
    return _compared(shown(name, NAME_CHARACTERS))


def _compared(name: str) -> str:
    return " ".join(without_isolates(name).casefold().split())


def fit(text: str, shared: Sequence[Shared]) -> Fit:
    """Return the rooms that the beginning of a text names, and the text after it."""
    link = _LINK.match(text)
    if link is not None:
        return Fit(_by_address(unquote(link["room"]), shared), text[link.end() :].lstrip())
    words = list(islice(_WORD.finditer(text), MOST_WORDS + 1))
    if words and words[0].group()[0] in "!#":
        found = _by_address(words[0].group(), shared)
        if found:
            return Fit(found, text[words[0].end() :].lstrip())
    return _by_beginning(text, [word.end() for word in words], [room for room in shared if room.named])


def _by_beginning(text: str, ends: Sequence[int], named: Sequence[Shared]) -> Fit:
    """Return the rooms that the longest beginning fits that a command follows; `ends`: those of the words. All of the
    text counts where no shorter one fits. What begins no room's name begins none with more words either."""
    best = Fit(())
    for end in ends:
        if end > NAME_CHARACTERS or (best.rooms and end == ends[-1]):
            break
        key = name_key(text[:end])
        if not key:
            continue
        found = _by_name(key, named)
        if not found:
            break
        best = Fit(found, text[end:].lstrip())
    return best


def _by_address(address: str, shared: Sequence[Shared]) -> tuple[Shared, ...]:
    """Return the rooms with this id or alias. Several may claim an alias."""
    wanted = address.casefold()
    return tuple(
        room for room in shared if room.room_id == address or wanted in (alias.casefold() for alias in room.aliases)
    )


def _by_name(beginning: str, named: Sequence[Shared]) -> tuple[Shared, ...]:
    """Return the rooms of this name, else those whose name begins with it."""
    fitting = [room for room in named if room.key.startswith(beginning)]
    return tuple(room for room in fitting if room.key == beginning) or tuple(fitting)


def labels(some: Sequence[Shared], shared: Sequence[Shared]) -> list[str]:
    """Return what each of some rooms can be called after `in`: its name if no other shared room has it, else an alias,
    else its id."""
    keys = Counter(room.key for room in shared if room.named)
    return [_label(room, keys) for room in some]


def _label(room: Shared, keys: Counter[str]) -> str:
    name = room.shown
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
    found = []
    for room in joined:
        named = room.room_id not in replaced and not await chats.is_mere_chat(db, room)
        name, others = facts.room_name(names.get(room.room_id)), facts.aliases(aliases.get(room.room_id))
        found.append(Shared(room.room_id, name, others, named=named))
    return tuple(found)


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
        changes=never,
        everywhere=True,
    ),
)
