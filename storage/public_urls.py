"""The addresses that `web.public_url` has named, each with the time at which it was last met at a start."""

from datetime import datetime

from sqlalchemy import delete, select

from storage.database import Connection
from storage.rows import put
from storage.tables import public_urls

MOST = 50
LONGEST = 512


async def remember(db: Connection, url: str, now: datetime) -> None:
    """Note that addresses begin with this one from now on. Only the newest ones are kept."""
    if len(url) > LONGEST:
        return
    await put(db, public_urls, {"url": url, "since": now})
    newest = select(public_urls.c.url).order_by(public_urls.c.since.desc(), public_urls.c.url).limit(MOST)
    await db.execute(delete(public_urls).where(public_urls.c.url.not_in(newest.scalar_subquery())))


async def last(db: Connection) -> str | None:
    """Return the address that was met at the last start."""
    newest = select(public_urls.c.url).order_by(public_urls.c.since.desc(), public_urls.c.url).limit(1)
    return (await db.execute(newest)).scalar_one_or_none()


async def earlier(db: Connection, present: str) -> tuple[str, ...]:
    """Return the other addresses, the newest first."""
    others = select(public_urls.c.url).where(public_urls.c.url != present).order_by(public_urls.c.since.desc())
    return tuple((await db.execute(others)).scalars())
