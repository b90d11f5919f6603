"""The renewal of the secret for personal addresses: all addresses end, and listeners get new ones when they ask."""

import asyncio
import logging

from bot.feeds.addresses import look_up_hash, token_for
from storage import rooms
from storage.records import Job
from storage.store import Store

log = logging.getLogger(__name__)


class RenewingAddresses:
    """The handler of RenewAddresses orders. Killed at any point and run again, it ends the same addresses."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, job: Job) -> None:
        # Renew the secret first, so that an address made after the rows are deleted is never an old one.
        await asyncio.to_thread(self._store.secret.renew)
        async with self._store.write() as db:
            await rooms.forget_listeners(db)
        log.info("all personal addresses have ended")


async def warn_of_another_secret(store: Store) -> None:
    """Log a warning when the secret is not the one that listeners' addresses were made from."""
    async with store.read() as db:
        listener = await rooms.any_listener(db)
    if listener is None:
        return
    token = token_for(store.secret(), listener.room_id, listener.user_id, listener.generation)
    if look_up_hash(token) != listener.token_sha256:
        log.warning(
            "%s is not the file that personal addresses were made from: those work until their listener asks for the"
            " address again; restore the file from a backup, or end all with `aircheck addresses renew-all`",
            store.secret.file,
        )
