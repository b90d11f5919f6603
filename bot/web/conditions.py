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
class Plan:
    """What to answer: `count` bytes from `start` for 200 and 206, nothing for 304, 412 and 416."""

    status: int
    start: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True)
class Representation:
    """The file as it is now. `tag` is opaque and strong, without quotes; `also` are the tags of the same
    content in other encodings: whoever has one of those has the content."""

    tag: str
    size: int
    modified: datetime  # whole seconds
    also: frozenset[str] = frozenset()


def plan(method: str, headers: Mapping[str, str], file: Representation) -> Plan:
    """The answer to a GET or HEAD. Preconditions come in the order of RFC 9110 section 13.2.2."""
    if not _may_go_on(headers, file):
        return Plan(412)
    if _is_known(headers, file):
        return Plan(304)
    asked = headers.get("Range")
    # Ranges are defined for GET only (section 14.2).
    if asked is None or method != "GET" or not _range_holds(headers, file):
        return Plan(200, 0, file.size)
    return _sliced(asked, file.size)


@lru_cache(maxsize=256)  # there are as many of these as there are kinds of clients
def takes_gzip(accepted: str) -> bool:
    """Whether `Accept-Encoding` has gzip with a weight above 0 (RFC 9110 section 12.5.3)."""
    weights = {}
    for part in accepted.lower().split(","):
        name, _, parameter = part.strip().partition(";")
        weights[name.strip()] = parameter.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return weights.get("gzip", weights.get("*", False))


def _may_go_on(headers: Mapping[str, str], file: Representation) -> bool:
    wanted = headers.get("If-Match")
    if wanted is not None:
        return wanted.strip() == "*" or any(not weak and tag == file.tag for weak, tag in _TAGS.findall(wanted))
    since = _moment(headers.get("If-Unmodified-Since"))
    return since is None or file.modified <= since


def _is_known(headers: Mapping[str, str], file: Representation) -> bool:
    known = headers.get("If-None-Match")
    if known is not None:
        return known.strip() == "*" or any(tag == file.tag or tag in file.also for _, tag in _TAGS.findall(known))
    since = _moment(headers.get("If-Modified-Since"))
    return since is not None and file.modified <= since


def _range_holds(headers: Mapping[str, str], file: Representation) -> bool:
    """Whether `If-Range`, where there is one, names what the file is now: by strong comparison only."""
    condition = headers.get("If-Range")
    if condition is None:
        return True
    condition = condition.strip()
    if '"' in condition:
        return condition == f'"{file.tag}"'
    return _moment(condition) == file.modified


def _sliced(asked: str, size: int) -> Plan:
    unit, _, ranges = asked.partition("=")
    if unit.strip().lower() != "bytes" or "," in ranges:
        # An unknown unit must, and several ranges may be ignored (section 14.2); no podcast app asks for several.
        return Plan(200, 0, size)
    found = _RANGE.fullmatch(asked.strip())
    if found is None or found[1] == found[2] == "":
        return Plan(416)
    if found[1] == "":
        count = min(int(found[2]), size)
        return Plan(206, size - count, count) if count else Plan(416)
    first = int(found[1])
    last = min(int(found[2]), size - 1) if found[2] else size - 1
    if first >= size or (found[2] and int(found[2]) < first):
        return Plan(416)
    return Plan(206, first, last - first + 1)


def _moment(text: str | None) -> datetime | None:
    """An HTTP date; None when it is none (a date that can't be read is ignored, section 13.1.3)."""
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
