"""Feeds beside those of the rooms: of one speaker of a public room, of all public podcasts, and their list as OPML."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from urllib.parse import urlsplit

from aiohttp import web

from bot.feeds import collections
from bot.feeds.addresses import Shelf
from bot.feeds.collections import MOST_ITEMS
from bot.feeds.model import Channel, Item, LiveItem
from bot.feeds.opml import OPML, ListedFeed, opml
from bot.language import _, speaking
from bot.recording.speakers import credits_of
from bot.settings import Settings
from bot.web import episodes, respond
from bot.web.access import Access, Family, reaches
from bot.web.caches import LruCache, OnceCache
from bot.web.connections import ClientConnection
from bot.web.contents import Contents, has_stems
from bot.web.covers import Covers
from bot.web.directory import Directory, Listing
from bot.web.editions import Editions
from bot.web.encodings import EncodedBody, encode
from bot.web.episodes import FeedRows
from bot.web.library import Library, View, key_of
from bot.web.live_items import LiveItems, Stage, key_of_stages
from bot.web.lost_files import LostFiles, files_of
from bot.web.moves import Moves
from bot.web.portraits import picture_answer
from bot.web.press import Press, Printed
from bot.web.respond import OF_FAMILY
from bot.web.speakers import PublicSpeaker, Speakers
from bot.web.turns import TooManyWait, Turns
from storage import listings
from storage.listings import Place
from storage.records import BlobKey, Recording, RecordingId
from storage.store import Store

CACHE_BYTES = 16 * 1024 * 1024
PLACES = 100_000

Key = tuple[object, ...]


class PublicFeeds:
    """The feeds of speakers and of the server. `base` gives the address that everything is built from."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        directory: Directory,
        library: Library,
        speakers: Speakers,
        live: LiveItems,
        contents: Contents,
        press: Press,
        editions: Editions,
        turns: Turns,
        lost_files: LostFiles,
        moves: Moves,
        covers: Covers,
        base: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._store = store
        self._directory = directory
        self._library = library
        self._speakers = speakers
        self._live = live
        self._contents = contents
        self._press = press
        self._editions = editions
        self._turns = turns
        self._lost_files = lost_files
        self._moves = moves
        self._covers = covers
        self._base = base
        self._newest: LruCache[Key, tuple[Place, ...]] = LruCache(PLACES, len)
        self._documents: OnceCache[Key, Printed] = OnceCache(CACHE_BYTES, lambda printed: printed.body.weight)
        self._lists: OnceCache[int, Printed] = OnceCache(CACHE_BYTES, lambda printed: printed.body.weight)

    # ---- one speaker

    async def of_speaker(self, request: web.BaseRequest, access: Access, name: str) -> web.Response | None:
        """Answer with the feed of one speaker of a public room; None where nobody has this id."""
        speaker = (await self._speakers.of(access)).get(name)
        if speaker is None:
            return None
        stages = [stage for stage in await self._live.of(access) if _speaks_in(speaker, stage[0])]
        key = (*key_of(access), speaker, key_of_stages(stages))
        return await self._answer(request, key, partial(self._print_speaker, access, speaker, stages))

    async def _print_speaker(self, access: Access, speaker: PublicSpeaker, stages: Sequence[Stage]) -> Printed:
        view = await self._library.view(access)
        rows = _of_speaker(await self._rows([access], await self._speakers.newest(access, speaker)), speaker)
        lost = await self._lost_files.among([*files_of(rows, stems=has_stems(view))])
        content = await asyncio.to_thread(self._of_speaker, view, speaker, rows, stages, lost)
        return await self._press.printed(f"r/{view.room.key}/{Shelf('').speaker_feed(speaker.id)}", *content)

    def _of_speaker(
        self,
        view: View,
        speaker: PublicSpeaker,
        rows: FeedRows,
        stages: Sequence[Stage],
        lost: frozenset[BlobKey],
    ) -> tuple[Channel, list[Item]]:
        with speaking(view.room.language):
            live = self._contents.live(view, stages, rows.portraits)
            room = self._contents.channel(view, live=live)
            shelf, moved = self._contents.shelf(view), self._moves.moved
            channel = collections.of_speaker(room, speaker.name, speaker.id, shelf, moved=moved)
            return channel, self._contents.items(view, rows, lost)

    # ---- all podcasts

    async def of_server(self, request: web.BaseRequest) -> web.Response:
        """Answer with the feed of all public podcasts."""
        listing = await self._directory.listing()
        stages = await self._live.of_all(listing.podcasts)
        key = (listing.revision, tuple(map(key_of_stages, stages)))
        return await self._answer(request, key, partial(self._print_server, listing, stages))

    async def _print_server(self, listing: Listing, stages: Sequence[Sequence[Stage]]) -> Printed:
        newest = [place for access in listing.podcasts for place in await self._newest_of(access)]
        newest.sort(key=lambda place: (place.started_at, place.recording_id), reverse=True)
        rows = await self._rows(listing.podcasts, [place.recording_id for place in newest[:MOST_ITEMS]])
        views = [await self._library.view(access) for access in listing.podcasts]
        lost = await self._lost_files.among([*files_of(rows, stems=any(map(has_stems, views)))])
        content = await asyncio.to_thread(self._of_server, views, listing, rows, stages, lost)
        return await self._press.printed("feed.xml", *content)

    def _of_server(
        self,
        views: Sequence[View],
        listing: Listing,
        rows: FeedRows,
        stages: Sequence[Sequence[Stage]],
        lost: frozenset[BlobKey],
    ) -> tuple[Channel, list[Item]]:
        items: list[Item] = []
        live: list[LiveItem] = []
        for view, access, running in zip(views, listing.podcasts, stages, strict=True):
            within = set(episodes.rooms_of(access))
            its = replace(rows, published=tuple(each for each in rows.published if each[0].room_id in within))
            if not (its.published or running):
                continue
            with speaking(view.room.language):
                made = self._contents.items(view, its, lost)
                items += [collections.of_podcast(item, view.face.title) for item in made]
                live += self._contents.live(view, running, rows.portraits)
        explicit = any(item.explicit for item in items) or any(item.explicit for item in live)
        cover = f"{self._base()}/{self._covers.server_name(self._host)}"
        settings, base = self._settings.feeds, self._base()
        moved = self._moves.moved
        channel = collections.of_server(settings, base, self._host, cover, live, explicit=explicit, moved=moved)
        return channel, items

    async def _newest_of(self, access: Access) -> tuple[Place, ...]:
        key = key_of(access)
        newest = self._newest.get(key)
        if newest is None:
            async with self._store.read() as db:
                newest = await listings.newest(db, reaches(access), MOST_ITEMS)
            self._newest.put(key, newest)
        return newest

    @property
    def _host(self) -> str:
        return urlsplit(self._base()).netloc

    async def cover(self, request: web.BaseRequest, name: str) -> web.Response | None:
        """Answer with the picture of the feed of all podcasts; None for any other name."""
        if name != self._covers.server_name(self._host):
            return None
        picture = await self._covers.of_server(self._host)
        return picture_answer(request, picture, name, respond.kept_for_ever(Family.PUBLIC))

    # ---- the list

    async def opml(self, request: web.BaseRequest) -> web.Response:
        """Answer with the list of all public podcasts."""
        listing = await self._directory.listing()
        printed = await self._lists.get(listing.revision, partial(self._print_list, listing))
        return printed.body.response(request, OF_FAMILY[Family.PUBLIC], printed.changed_at)

    async def _print_list(self, listing: Listing) -> Printed:
        views = [await self._library.view(access) for access in listing.podcasts]
        body = await asyncio.to_thread(self._opml, views)
        changed_at = await self._editions.changed_at("podcasts.opml", sha256(body.identity.body).hexdigest())
        return Printed(body, changed_at)

    def _opml(self, views: Iterable[View]) -> EncodedBody:
        feeds = []
        for view in views:
            with speaking(view.room.language):
                channel = self._contents.channel(view)
            feeds.append(ListedFeed(channel.title, channel.description, channel.address, channel.page))
        return encode(opml(_("Podcasts of {host}").format(host=self._host), feeds), OPML)

    # ---- all of them

    async def _answer(
        self, request: web.BaseRequest, key: Key, build: Callable[[], Awaitable[Printed]]
    ) -> web.Response:
        connection = request.protocol
        assert isinstance(connection, ClientConnection)
        try:
            printed = await self._documents.get(key, partial(self._in_turn, build, connection.asking))
        except TooManyWait:
            return respond.too_many()
        return printed.body.response(request, OF_FAMILY[Family.PUBLIC], printed.changed_at)

    async def _in_turn(self, build: Callable[[], Awaitable[Printed]], client: str | None) -> Printed:
        async with self._turns.turn(client):
            return await build()

    async def _rows(self, accesses: Sequence[Access], ids: Sequence[RecordingId]) -> FeedRows:
        async with self._store.read() as db:
            return await episodes.read_chosen(db, accesses, ids)


def _of_speaker(rows: FeedRows, speaker: PublicSpeaker) -> FeedRows:
    """Leave out what names the user's id in another place than among the speakers."""
    return replace(rows, published=tuple(each for each in rows.published if _speaks_in(speaker, each[0])))


def _speaks_in(speaker: PublicSpeaker, recording: Recording) -> bool:
    return any(credit.user_id == speaker.user_id for credit in credits_of(recording))
