"""Members by the names that people give: a Matrix id, a mention as clients write it, a display name. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from bot import facts
from bot.commands.parse import Words
from storage.records import StateEvent, UserId

_LINK = re.compile(r"\[[^\]\n]*\]\(<?(https://matrix\.to/#/[^\s)>]+)>?\)|<(https://matrix\.to/#/[^\s>]+)>")
_ADDRESS = re.compile(r"https://matrix\.to/#/(@[^?\s]+|%40[^?\s]+)(?:\?\S*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Unclear:
    """A name that fits no member, or several."""

    several: bool


def members_named(words: Words, members: Sequence[StateEvent]) -> tuple[UserId, ...] | Unclear:
    """Return the members of a room whom the words name, in their order, each once.

    A display name may have several words: the longest that fits counts. One that several members have names nobody.
    """
    present = [member for member in members if facts.membership(member.content) in (facts.JOIN, "invite")]
    parts = _LINK.sub(lambda link: link[1] or link[2], " ".join(words)).replace(",", " ").split()
    named: dict[UserId, None] = {}
    while parts:
        for count in range(len(parts), 0, -1):
            fitting = _fitting(" ".join(parts[:count]), present)
            if fitting:
                break
        if len(fitting) != 1:
            return Unclear(several=bool(fitting))
        named[fitting[0]] = None
        parts = parts[count:]
    return tuple(named)


def _fitting(text: str, members: Sequence[StateEvent]) -> list[UserId]:
    """Return the members whose id is this text, else those who have it as display name, in any case."""
    address = _ADDRESS.fullmatch(text)
    text = unquote(address[1]) if address else text
    for member in members:
        if member.state_key == text:
            return [UserId(member.state_key)]
    name = _plain(text.removeprefix("@"))
    names = [(member, facts.display_name(member)) for member in members]
    return [UserId(member.state_key) for member, shown in names if name and shown and _plain(shown) == name]


def _plain(name: str) -> str:
    return " ".join(name.replace(",", " ").split()).casefold()
