"""Claims behind addresses: the rooms and memberships of a room key or a listener's token, with the verdict on them."""

from collections.abc import Callable
from functools import partial

from bot.event_types import MEMBER
from bot.feeds.addresses import look_up_hash
from bot.web.access import Access, Claim, Family, decide
from bot.web.caches import CommitCache
from storage import heirs, rooms
from storage.store import Store


class AddressClaims:
    """Claims behind addresses. `freshness`: whether the rooms' state was read since this process began."""

    def __init__(self, store: Store, freshness: Callable[[], bool]) -> None:
        self._store = store
        self._freshness = freshness
        self._claims: CommitCache[tuple[Family, str], Claim] = CommitCache(lambda: store.database.changes.number)

    async def public(self, key: str) -> Access:
        """Decide about the key in a public address."""
        claim = await self._claims.get((Family.PUBLIC, key), partial(self._public, key))
        return decide(claim, fresh=self._freshness())

    async def personal(self, token: str) -> Access:
        """Decide about the token in a personal address."""
        digest = look_up_hash(token)
        claim = await self._claims.get((Family.PERSONAL, digest), partial(self._personal, digest))
        return decide(claim, fresh=self._freshness())

    async def _public(self, key: str) -> Claim:
        async with self._store.read() as db:
            named = await rooms.room_by_key(db, key)
            if named is None:
                return Claim(Family.PUBLIC, None)
            line = await heirs.line(db, named.room_id)
            return Claim(Family.PUBLIC, await heirs.podcast(db, line, named), before=dict.fromkeys(line[:-1]))

    async def _personal(self, digest: str) -> Claim:
        async with self._store.read() as db:
            listener = await rooms.listener_by_hash(db, digest)
            if listener is None:
                return Claim(Family.PERSONAL, None)
            named = await rooms.room(db, listener.room_id)
            if named is None:
                return Claim(Family.PERSONAL, None, listener)
            line = await heirs.line(db, named.room_id)
            *before, member = [await rooms.state(db, room_id, MEMBER, listener.user_id) for room_id in line]
            podcast = await heirs.podcast(db, line, named)
            return Claim(Family.PERSONAL, podcast, listener, member, dict(zip(line[:-1], before, strict=True)))
