"""Editions of the documents of feeds: what each held when it was last rendered, and since when.

A document's name is its address below the server, in which the hash of the token stands for the token.
"""

from collections.abc import Collection

from sqlalchemy import delete, func, select

from storage.database import Connection
from storage.records import FeedEdition
from storage.rows import columns, put_all, record
from storage.tables import feed_editions, listeners

PERSONAL = "p/"
TOKEN_HASH = 64  # characters


async def of(db: Connection, names: Collection[str]) -> dict[str, FeedEdition]:
    """Return the editions of these documents that there are."""
    rows = await db.execute(select(feed_editions).where(feed_editions.c.name.in_(list(names))))
    return {row.name: record(FeedEdition, row) for row in rows}


async def save(db: Connection, editions: Collection[FeedEdition]) -> None:
    """Save editions, no two of the same document."""
    await put_all(db, feed_editions, [columns(edition) for edition in editions])


async def prune(db: Connection) -> None:
    """Delete the editions of listeners' documents whose addresses have ended. Rooms stay, and so do theirs."""
    valid = select(listeners.c.token_sha256).union_all(
        select(listeners.c.next_sha256).where(listeners.c.next_sha256.is_not(None))
    )
    name = feed_editions.c.name
    ended = func.substr(name, len(PERSONAL) + 1, TOKEN_HASH).not_in(valid)
    await db.execute(delete(feed_editions).where(name.startswith(PERSONAL), ended))
