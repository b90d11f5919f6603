"""Space that runs out, on the disk or for a room: nothing is lost that was sent, and somebody is told."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from bot.worker import attempts
from storage.database import Connection
from storage.errors import DiskFullError
from storage.records import ChunkState, RecordingState
from tests.line.good_capture import all_is_logged, assert_good, good, lines_about, no_mistakes_of_ours, replay
from tests.line.replay import ALICE, Capture, Replay, address_of, replaying

__all__ = ["all_is_logged", "good", "replay"]  # fixtures

QUIET_S = 60
LONGEST_PAUSE_S = attempts.LONGEST_PAUSE_S * 1.25  # with its jitter


async def test_a_room_that_has_used_up_its_space_is_told_once(good: Capture, tmp_path: Path) -> None:
    """Above `storage.max_bytes_per_room` new chunks are refused, old ones stay, and the room reads why once."""
    async with replaying(tmp_path / "data", changed={"storage": {"max_bytes_per_room": 20_000}}) as replay:
        await replay.move_in(good)
        for one in good.broadcast:
            await replay.tell(good.room, [one])
        await replay.pass_by(QUIET_S)
        states = [(chunk.state, chunk.reason) for chunk in (await replay.chunks(good.started)).values()]
        assert states == [(ChunkState.STORED, None)] * 2 + [(ChunkState.REFUSED, "room_full")] * 3
        assert sum("space" in said for said in replay.said) == 1
        assert (await replay.recording(good.started)).state is RecordingState.INCOMPLETE


async def test_too_little_space_is_told_to_the_admins(good: Capture, tmp_path: Path) -> None:
    """Below `storage.min_free_bytes` downloads wait; each admin is told once a day."""
    async with replaying(tmp_path / "data", changed={"storage": {"min_free_bytes": 1 << 60}}) as replay:
        await replay.move_in(good)
        await replay.tell(good.room, good.broadcast)
        await replay.pass_by(3600)
        assert replay.homeserver.asked == []
        assert {chunk.state for chunk in (await replay.chunks(good.started)).values()} == {ChunkState.WAITING_FOR_MEDIA}
        assert [who for who, _ in replay.written] == [ALICE]
        assert "storage.min_free_bytes" in replay.written[0][1]


class Disk:
    """A disk that fails to sync while `full`, which is when kernels often report it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.refused = 0
        self._sync = os.fsync
        monkeypatch.setattr(os, "fsync", self._fsync)

    def _fsync(self, descriptor: int) -> None:
        if self.full:
            self.refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._sync(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


async def test_a_disk_that_is_full_while_chunks_come_loses_none(
    replay: Replay, good: Capture, disk: Disk, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Downloads wait for space, with one log line for each try; afterwards the episode is whole."""
    await replay.move_in(good)
    disk.full = True
    await replay.tell(good.room, good.broadcast)
    assert disk.refused == len(good.files)
    lines = lines_about(caplog, "the disk is full")
    assert len(lines) == len(set(lines)) == len(good.files)
    assert list(replay.store.blobs.scratch.iterdir()) == []
    disk.full = False
    await replay.pass_by(QUIET_S)
    await assert_good(replay, good, tmp_path)
    assert no_mistakes_of_ours(caplog)


async def test_a_disk_that_is_full_while_an_episode_is_made_loses_nothing(
    replay: Replay, good: Capture, disk: Disk, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Finishing is tried again until there is space; then the episode is whole."""
    *before, stopped = good.broadcast
    await replay.move_in(good)
    await replay.tell(good.room, before)
    disk.full = True
    await replay.tell(good.room, [stopped])
    for _ in range(6):
        await replay.pass_by(LONGEST_PAUSE_S)
    assert len(lines_about(caplog, "disk", "finish")) == 7
    assert await replay.episode(good.started) is None
    disk.full = False
    await replay.pass_by(LONGEST_PAUSE_S)
    await assert_good(replay, good, tmp_path)
    assert no_mistakes_of_ours(caplog)


async def test_a_database_without_room_stops_nothing_for_good(
    replay: Replay, good: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """While no transaction can be written the lanes run on; with space again the episode is whole."""
    monkeypatch.setattr(attempts, "STORE_TROUBLE_PAUSE_S", 0.01)  # of the real clock
    write, full, refused, begun = replay.store.write, asyncio.Event(), asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def writing() -> AsyncIterator[Connection]:
        async with write() as db:
            yield db
            if full.is_set():
                refused.set()
                raise DiskFullError("the disk is full: the database could not be written")

    async def late(_: web.Request) -> web.Response:
        await begun.wait()
        return web.Response(body=upload)

    monkeypatch.setattr(replay.store, "write", writing)
    await replay.move_in(good)
    mxc, upload = next(iter(good.uploads.items()))
    replay.homeserver.answers[address_of(mxc)] = late
    await replay.hear(good.room, good.broadcast)
    full.set()
    begun.set()
    await asyncio.wait_for(refused.wait(), 60)
    assert replay.worker.healthy
    full.clear()
    await replay.settled()
    await replay.pass_by(QUIET_S)
    assert replay.worker.healthy
    await assert_good(replay, good, tmp_path)
