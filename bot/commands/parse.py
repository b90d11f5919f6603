"""The grammar of commands. Pure.

A command is a text message whose plain body begins with the prefix, or with the bot's name as clients write it into a
mention, followed by white space, a colon, a comma or the end. HTML is never looked at: people must see the same words
that are carried out.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from storage.records import EventId

Words = tuple[str, ...]

IN = "in"
"""The word that is followed by a room and a command, in a direct chat."""
CODE = re.compile(r"[a-zA-Z]{6}")
EVENT_ID_CHARACTERS = 255
"""The longest event id (Matrix spec, appendices, event IDs): `$` and at most 254 bytes."""
LONGEST_WORD = 30
"""The longest word that is compared with the words of commands, in characters."""
NUMBER = re.compile(r"[0-9]{1,6}")
ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
"""A backslash escape of CommonMark."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command: `verb` in small letters and cut at LONGEST_WORD, the words after it as they were written. Without a
    verb it is `help`."""

    verb: str
    words: Words = ()


@dataclass(frozen=True, slots=True)
class Code:
    """The six letters that name a recording, in small letters."""

    letters: str


@dataclass(frozen=True, slots=True)
class Last:
    """The newest recording of the room."""


RecordingName = Code | Last | EventId


@dataclass(frozen=True, slots=True)
class Heads:
    """The beginnings of a command: the prefix, the bot's `user_id`, and its display `name` where the message mentions
    it."""

    prefix: str
    user_id: str
    name: str | None = None


def is_command(body: str, heads: Heads) -> bool:
    """Return whether the plain body of a text message (`bot.dialects.text`) begins as a command for the bot."""
    return after_head(body, heads) is not None


def after_head(body: str, heads: Heads) -> str | None:
    """Return what follows the prefix or the name; None when the body begins with neither (`!aircheckers`).

    An editor that puts a `\\` in front of the prefix (Element X) writes Markdown, and escapes what follows too.
    """
    head = _pattern(heads).match(body)
    if head is None:
        return None
    rest = body[head.end() :]
    return "".join(ESCAPE.split(rest)) if head["escaped"] else rest


@lru_cache(maxsize=128)
def _pattern(heads: Heads) -> re.Pattern[str]:
    """Return the pattern of a command's beginning, in any case.

    Clients write a mention into the plain body as the user id, as the display name (Element, nheko, Cinny), as
    `@[name]` (FluffyChat), or as a link to the user (Element X, bridges).
    """
    user, name = re.escape(heads.user_id), re.escape((heads.name or "").strip())
    address = rf"https://matrix\.to/#/(?:{user}|{re.escape(quote(heads.user_id, safe=''))})(?:\?[^\s)>]{{0,255}})?"
    follows = r"(?=[\s:,]|\Z)[:,]?"
    ways = [
        rf"(?P<escaped>\\)?{re.escape(heads.prefix)}{follows}",
        rf"(?:<?{address}>?|\[[^\]\n]{{0,255}}\]\(<?{address}>?\)){follows}",
        # After a colon can come a port or a server's name: then another user is meant.
        rf"{user}(?!:[0-9]){follows}",
        rf"{re.escape(heads.user_id.partition(':')[0])}(?!:\S){follows}",
    ]
    if name:
        ways.append(rf"@?(?:{name}|\[{name}\]){follows}")
    return re.compile(rf"\s*+(?:{'|'.join(ways)})", re.IGNORECASE)


def parse(text: str) -> Command:
    """Parse the text after the prefix. Whether there is such a verb is the registry's to say."""
    verb, *words = text.split() or ["help"]
    return Command(verb[:LONGEST_WORD].lower(), tuple(words))


def text_after(text: str, count: int) -> str:
    """Return what follows the first `count` words of a command, with its line ends."""
    parts = text.split(maxsplit=count)
    return parts[count].strip() if len(parts) > count else ""


def recording_name(word: str) -> RecordingName | None:
    """Parse the name of a recording: a code in any case, `last`, or an event id; None for anything else."""
    if word.lower() == "last":
        return Last()
    if CODE.fullmatch(word):
        return Code(word.lower())
    if word.startswith("$") and 1 < len(word) <= EVENT_ID_CHARACTERS and word.isprintable():
        return EventId(word)
    return None


def number(word: str, most: int) -> int | None:
    """Parse a whole number from 1 to `most`; None for anything else."""
    if not NUMBER.fullmatch(word):
        return None
    return int(word) if 1 <= int(word) <= most else None
