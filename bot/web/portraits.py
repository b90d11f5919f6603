"""Speakers' pictures below a room's address: in public only those of who speaks in public recordings."""

from datetime import UTC, datetime
from functools import partial

from aiohttp import web

from bot.web import respond
from bot.web.access import Access, Family
from bot.web.caches import CommitCache, OnceCache
from bot.web.conditions import Representation
from bot.web.episodes import rooms_of
from storage import portraits, spoken
from storage.records import BlobKey, RoomId
from storage.store import Store

UNDATED = datetime(1970, 1, 1, tzinfo=UTC)
"""The date of pictures: their addresses name their content, so that they never change."""
PICTURES = 256
"""Pictures that are kept in memory, of some 20 kB each."""

_Asked = tuple[tuple[RoomId, ...], Family, str]


class Portraits:
    """Answers with portraits. Who may open a personal address is a member, and sees the avatars in the room itself."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._found: CommitCache[_Asked, BlobKey | None] = CommitCache(lambda: store.database.changes.number)
        self._pictures: OnceCache[BlobKey, bytes] = OnceCache(PICTURES)

    async def answer(self, request: web.BaseRequest, access: Access, digest: str) -> web.Response | None:
        """Answer with the portrait whose key begins with `digest`; None where this access reaches none."""
        family = access.claim.family
        asked = (rooms_of(access), family, digest)
        blob = await self._found.get(asked, partial(self._find, *asked))
        if blob is None:
            return None
        try:
            picture = await self._pictures.get(blob, partial(self._store.blobs.read, blob))
        except FileNotFoundError:
            return None
        # Who opts out is shown no more: caches must ask before each use.
        return picture_answer(request, picture, blob, respond.OF_FAMILY[family])

    async def _find(self, room_ids: tuple[RoomId, ...], family: Family, digest: str) -> BlobKey | None:
        async with self._store.read() as db:
            for portrait in await portraits.beginning(db, room_ids, digest):
                if family is Family.PERSONAL or await spoken.in_public(db, portrait.room_id, portrait.user_id):
                    return portrait.blob
        return None


def picture_answer(request: web.BaseRequest, picture: bytes, tag: str, headers: dict[str, str]) -> web.Response:
    """Answer with a JPEG under an address that names its content."""
    file = Representation(tag, len(picture), UNDATED)
    return respond.content(request, picture, file, headers, {"Content-Type": "image/jpeg"})
