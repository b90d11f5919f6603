"""What strangers wrote, made fit for XML, HTML and file names. Pure.

Names, titles and topics come from anybody. Taken out before anything else is done with them: what XML 1.0
can't hold, what turns the reading direction of the text around it, private-use characters (they mean nothing
elsewhere, and one of them is our place-holder), and MXIDs, for none may stand in anything public
(`bot.feeds.mxids`; `servers` are the names of those that are known in the room).
"""

import re
from collections.abc import Callable, Collection
from html import escape

from bot.feeds import mxids

TITLE_CHARACTERS = 255
"""Most that Apple and PSP-1 take for a title or an author."""
DESCRIPTION_BYTES = 4000
"""Most that Apple takes for a description, markup included."""
TEXT_CHARACTERS = 6000
"""Most that is looked at of a text: more than any that is shown, with its longest word."""
LONGEST_WORD = 1000

_LINE_END = re.compile(r"\r\n?|[\v\f\x85\u2028\u2029]")
# Embeddings, overrides and isolates: they let a title rewrite how its neighbours read.
_BIDI = "\u202a-\u202e\u2066-\u2069"
_CONTROLS = "\x00-\x09\x0b-\x1f\x7f-\x9f"
_SURROGATES = "\ud800-\udfff"
_PRIVATE_USE = "\ue000-\uf8ff\U000f0000-\U0010ffff"
_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
_UNWANTED = re.compile(f"[{_BIDI}{_CONTROLS}{_SURROGATES}{_PRIVATE_USE}{_NONCHARACTERS}]+")


def _fit(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text  # most texts by far; a page of a feed cleans some two thousand
    return _UNWANTED.sub("", _LINE_END.sub("\n", text.replace("\t", " ")))


def name_holds_mxid(name: str) -> bool:
    """Whether something in a display name reads as a Matrix user id."""
    return mxids.holds(_fit(_bounded(name)), name=True)


def clean_text(text: str, servers: Collection[str] = ()) -> str:
    """Text of several lines, each without white space at its ends, with at most one empty line in a row."""
    plain = mxids.masked(_fit(_bounded(text)), servers)
    lines = "\n".join(" ".join(line.split()) for line in plain.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip()


def clean_line(text: str, characters: int = TITLE_CHARACTERS, servers: Collection[str] = ()) -> str:
    """One line of so many characters at most; an ellipsis stands where it was cut."""
    line = " ".join(clean_text(text, servers).split())
    return line if len(line) <= characters else line[: characters - 1].rstrip() + "…"


def _bounded(text: str) -> str:
    """The beginning of a text without end, up to a whole word: half an id would not read as one."""
    if len(text) <= TEXT_CHARACTERS:
        return text
    beginning = text[:TEXT_CHARACTERS]
    *_, word = beginning.rsplit(maxsplit=1)
    return beginning[: -len(word)] if word and len(word) <= LONGEST_WORD else beginning


def escaped(text: str, budget: int = DESCRIPTION_BYTES) -> str:
    """Text without markup that may stand where HTML is read, cut so that its bytes stay in the budget."""
    return _cut(clean_text(text), escape, budget)


def paragraphs(text: str, budget: int = DESCRIPTION_BYTES) -> str:
    """HTML paragraphs of plain text, cut at a character so that the bytes of the whole stay in the budget."""
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
    """The text as it is written, or as much of it as fits with an ellipsis; nothing where not one character does."""

    def fits(characters: int) -> bool:
        return len(write(text[:characters] + "…").encode()) <= budget

    if len(write(text).encode()) <= budget:
        return write(text)
    low, high = 0, min(len(text), budget)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return write(text[:low].rstrip() + "…") if low else ""
