"""Calls: the stems of each window are mixed while the call runs, and the episode is made of the windows."""

import numpy as np
from numpy.typing import NDArray

from storage.records import SAMPLE_RATE, RecordingState
from tests.audio.sounds import lag, signal
from tests.worker.calls_world import BEN, begin
from tests.worker.session_world import sound
from tests.world import World


def placed(length: int, *sounds: tuple[int, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the sum of sounds at their places."""
    row = np.zeros(length, np.float32)
    for at, some in sounds:
        row[at : at + len(some)] += some[: max(0, length - at)]
    return row


async def test_a_call_with_two_stems_becomes_an_episode(world: World) -> None:
    """Each window is in the live track when it is over. The episode lasts to the last sound, and each stem is at its
    place in it."""
    one, other = signal(SAMPLE_RATE * 24, 1), signal(SAMPLE_RATE * 9, 2)
    call = await begin(world)
    await call.speak(one, 2 * SAMPLE_RATE)
    await call.speak(other, 14 * SAMPLE_RATE + 77, BEN)
    await call.run(2)
    assert [len(cut.parts) for cut in await call.cuts()] == [1, 2]
    await call.end()
    assert (await call.recording()).state is RecordingState.COMPLETE
    made, file = await call.episode()
    heard = sound(world, file)
    assert abs(made.samples - 26 * SAMPLE_RATE) < 2_000
    assert len(heard) == made.samples
    alone = placed(made.samples, (2 * SAMPLE_RATE, one))
    both = placed(made.samples, (14 * SAMPLE_RATE + 77, other))
    for place in range(3, 13, 3):
        assert abs(lag(alone, heard, place * SAMPLE_RATE)) <= 1
    for place in range(15, 22, 3):
        assert abs(lag(both, heard, place * SAMPLE_RATE)) <= 1
