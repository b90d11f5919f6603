"""The kinds of broadcasts in a soak."""

import random

import pytest

from benchmarks.soaking.ways import FATES, Does, Step, Way, steps

CHUNKS = 6


def sent(way: Way) -> list[Step]:
    return [step for step in steps(way, CHUNKS, random.Random(1)) if step.does is Does.SEND]


@pytest.mark.parametrize("way", Way)
def test_every_chunk_is_sent_once(way: Way) -> None:
    """Each chunk has one event and a number of its own; only a crash sends no tail."""
    chunks = CHUNKS - 1 if way is Way.CRASHED else CHUNKS
    assert sorted(step.chunk for step in sent(way)) == list(range(chunks))
    assert sorted(step.number for step in sent(way)) == list(range(1, chunks + 1))


@pytest.mark.parametrize("way", Way)
def test_what_is_promised_follows_from_what_is_done(way: Way) -> None:
    """The promised outcome follows from the steps."""
    done = {step.does for step in steps(way, CHUNKS, random.Random(1))}
    fate = FATES[way]
    assert (fate.ended_by == "abandoned") == (Does.STOP not in done)
    assert (fate.state == "deleted") == (Does.WITHDRAW in done) == (not fate.episode)
    assert (fate.state == "complete") == (not done & {Does.WITHDRAW, Does.REDACT} and Does.STOP in done)


def test_what_comes_too_late_comes_too_late() -> None:
    """A late chunk follows the stop, so does the last of an early stop; swapped chunks swap numbers."""
    chance = random.Random(1)
    late = [step.does for step in steps(Way.LATE, CHUNKS, chance)]
    assert late.index(Does.STOP) == len(late) - 2
    early = steps(Way.EARLY_STOP, CHUNKS, chance)
    assert (early[-2].does, early[-1]) == (Does.STOP, Step(Does.SEND, CHUNKS - 1, CHUNKS))
    assert [step.number for step in sent(Way.SWAPPED)] == list(range(1, CHUNKS + 1))
    assert sum(step.chunk + 1 != step.number for step in sent(Way.SWAPPED)) == 2
