"""Room keys that a client says it does not give (Client-Server API, m.room_key.withheld), and what it says of why."""

import re
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.sqlite import insert

from storage.database import Connection
from storage.records import ChunkState, SessionId
from storage.tables import chunks, withheld

PREFIX = "withheld:"
"""Of the reason of a chunk whose key is withheld; the code follows."""
MOST_AT_ONCE = 100  # anybody may send them
CODE = re.compile(r"[A-Za-z0-9._]{1,48}")


async def note(db: Connection, notes: Iterable[tuple[SessionId, str]], now: datetime) -> None:
    """Keeps what was said of sessions, for chunks that wait for their keys and for those that still come."""
    valid = [(session, code) for session, code in notes if CODE.fullmatch(code) and 0 < len(session) <= 255]
    for session, code in valid[:MOST_AT_ONCE]:
        values = {"code": code, "noted_at": now}
        statement = insert(withheld).values(session_id=session, **values)
        await db.execute(statement.on_conflict_do_update(index_elements=["session_id"], set_=values))
        await mark(db, session)


async def mark(db: Connection, session: SessionId) -> None:
    """Chunks of this session that wait for their key say why, if it is known."""
    found = await db.execute(select(withheld.c.code).where(withheld.c.session_id == session))
    code = found.scalar_one_or_none()
    if code is not None:
        waiting = (chunks.c.session_id == session) & (chunks.c.state == ChunkState.WAITING_FOR_KEY)
        await db.execute(update(chunks).where(waiting).values(reason=f"{PREFIX}{code}"))


async def prune(db: Connection, before: datetime) -> None:
    """Forgets what was noted before; the chunks keep their reasons."""
    await db.execute(delete(withheld).where(withheld.c.noted_at < before))
