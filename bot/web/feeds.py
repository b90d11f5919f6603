"""Feeds over HTTP: rendered once per change and off the loop; for each listener only the token is put in."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from aiohttp import web

from bot.feeds.addresses import PLACEHOLDER, Shelf, personal_shelf, public_shelf
from bot.feeds.catalog import channel_of, is_explicit, item_of
from bot.feeds.rss import render
from bot.language import speaking
from bot.settings import Settings
from bot.web.access import Family
from bot.web.caches import OnceCache
from bot.web.encodings import EncodedBody, encode
from bot.web.episodes import EpisodePage
from bot.web.library import View
from bot.web.respond import OF_FAMILY

RSS = "application/rss+xml; charset=utf-8"
CACHE_BYTES = 16 * 1024 * 1024

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class RenderedFeed:
    """A page of a feed for all; in a personal one the place-holder stands where the token goes."""

    xml: bytes
    built_at: datetime


@dataclass(frozen=True, slots=True)
class Feed:
    """A page of a feed as a listener, or the public, gets it."""

    body: EncodedBody
    built_at: datetime  # whole seconds


class Feeds:
    """All feeds. `base` gives the address that everything is built from, `cover` the file name of a view's picture."""

    def __init__(self, settings: Settings, base: Callable[[], str], cover: Callable[[View], str]) -> None:
        self._settings = settings
        self._base = base
        self._cover = cover
        self._rendered: OnceCache[Key, RenderedFeed] = OnceCache(CACHE_BYTES, lambda rendered: len(rendered.xml))
        self._feeds: OnceCache[Key, Feed] = OnceCache(CACHE_BYTES, lambda feed: feed.body.weight)

    async def answer(self, request: web.BaseRequest, view: View, page: EpisodePage, token: str | None) -> web.Response:
        """Answer with one page of the feed; `token` is the listener's."""
        feed = await self.feed(view, page, token)
        return feed.body.response(request, OF_FAMILY[view.family], feed.built_at)

    async def feed(self, view: View, page: EpisodePage, token: str | None) -> Feed:
        """Return the feed of one listener, or of everybody."""
        return await self._feeds.get((view.key, page.number, token), partial(self._build, view, page, token))

    async def _build(self, view: View, page: EpisodePage, token: str | None) -> Feed:
        # Keyed by the content, not by the listener: many listeners hear the same and differ in their tokens only.
        heard = tuple((recording.id, episode.blob) for recording, episode in page.published)
        content = (view.room, view.family, view.face, page.number, page.more, heard)
        rendered = await self._rendered.get(content, partial(asyncio.to_thread, self._render, view, page))
        return await asyncio.to_thread(_personalize, rendered, token)

    def _render(self, view: View, page: EpisodePage) -> RenderedFeed:
        settings, shelf = self._settings.feeds, self._shelf(view)
        with speaking(view.room.language):
            explicit = is_explicit(view.face, settings)
            items = [item_of(published, settings, shelf, explicit=explicit) for published in page.published]
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
        return RenderedFeed(render(channel, items), channel.built_at)

    def _shelf(self, view: View) -> Shelf:
        if view.family is Family.PUBLIC:
            return public_shelf(self._base(), view.room.key)
        return personal_shelf(self._base(), PLACEHOLDER)


def _personalize(rendered: RenderedFeed, token: str | None) -> Feed:
    xml = rendered.xml if token is None else rendered.xml.replace(PLACEHOLDER.encode(), token.encode())
    return Feed(encode(xml, RSS), rendered.built_at.replace(microsecond=0))
