"""Server CPU per request: feed, 304, small and large ranges of an episode; beside nginx where it is installed."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.usage import cpu_of, database_cpu
from bot.settings import validate
from bot.web.server import WebServer
from storage import archive, rooms
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
    RoomId,
    UserId,
    Visibility,
    to_samples,
)
from storage.store import Store
from tests.blobs import folder_of
from tests.connections import connected

EPISODES = 300  # a feed of about 160 kB
AUDIO_BYTES = 30_000_000
CONNECTIONS = 16
NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)

Row = tuple[str, int, float, float]  # name, requests, requests per second, CPU in µs per request


async def fill(store: Store) -> tuple[str, str]:
    """Make a public room with many episodes; return its key and the code of the newest episode."""
    audio = os.urandom(AUDIO_BYTES)
    blob = BlobKey(sha256(audio).hexdigest())
    part = store.blobs.part(blob)
    part.write_bytes(audio)
    folder_of(store).add(part, blob)
    made = rooms.new_room(RoomId("!bench:hs"), NOW)
    room = replace(made, joined=True, visibility=Visibility.PUBLIC)
    async with store.write() as db:
        await rooms.save_room(db, room)
        for number in range(EPISODES):
            began = NOW + timedelta(hours=number)
            recording = await archive.add_recording(
                db,
                Recording(
                    id=RecordingId(0), code="", number=0, room_id=room.room_id, event_id=EventId(f"${number}"),
                    kind=RecordingKind.VOICE_BROADCAST, broadcaster=UserId("@a:hs"), device_id=None,
                    state=RecordingState.COMPLETE, position=Position(number), started_at=began, heard_at=began,
                    public=True, title=f"A talk about many things, part {number}", broadcaster_name="Alice",
                ),
            )  # fmt: skip
            episode = Episode(recording.id, f"guid-{number}", blob, AUDIO_BYTES, to_samples(3_600_000), NOW, NOW)
            await archive.save_episode(db, episode)
    return room.key, recording.code


async def serve(directory: Path, address: str | None = None) -> None:
    """Run as the server's process: print the port and paths, then serve until ended."""
    store = await Store.own(Place(directory, address))
    key, code = await fill(store)
    settings = validate({"matrix": {"homeserver": "https://hs", "user_id": "@bot:hs"}, "web": {"port": 0}})
    server = WebServer(store, settings, lambda: True)
    await server.start()
    print(server.port, f"/r/{key}/feed.xml", f"/r/{key}/{code}.mp3", flush=True)
    await asyncio.Event().wait()


async def get(port: int, path: str, headers: dict[str, str], count: int) -> dict[str, str]:
    """Send `count` requests in turn over one connection; return the headers of the last answer."""
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\n{head}\r\n".encode()
    found: dict[str, str] = {}
    async with connected(port, limit=4 * 1024 * 1024) as (reader, writer):
        for _ in range(count):
            writer.write(request)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            found = {"status": lines[0].split()[1]}
            found |= {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            if found["status"] != "304":
                await reader.readexactly(int(found["content-length"]))
    return found


async def measure(process: int, port: int, feed: str, audio: str) -> list[Row]:
    gzip = {"Accept-Encoding": "gzip"}
    known = await get(port, feed, gzip, 1)
    cases = [
        ("feed", feed, {}, 2000, "200"),
        ("feed, gzip", feed, gzip, 4000, "200"),
        ("feed, 304", feed, {**gzip, "If-None-Match": known["etag"]}, 8000, "304"),
        ("range 64 KiB", audio, {"Range": "bytes=1000000-1065535"}, 8000, "206"),
        ("range 1 MiB", audio, {"Range": "bytes=1000000-2048575"}, 1600, "206"),
    ]
    rows = []
    for name, path, headers, count, status in cases:
        found = await get(port, path, headers, 50)
        assert found["status"] == status, (name, found)
        loop = asyncio.get_running_loop()
        cpu, began = cpu_of(process) + database_cpu(), loop.time()
        await asyncio.gather(*(get(port, path, headers, count // CONNECTIONS) for _ in range(CONNECTIONS)))
        took, spent = loop.time() - began, cpu_of(process) + database_cpu() - cpu
        rows.append((name, count, count / took, spent / count * 1e6))
    return rows


@contextlib.asynccontextmanager
async def ours(directory: Path) -> AsyncIterator[tuple[int, int, str, str]]:
    address = Place(directory).database_url
    command = [sys.executable, "-m", "benchmarks.http", str(directory), *([address] if address else [])]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        port, feed, audio = (await process.stdout.readline()).decode().split()
        yield process.pid, int(port), feed, audio
    finally:
        process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def nginx(directory: Path, feed: bytes, audio: Path) -> AsyncIterator[tuple[int, int, str, str]]:
    """Run one nginx worker over the same bytes, with the feed compressed beforehand as Aircheck's is."""
    root = directory / "nginx"
    root.mkdir()
    (root / "feed.xml").write_bytes(feed)
    subprocess.run(["gzip", "-k", str(root / "feed.xml")], check=True)  # noqa: ASYNC221  before anything is measured
    (root / "audio.mp3").symlink_to(audio)
    port = 18_940
    config = root / "nginx.conf"
    config.write_text(
        f"daemon off; pid {root}/pid; worker_processes 1; error_log {root}/error.log; events {{}}\n"
        f"http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; gzip_static on;\n"
        f"server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
    )
    process = await asyncio.create_subprocess_exec("nginx", "-p", str(root), "-c", str(config))
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                await get(port, "/audio.mp3", {"Range": "bytes=0-0"}, 1)
                break
            await asyncio.sleep(0.05)
        yield process.pid, port, "/feed.xml", "/audio.mp3"
    finally:
        process.terminate()
        await process.wait()


async def compare() -> tuple[list[Row], list[Row]]:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        os.chmod(folder, 0o755)  # noqa: PTH101  nginx's own user reads in it
        async with ours(directory / "data") as (pid, port, feed, audio):
            mine = await measure(pid, port, feed, audio)
            body = await _body(port, feed)
        if shutil.which("nginx") is None:
            return mine, []
        blob = max((directory / "data" / "blobs").rglob("*"), key=lambda path: path.stat().st_size)
        copy = directory / "audio.bin"  # readable for nginx's user
        shutil.copyfile(blob, copy)
        async with nginx(directory, body, copy) as (pid, port, feed, audio):
            return mine, await measure(pid, port, feed, audio)


async def _body(port: int, path: str) -> bytes:
    async with connected(port) as (reader, writer):
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = await reader.read()
    return answer.partition(b"\r\n\r\n")[2]


BOUNDS = {"feed": 2, "feed, gzip": 2, "feed, 304": 2.5, "range 64 KiB": 1.5, "range 1 MiB": 1.5}


def figures() -> list[Figure]:
    """Compare the CPU of requests with nginx's; without nginx, report it alone."""
    mine, theirs = asyncio.run(compare())
    other = {name: cpu for name, _, _, cpu in theirs}
    found = []
    for name, _, rate, cpu in mine:
        ratio = cpu / other[name] if other.get(name) else None
        measured = f"{cpu:.0f} µs, {rate:.0f} requests/s"
        measured = f"{ratio:.1f} x ({measured})" if ratio is not None else f"no nginx here ({measured})"
        within = ratio <= BOUNDS[name] if ratio is not None else None
        found.append(Figure(f"CPU per request: {name}", f"≤ {BOUNDS[name]:g} x nginx", measured, within, value=cpu))
    return found


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), *sys.argv[2:]))
