"""Routes below one room's address, public or personal: page, feed, episodes, picture. All behind the one check."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass
from functools import partial
from zoneinfo import ZoneInfo

from aiohttp import web

from bot.feeds.addresses import CODE, ROOM_KEY, TOKEN
from bot.feeds.catalog import Published
from bot.feeds.chapters import CHAPTERS, json_chapters
from bot.feeds.stems import whole_stems
from bot.feeds.titles import episode_title
from bot.language import speaking
from bot.web import encodings, respond
from bot.web.access import Access, Verdict
from bot.web.airing import Airings
from bot.web.at_once import Known
from bot.web.claims import AddressClaims
from bot.web.connections import ClientConnection
from bot.web.covers import Covers, recording_of
from bot.web.documents import document_named
from bot.web.episodes import EpisodePage, Part
from bot.web.feeds import Feeds
from bot.web.library import Library
from bot.web.live import NEWEST, Live, is_live, stream_of
from bot.web.media import Media
from bot.web.messages import Messages
from bot.web.now import NOW, content_of, told
from bot.web.portraits import Portraits, picture_answer
from bot.web.public_feeds import PublicFeeds
from bot.web.recording_page import RecordingPage, Subject
from bot.web.room_page import EpisodeList, RoomPage, part_of
from bot.web.speakers import Speakers
from bot.web.stem_downloads import StemDownloads
from bot.web.stem_names import labels
from bot.web.streams import Recheck
from bot.web.turns import TooManyWait, Turns
from bot.web.usage import Usage
from bot.web.waveforms import Waveforms, waveform_file
from storage.records import BlobKey, Recording

_SPEAKER = re.compile(r"speaker-([0-9a-f]{16})\.xml")
_STEMS = re.compile(r"([a-z]{6})\.stem(-[1-9][0-9]{0,4}\.ogg|s\.mka|s\.zip)")
_PORTRAIT = re.compile(r"portrait-([0-9a-f]{16})\.jpg")
CHAPTERS_FILE = ".chapters.json"
WAVEFORM_FILE = ".waveform.json"
EMBED = ".embed"
_SECOND = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class RoomRequest:
    """A request below an open address. `recheck` decides about the address again, for answers that take long;
    `known`, for answers that are given again."""

    request: web.BaseRequest
    access: Access
    recheck: Recheck
    known: Known
    token: str | None  # of a personal address


Answer = Awaitable[web.StreamResponse | None]


class RoomRoutes:
    """The answers to requests below `/r/<room key>/` and `/p/<token>/`."""

    def __init__(
        self,
        claims: AddressClaims,
        library: Library,
        feeds: Feeds,
        public_feeds: PublicFeeds,
        speakers: Speakers,
        media: Media,
        live: Live,
        airings: Airings,
        room_page: RoomPage,
        recording_page: RecordingPage,
        covers: Covers,
        portraits: Portraits,
        waveforms: Waveforms,
        usage: Usage,
        stem_downloads: StemDownloads,
        messages: Messages,
        zone: ZoneInfo,
    ) -> None:
        self._claims = claims
        self._library = library
        self._feeds = feeds
        self._public_feeds = public_feeds
        self._speakers = speakers
        self._media = media
        self._live = live
        self._airings = airings
        self._room_page = room_page
        self._recording_page = recording_page
        self._covers = covers
        self._portraits = portraits
        self._waveforms = waveforms
        self._usage = usage
        self._stem_downloads = stem_downloads
        self._messages = messages
        self._zone = zone
        self._list_turns = Turns(at_once=1)  # of their own: searches never keep feeds waiting
        self._by_name: dict[str, Callable[[RoomRequest], Answer]] = {"": self._room, NOW: self._now}
        self._by_ending: dict[str, Callable[[RoomRequest, str], Answer]] = {
            ".mp3": self._audio,
            ".opus": self._original,
            CHAPTERS_FILE: self._chapters,
            WAVEFORM_FILE: self._waveform,
            EMBED: self._embed,
        }
        """Files of one recording, by what follows its code."""

    async def public(self, request: web.BaseRequest, key: str, name: str) -> web.StreamResponse:
        if not ROOM_KEY.fullmatch(key):
            return respond.not_found()
        return await self._answer(
            request, name, partial(self._claims.public, key), partial(self._claims.known_public, key), None
        )

    async def personal(self, request: web.BaseRequest, token: str, name: str) -> web.StreamResponse:
        if not TOKEN.fullmatch(token):
            return respond.not_found()
        check, known = partial(self._claims.personal, token), partial(self._claims.known_personal, token)
        return await self._answer(request, name, check, known, token)

    async def _answer(
        self, request: web.BaseRequest, name: str, check: Recheck, known: Known, token: str | None
    ) -> web.StreamResponse:
        access = await check()
        if access.verdict is Verdict.LATER:
            return respond.later()
        if access.verdict is Verdict.ENDED:
            return self._messages.ended(request, name, access)
        if access.verdict is Verdict.CLOSED:
            return respond.not_found()
        if access.claim.listener is not None:
            self._usage.note(access.claim.listener, request.headers.get("User-Agent", ""))
        answer = await self._named(RoomRequest(request, access, check, known, token), name)
        return answer if answer is not None else respond.not_found()

    async def _named(self, asked: RoomRequest, name: str) -> web.StreamResponse | None:
        """Answer for a name below a room's address; None when nothing has this name."""
        if name.endswith(".xml"):  # most requests
            return await self._feed(asked, name)
        if is_live(name):
            return await self._on_air(asked, name)
        if (answer := self._by_name.get(name)) is not None:
            return await answer(asked)
        code, dot, ending = name.partition(".")
        if dot + ending in self._by_ending and CODE.fullmatch(code):
            return await self._by_ending[dot + ending](asked, code)
        if stems := _STEMS.fullmatch(name):
            return await self._stems(asked, stems[1], stems[2])
        if CODE.fullmatch(name):
            return await self._episode(asked, name)
        if portrait := _PORTRAIT.fullmatch(name):
            return await self._portraits.answer(asked.request, asked.access, portrait[1])
        return await self._cover(asked, name)

    async def _feed(self, asked: RoomRequest, name: str) -> web.Response | None:
        if speaker := _SPEAKER.fullmatch(name):
            return await self._public_feeds.of_speaker(asked.request, asked.access, speaker[1])
        document = document_named(name)
        if document is None:
            return None
        return await self._feeds.answer(asked.request, asked.access, document, asked.token, asked.known)

    async def _audio(self, asked: RoomRequest, code: str) -> web.StreamResponse | None:
        published = await self._library.published(asked.access, code)
        if published is None:
            return None
        still_allowed = partial(self._still_allowed, asked.recheck, published)
        return await self._media.audio(asked.request, asked.access, asked.known, published, still_allowed)

    async def _original(self, asked: RoomRequest, code: str) -> web.StreamResponse | None:
        """Answer with the sound of a recording as its client sent it, where it is one stream."""
        published = await self._library.published(asked.access, code)
        original = await self._library.original(published) if published is not None else None
        if published is None or original is None:
            return None
        still_allowed = partial(self._still_allowed, asked.recheck, published)
        family = asked.access.claim.family
        return await self._media.original(asked.request, family, published, original, still_allowed)

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

    async def _chapters(self, asked: RoomRequest, code: str) -> web.Response | None:
        published = await self._library.published(asked.access, code)
        if published is None or not published[1].chapters:
            return None
        recording, episode = published
        body = json_chapters(episode.chapters, episode_title(recording, self._zone))
        return await encodings.data(asked.request, asked.access.claim.family, body, CHAPTERS)

    async def _waveform(self, asked: RoomRequest, code: str) -> web.Response | None:
        published = await self._library.published(asked.access, code)
        waveform = await self._waveforms.of(published) if published is not None else None
        if published is None or waveform is None:
            return None
        chunks = await self._library.chunks(published[0])
        with speaking(asked.access.room.language):
            body = await asyncio.to_thread(waveform_file, published, chunks, waveform)
        return await encodings.data(asked.request, asked.access.claim.family, body, "application/json")

    async def _on_air(self, asked: RoomRequest, name: str) -> web.StreamResponse | None:
        if name == NEWEST:
            running = await self._library.live(asked.access)
            if not running:
                return None
            name = stream_of(running[0].code)
        return await self._live.answer(asked.request, asked.access, name, asked.recheck)

    async def _now(self, asked: RoomRequest) -> web.Response:
        """Answer what is on the air: pages that stay open ask every few seconds."""
        view, airings = await self._library.view(asked.access), await self._airings.of(asked.access)
        body = told(content_of(view.key, airings), airings)
        return await encodings.data(asked.request, view.family, body, "application/json")

    async def _room(self, asked: RoomRequest) -> web.Response | None:
        part = part_of(asked.request.query)
        if part is None:
            return None
        try:
            page = await self._listed(asked, part)
        except TooManyWait:
            return respond.too_many()
        if page is None:
            return None
        view = await self._library.view(asked.access)
        first = await self._library.web_page(asked.access, Part(part.size))
        assert first is not None  # it begins at no episode
        months = await self._library.months(asked.access)
        asked_for = EpisodeList(part, page, first, months)
        live = await self._airings.of(asked.access)
        speakers = tuple((await self._speakers.of(asked.access)).values())
        portraits = await self._library.portraits(asked.access.room.room_id)
        render = partial(self._room_page.answer, view, asked_for, live, speakers, portraits)
        return await asyncio.to_thread(render, self._covers.name(view), asked.token)

    async def _listed(self, asked: RoomRequest, part: Part) -> EpisodePage | None:
        """Read a part of the list of episodes. Searches and the like are without number, and one looks at a thousand
        recordings: each client has its turn. Raises TooManyWait."""
        if part == Part(part.size) or self._library.has_web_page(asked.access, part):
            return await self._library.web_page(asked.access, part)
        connection = asked.request.protocol
        assert isinstance(connection, ClientConnection)
        async with self._list_turns.turn(connection.asking):
            return await self._library.web_page(asked.access, part)

    async def _episode(self, asked: RoomRequest, code: str) -> web.Response | None:
        subject = await self._subject(asked.access, code)
        if subject is None:
            return None
        begin = asked.request.query.get("t", "")
        second = int(begin) if _SECOND.fullmatch(begin) else 0
        cover = self._covers.name(subject.view, subject.recording)
        return await asyncio.to_thread(self._recording_page.answer, subject, cover, asked.token, second)

    async def _embed(self, asked: RoomRequest, code: str) -> web.Response | None:
        """Answer with the player for other sites: of public recordings only."""
        subject = await self._subject(asked.access, code) if asked.token is None else None
        if subject is None or subject.episode is None or subject.own:
            return None
        cover = self._covers.name(subject.view, subject.recording)
        return await asyncio.to_thread(self._recording_page.embedded, subject, cover)

    async def _subject(self, access: Access, code: str) -> Subject | None:
        """Read what the page of a recording shows."""
        shown = await self._library.published(access, code) or await self._running(access, code)
        if shown is None:
            return None
        recording, episode = shown
        newer, older = await self._library.neighbours(access, recording)
        return Subject(
            view=await self._library.view(access),
            recording=recording,
            episode=episode,
            chunks=await self._library.chunks(recording),
            live=await self._airings.of(access),
            waveform=await self._waveforms.of((recording, episode)) if episode is not None else None,
            newer=newer,
            older=older,
            portraits=await self._library.portraits(recording.room_id),
            unheard=await self._library.unheard(recording),
        )

    async def _shown(self, access: Access, code: str) -> Recording | None:
        """Return a recording that has a page."""
        shown = await self._library.published(access, code) or await self._running(access, code)
        return shown[0] if shown is not None else None

    async def _running(self, access: Access, code: str) -> tuple[Recording, None] | None:
        """Return a recording that has a page before it has an episode."""
        live = await self._library.live(access)
        return next(((recording, None) for recording in live if recording.code == code), None)

    async def _cover(self, asked: RoomRequest, name: str) -> web.Response | None:
        if not name.startswith("cover-"):
            return None
        view, code = await self._library.view(asked.access), recording_of(name)
        recording = await self._shown(asked.access, code) if code is not None else None
        picture = await self._covers.named(view, name, recording) if recording is not None or code is None else None
        if picture is None:
            return None
        return picture_answer(asked.request, picture, name, respond.kept_for_ever(view.family))
