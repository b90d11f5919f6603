"""Large stores: start-up with many rooms, and pages of a long feed."""

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from benchmarks.figures import Figure, at_most
from benchmarks.http import NOW, get
from benchmarks.pipeline import settings_for
from bot.demo.synapse import free_port
from bot.web.server import WebServer
from storage import rooms, tables
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

ROOMS, MEMBERS, RECORDINGS = 1000, 20, 5
EPISODES = 10_000
START_S = 3.0
FIRST_PAGE_S = 0.1
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
        yield recording, Episode(row, f"guid-{row}", BlobKey(f"{row:064x}"), 1, to_samples(3_600_000), NOW, NOW)


async def fill(directory: Path, count: int, members: int, recordings: int) -> tuple[Room, ...]:
    """Make a store with so many rooms, each with so many members and episodes, by a few large inserts."""
    made = tuple(room_with(number) for number in range(count))
    told = [one for index, room in enumerate(made) for one in episodes_of(room, index * recordings, recordings)]
    store = await Store.own(directory)
    async with store.write() as db:
        states = (event for room in made for event in state_of(room, members))
        for table, records in (
            (tables.rooms, made),
            (tables.room_state, states),
            (tables.recordings, (recording for recording, _ in told)),
            (tables.episodes, (episode for _, episode in told)),
        ):
            await db.execute(table.insert(), [columns(record) for record in records])
    await store.close()
    return made


async def start(directory: Path) -> list[Figure]:
    """Measure `aircheck run` up to the first 200 of `/healthz`, with no homeserver at its address."""
    await fill(directory / "data", ROOMS, MEMBERS, RECORDINGS)
    port, nobody = free_port(), free_port()
    matrix = {"homeserver": f"http://127.0.0.1:{nobody}", "user_id": "@bot:hs", "password": "none"}
    tree = {"matrix": matrix, "storage": {"directory": str(directory / "data")}, "web": {"port": port}}
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
        took = time.monotonic() - began
    finally:
        process.terminate()
        await process.communicate()
    return [at_most(f"start to `/healthz`, {ROOMS} rooms", took, START_S, "s")]


async def first_page(directory: Path) -> list[Figure]:
    """Measure the first request of a fresh server, the first one after a change, and an old page of the feed."""
    (room,) = await fill(directory, 1, MEMBERS, EPISODES)
    store = await Store.own(directory)
    server = WebServer(store, settings_for(directory), lambda: True)
    await server.start()
    try:
        cold = await _timed(server.port, f"/r/{room.key}/feed.xml")
        async with store.write() as db:
            await rooms.touch(db, room.room_id, datetime.now(UTC))
        changed = await _timed(server.port, f"/r/{room.key}/feed.xml")
        last = await _timed(server.port, f"/r/{room.key}/feed-{EPISODES // 300}.xml")
    finally:
        await server.stop()
        await store.close()
    more = f" ({changed:.2f} s after a change, {last:.2f} s for a late page)"
    return [at_most(f"first page of a {EPISODES}-episode feed, cold", cold, FIRST_PAGE_S, "s", more)]


async def _timed(port: int, path: str) -> float:
    began = time.monotonic()
    found = await get(port, path, {"Accept-Encoding": "gzip"}, 1)
    assert found["status"] == "200", found
    return time.monotonic() - began


def figures() -> list[Figure]:
    found = []
    for benchmark in (start, first_page):
        with tempfile.TemporaryDirectory() as folder:
            found += asyncio.run(benchmark(Path(folder)))
    return found
