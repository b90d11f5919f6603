"""The renewal of the secret for personal addresses: all addresses end, those of studios too, and listeners get new ones
when they ask. Also the notes about addresses that single listeners renewed before ended ones were noted."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import datetime

from bot.feeds.addresses import look_up_hash, token_for
from bot.studio import writing
from storage import ended_addresses, rooms
from storage.records import Job, Listener
from storage.store import Store

log = logging.getLogger(__name__)

AT_ONCE = 200
"""Addresses that are noted in one transaction."""
MOST_OF_ONE = 100
"""Ended addresses that are noted of one listener."""


class RenewingAddresses:
    """The handler of RenewAddresses orders. Killed at any point and run again, it ends the same addresses."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        # Renew the secret first, so that an address made after the rows are deleted is never an old one.
        await self._store.secret.replace()
        async with self._store.write() as db:
            await rooms.forget_listeners(db, self._clock())
            await writing.end_all(db, self._clock())
        log.info("all personal addresses have ended")


class NotingEnded:
    """The handler of NoteEnded orders. It may be killed at any point: what it notes twice stays the same."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        secret = await self._store.secret.fresh()
        async with self._store.read() as db:
            renewed = await rooms.renewed_listeners(db)
        ended = await asyncio.to_thread(lambda: [each for one in renewed for each in _ended_addresses(secret, one)])
        for start in range(0, len(ended), AT_ONCE):
            async with self._store.write() as db:
                await ended_addresses.note(db, ended[start : start + AT_ONCE], self._clock())


def _ended_addresses(secret: bytes, listener: Listener) -> Iterator[str]:
    """Yield the hashes of the tokens that a listener had before, the last ones of very many."""
    for generation in range(max(1, listener.generation - MOST_OF_ONE), listener.generation):
        yield look_up_hash(token_for(secret, listener.room_id, listener.user_id, generation))


async def warn_of_another_secret(store: Store) -> None:
    """Log a warning when the secret is not the one that listeners' addresses were made from."""
    async with store.read() as db:
        listener = await rooms.any_listener(db)
    if listener is None:
        return
    token = token_for(store.secret(), listener.room_id, listener.user_id, listener.generation)
    if look_up_hash(token) != listener.token_sha256:
        log.warning(
            "%s is not the secret that personal addresses were made from: those work until their listener asks for the"
            " address again; restore it from a backup, or end all with `aircheck addresses renew-all`",
            store.secret.where,
        )
