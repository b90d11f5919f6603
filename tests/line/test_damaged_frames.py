"""Chunks with damaged frames: the ledger reports them, though ffmpeg does not."""

from pathlib import Path

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe

from storage.records import RecordingState
from tests.audio.sounds import M4A, WAV, Studio, signal
from tests.line.replay import Capture, replaying
from tests.line.speaker import Speaker

QUIET_S = 60
LENGTH = 240_000  # samples of each chunk


def spoken(folder: Path) -> list[bytes]:
    """Make three chunks, the first with damaged frames."""
    studio = Studio(get_ffmpeg_exe(), folder)
    made = [studio.record(f"{number}", signal(LENGTH, number), M4A if number == 0 else WAV) for number in range(3)]
    first, *others = (path.read_bytes() for path in made)
    half = len(first) // 2
    return [first[:half] + np.random.default_rng(3).bytes(800) + first[half + 800 :], *others]


async def test_what_could_not_be_decoded_is_told_in_the_room(tmp_path: Path) -> None:
    """A damaged chunk keeps its length, and `status` tells how much of it was decoded, also after a late chunk."""
    room = Capture("plain")
    alice = Speaker(room)
    first, second, third = spoken(tmp_path)
    async with replaying(tmp_path / "data") as replay:
        await replay.move_in(room)
        events = [alice.starts(), alice.sends(first, 1), alice.sends(third, 3), alice.tells("stopped", 3)]
        late = alice.sends(second, 2)
        replay.serves(alice.uploads)
        await replay.tell(room.room, events)
        await replay.pass_by(QUIET_S)
        recording = await replay.recording(alice.broadcast)
        assert recording.state is RecordingState.INCOMPLETE
        told = f"1 chunk of {recording.code} sounded 0.1 s shorter than it should."
        assert told in await replay.ask(room.room, "!aircheck status")
        await replay.tell(room.room, [late])
        assert (await replay.recording(alice.broadcast)).state is RecordingState.COMPLETE
        assert (await replay.ledger(alice.broadcast)).samples == 3 * LENGTH
        assert told in await replay.ask(room.room, "!aircheck status")
