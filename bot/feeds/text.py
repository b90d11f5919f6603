"""Cleaning of names, titles and topics for XML, HTML and file names. Pure.

Anybody may have written them. Removed before anything else: what XML 1.0 can't hold, what changes the reading
direction of the text around it, private-use characters (they mean nothing elsewhere, and one of them is the
place-holder of feeds), and MXIDs, for none may stand in anything public (`bot.feeds.mxids`; `servers` are the servers
of the room's members).

A name that is read from right to left turns around what stands beside it: the date behind a Hebrew name is shown in
front of it, in pieces. `isolated` keeps such a name to itself (Unicode Standard Annex 9, isolates); a line that was
made with it is cleaned with `isolates=True`, and never cut inside of an isolate without closing it.
"""

import re
from collections.abc import Callable, Collection
from html import escape

from bot.feeds import links, mxids

TITLE_CHARACTERS = 255
"""Longest title or author that Apple and PSP-1 accept."""
TITLE_MOST = 200
DESCRIPTION_MOST = 4000
"""Characters of a text that people give, as it comes: a longer one is refused before it is cleaned."""
DESCRIPTION_BYTES = 4000
"""Longest description that Apple accepts, markup included."""
TEXT_CHARACTERS = 6000
"""Longest text that is processed: more than is ever shown, and the longest word."""
LONGEST_WORD = 1000

_LINE_END = re.compile(r"\r\n?|[\v\f\x85\u2028\u2029]")
# Embeddings, overrides and isolates: with them a title can change how the text beside it reads.
_BIDI = "\u202a-\u202e\u2066\u2067"
ISOLATE, END_OF_ISOLATE = "\u2068", "\u2069"
"""First strong isolate, whose direction is that of its first letter; pop directional isolate."""
_ISOLATES = str.maketrans("", "", ISOLATE + END_OF_ISOLATE)
_ISOLATED = re.compile(f"{ISOLATE}[^{ISOLATE}{END_OF_ISOLATE}]*{END_OF_ISOLATE}")
# The blocks of scripts that are written from right to left (Bidi_Class R and AL), and the marks that act like them.
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\u200f\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
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


def clean_text(text: str, servers: Collection[str] = (), *, isolates: bool = False) -> str:
    """Clean a text of several lines: no white space at the ends of a line, no two empty lines in a row. `isolates`:
    keep those that are closed in their line."""
    plain = mxids.masked(_fit(_bounded(text)), servers)
    if not plain.isascii():
        plain = "\n".join(map(_paired, plain.split("\n"))) if isolates else plain.translate(_ISOLATES)
    lines = "\n".join(" ".join(line.split()) for line in plain.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip()


def clean_line(
    text: str, characters: int = TITLE_CHARACTERS, servers: Collection[str] = (), *, isolates: bool = False
) -> str:
    """Clean a text into one line, cut with an ellipsis where it is longer than `characters`. `isolates`: keep those
    that are closed in their line."""
    line = " ".join(clean_text(text, servers, isolates=isolates).split())
    if len(line) <= characters:
        return line
    kept = characters - 1
    while len(cut := _closed(line[:kept].rstrip() + "…")) > characters:
        kept -= 1
    return cut


def isolated(text: str) -> str:
    """Return a text that can stand beside others: inside of an isolate where something in it is read from right to
    left, else as it is."""
    beside, inner = text, None
    while inner != beside:  # nested isolates, the innermost first
        inner, beside = beside, _ISOLATED.sub("", beside)
    return f"{ISOLATE}{text}{END_OF_ISOLATE}" if _RIGHT_TO_LEFT.search(beside) else text


def without_isolates(text: str) -> str:
    """Return a text as it is compared with others."""
    return text.translate(_ISOLATES)


def _paired(line: str) -> str:
    """Drop the isolates of a line that hold nothing that is read from right to left, or are not closed in it."""
    parts: list[str] = []
    opened: list[tuple[int, bool]] = []  # where in `parts`; whether something before it, in the outer one, needs that
    needed = False
    for part in re.split(f"([{ISOLATE}{END_OF_ISOLATE}])", line):
        if part == ISOLATE:
            opened.append((len(parts), needed))
            needed = False
        elif part == END_OF_ISOLATE:
            if not opened:
                continue
            begin, outer = opened.pop()
            if not needed:
                parts[begin] = part = ""
            needed = needed or outer
        else:
            needed = needed or _RIGHT_TO_LEFT.search(part) is not None
        parts.append(part)
    for begin, _ in opened:
        parts[begin] = ""
    return "".join(parts)


def _closed(text: str) -> str:
    """Close the isolates that are open at the end of a text that was cut."""
    return text + END_OF_ISOLATE * (text.count(ISOLATE) - text.count(END_OF_ISOLATE))


def _bounded(text: str) -> str:
    """Cut an overlong text after a whole word: half a user id would not be recognized."""
    if len(text) <= TEXT_CHARACTERS:
        return text
    beginning = text[:TEXT_CHARACTERS]
    word = (beginning.rsplit(maxsplit=1) or [""])[-1]
    return beginning[: -len(word)] if word and len(word) <= LONGEST_WORD else beginning


def plain(text: str, budget: int = DESCRIPTION_BYTES) -> str:
    """Clean a text that is written as it is, cut at a character to `budget` bytes."""
    return _cut(clean_text(text, isolates=True), str, budget)


def paragraphs(text: str, budget: int = DESCRIPTION_BYTES) -> str:
    """Make HTML paragraphs of a plain text, its addresses as links, cut at a character to `budget` bytes in all."""
    html = ""
    for block in clean_text(text, isolates=True).split("\n\n"):
        paragraph = _cut(block, _paragraph, budget - len(html.encode()))
        html += paragraph
        if paragraph != _paragraph(block):
            break
    return html


def _paragraph(block: str) -> str:
    return f"<p>{linked(block).replace(chr(10), '<br>')}</p>" if block else ""


def linked(text: str) -> str:
    """Escape a plain text for HTML, with its web addresses as links."""
    return "".join(map(_link, links.parts_of(text)))


def _link(part: links.Part) -> str:
    return escape(part.text) if part.address is None else f'<a href="{escape(part.address)}">{escape(part.text)}</a>'


def _cut(text: str, write: Callable[[str], str], budget: int) -> str:
    """Return the written text, or as much of it as fits with an ellipsis; empty where not one character fits."""

    def fits(characters: int) -> bool:
        return len(write(_closed(text[:characters] + "…")).encode()) <= budget

    if len(write(text).encode()) <= budget:
        return write(text)
    low, high = 0, min(len(text), budget)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return write(_closed(text[:low].rstrip() + "…")) if low else ""
