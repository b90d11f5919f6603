"""Claims behind addresses: the rooms and memberships of a room key, or of a listener's or studio's token, with the
verdict on them."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import partial

from bot.event_types import MEMBER
from bot.feeds.addresses import look_up_hash
from bot.rules import is_mod
from bot.web.access import Access, Claim, Family, StudioAccess, StudioClaim, decide, decide_studio
from bot.web.caches import CommitCache
from storage import archive, ended_addresses, heirs, rooms, studios
from storage.records import StudioSource
from storage.store import Store


class AddressClaims:
    """Claims behind addresses. `freshness`: whether the rooms' state was read since this process began; `admins`
    moderate every room that they are in."""

    def __init__(
        self,
        store: Store,
        freshness: Callable[[], bool],
        admins: Collection[str],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._clock = clock
        self._admins = admins
        self._freshness = freshness
        self._claims: CommitCache[tuple[Family, str], Claim] = CommitCache(lambda: store.database.changes.number)
        self._studios: CommitCache[str, StudioClaim] = CommitCache(lambda: store.database.changes.number)

    async def public(self, key: str) -> Access:
        """Decide about the key in a public address."""
        claim = await self._claims.get((Family.PUBLIC, key), partial(self._public, key))
        return decide(claim, fresh=self._freshness())

    async def all_public(self) -> tuple[Access, ...]:
        """Decide about the first addresses of all podcasts that may be public."""
        async with self._store.read() as db:
            found = await heirs.public_podcasts(db)
        claims = [
            Claim(Family.PUBLIC, podcast, before=dict.fromkeys(line[:-1]), named=line[0]) for line, podcast in found
        ]
        return tuple(decide(claim, fresh=self._freshness()) for claim in claims)

    async def personal(self, token: str) -> Access:
        """Decide about the token in a personal address."""
        digest = look_up_hash(token)
        claim = await self._claims.get((Family.PERSONAL, digest), partial(self._personal, digest))
        return decide(claim, fresh=self._freshness())

    async def studio(self, token: str, source: StudioSource = StudioSource.PAGE) -> StudioAccess:
        """Decide about the token in the address of a studio, or in the password of a source client."""
        digest = look_up_hash(token)
        claim = await self._studios.get(digest, partial(self._studio, digest))
        return decide_studio(claim, self._clock(), fresh=self._freshness(), source=source)

    def known_public(self, key: str) -> Access | None:
        """Decide as `public`; None where the claim has to be read."""
        return self._known((Family.PUBLIC, key))

    def known_personal(self, token: str) -> Access | None:
        """Decide as `personal`; None where the claim has to be read."""
        return self._known((Family.PERSONAL, look_up_hash(token)))

    def _known(self, address: tuple[Family, str]) -> Access | None:
        claim = self._claims.known(address)
        return decide(claim, fresh=self._freshness()) if claim is not None else None

    async def _public(self, key: str) -> Claim:
        async with self._store.read() as db:
            named = await rooms.room_by_key(db, key)
            if named is None:
                return Claim(Family.PUBLIC, None)
            line = await heirs.line(db, named.room_id)
            podcast = await heirs.podcast(db, line, named)
            return Claim(Family.PUBLIC, podcast, before=dict.fromkeys(line[:-1]), named=named.room_id)

    async def _personal(self, digest: str) -> Claim:
        async with self._store.read() as db:
            listener = await rooms.listener_by_hash(db, digest)
            if listener is None:
                return Claim(Family.PERSONAL, None, replaced=await ended_addresses.has(db, digest))
            named = await rooms.room(db, listener.room_id)
            if named is None:
                return Claim(Family.PERSONAL, None, listener)
            line = await heirs.line(db, named.room_id)
            *before, member = [await rooms.state(db, room_id, MEMBER, listener.user_id) for room_id in line]
            podcast = await heirs.podcast(db, line, named)
            moderates = listener.user_id in self._admins or is_mod(listener.user_id, await rooms.power(db, line[-1]))
            reviews = await archive.unreviewed(db, line, speaker=None if moderates else listener.user_id)
            earlier = dict(zip(line[:-1], before, strict=True))
            return Claim(
                Family.PERSONAL,
                podcast,
                listener,
                member,
                before=earlier,
                named=named.room_id,
                reviews=frozenset(reviews),
            )

    async def _studio(self, digest: str) -> StudioClaim:
        async with self._store.read() as db:
            studio = await studios.by_token(db, digest)
            if studio is None:
                return StudioClaim(None)
            from bot.studio.rights import refusal_in  # here, for it takes memory that `aircheck web` need not spend

            room = await rooms.room(db, studio.room_id)
            return StudioClaim(studio, room, await refusal_in(db, room, studio.user_id) is None)
