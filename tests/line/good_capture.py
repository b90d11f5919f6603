"""A good broadcast beside which something goes wrong, and checks that it came through."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.records import RecordingState
from tests.line.replay import Capture, Replay, assert_heard_whole, replaying


@pytest.fixture
async def replay(tmp_path: Path) -> AsyncIterator[Replay]:
    async with replaying(tmp_path / "data", changed={"recording": {"max_chunk_bytes": 1_000_000}}) as made:
        yield made


@pytest.fixture
def good() -> Capture:
    """The captured broadcast, which the bad events must not disturb."""
    return Capture("plain")


@pytest.fixture(autouse=True)
def all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def lines_about(caplog: pytest.LogCaptureFixture, *words: str) -> list[str]:
    """List the log lines that hold all of these words."""
    ours = [record.getMessage() for record in caplog.records if record.name.partition(".")[0] in ("bot", "storage")]
    return [message for message in ours if all(word in message for word in words)]


def no_mistakes_of_ours(caplog: pytest.LogCaptureFixture) -> bool:
    """Check that no traceback was logged."""
    return not [record for record in caplog.records if record.exc_info]


async def assert_good(replay: Replay, good: Capture, folder: Path) -> None:
    """Check that the good broadcast is a whole episode."""
    assert (await replay.recording(good.started)).state is RecordingState.COMPLETE
    await assert_heard_whole(await replay.audio(good.started), good.files, folder)
