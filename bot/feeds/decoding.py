"""Text with its escapes decoded, and where each character stood. Pure.

Decoded are the escapes of links and HTML, also escaped again, wide forms of ASCII, and look-alikes of `:`, `.` and `@`;
invisible characters are dropped.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff"
)
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_COLONS, _DOTS = "\ufe13\ufe55\ua789\u2236", "\u2024\u3002\uff61"
_READ_AS = {**_WIDE, **str.maketrans(_COLONS + _DOTS + "\ufe6b", ":" * len(_COLONS) + "." * len(_DOTS) + "@")}
_ESCAPE = re.compile(
    rf"%(?:25)*(?P<byte>[0-9a-f]{{2}})"
    r"|&(?:amp;)*(?:#x0*(?P<hex>[0-9a-f]{1,5})|#0*(?P<number>[0-9]{1,6})|(?P<name>commat|colon|period|sol));?"
    rf"|[{_INVISIBLE}]+",
    re.IGNORECASE,
)
_ENTITIES = {"commat": "@", "colon": ":", "period": ".", "sol": "/"}
_LAYERS = 4  # of escapes within escapes: no program decodes that many


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded text. Character i stands in the original from `offsets[i]` to `offsets[i + 1]`."""

    text: str
    offsets: list[int]
    escaped: frozenset[int]  # characters that were escapes in the original


def decode(text: str) -> Decoded:
    plain, offsets, escaped = text.translate(_READ_AS), list(range(len(text) + 1)), frozenset[int]()
    for _ in range(_LAYERS):
        if not _ESCAPE.search(plain):
            break
        plain, offsets = _without_a_layer(plain, offsets)
    if len(plain) < len(text):
        escaped = frozenset(at for at, (first, last) in enumerate(pairwise(offsets)) if last - first > 1)
    return Decoded(plain, offsets, escaped)


def _without_a_layer(plain: str, offsets: list[int]) -> tuple[str, list[int]]:
    parts, kept, end = [], [], 0
    for escape in _ESCAPE.finditer(plain):
        parts.append(plain[end : escape.start()])
        kept += offsets[end : escape.start()]
        character = _character(escape)
        if character:
            parts.append(character)
            kept.append(offsets[escape.start()])
        end = escape.end()
    return "".join([*parts, plain[end:]]), kept + offsets[end:]


def _character(escape: re.Match[str]) -> str:
    """Return the character of an escape; nothing for invisible ones, U+FFFD for any beyond ASCII."""
    if escape["name"]:
        return _ENTITIES[escape["name"].lower()]
    if escape["byte"] or escape["hex"]:
        code = int(escape["byte"] or escape["hex"], 16)
    elif escape["number"]:
        code = int(escape["number"])
    else:
        return ""
    return " " if code < 0x20 else chr(code) if code < 0x7F else "\ufffd"
