"""Feeds over HTTP: their documents, each read and rendered once per change, few at a time."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from aiohttp import web

from bot.feeds.addresses import Shelf, look_up_hash, personal_shelf, public_shelf
from bot.feeds.model import Channel, Item
from bot.language import speaking
from bot.settings import Settings
from bot.web import respond
from bot.web.access import Access, Family, may_hear_since
from bot.web.at_once import AtOnce, Known
from bot.web.caches import LruCache, OnceCache
from bot.web.connections import ClientConnection
from bot.web.contents import Contents, has_stems
from bot.web.documents import FEED, OLD_PAGE, DocumentName, Outline
from bot.web.encodings import EncodedBody, unchanged
from bot.web.episodes import FeedRows
from bot.web.library import Library, View, key_for_all, key_of
from bot.web.live_items import LiveItems, Stage, key_of_stages
from bot.web.lost_files import LostFiles, StoredFile, files_of
from bot.web.moves import Moves
from bot.web.press import Press, Rendered, body_of, tag_of
from bot.web.respond import OF_FAMILY
from bot.web.turns import TooManyWait, Turns
from storage.records import BlobKey, HistoryVisibility, Position, RoomId

CACHE_BYTES = 16 * 1024 * 1024
EDITIONS = 10_000
"""Editions that are kept, of some 1 kB each: a listener who has the newest one costs no more than to find it."""
LOOK_EACH_S = 2.0
"""Seconds between two looks at the files of a document that is asked for again and again."""

Key = tuple[object, ...]


@dataclass(slots=True)
class _Content:
    """A document for all who hear the same, the files that it could list, and those of them that are lost. `earliest`:
    where the first of its recordings began, by room and history visibility; whoever hears these hears all."""

    rendered: Rendered
    files: tuple[StoredFile, ...]
    lost: frozenset[BlobKey]
    earliest: Mapping[tuple[RoomId, HistoryVisibility], Position]
    looked_at: float  # on the loop's clock

    @property
    def weight(self) -> int:
        return len(self.rendered.packed) + 300 * len(self.files)


@dataclass(frozen=True, slots=True)
class _Edition:
    """A document as one listener, or the public, gets it: by a key of its content, and without the body."""

    content: Key
    digest: str
    changed_at: datetime
    tag: str


class Feeds:
    """The feeds of rooms. `base` gives the address that everything is built from."""

    def __init__(
        self,
        settings: Settings,
        library: Library,
        press: Press,
        turns: Turns,
        lost_files: LostFiles,
        moves: Moves,
        live: LiveItems,
        contents: Contents,
        at_once: AtOnce,
        base: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._library = library
        self._press = press
        self._turns = turns
        self._lost_files = lost_files
        self._moves = moves
        self._live = live
        self._contents = contents
        self._at_once = at_once
        self._base = base
        self._kept: OnceCache[Key, _Content] = OnceCache(CACHE_BYTES, lambda content: content.weight)
        self._editions: LruCache[Key, _Edition] = LruCache(EDITIONS)
        self._bodies: OnceCache[str, EncodedBody] = OnceCache(CACHE_BYTES, lambda body: body.weight)

    async def answer(
        self, request: web.BaseRequest, access: Access, name: DocumentName, token: str | None, known: Known
    ) -> web.Response | None:
        """Answer with a document of the feed; None where there is none of this name. `token` is the listener's; `known`
        decides about the address again."""
        family = access.claim.family
        stages = await self._live.of(access) if name.is_feed else ()
        key = (*key_of(access), name.part, name.block, token, self._moves.moved, stages and key_of_stages(stages))
        edition = self._editions.get(key)
        if edition is None and not name.is_feed:
            if not await self._library.may_have(access, name):
                return None
            outline = await self._library.outline(access)
            if name.is_old_page:
                exists = (name.part - 1) * OLD_PAGE < outline.listed
                return respond.moved_for_good(self._shelf(access, token).feed) if exists else None
            if not outline.within(name):
                return None
        connection = request.protocol
        assert isinstance(connection, ClientConnection)
        try:
            content = self._fresh(edition)
            if edition is None or content is None:
                edition, content = await self._find(access, name, token, stages, connection.asking)
                self._editions.put(key, edition)
            headers = OF_FAMILY[family]
            if self._settings.web.websub_hub is not None and family is Family.PUBLIC and name.is_feed:
                headers = {**headers, **self._links(access, name)}
            answer = unchanged(request, edition.tag, headers, edition.changed_at)
            if answer is None:
                make = partial(self._body, content.rendered, edition.changed_at, token, connection.asking)
                body = await self._bodies.get(edition.tag, make)
                answer = body.response(request, headers, edition.changed_at)
        except TooManyWait:
            return respond.too_many()
        self._keep(request, answer, edition, content, access, known, stages if name.is_feed else None)
        return answer

    def _keep(
        self,
        request: web.BaseRequest,
        answer: web.Response,
        edition: _Edition,
        content: _Content,
        access: Access,
        known: Known,
        stages: tuple[Stage, ...] | None,
    ) -> None:
        """Let this answer be given again while the document holds. `stages`: None where it announces no broadcasts."""
        body = answer.body if isinstance(answer.body, bytes) and request.method != "HEAD" else b""

        def whole(head: bytes) -> bytes | None:
            if self._moves.moved or self._fresh(edition) is not content:
                return None
            return head + body if stages is None or self._live.hold(access, stages) else None

        self._at_once.keep(request, answer, access, known, whole, len(body))

    def _fresh(self, edition: _Edition | None) -> _Content | None:
        """Return the content of an edition; None where it is another now, or its files have to be looked at again."""
        content = self._kept.known(edition.content) if edition is not None else None
        if edition is None or content is None or content.rendered.digest != edition.digest:
            return None
        return content if asyncio.get_running_loop().time() - content.looked_at < LOOK_EACH_S else None

    def _links(self, access: Access, name: DocumentName) -> dict[str, str]:
        """Name the hub and the feed itself, as WebSub (section 4) wants them in headers too."""
        topic = name.on(self._shelf(access, None))
        return {"Link": f'<{self._settings.web.websub_hub}>; rel="hub", <{topic}>; rel="self"'}

    async def _find(
        self, access: Access, name: DocumentName, token: str | None, stages: Sequence[Stage], client: str | None
    ) -> tuple[_Edition, _Content]:
        """Find a listener's edition, and its content among those of all who hear the same."""
        view, outline = await self._library.view(access), await self._library.outline(access)
        build = partial(self._build, access, name, outline, view, stages, client)
        key: Key = (
            *key_for_all(access),
            outline.content_of(name),
            view.face,
            self._moves.moved,
            stages and key_of_stages(stages),
        )
        content = await self._looked_at(key, build)
        if not _hears(access, content):
            # Something changed between two readings: by the numbers alone it would be the same.
            key = (*key, access.claim.joined_at)
            content = await self._looked_at(key, build)
        owner = f"r/{view.room.key}" if token is None else f"p/{look_up_hash(token)}"
        changed_at = await self._press.changed_at(f"{owner}/{name.on(Shelf(''))}", content.rendered)
        tag = tag_of(content.rendered, changed_at, token)
        return _Edition(key, content.rendered.digest, changed_at, tag), content

    async def _looked_at(self, key: Key, build: Callable[[], Coroutine[Any, Any, _Content]]) -> _Content:
        """Return a content, made anew where files that it lists were lost, or are there again."""
        kept, now = await self._kept.get(key, build), asyncio.get_running_loop().time()
        if now - kept.looked_at < LOOK_EACH_S:
            return kept
        kept.looked_at = now
        if await self._lost_files.among(kept.files) == kept.lost:
            return kept
        self._kept.drop(key)
        return await self._kept.get(key, build)

    async def _build(
        self,
        access: Access,
        name: DocumentName,
        outline: Outline,
        view: View,
        stages: Sequence[Stage],
        client: str | None,
    ) -> _Content:
        async with self._turns.turn(client):
            rows = await self._library.feed_rows(access, outline.within(name))
            files = tuple(files_of(rows, stems=has_stems(view)))
            looked_at = asyncio.get_running_loop().time()
            lost = await self._lost_files.among(files)
            content = await asyncio.to_thread(self._content, view, name, outline, rows, stages, lost)
            return _Content(await self._press.rendered(*content), files, lost, _earliest(rows), looked_at)

    async def _body(
        self, rendered: Rendered, changed_at: datetime, token: str | None, client: str | None
    ) -> EncodedBody:
        async with self._turns.turn(client):
            return await asyncio.to_thread(body_of, rendered, changed_at, token)

    def _content(
        self,
        view: View,
        name: DocumentName,
        outline: Outline,
        rows: FeedRows,
        stages: Sequence[Stage],
        lost: frozenset[BlobKey],
    ) -> tuple[Channel, list[Item]]:
        shelf = self._contents.shelf(view)
        with speaking(view.room.language):
            channel = self._contents.channel(
                view,
                address=name.on(shelf),
                paging=outline.paging(name, shelf),
                published=[published for published in rows.published if published[1].blob not in lost],
                live=self._contents.live(view, stages, rows.portraits),
                moved_to=shelf.feed if self._moves.moved and name == FEED else None,
            )
            return channel, self._contents.items(view, rows, lost)

    def _shelf(self, access: Access, token: str | None) -> Shelf:
        return public_shelf(self._base(), access.room.key) if token is None else personal_shelf(self._base(), token)


def _earliest(rows: FeedRows) -> dict[tuple[RoomId, HistoryVisibility], Position]:
    earliest: dict[tuple[RoomId, HistoryVisibility], Position] = {}
    for recording, _ in rows.published:
        which = recording.room_id, recording.history_visibility
        earliest[which] = min(recording.position, earliest.get(which, recording.position))
    return earliest


def _hears(access: Access, content: _Content) -> bool:
    """Return whether an access reaches all that is in a content that may have been made for another one."""
    if access.claim.family is Family.PUBLIC:  # one for all
        return True
    return all(may_hear_since(access, *which, position) for which, position in content.earliest.items())
