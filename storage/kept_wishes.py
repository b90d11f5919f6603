"""The bot's own notes about the wishes that it keeps in its account data: the key that seals them, what is written
there, and, after a restore, what of it is yet to be read or applied. In the table of the bot's own values.
"""

import secrets
from hashlib import sha256

from sqlalchemy import delete, select

from storage import journal
from storage.database import Connection
from storage.records import RoomId
from storage.tables import meta

KEY = "wishes_key"
KEY_BYTES = 32
UNREAD, READ, WRITTEN = "wishes_unread", "wishes_read", "wishes_written"


def _name(kind: str, room_id: RoomId) -> str:
    return f"{kind}:{sha256(room_id.encode()).hexdigest()[:40]}"


async def key(db: Connection) -> bytes | None:
    """Return the key; None where none was made yet."""
    written = await journal.get(db, KEY)
    return bytes.fromhex(written) if written else None


async def make_key(db: Connection) -> None:
    """Make the key, unless there is one. Every backup after that has it."""
    if await key(db) is None:
        await journal.put(db, KEY, secrets.token_hex(KEY_BYTES))


# ---- what is written


async def written(db: Connection, room_id: RoomId) -> str | None:
    """Return the hash of what was written last."""
    return await journal.get(db, _name(WRITTEN, room_id))


async def note_written(db: Connection, room_id: RoomId, digest: str) -> None:
    await journal.put(db, _name(WRITTEN, room_id), digest)


# ---- after a restore


async def begin(db: Connection) -> None:
    """Forget what was read: it was of another life of the store. What was written last tells, until it is read, whether
    anything was said since."""
    for kind in (UNREAD, READ):
        await db.execute(delete(meta).where(meta.c.key.startswith(f"{kind}:", autoescape=True)))


async def await_room(db: Connection, room_id: RoomId) -> None:
    """Note that the wishes for a room are to be read before anything is written over them."""
    await journal.put(db, _name(UNREAD, room_id), room_id)


async def is_unread(db: Connection, room_id: RoomId) -> bool:
    return await journal.get(db, _name(UNREAD, room_id)) is not None


async def unread(db: Connection) -> tuple[RoomId, ...]:
    """Return the rooms whose wishes are yet to be read."""
    awaited = select(meta.c.value).where(meta.c.key.startswith(f"{UNREAD}:", autoescape=True)).order_by(meta.c.key)
    return tuple(map(RoomId, (await db.execute(awaited)).scalars()))


async def note_read(db: Connection, room_id: RoomId, wishes: str | None) -> None:
    """Note what was read; None: there was nothing that could be. What is to be written then is not known any more."""
    for kind in (UNREAD, WRITTEN):
        await db.execute(delete(meta).where(meta.c.key == _name(kind, room_id)))
    if wishes is not None:
        await journal.put(db, _name(READ, room_id), wishes)


async def read(db: Connection, room_id: RoomId) -> str | None:
    """Return what was read and is yet to be applied to what is found again."""
    return await journal.get(db, _name(READ, room_id))


async def forget_read(db: Connection, room_id: RoomId) -> None:
    await db.execute(delete(meta).where(meta.c.key == _name(READ, room_id)))
