"""Feeds over HTTP: rendered once per change and off the loop, then only the token is put in."""

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hashlib import sha256

from aiohttp import web

from bot.feeds.addresses import PLACEHOLDER, Shelf, personal_shelf, public_shelf
from bot.feeds.catalog import channel_of, item_of
from bot.feeds.rss import render
from bot.settings import Settings
from bot.web.access import Family
from bot.web.caches import Made
from bot.web.conditions import Representation, takes_gzip
from bot.web.library import Page, View
from bot.web.respond import OF_FAMILY, content

RSS = "application/rss+xml; charset=utf-8"
CACHE_BYTES = 16 * 1024 * 1024
COMPRESSION = 6


@dataclass(frozen=True, slots=True)
class Encoded:
    """A feed in one encoding, with its headers."""

    content: bytes
    file: Representation
    headers: dict[str, str]
    kind: dict[str, str]  # those that only a body has


@dataclass(frozen=True, slots=True)
class Body:
    """A feed as it is sent, in both encodings; each is a representation of its own, with its own tag."""

    plain: Encoded
    packed: Encoded

    @property
    def weight(self) -> int:
        return len(self.plain.content) + len(self.packed.content)


@dataclass(frozen=True, slots=True)
class Template:
    """A feed as it was rendered; in a personal one the place-holder stands where the token goes."""

    xml: bytes
    built_at: datetime


class Feeds:
    """`base` gives the address that everything is built from; `cover` a view's picture's file name."""

    def __init__(self, settings: Settings, base: Callable[[], str], cover: Callable[[View], str]) -> None:
        self._settings = settings
        self._base = base
        self._cover = cover
        self._templates: Made[tuple[object, ...], Template] = Made(CACHE_BYTES, lambda one: len(one.xml))
        self._bodies: Made[tuple[object, ...], Body] = Made(CACHE_BYTES, lambda one: one.weight)

    async def feed(self, request: web.BaseRequest, view: View, page: Page, token: str | None) -> web.Response:
        """One page of the feed; `token` is the listener's."""
        body = await self.body(view, page, token)
        encoded = body.packed if takes_gzip(request.headers.get("Accept-Encoding", "")) else body.plain
        return content(request, encoded.content, encoded.file, encoded.headers, encoded.kind)

    async def body(self, view: View, page: Page, token: str | None) -> Body:
        """The feed for one listener, or for everybody."""
        return await self._bodies.get((view.key, page.number, token), partial(self._body, view, page, token))

    async def _body(self, view: View, page: Page, token: str | None) -> Body:
        # By what it says, not by who asks: many listeners hear the same and differ in their tokens only.
        heard = tuple((recording.id, episode.blob) for recording, episode in page.published)
        said = (view.room, view.family, view.face, page.number, page.more, heard)
        template = await self._templates.get(said, partial(self._template, view, page))
        return await asyncio.to_thread(_encode, template, view.family, token)

    async def _template(self, view: View, page: Page) -> Template:
        return await asyncio.to_thread(self._render, view, page)

    def _render(self, view: View, page: Page) -> Template:
        settings, shelf = self._settings.feeds, self._shelf(view)
        items = [item_of(published, settings, shelf) for published in page.published]
        channel = channel_of(
            view.room,
            view.face,
            page.published,
            settings,
            shelf,
            private=view.family is Family.PERSONAL,
            cover=shelf.cover(self._cover(view)),
            page=page.number,
            more=page.more,
        )
        return Template(render(channel, items), channel.built_at)

    def _shelf(self, view: View) -> Shelf:
        if view.family is Family.PUBLIC:
            return public_shelf(self._base(), view.room.key)
        return personal_shelf(self._base(), PLACEHOLDER)


def _encode(template: Template, family: Family, token: str | None) -> Body:
    xml = template.xml if token is None else template.xml.replace(PLACEHOLDER.encode(), token.encode())
    moment = template.built_at.replace(microsecond=0)
    tag = sha256(xml).hexdigest()
    packed_tag = f"{tag}-gz"
    packed = gzip.compress(xml, COMPRESSION, mtime=0)
    return Body(
        plain=_encoded(xml, Representation(tag, len(xml), moment, frozenset({packed_tag})), family, {}),
        packed=_encoded(
            packed,
            Representation(packed_tag, len(packed), moment, frozenset({tag})),
            family,
            {"Content-Encoding": "gzip"},
        ),
    )


def _encoded(xml: bytes, file: Representation, family: Family, encoding: dict[str, str]) -> Encoded:
    headers = {**OF_FAMILY[family], "Vary": "Accept-Encoding"}
    return Encoded(xml, file, headers, {"Content-Type": RSS, **encoding})
