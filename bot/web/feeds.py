"""Feeds over HTTP: rendered once per change and off the loop, then only the token is put in."""

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from aiohttp import web

from bot.feeds.addresses import PLACEHOLDER, Shelf, personal_shelf, public_shelf
from bot.feeds.catalog import channel_of, item_of
from bot.feeds.rss import render
from bot.settings import Settings
from bot.web.access import Family
from bot.web.conditions import Representation, plan
from bot.web.library import Page, View
from bot.web.memo import Recent
from bot.web.respond import OF_FAMILY, http_date

RSS = "application/rss+xml; charset=utf-8"
CACHE_BYTES = 32 * 1024 * 1024
COMPRESSION = 6


@dataclass(frozen=True, slots=True)
class Encoded:
    """A feed in one encoding, with its headers as a 304 has them."""

    content: bytes
    file: Representation
    headers: dict[str, str]
    kind: dict[str, str]  # what a 200 has besides


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
    """A feed with the place-holder where the token goes."""

    xml: bytes
    body: Body  # as it is: what a public feed sends


class Feeds:
    """`base` gives the address that everything is built from; `cover` a view's picture's file name."""

    def __init__(self, settings: Settings, base: Callable[[], str], cover: Callable[[View], str]) -> None:
        self._settings = settings
        self._base = base
        self._cover = cover
        self._templates: Recent[tuple[object, ...], Template] = Recent(CACHE_BYTES, lambda one: one.body.weight)
        self._bodies: Recent[tuple[object, ...], Body] = Recent(CACHE_BYTES, lambda one: one.weight)
        self._making: dict[tuple[object, ...], asyncio.Task[Body]] = {}

    async def feed(self, request: web.Request, view: View, page: Page, token: str | None) -> web.Response:
        """One page of the feed; `token` is the listener's."""
        body = await self.body(view, page, token)
        encoded = body.packed if _takes_gzip(request.headers.get("Accept-Encoding", "")) else body.plain
        what = plan("HEAD", request.headers, encoded.file)  # a feed is never sent in pieces
        if what.status != 200:
            return web.Response(status=what.status, headers=encoded.headers)
        return web.Response(headers={**encoded.headers, **encoded.kind}, body=encoded.content)

    async def body(self, view: View, page: Page, token: str | None) -> Body:
        """Made once, however many ask for it at the same time."""
        key = (view.key, page.number, token)
        known = self._bodies.get(key)
        if known is not None:
            return known
        task = self._making.get(key)
        if task is None:
            task = asyncio.create_task(self._make(view, page, token))
            self._making[key] = task
            task.add_done_callback(lambda _: self._making.pop(key))
        # One listener who hangs up must not undo what the others wait for.
        body = await asyncio.shield(task)
        self._bodies.put(key, body)
        return body

    async def _make(self, view: View, page: Page, token: str | None) -> Body:
        key = (view.key, page.number)
        template = self._templates.get(key)
        if template is None:
            template = await asyncio.to_thread(self._render, view, page)
            self._templates.put(key, template)
        if token is None:
            return template.body
        return await asyncio.to_thread(_personal, template, token)

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
        xml = render(channel, items)
        return Template(xml, _body(xml, channel.built_at, view.family))

    def _shelf(self, view: View) -> Shelf:
        if view.family is Family.PUBLIC:
            return public_shelf(self._base(), view.room.key)
        return personal_shelf(self._base(), PLACEHOLDER)


def _personal(template: Template, token: str) -> Body:
    xml = template.xml.replace(PLACEHOLDER.encode(), token.encode())
    return _body(xml, template.body.plain.file.modified, Family.PERSONAL)


def _body(xml: bytes, built_at: datetime, family: Family) -> Body:
    moment = built_at.replace(microsecond=0)
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


def _encoded(content: bytes, file: Representation, family: Family, encoding: dict[str, str]) -> Encoded:
    headers = {
        **OF_FAMILY[family],
        "ETag": f'"{file.tag}"',
        "Last-Modified": http_date(file.modified),
        "Vary": "Accept-Encoding",
    }
    return Encoded(content, file, headers, {"Content-Type": RSS, **encoding})


def _takes_gzip(accepted: str) -> bool:
    """Whether `Accept-Encoding` has gzip with a weight above 0 (RFC 9110 section 12.5.3)."""
    weights = {}
    for part in accepted.lower().split(","):
        name, _, parameter = part.strip().partition(";")
        weights[name.strip()] = parameter.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return weights.get("gzip", weights.get("*", False))
