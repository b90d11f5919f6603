"""The process may die at each write: what comes of it after a start is what would have come of it anyway."""

import asyncio
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.audio.encode import MadeEpisode
from bot.audio.plan import Piece, length
from bot.worker import fetching, finishing, pictures
from storage import archive
from storage.records import ChunkFacts, Container, EventId, JobKind, Samples, Timing
from tests.shell import START, Killed, Shell, chunk, heard, info, shell

C1, C2, C3 = EventId("$c1"), EventId("$c2"), EventId("$c3")


async def quick_look(part: Path, *_: Any, **__: Any) -> ChunkFacts:
    return ChunkFacts(Container.WAV, Timing.EXACT, Samples(48_000), 48_000, 1)


async def quick_episode(pieces: Sequence[Piece], out: Path, **_: Any) -> MadeEpisode:
    """As many bytes as there are pieces, that no other pieces give."""
    data = repr([(type(one).__name__, one.samples, getattr(one, "path", Path()).name) for one in pieces]).encode()
    await asyncio.to_thread(out.write_bytes, data)
    return MadeEpisode(len(data), hashlib.sha256(data).hexdigest(), length(pieces), 0.0)


@pytest.fixture(autouse=True)
def without_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried here is the order of writes, some hundred times over."""
    monkeypatch.setattr(fetching, "inspect_chunk", quick_look)
    monkeypatch.setattr(finishing, "make_episode", quick_episode)
    monkeypatch.setattr(pictures, "drawn_cover", lambda name, key: f"{name} {key}".encode())


async def story(stage: Shell) -> None:
    """Two chunks become an episode, a late third one heals it, and the first one is redacted."""
    await stage.hear(info(START, "started"), chunk(C1, 1), chunk(C2, 2))
    await stage.work()
    await stage.hear(info("$stop", "stopped", last_chunk_sequence=3))
    stage.clock.pass_by(61)
    await stage.work()
    await stage.hear(chunk(C3, 3))
    await stage.work()
    await stage.hear(heard("$r", "m.room.redaction", {}, redacts=C1))
    stage.clock.pass_by(7200)
    await stage.work()


async def outcome(stage: Shell) -> dict[str, Any]:
    """All that lasts, but for what is random or a time."""
    await stage.keeper.sweep()
    await stage.work()
    recording = await stage.recording()
    async with stage.store.read() as db:
        chunks = await archive.chunks(db, recording.id)
        episode = await archive.episode(db, recording.id)
    assert episode is not None
    return {
        "state": recording.state,
        "chunks": [(one.event_id, one.state, one.blob, one.source) for one in chunks],
        "samples": episode.samples,
        "fingerprint": episode.fingerprint,
        "listed": episode.published_at is not None,
        "files": len(stage.files()),
        "episode": episode.blob in stage.files(),
        "notices": len(await stage.waiting(JobKind.NOTICE)),
        "scratch": list(stage.store.blobs.scratch.iterdir()),
    }


async def undisturbed(directory: Path) -> tuple[dict[str, Any], int]:
    """What comes of the story when nothing happens, and how many writes it takes."""
    async with shell(directory) as stage:
        stage.store.die_at(-1, after_commit=False)
        await story(stage)
        assert stage.store.left is not None
        return await outcome(stage), -1 - stage.store.left


@pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after"])
async def test_whatever_the_process_died_at_nothing_is_lost_or_doubled(tmp_path: Path, after_commit: bool) -> None:
    """Killed at each write in turn, or after every fourth commit, the same recording, files and notices are there."""
    begun = tmp_path / "begun"
    async with shell(begun) as stage:
        await stage.join()
    expected, writes = await undisturbed(shutil.copytree(begun, tmp_path / "undisturbed"))
    assert writes > 20
    for number in range(1, writes + 1, 4 if after_commit else 1):
        async with shell(shutil.copytree(begun, tmp_path / str(number))) as stage:
            stage.store.die_at(number, after_commit=after_commit)
            with pytest.raises(Killed):
                await story(stage)
            await stage.rise_again()
            await stage.work()
            await story(stage)  # what the homeserver tells again, it being in doubt
            assert await outcome(stage) == expected, f"died at write {number}"
