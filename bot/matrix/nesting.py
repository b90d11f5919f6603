"""JSON that is nested deeper than anybody means it. Pure.

Python's parser and writer go as deep as the stack: one event of a stranger, nested a thousand deep, fails the whole
answer that it stands in, or the transaction that it is written in. The specification sets no limit; no event type
that is known needs ten levels.
"""

import re
from typing import Any

MOST = 100
"""Levels of one event."""
MOST_OF_AN_ANSWER = MOST + 20
"""Levels of an answer: its events stand some levels deep in it."""
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
"""A string that does not end is one token too: else it would be looked for again from each quote in it."""


def flattened(raw: bytes) -> bytes:
    """The same JSON, with null for each list and object that begins too deep. Takes time in proportion to its length.

    What is no JSON stays none.
    """
    kept: list[bytes] = []
    depth = copied = 0
    for token in _TOKEN.finditer(raw):
        sign = token.group()
        if sign in (b"[", b"{"):
            depth += 1
            if depth == MOST_OF_AN_ANSWER + 1:
                kept += [raw[copied : token.start()], b"null"]
        elif sign in (b"]", b"}"):
            if depth == MOST_OF_AN_ANSWER + 1:
                copied = token.end()
            depth -= 1
    if depth > MOST_OF_AN_ANSWER:
        return b""  # it ends in the middle
    return b"".join([*kept, raw[copied:]])


def is_too_deep(tree: Any) -> bool:
    """Whether a parsed event is nested deeper than may be written down."""
    level, depth = [tree], 0
    while level:
        depth += 1
        if depth > MOST:
            return True
        level = [one for part in level for one in _parts(part) if isinstance(one, dict | list)]
    return False


def _parts(tree: Any) -> Any:
    return tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
