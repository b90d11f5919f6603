"""Withheld room keys: clients' notes that they do not share a session's key, with a code for the reason
(Client-Server API, m.room_key.withheld).

A note is sent in clear and names a session, which every member of the room can see. So it counts only for broadcasts of
its own sender.
"""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import delete, select, update

from storage import archive
from storage.database import Connection
from storage.dialect import insert
from storage.records import KEY_WITHHELD, ChunkState, SessionId, UserId, Withheld
from storage.tables import chunks, recordings, withheld

MOST_OF_ONE = 100  # sender, at once: anybody can send them
CODE = re.compile(r"[A-Za-z0-9._]{1,48}")


async def note(db: Connection, notes: Iterable[Withheld], now: datetime) -> None:
    """Keep notes about sessions, for chunks that wait for their keys and for chunks that come later."""
    counted: Counter[UserId] = Counter()
    for said in notes:
        counted[said.sender] += 1
        if not _is_valid(said) or counted[said.sender] > MOST_OF_ONE:
            continue
        values = {"code": said.code, "noted_at": now}
        statement = insert(withheld).values(session_id=said.session_id, sender=said.sender, **values)
        await db.execute(statement.on_conflict_do_update(index_elements=["session_id", "sender"], set_=values))
        await mark(db, said.session_id, said.sender)


async def mark(db: Connection, session: SessionId, sender: UserId) -> None:
    """Write the reason, if known, into the chunks of a session, sent by `sender`, that wait for their key."""
    said = select(withheld.c.code).where(withheld.c.session_id == session, withheld.c.sender == sender)
    code = (await db.execute(said)).scalar_one_or_none()
    if code is None:
        return
    of_session = (chunks.c.session_id == session) & (chunks.c.sender == sender)
    waiting = of_session & (chunks.c.state == ChunkState.WAITING_FOR_KEY)
    await archive.chunks_change(db, recordings.c.id.in_(select(chunks.c.recording_id).where(waiting)))
    await db.execute(update(chunks).where(waiting).values(reason=f"{KEY_WITHHELD}{code}"))


async def prune(db: Connection, before: datetime) -> None:
    """Delete notes that are older than `before`; the chunks keep their reasons."""
    await db.execute(delete(withheld).where(withheld.c.noted_at < before))


async def forget(db: Connection, sender: UserId) -> None:
    await db.execute(delete(withheld).where(withheld.c.sender == sender))


def _is_valid(said: Withheld) -> bool:
    return bool(CODE.fullmatch(said.code)) and 0 < len(said.session_id) <= 255 and 0 < len(said.sender) <= 255
