"""Migrations of rows that an earlier version wrote."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from bot import orders
from storage import archive, heirs, jobs, rooms
from storage.place import Place
from storage.records import ChunkId, ChunkState, EventId, JobKind, RecordingId, RoomId, UserId, Visibility
from storage.revisions import run_migrations, transaction
from storage.store import Store

ROOM = "INSERT INTO rooms VALUES (?, ?, ?, 1, 1, ?, ?, 0, 0, NULL, 0, '2026-11-20', NULL, NULL)"
RECORDING = """INSERT INTO recordings (code, number, room_id, event_id, kind, broadcaster, state, position, started_at,
    heard_at, paused, history_visibility, public, past) VALUES (?, ?, ?, ?, 'voice_broadcast', '@a:hs', 'complete', ?,
    '2026-11-20', '2026-11-20', 0, 'shared', 1, ?)"""

EPISODE = """INSERT INTO episodes (recording_id, guid, blob, bytes, samples, made_at, fingerprint, announced, loss,
    chapters) VALUES (1, 'guid', 'blob', 1, 1, '2026-11-20', '', 1,
    '{"samples": 0, "gaps": 0, "first": [], "end": false}', ?)"""
ROOM_ID, ALICE = RoomId("!r"), UserId("@a:hs")

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
    """The upgrade makes recordings private that are of a private podcast or from before the last `publish public`;
    those begun in public, in this room or its predecessor, stay public."""
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
    await (await Store.own(Place(tmp_path))).close()
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT room_id, position, past, public FROM recordings").fetchall()
    assert {(room, position, bool(past)): bool(public) for room, position, past, public in found} == RECORDINGS


async def test_an_heir_of_before_is_pending_and_opens_nothing(tmp_path: Path) -> None:
    """An unconfirmed heir is in no line, and the old room's public address stays closed until it is confirmed."""
    path = tmp_path / "aircheck.db"
    with transaction(path) as connection:
        run_migrations(connection, "0004")
    with closing(sqlite3.connect(path)) as db:
        for number, (room, (visibility, since)) in enumerate(PODCASTS.items()):
            db.execute(ROOM, (room, f"k{number}", f"g{number}", visibility, since))
        db.execute("INSERT INTO heirs VALUES (?, ?)", ("!first:hs", "!second:hs"))
        db.commit()
    store = await Store.own(Place(tmp_path))
    async with store.read() as read:
        assert await heirs.line(read, RoomId("!first:hs")) == ("!first:hs",)
        assert await heirs.pending(read, RoomId("!first:hs")) == "!second:hs"
        shown = await heirs.podcast(read, [RoomId("!first:hs")])
    await store.close()
    assert shown.visibility is Visibility.PRIVATE


REREAD = JobKind("reread")
CHUNK = """INSERT INTO chunks (event_id, recording_id, position, state, reason, adopted)
    VALUES (?, (SELECT id FROM recordings WHERE event_id = ?), 1, ?, ?, 0)"""
GIVEN_UP = {  # by the started event: state and reason of a chunk; whether it is asked for again
    "$damaged": ("damaged", "not_audio", True),
    "$refused": ("refused", "too_large", True),
    "$beyond": ("refused", "beyond_limit", False),
    "$stored": ("stored", None, False),
    "$waits": ("waiting_for_media", "not_found", False),
}


async def test_what_was_given_up_is_asked_for_again_by_the_upgrade(tmp_path: Path) -> None:
    """Broadcasts with chunks that were given up are read again, except where a job asks for them already."""
    path = tmp_path / "aircheck.db"
    with transaction(path) as connection:
        run_migrations(connection, "0010")
    with closing(sqlite3.connect(path)) as db:
        for number, (started, (state, reason, _)) in enumerate(GIVEN_UP.items()):
            db.execute(RECORDING, (f"code{number}", number, "!room:hs", started, number, False))
            db.execute(CHUNK, (f"{started}-1", started, state, reason))
        db.commit()
    store = await Store.own(Place(tmp_path))
    try:
        async with store.write() as db:
            found = await jobs.claim(db, [REREAD], datetime.now(UTC), 10)
    finally:
        await store.close()
    wanted = [event for event, (*_, again) in GIVEN_UP.items() if again]
    assert sorted((job.kind, job.subject) for job in found) == [(REREAD, event) for event in wanted]
    assert all(job.payload == {"room_id": "!room:hs", "sender": "@a:hs"} for job in found)


async def test_chunks_of_before_have_their_events_ids_and_the_broadcaster_as_sender(tmp_path: Path) -> None:
    """The row, the jobs and the redactions of a chunk still find each other after the upgrade."""
    path = tmp_path / "aircheck.db"
    with transaction(path) as connection:
        run_migrations(connection, "0012")
    with closing(sqlite3.connect(path)) as db:
        db.execute(RECORDING, ("kfmtra", 1, "!room:hs", "$started", 1, False))
        db.execute(CHUNK, ("$c1", "$started", "stored", None))
        db.execute("UPDATE chunks SET sequence = 4, adopted = 1")
        db.commit()
    store = await Store.own(Place(tmp_path))
    try:
        async with store.read() as read:
            (chunk,) = await archive.chunks(read, RecordingId(1))
    finally:
        await store.close()
    assert (chunk.id, chunk.event_id, chunk.sender) == ("$c1", "$c1", "@a:hs")
    assert (chunk.sequence, chunk.attached, chunk.state) == (4, True, ChunkState.STORED)


WAITING = {  # of version 0011, by kind: subject and payload; the order that it is
    "follow": ("$e", {"room_id": "!r", "sender": "@a:hs"}, orders.Reread(EventId("$e"), ROOM_ID, ALICE)),
    "gap": ("!r", {}, orders.Walk(ROOM_ID)),
    "redacted": ("$e", {"room_id": "!r"}, orders.Redaction(EventId("$e"), ROOM_ID)),
    "keys": ("f", {"file": "/keys/f", "passphrase": "p"}, orders.ImportKeys(Path("/keys/f"), "p")),
    "addresses": ("all", {}, orders.RenewAddresses()),
    "fetch": ("$e", {"recording": 7}, orders.Fetch(ChunkId("$e"), RecordingId(7))),
}


async def test_jobs_of_kinds_with_new_names_are_done_by_the_upgrade(tmp_path: Path) -> None:
    """A waiting job keeps its subject and payload under the new name of its kind, and its order reads them."""
    path = tmp_path / "aircheck.db"
    with transaction(path) as connection:
        run_migrations(connection, "0011")
    with closing(sqlite3.connect(path)) as db:
        db.executemany(
            "INSERT INTO jobs (kind, subject, payload, state, run_at, attempts, changed_at) VALUES"
            " (?, ?, ?, 'ready', '2026-11-20 14:05:00', 0, '2026-11-20 14:05:00')",
            [(kind, subject, json.dumps(payload)) for kind, (subject, payload, _) in WAITING.items()],
        )
        db.commit()
    store = await Store.own(Place(tmp_path))
    try:
        async with store.write() as db:
            waiting = await jobs.claim(db, list(orders.KINDS), datetime.now(UTC), 10)
    finally:
        await store.close()
    read = {orders.KINDS[job.kind].of(job) for job in waiting}
    assert read == {order for *_, order in WAITING.values()}


async def test_chapters_of_episodes_of_before_have_todays_words(tmp_path: Path) -> None:
    """A chapter after a pause or a gap is called as those of new episodes are; other titles stay as they are."""
    path = tmp_path / "aircheck.db"
    with transaction(path) as connection:
        run_migrations(connection, "0014")
    with closing(sqlite3.connect(path)) as db:
        db.execute(RECORDING, ("kfmtra", 1, "!room:hs", "$started", 1, False))
        db.execute(EPISODE, (json.dumps([[0, "It Goes on"], [9000, "Goes on"]]),))
        db.commit()
    store = await Store.own(Place(tmp_path))
    try:
        async with store.read() as read:
            episode = await archive.episode(read, RecordingId(1))
    finally:
        await store.close()
    assert episode is not None
    assert [mark.title for mark in episode.chapters] == ["It Goes on", "Resumed"]


NAMED = {  # room: visibility, public since; whether it keeps its GUID
    "!private:hs": ("private", None, False),
    "!public:hs": ("public", 10, True),
    "!logged:hs": ("private", None, True),  # was public, says the log
    "!other:hs": ("private", None, False),  # the log has other changes
    "!first:hs": ("private", None, True),  # its heir may have been public under its names
    "!second:hs": ("private", None, True),
}
CHANGE = "INSERT INTO changes (at, room_id, what, before, after) VALUES ('2026-11-20', ?, ?, ?, ?)"


async def test_rooms_that_were_never_public_get_a_guid_of_their_address_later(tmp_path: Path) -> None:
    """The upgrade takes the random `podcast:guid` of rooms that were never public, and leaves all others theirs."""
    path = tmp_path / "aircheck.db"
    with transaction(path) as connection:
        run_migrations(connection, "0004")
    with closing(sqlite3.connect(path)) as db:
        for number, (room, (visibility, since, _)) in enumerate(NAMED.items()):
            db.execute(ROOM, (room, f"k{number}", "guid", visibility, since))
        db.execute("INSERT INTO heirs VALUES (?, ?)", ("!first:hs", "!second:hs"))
        db.commit()
    with transaction(path) as connection:
        run_migrations(connection, "0040")
    with closing(sqlite3.connect(path)) as db:
        db.execute(CHANGE, ("!logged:hs", "publish", "public", "private"))
        db.execute(CHANGE, ("!other:hs", "record", None, "on"))
        db.commit()
    await (await Store.own(Place(tmp_path))).close()
    with closing(sqlite3.connect(path)) as db:
        kept = dict(db.execute("SELECT room_id, podcast_guid <> '' FROM rooms").fetchall())
    assert {room: bool(is_kept) for room, is_kept in kept.items()} == {room: row[2] for room, row in NAMED.items()}


async def test_covers_that_were_drawn_are_drawn_anew(tmp_path: Path) -> None:
    """The upgrade orders them in rooms that the bot is in; pictures that were made of avatars stay."""
    path = tmp_path / "aircheck.db"
    with transaction(path) as connection:
        run_migrations(connection, "0003")
    covers = {"!a": ("drawn: Soup", 1), "!b": ("mxc://hs/avatar", 1), "!c": ("drawn: Bread", 0)}
    with closing(sqlite3.connect(path)) as db:
        for room_id, (cover_of, joined) in covers.items():
            db.execute(ROOM, (room_id, f"key{room_id}", f"guid{room_id}", "private", None))
            db.execute("UPDATE rooms SET cover_of = ?, joined = ? WHERE room_id = ?", (cover_of, joined, room_id))
        db.commit()
    store = await Store.own(Place(tmp_path))
    try:
        async with store.read() as read:
            ordered = [orders.Cover.of(job) for job in await jobs.unfinished(read, orders.Cover.kind)]
            kept = {room.room_id: room.cover_of for room in await rooms.all_rooms(read)}
    finally:
        await store.close()
    assert ordered == [orders.Cover(RoomId("!a"))]
    assert kept == {"!a": "", "!b": "mxc://hs/avatar", "!c": ""}


async def test_addresses_that_ended_before_are_noted_where_there_are_some(tmp_path: Path) -> None:
    """The upgrade orders a look at the listeners where one has renewed an address, and else none."""
    found = []
    for name, generation in (("once", 1), ("renewed", 2)):
        path = tmp_path / name / "aircheck.db"
        path.parent.mkdir()
        with transaction(path) as connection:
            run_migrations(connection, "0042")
        with closing(sqlite3.connect(path)) as db:
            row = ("!r", "@a:hs", generation, "hash")
            db.execute("INSERT INTO listeners (room_id, user_id, generation, token_sha256) VALUES (?, ?, ?, ?)", row)
            db.commit()
        store = await Store.own(Place(path.parent))
        async with store.read() as read:
            found.append([orders.NoteEnded.of(job) for job in await jobs.unfinished(read, orders.NoteEnded.kind)])
        await store.close()
    assert found == [[], [orders.NoteEnded()]]
