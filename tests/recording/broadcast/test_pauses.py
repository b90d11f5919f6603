"""The places where the speaker of a broadcast resumes after a pause."""

from bot.recording.broadcast.layout import lay_out
from bot.recording.broadcast.pauses import resumptions
from bot.recording.chapters import BEGINNING, MOST, RESUMED, marks
from bot.recording.ledger import Ledger
from bot.recording.model import Change
from storage.records import Chunk, Position
from tests.recording.world import PAGE, PRE_SKIP, SECOND, World, mp4, recording, replayed, slices, stored


def spoken(ledger: Ledger, chunks: tuple[Chunk, ...], *resumed: int) -> list[tuple[int, str]]:
    """Places in milliseconds, with their titles."""
    found = resumptions(ledger, chunks, [Position(place) for place in resumed])
    return [(mark.at, mark.title) for mark in marks(ledger, found)]


def test_the_next_ogg_stream_goes_on_behind_a_pause() -> None:
    """Its serial proves it, though nobody told of a pause."""
    first, second = slices([7, 3]), slices([5], serial=8)
    chunks = tuple(stored(f"${number}", number, facts) for number, facts in enumerate((*first, *second), start=1))
    ledger = lay_out(recording(), chunks)
    at = round((10 * PAGE - PRE_SKIP) * 1000 / SECOND)
    assert spoken(ledger, chunks) == [(0, BEGINNING), (at, RESUMED)]


def test_streams_of_one_chunk_prove_no_pause() -> None:
    """A client that makes each chunk a stream of its own has no chapter for each; its `resumed` is believed."""
    facts = [each for serial in range(4) for each in slices([2], serial=serial)]
    chunks = tuple(stored(f"${number}", number, each) for number, each in enumerate(facts, start=1))
    ledger = lay_out(recording(), chunks)
    length = round((2 * PAGE - PRE_SKIP) * 1000 / SECOND)
    assert spoken(ledger, chunks) == []
    assert spoken(ledger, chunks, chunks[1].position) == [(0, BEGINNING), (2 * length, RESUMED)]


def test_other_containers_go_on_with_the_first_chunk_behind_the_event() -> None:
    """Two events with no sound between them are one chapter; one behind all sound, or before it, is none."""
    chunks = tuple(stored(f"${number}", number, mp4(60)) for number in range(1, 5))
    ledger = lay_out(recording(), chunks)
    behind = chunks[1].position
    assert spoken(ledger, chunks, behind, behind) == [(0, BEGINNING), (120_000, RESUMED)]
    assert spoken(ledger, chunks, chunks[-1].position) == []
    assert spoken(lay_out(recording(), chunks[:1]), chunks[:1], 1) == []


def test_what_is_uploaded_late_is_still_from_before_the_pause() -> None:
    """The end of an Ogg stream that comes behind `resumed` begins no chapter; the next stream does."""
    first, second = slices([4, 2]), slices([4, 2], serial=8)
    chunks = (
        stored("$1", 1, first[0], position=10),
        stored("$2", 2, first[1], position=12),  # `resumed` is at 11
        stored("$3", 3, second[0], position=13),
        stored("$4", 4, second[1], position=14),
    )
    ledger = lay_out(recording(), chunks)
    assert spoken(ledger, chunks, 11) == [(0, BEGINNING), (round((6 * PAGE - PRE_SKIP) * 1000 / SECOND), RESUMED)]


# ---- what the machine keeps


def test_each_pause_that_ends_is_kept_once() -> None:
    """By its place in the timeline; `resumed` without a pause before it is none."""
    world = World()
    world.speak([mp4(5)])
    assert world.change(Change.RESUMED).recording.resumes == ()
    for _ in range(2):
        world.change(Change.PAUSED)
        world.change(Change.RESUMED)
        world.change(Change.RESUMED)
        world.speak([mp4(5)], first=len(world.chunks) + 1)
    assert len(world.recording.resumes) == 2
    resumed = resumptions(world.ledger, world.chunks, world.recording.resumes)
    assert resumed == (5 * SECOND, 10 * SECOND)


def test_they_are_no_more_than_chapters_can_be() -> None:
    """A stranger who pauses without end fills no disk."""
    world = World()
    for _ in range(300):
        world.change(Change.PAUSED)
        world.change(Change.RESUMED)
    assert len(world.recording.resumes) == MOST


def test_a_real_element_web_that_paused() -> None:
    """A real recording paused three times: streams of one chunk each prove no pause, the event does."""
    world = replayed("pauses")
    told = (188_160, 519_360, 657_600)
    assert resumptions(world.ledger, world.chunks, world.recording.resumes) == told
    assert resumptions(world.ledger, world.chunks, ()) == told[:2]
