"""Cleaning of names, titles and topics for XML, HTML and file names. Pure.

Anybody may have written them. Removed before anything else: what XML 1.0 can't hold, what changes the reading
direction of the text around it, private-use characters (they mean nothing elsewhere, and one of them is the
place-holder of feeds), and MXIDs, for none may stand in anything public (`bot.feeds.mxids`; `servers` are the servers
of the room's members).
"""

import re
from collections.abc import Callable, Collection
from html import escape

from bot.feeds import mxids

TITLE_CHARACTERS = 255
"""Longest title or author that Apple and PSP-1 accept."""
DESCRIPTION_BYTES = 4000
"""Longest description that Apple accepts, markup included."""
TEXT_CHARACTERS = 6000
"""Longest text that is processed: more than is ever shown, and the longest word."""
LONGEST_WORD = 1000

_LINE_END = re.compile(r"\r\n?|[\v\f\x85\u2028\u2029]")
# Embeddings, overrides and isolates: with them a title can change how the text beside it reads.
_BIDI = "\u202a-\u202e\u2066-\u2069"
_CONTROLS = "\x00-\x09\x0b-\x1f\x7f-\x9f"
_SURROGATES = "\ud800-\udfff"
_PRIVATE_USE = "\ue000-\uf8ff\U000f0000-\U0010ffff"
_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
_UNWANTED = re.compile(f"[{_BIDI}{_CONTROLS}{_SURROGATES}{_PRIVATE_USE}{_NONCHARACTERS}]+")


def _fit(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text  # most texts, and a page of a feed cleans some two thousand
    return _UNWANTED.sub("", _LINE_END.sub("\n", text.replace("\t", " ")))


def name_holds_mxid(name: str) -> bool:
    """Return whether something in a display name reads as a Matrix user id."""
    return mxids.holds(_fit(_bounded(name)), name=True)


def clean_text(text: str, servers: Collection[str] = ()) -> str:
    """Clean a text of several lines: no white space at the ends of a line, no two empty lines in a row."""
    plain = mxids.masked(_fit(_bounded(text)), servers)
    lines = "\n".join(" ".join(line.split()) for line in plain.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip()


def clean_line(text: str, characters: int = TITLE_CHARACTERS, servers: Collection[str] = ()) -> str:
    """Clean a text into one line, cut with an ellipsis where it is longer than `characters`."""
    line = " ".join(clean_text(text, servers).split())
    return line if len(line) <= characters else line[: characters - 1].rstrip() + "…"


def _bounded(text: str) -> str:
    """Cut an overlong text after a whole word: half a user id would not be recognized."""
    if len(text) <= TEXT_CHARACTERS:
        return text
    beginning = text[:TEXT_CHARACTERS]
    word = (beginning.rsplit(maxsplit=1) or [""])[-1]
    return beginning[: -len(word)] if word and len(word) <= LONGEST_WORD else beginning


def escaped(text: str, budget: int = DESCRIPTION_BYTES) -> str:
    """Escape a plain text for HTML, cut to `budget` bytes."""
    return _cut(clean_text(text), escape, budget)


def paragraphs(text: str, budget: int = DESCRIPTION_BYTES) -> str:
    """Make HTML paragraphs of a plain text, cut at a character to `budget` bytes in all."""
    html = ""
    for block in clean_text(text).split("\n\n"):
        paragraph = _cut(block, _paragraph, budget - len(html.encode()))
        html += paragraph
        if paragraph != _paragraph(block):
            break
    return html


def _paragraph(block: str) -> str:
    return f"<p>{escape(block).replace(chr(10), '<br>')}</p>" if block else ""


def _cut(text: str, write: Callable[[str], str], budget: int) -> str:
    """Return the written text, or as much of it as fits with an ellipsis; empty where not one character fits."""

    def fits(characters: int) -> bool:
        return len(write(text[:characters] + "…").encode()) <= budget

    if len(write(text).encode()) <= budget:
        return write(text)
    low, high = 0, min(len(text), budget)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return write(text[:low].rstrip() + "…") if low else ""
