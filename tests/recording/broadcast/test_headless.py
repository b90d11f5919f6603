"""Chunks whose OpusHead nobody knows: they stand where they would stand with it."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.recording.broadcast.layout import lay_out
from bot.recording.broadcast.runs import streams
from bot.recording.ledger import Ledger, fingerprint
from storage.records import ChunkFacts, ChunkId, ChunkState, EndedBy
from tests.recording.broadcast.test_orphans import VOICE, say_voice, state_of
from tests.recording.world import PAGE, PRE_SKIP, World, recording, shape, slices, stored

ENDED = recording(ended_by=EndedBy.STOPPED)


def headless(facts: ChunkFacts) -> ChunkFacts:
    return with_head(facts, "")


def with_head(facts: ChunkFacts, head: str) -> ChunkFacts:
    assert facts.ogg is not None
    return replace(facts, ogg=replace(facts.ogg, head_sha256=head))


def laid_out(pieces: Iterable[tuple[int, ChunkFacts]]) -> Ledger:
    return lay_out(ENDED, [stored(f"${number}", number, facts) for number, facts in pieces])


@given(data=st.data())
def test_which_chunks_have_a_head_makes_no_difference(data: st.DataObject) -> None:
    """Any chunks of two runs may lack their head or be lost, in any order: the ledger is the same."""
    lengths = st.lists(st.integers(1, 7), min_size=1, max_size=5)
    pieces = [*slices(data.draw(lengths)), *slices(data.draw(lengths), serial=8)]
    there = [each for each in enumerate(pieces, start=1) if data.draw(st.booleans())]
    bare = [(number, headless(facts)) if data.draw(st.booleans()) else (number, facts) for number, facts in there]
    wanted, found = laid_out(there), laid_out(data.draw(st.permutations(bare)))
    assert found == wanted
    assert fingerprint(found) == fingerprint(wanted)


def test_a_run_without_any_head_pays_the_usual_pre_skip() -> None:
    """Its beginning is what the encoder of every known client makes before the sound."""
    ledger = laid_out((number, headless(facts)) for number, facts in enumerate(slices([7, 3]), start=1))
    assert [entry.samples for entry in ledger.entries] == [7 * PAGE - PRE_SKIP, 3 * PAGE]
    assert ledger.proved


def test_another_serial_is_another_run() -> None:
    """Pages that would fit are nothing without the serial."""
    first, second = slices([7, 3])
    assert second.ogg is not None
    other = replace(second, ogg=replace(second.ogg, serial=8, head_sha256=""))
    ledger = laid_out([(1, first), (2, other)])
    assert not any(entry.continues for entry in ledger.entries)
    assert not ledger.proved


def test_of_two_heads_the_one_before_counts() -> None:
    """A chunk without a head has that of the pages before it, else the first, where a serial has two heads."""
    facts = slices([7, 7, 7, 7, 7])
    heads = ["", "one", "", "two", ""]
    chunks = [
        stored(str(number), number, with_head(each, head))
        for number, (each, head) in enumerate(zip(facts, heads, strict=True))
    ]
    assert [streams(chunks)[ChunkId(str(number))] for number in range(5)] == [
        (7, "one"),
        (7, "one"),
        (7, "one"),
        (7, "two"),
        (7, "two"),
    ]


@pytest.mark.parametrize("head_is_lost", [True, False])
def test_one_that_came_back_as_a_voice_message_is_put_in(head_is_lost: bool) -> None:
    """Its pages prove it by the serial, whether it lacks the head or they do."""
    first, second, third = slices([7, 7, 3])
    if head_is_lost:
        second, third, lost, numbers = headless(second), headless(third), first, (2, 3)
        there = [second, third]
    else:
        lost, numbers = headless(second), (1, 3)
        there = [first, headless(third)]
    world = World()
    for number, facts in zip(numbers, there, strict=True):
        world.say(f"${number}", number, facts)
    say_voice(world, lost)
    assert state_of(world) is ChunkState.WAITING_FOR_MEDIA
    world.store(VOICE, lost)
    world.stop(3)
    names = [VOICE if number not in numbers else f"${number}" for number in (1, 2, 3)]
    assert shape(world.ledger) == [(name, number, "stored") for number, name in enumerate(names, start=1)]
    assert world.ledger.proved
