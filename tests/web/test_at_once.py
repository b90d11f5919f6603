"""Answers that are given again at once: they say the same, and end with what they are made of."""

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import pytest

from bot.web import feeds
from bot.web.connections import Connections
from storage.records import ChunkState, RecordingState, Visibility
from tests.blobs import folder_of
from tests.web.world import ALICE, NOW, World, world_of

_DATE = re.compile(rb"Date: [^\r]*\r\n")


@pytest.fixture(autouse=True)
def _looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files that feeds list looked for once, however long a test takes: by default again after two seconds."""
    monkeypatch.setattr(feeds, "LOOK_EACH_S", 3600.0)


class Poller:
    """An app that asks again and again over one connection. `tasks` counts the answers that took a task."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self._world = world
        self.tasks = 0
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        end = Connections.end

        def ended(*of: Any) -> None:
            self.tasks += 1
            end(*of)

        monkeypatch.setattr(Connections, "end", ended)

    async def ask(self, path: str, method: str = "GET", **headers: str) -> bytes:
        """Return the whole answer, without its date."""
        if self._line is None:
            self._line = await asyncio.open_connection("127.0.0.1", self._world.server.port)
        reader, writer = self._line
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            body = await reader.readexactly(int(length[1])) if length and method != "HEAD" else b""
        assert _DATE.search(head)
        return _DATE.sub(b"", head) + body

    def close(self) -> None:
        if self._line is not None:
            self._line[1].close()


def status(answer: bytes) -> int:
    return int(answer.split()[1])


def tag(answer: bytes) -> str:
    found = re.search(rb"ETag: ([^\r]*)", answer)
    assert found is not None
    return found[1].decode()


async def test_the_same_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is given again is the same in every byte but for its date, and needs no task."""
    room = await world.room(visibility=Visibility.PUBLIC)
    await world.episode(await world.recording(room, title="x" * 2000))
    feed, app = f"/r/{room.key}/feed.xml", Poller(world, monkeypatch)
    known = tag(await app.ask(feed, Accept_Encoding="gzip"))
    cases: list[tuple[str, dict[str, str], int]] = [
        ("GET", {}, 200),
        ("HEAD", {}, 200),
        ("GET", {"Accept-Encoding": "gzip"}, 200),
        ("GET", {"Accept-Encoding": "gzip", "If-None-Match": known}, 304),
        ("HEAD", {"Accept-Encoding": "gzip", "If-None-Match": known}, 304),
        ("GET", {"If-Modified-Since": "Sun, 01 Jan 2090 00:00:00 GMT"}, 304),
        ("GET", {"Range": "bytes=5-99"}, 206),
    ]
    for method, headers, expected in cases:
        first = await app.ask(feed, method, **headers)
        before = app.tasks
        again = await app.ask(feed, method, **headers)
        assert (status(again), again) == (expected, first)
        assert app.tasks == before, (method, headers)
    assert status(await app.ask(feed, If_Match='"other"')) == 412
    app.close()


@pytest.mark.parametrize("how", ["ban", "left", "stale"])
async def test_access_ends_with_the_next_request(world: World, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A personal feed that was given again a moment ago is refused as soon as its address is not open."""
    room = await world.room()
    await world.member(room, ALICE)
    feed, app = f"/p/{await world.listener(room, ALICE)}/feed.xml", Poller(world, monkeypatch)
    answers = [await app.ask(feed) for _ in range(3)]
    assert status(answers[0]) == 200
    assert len(set(answers)) == 1
    match how:
        case "ban":
            await world.member(room, ALICE, "ban")
        case "left":
            await world.change(room, joined=False)
        case "stale":
            world.fresh = False
    assert status(await app.ask(feed)) == (503 if how == "stale" else 410)
    app.close()


async def test_what_becomes_private(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A public feed that was given again a moment ago is gone once its room is private."""
    room = await world.room(visibility=Visibility.PUBLIC)
    feed, app = f"/r/{room.key}/feed.xml", Poller(world, monkeypatch)
    assert [status(await app.ask(feed)) for _ in range(3)] == [200] * 3
    await world.change(room, visibility=Visibility.PRIVATE)
    assert status(await app.ask(feed)) == 404
    app.close()


async def test_live_items_end_at_their_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broadcast that ended leaves the feed by the clock alone, also for who asks again and again."""
    room = await world.room(visibility=Visibility.PUBLIC)
    ended = await world.recording(room, state=RecordingState.COMPLETE, started_at=NOW, ended_at=NOW)
    await world.episode(ended)
    feed, app = f"/r/{room.key}/feed.xml", Poller(world, monkeypatch)
    assert b"liveItem" in await app.ask(feed)
    before = app.tasks
    assert b"liveItem" in await app.ask(feed)
    assert app.tasks == before
    world.clock.pass_by(30 * 60)
    assert b"liveItem" not in await app.ask(feed)
    app.close()


async def test_lost_files_are_looked_for_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed is not given again when it is time to look at the files that it lists."""
    monkeypatch.setattr(feeds, "LOOK_EACH_S", 0.0)
    room = await world.room(visibility=Visibility.PUBLIC)
    lost = await world.episode(await world.recording(room))
    feed, app = f"/r/{room.key}/feed.xml", Poller(world, monkeypatch)
    assert [b"<enclosure" in await app.ask(feed) for _ in range(2)] == [True, True]
    folder_of(world.store).remove(lost.blob)
    assert b"<enclosure" not in await app.ask(feed)
    app.close()


async def test_a_client_has_no_more_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients behind a trusted proxy that have too many requests running get 429, at hand or not."""
    async with world_of(tmp_path / "data", web={"port": 0, "trusted_proxies": ["127.0.0.0/8"]}) as (world, _):
        room = await world.room(visibility=Visibility.PUBLIC)
        feed, app = f"/r/{room.key}/feed.xml", Poller(world, monkeypatch)
        asked = [await app.ask(feed, X_Forwarded_For="8.8.8.8") for _ in range(2)]
        assert [status(answer) for answer in asked] == [200, 200]
        monkeypatch.setattr("bot.web.connections.MOST_OF_A_CLIENT", 0)
        assert status(await app.ask(feed, X_Forwarded_For="8.8.8.8")) == 429
        app.close()


async def test_ranges_of_an_episode(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small range of an episode is given again from its file, until the file is cut or its recording redacted."""
    room = await world.room(visibility=Visibility.PUBLIC)
    recording, sound = await world.recording(room), bytes(range(250)) * 400
    episode = await world.episode(recording, sound)
    path, app = f"/r/{room.key}/{recording.code}.mp3", Poller(world, monkeypatch)
    for headers in ({"Range": "bytes=1000-65999"}, {"Range": "bytes=-7"}, {}, {"If-None-Match": f'"{episode.blob}"'}):
        first = await app.ask(path, **headers)
        before = app.tasks
        assert await app.ask(path, **headers) == first
        assert app.tasks == before, headers
    assert (await app.ask(path, Range="bytes=1000-65999")).endswith(b"\r\n\r\n" + sound[1000:66000])
    assert status(await app.ask(path, Range="bytes=1000-65999", If_Range='"other"')) == 200
    part = folder_of(world.store).directory.parent / world.store.blobs.relative(episode.blob)
    os.truncate(part, 99_000)
    assert status(await app.ask(path, Range="bytes=1000-65999")) == 404
    part.write_bytes(sound)
    assert [status(await app.ask(path, Range="bytes=1000-65999")) for _ in range(3)] == [206] * 3
    await world.chunk(recording, 1, ChunkState.REDACTED)
    assert status(await app.ask(path, Range="bytes=1000-65999")) == 404
    app.close()
