"""Bodies in two encodings, identity and gzip: each is a representation of its own, with its own entity tag."""

import gzip
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from aiohttp import web

from bot.web import respond
from bot.web.conditions import Representation, takes_gzip

COMPRESSION = 6


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
    """A body as it is sent, packed beforehand, for it is sent many times."""

    identity: Variant
    gzipped: Variant

    @property
    def weight(self) -> int:
        """Bytes in memory, near enough."""
        return len(self.identity.body) + len(self.gzipped.body)

    def response(self, request: web.BaseRequest, headers: dict[str, str], modified: datetime) -> web.Response:
        """Answer a request in the encoding that it accepts. `modified`: whole seconds."""
        variant = self.gzipped if takes_gzip(request.headers.get("Accept-Encoding", "")) else self.identity
        file = Representation(variant.tag, len(variant.body), modified, variant.other_tags)
        return respond.content(request, variant.body, file, {**headers, "Vary": "Accept-Encoding"}, variant.headers)


def encode(body: bytes, content_type: str) -> EncodedBody:
    """Build both encodings of a body. Blocking: a large one takes longer than the event loop may stand."""
    tag = sha256(body).hexdigest()
    gzip_tag, kind = f"{tag}-gz", {"Content-Type": content_type}
    packed = gzip.compress(body, COMPRESSION, mtime=0)
    return EncodedBody(
        Variant(body, tag, frozenset({gzip_tag}), kind),
        Variant(packed, gzip_tag, frozenset({tag}), {**kind, "Content-Encoding": "gzip"}),
    )
