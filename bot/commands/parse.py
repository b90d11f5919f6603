"""What is a command, and what does it say. Pure.

A command is a plain text message whose plain body begins with the prefix, followed by white space or the end.
HTML is never looked at: what people see and what is carried out must be the same words. Nothing that somebody
wrote is given back in an error, for answers are read by the whole room.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from storage.records import EventId, Json

Words = tuple[str, ...]

VERB = re.compile(r"[a-z]{1,20}")
CODE = re.compile(r"[a-zA-Z]{6}")
EVENT_ID_CHARACTERS = 255
"""Matrix spec, appendices, event IDs: an id is `$` and at most 254 bytes more."""
NUMBER = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class Command:
    """`verb` in small letters, and the words after it as they were written. No verb at all is `help`."""

    verb: str
    words: Words = ()


@dataclass(frozen=True, slots=True)
class ParseError:
    """It can't be carried out; `sentence` says what would do."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Code:
    """The six letters that name a recording, in small letters."""

    letters: str


@dataclass(frozen=True, slots=True)
class Last:
    """The newest recording of the room."""


RecordingName = Code | Last | EventId


def is_command(event: Json, prefix: str) -> bool:
    """Whether a (decrypted) room event is a command for us: an `m.text` that begins with the prefix.

    Edits are none, whatever they say now: the words that were answered stand. Quotes are none: their plain body
    begins with `>` (Client-Server API, fallbacks for rich replies). Junk of any type is none.
    """
    content = event.get("content")
    if event.get("type") != "m.room.message" or "state_key" in event or not isinstance(content, Mapping):
        return False
    body = content.get("body")
    if content.get("msgtype") != "m.text" or not isinstance(body, str) or body.startswith(">"):
        return False
    return not _is_edit(content) and _after_prefix(body, prefix) is not None


def _is_edit(content: Json) -> bool:
    relation = content.get("m.relates_to")
    return "m.new_content" in content or (isinstance(relation, Mapping) and relation.get("rel_type") == "m.replace")


def _after_prefix(body: str, prefix: str) -> str | None:
    """What follows the prefix; None when it is not the prefix (`!aircheckers`)."""
    if not body.startswith(prefix):
        return None
    rest = body[len(prefix) :]
    return rest if not rest or rest[0].isspace() else None


def parse(body: str, prefix: str) -> Command | ParseError:
    """The command that a plain body holds. Whether there is such a verb is the registry's to say."""
    words = (_after_prefix(body, prefix) or "").split()
    if not words:
        return Command("help")
    verb = words[0].lower()
    return Command(verb, tuple(words[1:])) if VERB.fullmatch(verb) else no_such_command(prefix)


def text_after(body: str, prefix: str, count: int) -> str:
    """What follows the first `count` words of a command, with its line ends."""
    parts = (_after_prefix(body, prefix) or "").split(maxsplit=count)
    return parts[count].strip() if len(parts) > count else ""


def no_such_command(prefix: str) -> ParseError:
    return ParseError(f"There is no such command. `{prefix} help` lists those that there are.")


def recording_name(word: str) -> RecordingName | None:
    """How a recording is named: a code in any case, `last`, or an event id; None for anything else."""
    if word.lower() == "last":
        return Last()
    if CODE.fullmatch(word):
        return Code(word.lower())
    if word.startswith("$") and 1 < len(word) <= EVENT_ID_CHARACTERS and word.isprintable():
        return EventId(word)
    return None


def number(word: str, most: int) -> int | None:
    """A whole number from 1 to `most`; None for anything else."""
    if not NUMBER.fullmatch(word):
        return None
    return int(word) if 1 <= int(word) <= most else None
