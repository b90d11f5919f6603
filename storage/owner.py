"""The owner of the Matrix session as other processes see it: the one row of `owner`, in a database by address.

`storage.ownership` writes it. Times are by the database's clock.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update

from storage.database import Connection
from storage.dialect import clock
from storage.rows import record
from storage.tables import owner

KNOWN_FOR = timedelta(hours=1)
"""The time after an owner's end in which others take the rooms' state for what it was."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that owns the session, or owned it last. Each take-over has a higher epoch."""

    epoch: int
    holder: str
    """The host and process, for people."""
    since: datetime
    until: datetime
    """The end of the lease, unless it is renewed."""
    ready: bool
    """Whether the rooms' state was read in this epoch."""
    heard_at: datetime | None
    """When the homeserver last answered it, by the owner's clock."""


async def last(db: Connection) -> Owner | None:
    """Return the owner, whose lease may have ended; None before the first one."""
    row = (await db.execute(select(owner))).first()
    return None if row is None else record(Owner, row)


async def knows(db: Connection, last: Owner) -> bool:
    """Tell whether the rooms' state was read by an owner that is there, or was not long ago: an older row says little,
    and may be that of a backup."""
    return last.ready and await clock(db) < last.until + KNOWN_FOR


async def note_ready(db: Connection, epoch: int) -> None:
    """Note that the rooms' state was read in this epoch."""
    await db.execute(update(owner).where(owner.c.epoch == epoch).values(ready=True))
