"""Broadcasts of Element Web's broken eras, through the whole line."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from storage.records import RecordingState
from tests.audio.eras import headers_of_the_run_before, no_headers
from tests.line.replay import Capture, assert_heard_whole, joined_runs, length_of, replaying

Era = Callable[[Sequence[bytes]], list[bytes]]


@pytest.mark.parametrize("era", [headers_of_the_run_before, no_headers])
async def test_a_resumed_broadcast_of_a_broken_era_is_complete(era: Era, tmp_path: Path) -> None:
    """A resumed broadcast of a broken era is complete at once, with the exact length and sound."""
    capture = Capture("plain")
    broken = era(capture.files)
    assert sum(one != other for one, other in zip(broken, capture.files, strict=True)) >= 1
    async with replaying(tmp_path / "data") as replay:
        await replay.move_in(capture)
        replay.serves(dict(zip(capture.uploads, broken, strict=True)))
        await replay.tell(capture.room, capture.broadcast)
        assert (await replay.recording(capture.started)).state is RecordingState.COMPLETE
        ledger = await replay.ledger(capture.started)
        assert (ledger.proved, ledger.gaps) == (True, ())
        assert ledger.samples == sum(map(length_of, joined_runs(capture.files)))
        await assert_heard_whole(await replay.audio(capture.started), capture.files, tmp_path)
