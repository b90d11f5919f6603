"""Conditional and range requests as RFC 9110 has them (sections 13 and 14). Pure.

aiohttp 3.14 ignores entity tags in `If-Range` (aio-libs/aiohttp#13480): a client that resumes an episode that
was healed meanwhile would get the end of one file behind the beginning of another.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

_TAGS = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_RANGE = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ResponsePlan:
    """The answer to give: `count` bytes from `start` for 200 and 206, no body for 304, 412 and 416."""

    status: int
    start: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True)
class Representation:
    """A file as it is now. `tag` is opaque and strong, without quotes. `other_tags` are those of the same content in
    other encodings: a client that has one of those has the content. `modified`: None where nobody knows when it
    changed, so that no condition by a date holds it for the same."""

    tag: str
    size: int
    modified: datetime | None  # whole seconds
    other_tags: frozenset[str] = frozenset()


def plan_response(method: str, headers: Mapping[str, str], file: Representation) -> ResponsePlan:
    """Plan the answer to a GET or HEAD, with preconditions in the order of RFC 9110 section 13.2.2."""
    if not _precondition_holds(headers, file):
        return ResponsePlan(412)
    if _is_current(headers, file):
        return ResponsePlan(304)
    asked = headers.get("Range")
    # Ranges are defined for GET only (section 14.2).
    if asked is None or method != "GET" or not _range_holds(headers, file):
        return ResponsePlan(200, 0, file.size)
    return _sliced(asked, file.size)


@lru_cache(maxsize=256)  # few kinds of clients send few values
def takes_gzip(accepted: str) -> bool:
    """Return whether `Accept-Encoding` has gzip with a weight above 0 (RFC 9110 section 12.5.3)."""
    weights = {}
    for part in accepted.lower().split(","):
        name, _, parameter = part.strip().partition(";")
        weights[name.strip()] = parameter.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return weights.get("gzip", weights.get("*", False))


def _precondition_holds(headers: Mapping[str, str], file: Representation) -> bool:
    expected = headers.get("If-Match")
    if expected is not None:
        return expected.strip() == "*" or any(not weak and tag == file.tag for weak, tag in _TAGS.findall(expected))
    since = _moment(headers.get("If-Unmodified-Since"))
    return since is None or file.modified is None or file.modified <= since


def _is_current(headers: Mapping[str, str], file: Representation) -> bool:
    known = headers.get("If-None-Match")
    if known is not None:
        return known.strip() == "*" or any(tag == file.tag or tag in file.other_tags for _, tag in _TAGS.findall(known))
    since = _moment(headers.get("If-Modified-Since"))
    return since is not None and file.modified is not None and file.modified <= since


def _range_holds(headers: Mapping[str, str], file: Representation) -> bool:
    """Return whether `If-Range`, where there is one, names the file as it is now; by strong comparison only."""
    condition = headers.get("If-Range")
    if condition is None:
        return True
    condition = condition.strip()
    if '"' in condition:
        return condition == f'"{file.tag}"'
    return file.modified is not None and _moment(condition) == file.modified


def _sliced(asked: str, size: int) -> ResponsePlan:
    unit, _, ranges = asked.partition("=")
    if unit.strip().lower() != "bytes" or "," in ranges:
        # An unknown unit must, and several ranges may be ignored (section 14.2); no podcast app asks for several.
        return ResponsePlan(200, 0, size)
    limits = _RANGE.fullmatch(asked.strip())
    if limits is None or limits[1] == limits[2] == "":
        return ResponsePlan(416)
    if limits[1] == "":
        count = min(int(limits[2]), size)
        return ResponsePlan(206, size - count, count) if count else ResponsePlan(416)
    first = int(limits[1])
    last = min(int(limits[2]), size - 1) if limits[2] else size - 1
    if first >= size or (limits[2] and int(limits[2]) < first):
        return ResponsePlan(416)
    return ResponsePlan(206, first, last - first + 1)


def _moment(text: str | None) -> datetime | None:
    """Parse an HTTP date; None for one that can't be read, which is to be ignored (section 13.1.3)."""
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
