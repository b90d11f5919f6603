"""Rows that an earlier version wrote, brought up to date."""

import sqlite3
from contextlib import closing
from pathlib import Path

from storage import heirs
from storage.records import RoomId, Visibility
from storage.revisions import run_migrations, transaction
from storage.store import Store

ROOM = "INSERT INTO rooms VALUES (?, ?, ?, 1, 1, ?, ?, 0, 0, NULL, 0, '2026-11-20', NULL, NULL)"
RECORDING = """INSERT INTO recordings (code, number, room_id, event_id, kind, broadcaster, state, position, started_at,
    heard_at, paused, history_visibility, public, past) VALUES (?, ?, ?, ?, 'voice_broadcast', '@a:hs', 'complete', ?,
    '2026-11-20', '2026-11-20', 0, 'shared', 1, ?)"""

PODCASTS = {  # room: visibility, public since
    "!private:hs": ("private", None),
    "!old:hs": ("public", 1),  # its heir was made private
    "!heir:hs": ("private", None),
    "!public:hs": ("public", 10),
    "!first:hs": ("public", 1),  # its heir is public
    "!second:hs": ("public", 20),
}
RECORDINGS = {  # room, position, found in the history; whether it stays public
    ("!private:hs", 5, False): False,
    ("!private:hs", -5, True): False,
    ("!old:hs", 6, False): False,
    ("!public:hs", 7, False): False,
    ("!public:hs", 11, False): True,
    ("!public:hs", -7, True): True,
    ("!first:hs", 8, False): True,
    ("!second:hs", 21, False): True,
}


async def test_what_private_had_closed_is_closed_by_the_upgrade(tmp_path: Path) -> None:
    """No recording of a private podcast is marked public, nor one of before the last `publish public`; what began in
    public, in this room or the one before it, stays so."""
    path = tmp_path / "aircheck.db"
    with transaction(path) as connection:
        run_migrations(connection, "0003")
    with closing(sqlite3.connect(path)) as db:
        for number, (room, (visibility, since)) in enumerate(PODCASTS.items()):
            db.execute(ROOM, (room, f"k{number}", f"g{number}", visibility, since))
        db.executemany("INSERT INTO heirs VALUES (?, ?)", [("!old:hs", "!heir:hs"), ("!first:hs", "!second:hs")])
        for number, (room, position, past) in enumerate(RECORDINGS):
            db.execute(RECORDING, (f"code{number}", number, room, f"$e{number}", position, past))
        db.commit()
    await (await Store.own(tmp_path)).close()
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT room_id, position, past, public FROM recordings").fetchall()
    assert {(room, position, bool(past)): bool(public) for room, position, past, public in found} == RECORDINGS


async def test_an_heir_of_before_is_pending_and_opens_nothing(tmp_path: Path) -> None:
    """It stands in no line until the old room confirms it; until then the old room's public address is closed."""
    path = tmp_path / "aircheck.db"
    with transaction(path) as connection:
        run_migrations(connection, "0004")
    with closing(sqlite3.connect(path)) as db:
        for number, (room, (visibility, since)) in enumerate(PODCASTS.items()):
            db.execute(ROOM, (room, f"k{number}", f"g{number}", visibility, since))
        db.execute("INSERT INTO heirs VALUES (?, ?)", ("!first:hs", "!second:hs"))
        db.commit()
    store = await Store.own(tmp_path)
    async with store.read() as read:
        assert await heirs.line(read, RoomId("!first:hs")) == ("!first:hs",)
        assert await heirs.pending(read, RoomId("!first:hs")) == "!second:hs"
        shown = await heirs.podcast(read, [RoomId("!first:hs")])
    await store.close()
    assert shown.visibility is Visibility.PRIVATE
