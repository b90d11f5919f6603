"""The public podcasts of this server: for its page, its own feed and its list for podcast apps."""

from dataclasses import dataclass
from functools import partial

from bot.web.access import Access, Verdict
from bot.web.caches import CommitCache, OnceCache
from bot.web.claims import AddressClaims
from storage import rooms
from storage.store import Store


@dataclass(frozen=True, slots=True)
class Listing:
    """The podcasts at one revision of the rooms; listings with the same revision show the same."""

    revision: int
    podcasts: tuple[Access, ...]  # in the order of their rooms' ids


class Directory:
    """The public podcasts. A podcast of several rooms is listed once, under its first address."""

    def __init__(self, store: Store, claims: AddressClaims) -> None:
        self._store = store
        self._claims = claims
        self._revision: CommitCache[None, int] = CommitCache(lambda: store.database.changes.number)
        self._listings: OnceCache[int, Listing] = OnceCache(1)
        self._last: Listing | None = None

    async def listing(self) -> Listing:
        """Return the public podcasts, read anew only when something of a room has changed."""
        revision = await self._revision.get(None, self._read_revision)
        return await self._listings.get(revision, partial(self._read, revision))

    async def _read_revision(self) -> int:
        async with self._store.read() as db:
            return await rooms.revisions(db)

    async def _read(self, revision: int) -> Listing:
        podcasts = tuple([access for access in await self._claims.all_public() if access.verdict is Verdict.OPEN])
        if self._last is None or self._last.podcasts != podcasts:  # else a room changed that is nothing to them
            self._last = Listing(revision, podcasts)
        return self._last
