"""The consent of rooms as data: notices, changes, opt-outs, and who was told of a call. It holds no list of who was
present otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass

from storage import calls, changes, consent_notices, heirs, optouts
from storage.database import Connection
from storage.records import Change, ConsentNotice, OptOut, RoomId, ToldCall


@dataclass(frozen=True, slots=True)
class ConsentLog:
    """The consent of some rooms, or of all, each list from the oldest to the newest."""

    notices: tuple[ConsentNotice, ...]
    changes: tuple[Change, ...]
    opt_outs: tuple[OptOut, ...]
    calls: tuple[ToldCall, ...]


async def read(db: Connection, room_id: RoomId | None = None) -> ConsentLog:
    """Read the consent of a room's podcast, with all its rooms and what holds everywhere; of all rooms when None."""
    line: Sequence[RoomId] | None = None if room_id is None else await heirs.line(db, room_id)
    return ConsentLog(
        notices=await consent_notices.every(db, line),
        changes=await changes.every(db, line),
        opt_outs=await optouts.every(db, line),
        calls=await calls.consents(db, line),
    )
