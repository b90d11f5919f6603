"""The rendering of documents of feeds: once for each content, off the loop; for each listener only the token is put in.

What a document is made of decides whether it is rendered, not whom it is for nor what else has changed.
"""

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256

from bot import counted
from bot.feeds.addresses import PLACEHOLDER, look_up_hash
from bot.feeds.model import Channel, Item
from bot.feeds.moments import rfc_2822
from bot.web.caches import OnceCache
from bot.web.editions import Editions
from bot.web.encodings import EncodedBody, encode
from bot.web.respond import RSS

CACHE_BYTES = 16 * 1024 * 1024
UNDATED = datetime(1970, 1, 1, tzinfo=UTC)
"""The date in a document of which nobody knows yet when it changed."""
_DATE = b"<lastBuildDate>%s</lastBuildDate>"
_NO_DATE = _DATE % rfc_2822(UNDATED).encode()


@dataclass(frozen=True, slots=True)
class Printed:
    """A document as the public gets it."""

    body: EncodedBody
    changed_at: datetime  # whole seconds


@dataclass(frozen=True, slots=True)
class Rendered:
    """A document for all: undated, compressed; in a personal one the place-holder stands where the token goes."""

    digest: str  # SHA-256
    packed: bytes


class Press:
    """The documents that were rendered."""

    def __init__(self, editions: Editions) -> None:
        self._editions = editions
        self._rendered: OnceCache[bytes, Rendered] = OnceCache(CACHE_BYTES, lambda rendered: len(rendered.packed))

    async def printed(self, name: str, channel: Channel, items: Sequence[Item]) -> Printed:
        """Return a public document under its name (`storage.feed_editions`)."""
        rendered = await self.rendered(channel, items)
        changed_at = await self.changed_at(name, rendered)
        return Printed(await asyncio.to_thread(body_of, rendered, changed_at, None), changed_at)

    async def rendered(self, channel: Channel, items: Sequence[Item]) -> Rendered:
        """Return a document for all. The channel's own date counts for nothing."""
        channel = replace(channel, built_at=UNDATED)
        content = await asyncio.to_thread(_digest, channel, items)
        return await self._rendered.get(content, partial(_print, channel, items))

    async def changed_at(self, name: str, rendered: Rendered) -> datetime:
        """Return when the document of this name became this one, in whole seconds."""
        return await self._editions.changed_at(name, rendered.digest)


def tag_of(rendered: Rendered, changed_at: datetime, token: str | None) -> str:
    """Return the entity tag of a document as a listener, or the public, gets it; without making its body."""
    whose = look_up_hash(token) if token is not None else ""
    return sha256(f"{rendered.digest} {changed_at.isoformat()} {whose}".encode()).hexdigest()


def body_of(rendered: Rendered, changed_at: datetime, token: str | None) -> EncodedBody:
    """Make the body of a document as a listener, or the public, gets it. Blocking."""
    xml = zlib.decompress(rendered.packed).replace(_NO_DATE, _DATE % rfc_2822(changed_at).encode(), 1)
    if token is not None:
        xml = xml.replace(PLACEHOLDER.encode(), token.encode())
    return encode(xml, RSS, tag=tag_of(rendered, changed_at, token))


def _digest(channel: Channel, items: Sequence[Item]) -> bytes:
    return sha256(repr((channel, tuple(items))).encode("utf-8", "surrogatepass")).digest()


async def _print(channel: Channel, items: Sequence[Item]) -> Rendered:
    counted.RENDERS.add()
    return await asyncio.to_thread(_render, channel, items)


def _render(channel: Channel, items: Sequence[Item]) -> Rendered:
    from bot.feeds.rss import render  # here: a bot without listeners need not spend the memory that it takes

    xml = render(channel, items)
    return Rendered(sha256(xml).hexdigest(), zlib.compress(xml, 1))
