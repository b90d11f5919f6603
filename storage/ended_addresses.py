"""Personal addresses that ended for good, by the hashes of their tokens: they are told apart from those that never
were."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, select

from storage.database import Connection
from storage.rows import put_all
from storage.tables import ended_addresses


async def note(db: Connection, hashes: Collection[str], now: datetime) -> None:
    """Record that the addresses with these tokens have ended."""
    await put_all(db, ended_addresses, [{"token_sha256": each, "ended_at": now} for each in sorted(hashes)])


async def has(db: Connection, token_sha256: str) -> bool:
    """Return whether an address with this token was good once, and has ended."""
    ended = select(ended_addresses.c.token_sha256).where(ended_addresses.c.token_sha256 == token_sha256)
    return (await db.execute(ended)).first() is not None


async def prune(db: Connection, before: datetime) -> None:
    await db.execute(delete(ended_addresses).where(ended_addresses.c.ended_at < before))
