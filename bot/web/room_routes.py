"""Routes below one room's address, public or personal: page, feed, episodes, picture. All behind the one check."""

import asyncio
import re
from collections.abc import Set
from dataclasses import dataclass
from functools import partial
from zoneinfo import ZoneInfo

from aiohttp import web

from bot.feeds.addresses import CODE, ROOM_KEY, TOKEN
from bot.feeds.catalog import Published
from bot.feeds.chapters import CHAPTERS, json_chapters
from bot.feeds.titles import episode_title
from bot.language import speaking
from bot.web import respond
from bot.web.access import Access, Family, Verdict
from bot.web.claims import AddressClaims
from bot.web.conditions import Representation
from bot.web.covers import Covers
from bot.web.feeds import Feeds
from bot.web.library import Library
from bot.web.live import NEWEST, Live, is_live, stream_of
from bot.web.media import Media
from bot.web.pages import EPISODES_ON_PAGE, Pages
from bot.web.stem_downloads import StemDownloads
from bot.web.stem_names import labels, whole_stems
from bot.web.streams import Recheck
from bot.web.usage import Usage
from bot.web.waveforms import Waveforms
from storage.records import BlobKey, Recording

_FEED = re.compile(r"feed(?:-([1-9][0-9]{0,4}))?\.xml")
_STEMS = re.compile(r"([a-z]{6})\.stem(-[1-9][0-9]{0,4}\.ogg|s\.mka|s\.zip)")
_PAGE = re.compile(r"[1-9][0-9]{0,4}")
CHAPTERS_FILE = ".chapters.json"
WAVEFORM_FILE = ".waveform.json"


@dataclass(frozen=True, slots=True)
class RoomRequest:
    """A request below an open address. `recheck` decides about the address again, for answers that take long."""

    request: web.BaseRequest
    access: Access
    recheck: Recheck
    token: str | None  # of a personal address


class RoomRoutes:
    """The answers to requests below `/r/<room key>/` and `/p/<token>/`."""

    def __init__(
        self,
        claims: AddressClaims,
        library: Library,
        feeds: Feeds,
        media: Media,
        live: Live,
        pages: Pages,
        covers: Covers,
        waveforms: Waveforms,
        usage: Usage,
        stem_downloads: StemDownloads,
        zone: ZoneInfo,
    ) -> None:
        self._claims = claims
        self._library = library
        self._feeds = feeds
        self._media = media
        self._live = live
        self._pages = pages
        self._covers = covers
        self._waveforms = waveforms
        self._usage = usage
        self._stem_downloads = stem_downloads
        self._zone = zone

    async def public(self, request: web.BaseRequest, key: str, name: str) -> web.StreamResponse:
        if not ROOM_KEY.fullmatch(key):
            return respond.not_found()
        return await self._answer(request, name, partial(self._claims.public, key), None)

    async def personal(self, request: web.BaseRequest, token: str, name: str) -> web.StreamResponse:
        if not TOKEN.fullmatch(token):
            return respond.not_found()
        return await self._answer(request, name, partial(self._claims.personal, token), token)

    async def _answer(
        self, request: web.BaseRequest, name: str, check: Recheck, token: str | None
    ) -> web.StreamResponse:
        access = await check()
        if access.verdict is Verdict.LATER:
            return respond.later()
        if access.verdict is Verdict.CLOSED:
            return respond.not_found()
        if access.claim.listener is not None:
            self._usage.note(access.claim.listener, request.headers.get("User-Agent", ""))
        answer = await self._named(RoomRequest(request, access, check, token), name)
        return answer if answer is not None else respond.not_found()

    async def _named(self, asked: RoomRequest, name: str) -> web.StreamResponse | None:
        """Answer for a name below a room's address; None when nothing has this name."""
        if is_live(name):
            return await self._on_air(asked, name)
        if name.endswith(".mp3"):
            return await self._audio(asked, name.removesuffix(".mp3"))
        if name.endswith(CHAPTERS_FILE):
            return await self._chapters(asked, name.removesuffix(CHAPTERS_FILE))
        if name.endswith(WAVEFORM_FILE):
            return await self._waveform(asked, name.removesuffix(WAVEFORM_FILE))
        if stems := _STEMS.fullmatch(name):
            return await self._stems(asked, stems[1], stems[2])
        if feed := _FEED.fullmatch(name):
            return await self._feed(asked, int(feed[1] or 1))
        if name == "":
            return await self._room(asked)
        if CODE.fullmatch(name):
            return await self._episode(asked, name)
        return await self._cover(asked, name)

    async def _audio(self, asked: RoomRequest, code: str) -> web.StreamResponse | None:
        published = await self._published(asked.access, code)
        if published is None:
            return None
        still_allowed = partial(self._still_allowed, asked.recheck, published)
        return await self._media.audio(asked.request, asked.access.claim.family, published, still_allowed)

    async def _stems(self, asked: RoomRequest, code: str, what: str) -> web.StreamResponse | None:
        """Answer with one stem of a call, or with all."""
        published = await self._library.published(asked.access, code)
        if published is None:
            return None
        wanted = [stem for stem in whole_stems(published[0]) if what in (f"-{stem.number}.ogg", "s.mka", "s.zip")]
        keys = {stem.blob for stem in wanted}
        asked_by = (asked.request, asked.access.claim.family, published)
        still_allowed = partial(self._stems_still_allowed, asked.recheck, code, keys)
        if what == "s.mka":
            return await self._stem_downloads.matroska(*asked_by, still_allowed)
        if what == "s.zip":
            with speaking(asked.access.room.language):
                label_track = labels(published[0])
            return await self._stem_downloads.zip(*asked_by, still_allowed, label_track)
        return await self._media.stem(*asked_by, wanted[0], still_allowed) if wanted else None

    async def _stems_still_allowed(self, recheck: Recheck, code: str, keys: Set[BlobKey]) -> bool:
        """Return whether the address still reaches the recording, and nobody among these stems was taken out."""
        access = await recheck()
        published = await self._library.published(access, code) if access.verdict is Verdict.OPEN else None
        return published is not None and keys <= {stem.blob for stem in whole_stems(published[0])}

    async def _still_allowed(self, recheck: Recheck, published: Published) -> bool:
        access = await recheck()
        return access.verdict is Verdict.OPEN and await self._library.may_finish_download(access, published)

    async def _published(self, access: Access, code: str) -> Published | None:
        return await self._library.published(access, code) if CODE.fullmatch(code) else None

    async def _chapters(self, asked: RoomRequest, code: str) -> web.Response | None:
        published = await self._published(asked.access, code)
        if published is None or not published[1].chapters:
            return None
        recording, episode = published
        body = json_chapters(episode.chapters, episode_title(recording, self._zone))
        return respond.data(asked.request, asked.access.claim.family, body, CHAPTERS, episode.made_at)

    async def _waveform(self, asked: RoomRequest, code: str) -> web.Response | None:
        published = await self._published(asked.access, code)
        waveform = await self._waveforms.of(published) if published is not None else None
        if published is None or waveform is None:
            return None
        family, made_at = asked.access.claim.family, published[1].made_at
        return respond.data(asked.request, family, waveform.body, "application/json", made_at)

    async def _on_air(self, asked: RoomRequest, name: str) -> web.StreamResponse | None:
        if name == NEWEST:
            running = await self._library.live(asked.access)
            if not running:
                return None
            name = stream_of(running[0].code)
        return await self._live.answer(asked.request, asked.access, name, asked.recheck)

    async def _feed(self, asked: RoomRequest, number: int) -> web.Response | None:
        page = await self._library.feed_page(asked.access, number)
        if page is None:
            return None
        return await self._feeds.answer(asked.request, await self._library.view(asked.access), page, asked.token)

    async def _room(self, asked: RoomRequest) -> web.Response | None:
        number = asked.request.query.get("page", "1")
        if not _PAGE.fullmatch(number):
            return None
        page = await self._library.web_page(asked.access, int(number), EPISODES_ON_PAGE)
        if page is None:
            return None
        view = await self._library.view(asked.access)
        live = [(each, await self._library.spoken_in(each)) for each in await self._library.live(asked.access)]
        return self._pages.room(view, page, live, self._covers.name(view), asked.token)

    async def _episode(self, asked: RoomRequest, code: str) -> web.Response | None:
        shown = await self._library.published(asked.access, code) or await self._running(asked.access, code)
        if shown is None:
            return None
        view = await self._library.view(asked.access)
        recording, episode = shown
        chunks = await self._library.chunks(recording)
        waveform = await self._waveforms.of((recording, episode)) if episode is not None else None
        # Laying out the ledger of thousands of chunks takes longer than the event loop may stand.
        render = partial(self._pages.episode, on_air=episode is None)
        return await asyncio.to_thread(render, view, shown, chunks, self._covers.name(view), asked.token, waveform)

    async def _running(self, access: Access, code: str) -> tuple[Recording, None] | None:
        """Return a recording that has a page before it has an episode."""
        live = await self._library.live(access)
        return next(((recording, None) for recording in live if recording.code == code), None)

    async def _cover(self, asked: RoomRequest, name: str) -> web.Response | None:
        if not name.startswith("cover-"):
            return None
        view = await self._library.view(asked.access)
        if name != self._covers.name(view):
            return None
        picture = await self._covers.picture(view)
        if picture is None:
            return None
        scope = "public" if view.family is Family.PUBLIC else "private"
        headers = {**respond.OF_FAMILY[view.family], "Cache-Control": f"{scope}, {respond.KEPT_FOR_EVER}"}
        file = Representation(name, len(picture), view.room.changed_at.replace(microsecond=0))
        return respond.content(asked.request, picture, file, headers, {"Content-Type": "image/jpeg"})
