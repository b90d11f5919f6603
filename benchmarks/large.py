"""Large stores: start-up with many rooms."""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import Table

from benchmarks.figures import Figure, at_most
from benchmarks.http import NOW, get
from benchmarks.usage import resident_mib
from bot.demo.synapse import free_port
from storage import dialect, rooms, tables
from storage.database import Connection
from storage.place import Place
from storage.records import (
    BlobKey,
    Episode,
    EventId,
    Position,
    Recording,
    RecordingId,
    RecordingKind,
    RecordingState,
    Room,
    RoomId,
    StateEvent,
    UserId,
    Visibility,
    to_samples,
)
from storage.rows import columns
from storage.store import Store
from tests.blobs import folder_of

ROOMS, MEMBERS, RECORDINGS = 1000, 20, 5
FILES = 10_000
"""Files of episodes; of more episodes some share one."""
START_S = 1.0
REST_MIB = 130.0
PAGE = 1000
"""Rows of one insert."""
RESTING_S = 10.0  # by then the templates are compiled
ALICE = UserId("@alice:hs")


def room_with(number: int) -> Room:
    made = rooms.new_room(RoomId(f"!room{number}:hs"), NOW)
    return replace(made, joined=True, recording_on=True, visibility=Visibility.PUBLIC)


def state_of(room: Room, members: int) -> Iterator[StateEvent]:
    """Make the state of a room with so many members."""
    contents: list[tuple[str, str, dict[str, Any]]] = [
        ("m.room.create", "", {"room_version": "11"}),
        ("m.room.name", "", {"name": f"Talk {room.room_id}"}),
        ("m.room.power_levels", "", {"users": {ALICE: 100}}),
        ("m.room.history_visibility", "", {"history_visibility": "shared"}),
    ]
    for number in range(members):
        person = {"membership": "join", "displayname": f"User {number}"}
        contents += [("m.room.member", f"@user{number}:hs", person)]
    for kind, key, content in contents:
        yield StateEvent(room.room_id, kind, key, ALICE, content, Position(1))


def episodes_of(room: Room, first: int, count: int) -> Iterator[tuple[Recording, Episode]]:
    """Make published episodes, an hour apart, with ids from `first` on."""
    for number in range(1, count + 1):
        began, row = NOW + timedelta(hours=number), RecordingId(first + number)
        recording = Recording(
            id=row, code=f"{row:06d}".translate(str.maketrans("0123456789", "abcdefghij")), number=number,
            room_id=room.room_id, event_id=EventId(f"${row}"), kind=RecordingKind.VOICE_BROADCAST, broadcaster=ALICE,
            device_id=None, state=RecordingState.COMPLETE, position=Position(row), started_at=began, heard_at=began,
            public=True, title=f"A talk about many things, part {number}", broadcaster_name="Alice",
        )  # fmt: skip
        blob = BlobKey(f"{row % FILES:064x}")
        yield recording, Episode(row, f"guid-{row}", blob, 1, to_samples(3_600_000), NOW, NOW)


def write_files(store: Store, blobs: Iterable[BlobKey]) -> None:
    """Write a file of one byte for each blob: feeds list no episode whose file is gone."""
    for blob in blobs:
        folder = folder_of(store).directory / blob[:2]
        folder.mkdir(exist_ok=True)
        (folder / blob).write_bytes(b"1")


async def fill(directory: Path, count: int, members: int, recordings: int) -> tuple[Room, ...]:
    """Make a store with so many rooms, each with so many members and episodes, by a few large inserts."""
    made = tuple(room_with(number) for number in range(count))
    told = [one for index, room in enumerate(made) for one in episodes_of(room, index * recordings, recordings)]
    store = await Store.own(Place(directory))
    await asyncio.to_thread(write_files, store, {episode.blob for _, episode in told})
    async with store.write() as db:
        states = (event for room in made for event in state_of(room, members))
        for table, records in (
            (tables.rooms, made),
            (tables.room_state, states),
            (tables.recordings, (recording for recording, _ in told)),
            (tables.episodes, (episode for _, episode in told)),
        ):
            await add_all(db, table, records)
        await dialect.gather_statistics(db, tables.metadata.sorted_tables)  # as the server does within a minute
    await store.close()
    return made


async def add_all(db: Connection, table: Table, records: Iterable[Any]) -> None:
    """Insert records in pages: the owner of a database by address has to renew its lease meanwhile."""
    remaining = iter(records)
    while page := [columns(record) for record in islice(remaining, PAGE)]:
        await db.execute(table.insert(), page)


@asynccontextmanager
async def bot_on(directory: Path) -> AsyncIterator[tuple[int, float]]:
    """Run `aircheck run` with no homeserver at its address; give its process and the seconds to the first 200 of
    `/healthz`."""
    port, nobody, place = free_port(), free_port(), Place(directory / "data")
    matrix = {"homeserver": f"http://127.0.0.1:{nobody}", "user_id": "@bot:hs", "password": "none"}
    storage = {"directory": str(place.directory), "database_url": place.database_url}
    tree = {"matrix": matrix, "storage": storage, "web": {"port": port}}
    config = directory / "config.yaml"
    config.write_text(yaml.safe_dump(tree))
    began = time.monotonic()
    command = [sys.executable, "-m", "bot", "run", "-c", str(config)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        assert process.stderr is not None
        while b"running:" not in (said := await process.stderr.readline()):
            assert said, "aircheck ended"
        assert (await get(port, "/healthz", {}, 1))["status"] == "200"
        yield process.pid, time.monotonic() - began
    finally:
        process.terminate()
        await process.communicate()


async def start(directory: Path) -> list[Figure]:
    """Measure the start with many rooms."""
    await fill(directory / "data", ROOMS, MEMBERS, RECORDINGS)
    async with bot_on(directory) as (_, took):
        return [at_most(f"start to `/healthz`, {ROOMS} rooms", took, START_S, "s")]


async def rest(directory: Path) -> list[Figure]:
    """Measure the memory of a bot that has nothing to do, once its templates are compiled."""
    await (await Store.own(Place(directory / "data"))).close()
    async with bot_on(directory) as (process, _):
        await asyncio.sleep(RESTING_S)
        return [at_most("memory at rest, an empty archive", resident_mib(process), REST_MIB, "MiB")]


def figures() -> list[Figure]:
    with tempfile.TemporaryDirectory() as many, tempfile.TemporaryDirectory() as none:
        return [*asyncio.run(start(Path(many))), *asyncio.run(rest(Path(none)))]
