"""Texts and JSON of strangers in a form that every database holds, and finds things in. Pure."""

import json
import re
from typing import Any

_DOUBTFUL = ("\\u0000", "\\ud", "NaN", "Infinity")
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
"""The escape of NUL, which no backslash escapes."""


def dumps(tree: Any) -> str:
    """Write JSON of strangers so that either database can store it and look into it."""
    return storable_json(json.dumps(tree))


def storable_json(text: str) -> str:
    """Replace, in a JSON text, what PostgreSQL refuses, or can't look into: characters as `storable`, and numbers that
    are none by null."""
    if not any(sign in text for sign in _DOUBTFUL):
        return text
    tree = json.loads(text, parse_constant=lambda _: None)
    return _NUL.sub(r"\1\\ufffd", storable(json.dumps(tree, ensure_ascii=False)))


def storable(text: str) -> str:
    """Replace the characters that no database's text holds: NUL, and halves of surrogate pairs."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\0", "\ufffd")
