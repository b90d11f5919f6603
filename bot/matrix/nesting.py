"""JSON that is nested too deep for Python's parser. Pure.

Python parses and writes JSON by recursion: one event of a stranger that is nested a thousand levels deep fails the
whole answer that holds it, or the transaction that stores it. The specification sets no limit; no known event type
needs ten levels.
"""

import re
from typing import Any

MOST = 100
"""The most levels of an event."""
MOST_OF_AN_ANSWER = MOST + 20
"""The most levels of an answer, whose events begin some levels down."""
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
"""A string or a bracket. A string without an end is a token too, or the search would start again at each of its
quotes; the quantifiers are possessive, so a token is never gone through twice."""


def flattened(raw: bytes) -> bytes:
    """Replace each list and object that begins too deep by null. Takes time in proportion to the length.

    Malformed JSON stays malformed.
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
        return b""  # cut off inside a list or object that is too deep
    return b"".join([*kept, raw[copied:]])


def is_too_deep(tree: Any) -> bool:
    """Tell whether a parsed event is nested too deep to be stored."""
    level, depth = [tree], 0
    while level:
        depth += 1
        if depth > MOST:
            return True
        level = [child for parent in level for child in _children(parent) if isinstance(child, dict | list)]
    return False


def _children(tree: Any) -> Any:
    return tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
