"""Answers that are given again at once, without a task and a response of aiohttp, while nothing of them has changed.

An answer is kept with the access it was given to, and with what tells whether it still holds. The access is decided
anew for each request; it has to come from the very claim that the answer was made for, which is read again after each
commit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time

from bot import counted
from bot.web.access import Access, Claim, Verdict
from bot.web.caches import LruCache
from bot.web.route_names import route_of
from bot.web.usage import Usage

CACHE_BYTES = 8 * 1024 * 1024
LONGEST_QUESTION = 1024
"""Characters of a request line and headers that are kept; apps need a few hundred."""
ENTRY_BYTES = 1500
"""Memory of a kept answer without its bytes, near enough."""

Known = Callable[[], Access | None]
"""The present decision about an address; None where its claim has to be read."""
Whole = Callable[[bytes], bytes | bytearray | None]
"""The answer that begins with this head, with its body; None where it holds no more."""


class Question(NamedTuple):
    """All of a request that the answer depends on."""

    method: str
    path: str
    encodings: str
    known_tags: str | None
    known_since: str | None
    range: str | None


def question_of(method: str, path: str, headers: Mapping[str, str]) -> Question | None:
    """Return what a request asks; None where it has a condition that is rare."""
    if "If-Match" in headers or "If-Unmodified-Since" in headers or "If-Range" in headers:
        return None
    return Question(
        method,
        path,
        headers.get("Accept-Encoding", ""),
        headers.get("If-None-Match"),
        headers.get("If-Modified-Since"),
        headers.get("Range"),
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    head: bytes  # without the date
    known: Known
    claim: Claim
    whole: Whole
    weight: int
    counted_as: tuple[str, str]  # route and status


class AtOnce:
    """The answers that may be given again."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._kept: LruCache[Question, _Kept] = LruCache(CACHE_BYTES, lambda kept: kept.weight)

    def keep(
        self, request: web.BaseRequest, answer: web.Response, access: Access, known: Known, whole: Whole, length: int
    ) -> None:
        """Keep an answer that is about to be given. `length`: bytes of its body that are in memory as long as it is
        kept."""
        asked = question_of(request.method, request.raw_path, request.headers)
        if answer.status not in (200, 206, 304):
            return
        if asked is None or sum(len(part) for part in asked if part) > LONGEST_QUESTION:
            return
        weight = ENTRY_BYTES + length
        counted_as = route_of(request.path), f"{answer.status // 100}xx"
        self._kept.put(asked, _Kept(_head(request, answer), known, access.claim, whole, weight, counted_as))

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> bytes | bytearray | None:
        """Return the whole answer to a request, where one is kept that still holds."""
        asked = question_of(method, path, headers)
        kept = self._kept.get(asked) if asked is not None else None
        if asked is None or kept is None:
            return None
        access = kept.known()
        if access is None or access.verdict is not Verdict.OPEN or access.claim is not kept.claim:
            self._kept.drop(asked)
            return None
        whole = kept.whole(b"%bDate: %b\r\n\r\n" % (kept.head, rfc822_formatted_time().encode()))
        if whole is None:
            self._kept.drop(asked)
            return None
        counted.REQUESTS.add(*kept.counted_as)
        if access.claim.listener is not None:
            self._usage.note(access.claim.listener, headers.get("User-Agent", ""))
        return whole


def _head(request: web.BaseRequest, answer: web.Response) -> bytes:
    """Return the status line and the headers as aiohttp writes them, without the date."""
    lines = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{name}: {it}" for name, it in answer.headers.items())]
    if answer.status != 304:
        lines.append(f"Content-Length: {answer.content_length}")
    return "".join(f"{line}\r\n" for line in lines).encode()
