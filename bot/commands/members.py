"""Members by the names that people give: a Matrix id, a mention as clients write it, a display name. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import unquote

from bot import facts
from bot.commands.parse import Words
from storage.records import StateEvent, UserId

MOST_CHARACTERS = 5000
"""The longest text that is looked through for names."""
MOST_PARTS = 50
"""The most words that are looked up, a mention counting as one."""
LONGEST_NAME = 10
"""The longest display name that is found, in words."""

_LINK = re.compile(
    r"\[[^\]\n]{0,255}+\]\(<?(https://matrix\.to/#/[^\s)>]{1,800})>?\)|<(https://matrix\.to/#/[^\s>]{1,800})>"
)
_ADDRESS = re.compile(r"https://matrix\.to/#/(@[^?\s]+|%40[^?\s]+)(?:\?\S*)?", re.IGNORECASE)
_MXID = re.compile(r"@[!-9;-~]{1,200}:[A-Za-z0-9.\-\[\]:]{1,230}")
"""A user id (Matrix spec, appendices, user identifiers, with historical ones)."""


class Unclear(Enum):
    """The reason why words name no members."""

    NOBODY = auto()  # a name fits no member
    SEVERAL = auto()  # a name fits several
    TOO_LONG = auto()


@dataclass(frozen=True, slots=True)
class _Present:
    """The members who are in a room or invited: their ids, and by each plain display name the ids of who has it."""

    ids: set[str] = field(default_factory=set)
    by_name: Mapping[str, list[UserId]] = field(default_factory=lambda: defaultdict(list))


def members_named(words: Words, members: Iterable[StateEvent]) -> tuple[UserId, ...] | Unclear:
    """Return the members of a room whom the words name, in their order, each once.

    A display name may have several words: the longest that fits counts. One that several members have names nobody.
    """
    text = " ".join(words)
    if len(text) > MOST_CHARACTERS:
        return Unclear.TOO_LONG
    parts = _without_markdown(text).replace(",", " ").split()
    if len(parts) > MOST_PARTS:
        return Unclear.TOO_LONG
    present, named = _present(members), dict[UserId, None]()
    while parts:
        count, fitting = _longest_fitting(parts, present)
        if len(fitting) != 1:
            return Unclear.SEVERAL if fitting else Unclear.NOBODY
        named[fitting[0]] = None
        parts = parts[count:]
    return tuple(named)


def name_and_users(text: str) -> tuple[str, tuple[UserId, ...]]:
    """Parse a name with users behind it, by their Matrix ids or mentions; each user once, in their order."""
    parts = _without_markdown(text[:MOST_CHARACTERS]).split()
    users: list[UserId] = []
    while parts and (user := _user_id(parts[-1])) is not None:
        users.insert(0, user)
        parts.pop()
    return " ".join(parts), tuple(dict.fromkeys(users))


def _without_markdown(text: str) -> str:
    """Return a text with the addresses of its links alone."""
    return _LINK.sub(lambda link: link[1] or link[2], text)


def _user_id(word: str) -> UserId | None:
    """Return the user whom a word names by a Matrix id, or by a link to it; None for any other word."""
    address = _ADDRESS.fullmatch(word.rstrip(","))
    text = unquote(address[1]) if address else word.rstrip(",")
    return UserId(text) if _MXID.fullmatch(text) else None


def _present(members: Iterable[StateEvent]) -> _Present:
    present = _Present()
    for member in members:
        if facts.membership(member.content) not in (facts.JOIN, "invite"):
            continue
        present.ids.add(member.state_key)
        if name := _plain(facts.display_name(member) or ""):
            present.by_name[name].append(UserId(member.state_key))
    return present


def _longest_fitting(parts: Sequence[str], present: _Present) -> tuple[int, list[UserId]]:
    """Return the length of the longest beginning, in words, that fits members, and whom it fits."""
    for count in range(min(len(parts), LONGEST_NAME), 0, -1):
        fitting = _fitting(" ".join(parts[:count]), present)
        if fitting:
            return count, fitting
    return 0, []


def _fitting(text: str, present: _Present) -> list[UserId]:
    """Return the members whose id is this text, else those who have it as display name, in any case."""
    address = _ADDRESS.fullmatch(text)
    text = unquote(address[1]) if address else text
    if text in present.ids:
        return [UserId(text)]
    name = _plain(text.removeprefix("@"))
    return present.by_name.get(name, []) if name else []


def _plain(name: str) -> str:
    return " ".join(name.replace(",", " ").split()).casefold()
