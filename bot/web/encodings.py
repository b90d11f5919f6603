"""Bodies in two encodings, identity and gzip: each is a representation of its own, with its own entity tag.

What is sent many times is packed beforehand; pages, when they are answered.
"""

import asyncio
import gzip
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from aiohttp import web

from bot.web import respond
from bot.web.access import Family
from bot.web.conditions import Representation, plan_response, takes_gzip

COMPRESSION = 6
WORTH_BYTES = 1024
"""Smallest body that is packed: a smaller one fits into one packet as it is."""
LARGE_BYTES = 32 * 1024
"""Bytes that are packed in a thread: the event loop would stand still for some milliseconds."""
PACKED_KINDS = frozenset({"text/html", "text/plain", "text/xml", "text/x-opml", "application/json", "application/xml"})
"""Types of bodies without an entity tag that are packed when they are answered."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A body in one encoding. `headers` are those that only a body has, `other_tags` those of the same content in
    other encodings."""

    body: bytes
    tag: str
    other_tags: frozenset[str]
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class EncodedBody:
    """A body as it is sent, packed beforehand, for it is sent many times; `gzipped`: None where it packs badly."""

    identity: Variant
    gzipped: Variant | None

    @property
    def weight(self) -> int:
        """Bytes in memory, near enough."""
        return len(self.identity.body) + (len(self.gzipped.body) if self.gzipped else 0)

    def response(self, request: web.BaseRequest, headers: dict[str, str], modified: datetime | None) -> web.Response:
        """Answer a request in the encoding that it accepts. `modified`: as `Representation` has it."""
        variant = self.identity
        if self.gzipped is not None:
            headers = {**headers, "Vary": "Accept-Encoding"}
            variant = self.gzipped if _accepts(request) else variant
        file = Representation(variant.tag, len(variant.body), modified, variant.other_tags)
        return respond.content(request, variant.body, file, headers, variant.headers)


def encode(body: bytes, content_type: str, level: int = COMPRESSION, tag: str | None = None) -> EncodedBody:
    """Build both encodings of a body. `tag`: names the content; None: its hash. Blocking: a large one takes longer than
    the event loop may stand."""
    tag = tag or sha256(body).hexdigest()
    gzip_tag, kind = _of_gzip(tag), {"Content-Type": content_type}
    return EncodedBody(
        Variant(body, tag, frozenset({gzip_tag}), kind),
        Variant(_pack(body, level), gzip_tag, frozenset({tag}), {**kind, "Content-Encoding": "gzip"}),
    )


def unchanged(
    request: web.BaseRequest, tag: str, headers: dict[str, str], modified: datetime | None
) -> web.Response | None:
    """Answer without the body that `encode` makes under this tag, where the client has it; None where it has not."""
    tag, other = (_of_gzip(tag), tag) if _accepts(request) else (tag, _of_gzip(tag))
    file = Representation(tag, 0, modified, frozenset({other}))
    if plan_response(request.method, request.headers, file).status not in (304, 412):
        return None
    return respond.content(request, b"", file, {**headers, "Vary": "Accept-Encoding"}, {})


def unpacked(body: bytes, content_type: str) -> EncodedBody:
    """Keep a body that packs badly, such as a picture, as it is."""
    variant = Variant(body, sha256(body).hexdigest(), frozenset(), {"Content-Type": content_type})
    return EncodedBody(variant, None)


async def data(request: web.BaseRequest, family: Family, body: bytes, content_type: str) -> web.Response:
    """Answer with a small file about an episode, under a tag of its content. It has no date: settings, the language
    and what is on the air are in it too."""
    if len(body) < WORTH_BYTES:
        encoded = unpacked(body, content_type)
    elif len(body) < LARGE_BYTES:
        encoded = encode(body, content_type)
    else:
        encoded = await asyncio.to_thread(encode, body, content_type)
    return encoded.response(request, respond.OF_FAMILY[family], None)


async def packed(request: web.BaseRequest, answer: web.StreamResponse) -> web.StreamResponse:
    """Pack the body of an answer that has no entity tag, where that is worth it and the client accepts it."""
    if not isinstance(answer, web.Response) or "ETag" in answer.headers or "Content-Encoding" in answer.headers:
        return answer
    body, headers = answer.body, answer.headers
    if not isinstance(body, bytes) or len(body) < WORTH_BYTES or answer.content_type not in PACKED_KINDS:
        return answer
    headers["Vary"] = "Accept-Encoding"
    if _accepts(request):
        large = len(body) >= LARGE_BYTES
        answer.body = await asyncio.to_thread(_pack, body, COMPRESSION) if large else _pack(body, COMPRESSION)
        headers["Content-Encoding"] = "gzip"
    return answer


def _of_gzip(tag: str) -> str:
    return f"{tag}-gz"


def _pack(body: bytes, level: int) -> bytes:
    return gzip.compress(body, level, mtime=0)


def _accepts(request: web.BaseRequest) -> bool:
    return takes_gzip(request.headers.get("Accept-Encoding", ""))
