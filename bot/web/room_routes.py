"""The two families of addresses: one room's page, feed, episodes and picture, behind the one check."""

import asyncio
import re
from functools import partial
from zoneinfo import ZoneInfo

from aiohttp import web

from bot.feeds.addresses import CODE, ROOM_KEY, TOKEN
from bot.feeds.catalog import Published
from bot.feeds.chapters import CHAPTERS, json_chapters
from bot.feeds.titles import episode_title
from bot.web import respond
from bot.web.access import Access, Family, Verdict
from bot.web.conditions import Representation
from bot.web.covers import Covers
from bot.web.feeds import Feeds
from bot.web.library import Library
from bot.web.live import NEWEST, Live, is_live, stream_of
from bot.web.media import Media
from bot.web.pages import EPISODES_ON_PAGE, Pages
from bot.web.streams import Again
from bot.web.waveforms import Waveforms
from storage.records import Recording

_FEED = re.compile(r"feed(?:-([1-9][0-9]{0,4}))?\.xml")
_PAGE = re.compile(r"[1-9][0-9]{0,4}")
CHAPTERS_FILE = ".chapters.json"
WAVEFORM_FILE = ".waveform.json"


class Families:
    def __init__(
        self,
        library: Library,
        feeds: Feeds,
        media: Media,
        live: Live,
        pages: Pages,
        covers: Covers,
        waveforms: Waveforms,
        zone: ZoneInfo,
    ) -> None:
        self._library = library
        self._feeds = feeds
        self._media = media
        self._live = live
        self._pages = pages
        self._covers = covers
        self._waveforms = waveforms
        self._zone = zone

    async def public(self, request: web.BaseRequest, key: str, name: str) -> web.StreamResponse:
        if not ROOM_KEY.fullmatch(key):
            return respond.not_found()
        return await self._answer(request, name, partial(self._library.public, key), None)

    async def personal(self, request: web.BaseRequest, token: str, name: str) -> web.StreamResponse:
        if not TOKEN.fullmatch(token):
            return respond.not_found()
        return await self._answer(request, name, partial(self._library.personal, token), token)

    async def _answer(self, request: web.BaseRequest, name: str, ask: Again, token: str | None) -> web.StreamResponse:
        access = await ask()
        if access.verdict is Verdict.LATER:
            return respond.later()
        if access.verdict is Verdict.CLOSED:
            return respond.not_found()
        if is_live(name):
            answer = await self._on_air(request, access, name, ask)
        elif name.endswith(".mp3"):
            answer = await self._audio(request, access, name.removesuffix(".mp3"), ask)
        elif name.endswith(CHAPTERS_FILE):
            answer = await self._chapters(request, access, name.removesuffix(CHAPTERS_FILE))
        elif name.endswith(WAVEFORM_FILE):
            answer = await self._waveform(request, access, name.removesuffix(WAVEFORM_FILE))
        elif feed := _FEED.fullmatch(name):
            answer = await self._feed(request, access, int(feed[1] or 1), token)
        elif name == "":
            answer = await self._room(request, access, token)
        elif CODE.fullmatch(name):
            answer = await self._episode(request, access, name, token)
        else:
            answer = await self._cover(request, access, name)
        return answer if answer is not None else respond.not_found()

    async def _audio(
        self, request: web.BaseRequest, access: Access, code: str, ask: Again
    ) -> web.StreamResponse | None:
        published = await self._published(access, code)
        if published is None:
            return None
        return await self._media.audio(
            request, access.claim.family, published, partial(self._may_go_on, ask, published)
        )

    async def _may_go_on(self, ask: Again, published: Published) -> bool:
        access = await ask()
        return access.verdict is Verdict.OPEN and await self._library.may_go_on(access, published)

    async def _published(self, access: Access, code: str) -> Published | None:
        return await self._library.published(access, code) if CODE.fullmatch(code) else None

    async def _chapters(self, request: web.BaseRequest, access: Access, code: str) -> web.Response | None:
        published = await self._published(access, code)
        if published is None or not published[1].chapters:
            return None
        recording, episode = published
        body = json_chapters(episode.chapters, episode_title(recording, self._zone))
        return respond.data(request, access.claim.family, body, CHAPTERS, episode.made_at)

    async def _waveform(self, request: web.BaseRequest, access: Access, code: str) -> web.Response | None:
        published = await self._published(access, code)
        waveform = await self._waveforms.of(published) if published is not None else None
        if published is None or waveform is None:
            return None
        return respond.data(request, access.claim.family, waveform.body, "application/json", published[1].made_at)

    async def _on_air(
        self, request: web.BaseRequest, access: Access, name: str, ask: Again
    ) -> web.StreamResponse | None:
        if name == NEWEST:
            running = await self._library.live(access)
            if not running:
                return None
            name = stream_of(running[0].code)
        return await self._live.answer(request, access, name, ask)

    async def _feed(
        self, request: web.BaseRequest, access: Access, number: int, token: str | None
    ) -> web.Response | None:
        page = await self._library.feed_page(access, number)
        return None if page is None else await self._feeds.feed(request, await self._library.view(access), page, token)

    async def _room(self, request: web.BaseRequest, access: Access, token: str | None) -> web.Response | None:
        asked = request.query.get("page", "1")
        if not _PAGE.fullmatch(asked):
            return None
        page = await self._library.shown_page(access, int(asked), EPISODES_ON_PAGE)
        if page is None:
            return None
        view = await self._library.view(access)
        live = await self._library.live(access)
        return self._pages.room(view, page, live, self._covers.name(view), token)

    async def _episode(
        self, request: web.BaseRequest, access: Access, code: str, token: str | None
    ) -> web.Response | None:
        shown = await self._library.published(access, code) or await self._running(access, code)
        if shown is None:
            return None
        view = await self._library.view(access)
        chunks = await self._library.chunks(shown[0])
        cover = self._covers.name(view)
        recording, episode = shown
        waveform = await self._waveforms.of((recording, episode)) if episode is not None else None
        # Laying out the ledger of thousands of chunks takes longer than the loop may stand.
        made = partial(self._pages.episode, on_air=episode is None)
        return await asyncio.to_thread(made, view, shown, chunks, cover, token, waveform)

    async def _running(self, access: Access, code: str) -> tuple[Recording, None] | None:
        """What has a page before it has an episode."""
        return next(((one, None) for one in await self._library.live(access) if one.code == code), None)

    async def _cover(self, request: web.BaseRequest, access: Access, name: str) -> web.Response | None:
        if not name.startswith("cover-"):
            return None
        view = await self._library.view(access)
        if name != self._covers.name(view):
            return None
        picture = await self._covers.picture(view)
        if picture is None:
            return None
        scope = "public" if access.claim.family is Family.PUBLIC else "private"
        headers = {**respond.OF_FAMILY[access.claim.family], "Cache-Control": f"{scope}, {respond.KEPT_FOR_EVER}"}
        file = Representation(name, len(picture), view.room.changed_at.replace(microsecond=0))
        return respond.content(request, picture, file, headers, {"Content-Type": "image/jpeg"})
