"""oEmbed 1.0 (https://oembed.com): how another site shows the player of a public recording."""

import json
from collections.abc import Callable
from html import escape
from urllib.parse import urlencode
from xml.sax import saxutils
from zoneinfo import ZoneInfo

from aiohttp import web

from bot.feeds.addresses import CODE, ROOM_KEY, public_shelf
from bot.language import _, speaking
from bot.web import respond
from bot.web.access import Verdict
from bot.web.claims import AddressClaims
from bot.web.covers import Covers, sized
from bot.web.library import Library
from bot.web.rows import episode_row

WIDTH, HEIGHT = 640, 180
LEAST_WIDTH = 220
CACHED_S = 3600
THUMBNAIL = 400
TYPES = {"json": "application/json", "xml": "text/xml"}


def frame_of(address: str, title: str, width: int = WIDTH) -> str:
    """Return the HTML with which another site's page shows an embedded player."""
    return (
        f'<iframe src="{escape(address)}" title="{escape(title)}" width="{width}" height="{HEIGHT}" '
        'style="border:0;max-width:100%" loading="lazy" allow="autoplay"></iframe>'
    )


def oembed_address(base: str, page: str, kind: str) -> str:
    """Return the address of the answer for a page, in one of the `TYPES`."""
    return f"{base}/oembed?{urlencode({'url': page, 'format': kind})}"


class OEmbed:
    """The answers at `/oembed`. `base`: the address that everything is built from."""

    def __init__(
        self, claims: AddressClaims, library: Library, covers: Covers, zone: ZoneInfo, base: Callable[[], str]
    ) -> None:
        self._claims = claims
        self._library = library
        self._covers = covers
        self._zone = zone
        self._base = base

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer with the player for the page in `url`; 404 for anything but a public recording of this server."""
        asked = request.query
        kind = asked.get("format", "json")
        if kind not in TYPES:
            return respond.short(501, _("Not available in this format"))
        most = asked.get("maxwidth", "")
        width = min(WIDTH, int(most)) if most.isascii() and most.isdigit() and len(most) < 6 else WIDTH
        if width < LEAST_WIDTH:
            return respond.not_found()
        said = await self._of(asked.get("url", ""), width)
        if said is None:
            return respond.not_found()
        body = json.dumps(said, ensure_ascii=False) if kind == "json" else _xml(said)
        headers = {**respond.SAFE, "Cache-Control": "public, no-cache", "Access-Control-Allow-Origin": "*"}
        return web.Response(text=body, content_type=TYPES[kind], charset="utf-8", headers=headers)

    async def _of(self, url: str, width: int) -> dict[str, object] | None:
        place = self._place(url)
        if place is None:
            return None
        key, code = place
        access = await self._claims.public(key)
        published = await self._library.published(access, code) if access.verdict is Verdict.OPEN else None
        if published is None:
            return None
        view = await self._library.view(access)
        with speaking(view.room.language):
            row = episode_row(*published, self._zone)
        shelf = public_shelf(self._base(), view.room.key)
        return {
            "version": "1.0",
            "type": "rich",
            "title": row.title,
            "author_name": view.face.title,
            "author_url": shelf.page,
            "provider_name": "Aircheck",
            "provider_url": f"{self._base()}/",
            "cache_age": CACHED_S,
            "thumbnail_url": shelf.cover(sized(self._covers.name(view, published[0]), THUMBNAIL)),
            "thumbnail_width": THUMBNAIL,
            "thumbnail_height": THUMBNAIL,
            "html": frame_of(shelf.embed(code), row.title, width),
            "width": width,
            "height": HEIGHT,
        }

    def _place(self, url: str) -> tuple[str, str] | None:
        """Return room key and code of a recording's page, or of its embedded player, below our own address."""
        page = url.partition("#")[0].partition("?")[0]
        begin = f"{self._base()}/r/"
        key, _slash, code = page.removeprefix(begin).partition("/")
        code = code.removesuffix(".embed")
        ours = page.startswith(begin) and ROOM_KEY.fullmatch(key) and CODE.fullmatch(code)
        return (key, code) if ours else None


def _xml(said: dict[str, object]) -> str:
    fields = "".join(f"<{name}>{saxutils.escape(str(value))}</{name}>" for name, value in said.items())
    return f'<?xml version="1.0" encoding="utf-8" standalone="yes"?>\n<oembed>{fields}</oembed>\n'
