"""`aircheck init --reset-identity`: new cross-signing keys for the bot's account, while no bot runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from bot.errors import ConfigError
from bot.matrix.batch import SyncBatch
from bot.matrix.keys import Keys
from bot.matrix.session import Session
from bot.settings import Settings
from storage.records import RoomId
from storage.store import Store


class _NothingHeard:
    """The sink of a session that is never synced."""

    async def since(self) -> str | None:
        return None

    async def take(self, batch: SyncBatch) -> None:
        raise AssertionError("nothing is synced here")

    async def encrypted_rooms(self) -> frozenset[RoomId]:
        return frozenset()


def _utc_now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Session]:
    """Log the bot in and publish its device without a sync; own the store meanwhile.

    Raises ConfigError, StartError, TryLater, and StoreError while another process runs on the same data.
    """
    store = await Store.own(settings.storage.place)
    keys = Keys(_utc_now, store.epoch)
    session = Session(settings, settings.storage.path, _NothingHeard(), keys, _utc_now, store.owns)
    try:
        await session.connect()
        yield session
    finally:
        await session.close()
        await store.close()


async def reset_identity(settings: Settings) -> None:
    """Replace the account's cross-signing keys by new ones that the bot holds, and sign its device with them.

    Raises ConfigError without a password, and as `connected` does.
    """
    password = settings.password()
    if not password:
        raise ConfigError("matrix.password is needed to replace the account's cross-signing keys")
    async with connected(settings) as session:
        await session.identity.reset(password)
