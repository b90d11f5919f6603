"""Order, gaps and proofs of completeness."""

from dataclasses import replace
from itertools import permutations

import pytest

from bot.recording.broadcast.layout import MAX_SILENCE, lay_out
from bot.recording.ledger import Gap, fingerprint
from storage.records import (
    Chunk,
    ChunkFacts,
    ChunkId,
    ChunkState,
    DurationMs,
    EndedBy,
    Hole,
    Position,
    Recording,
    RecordingState,
    Samples,
    Timing,
)
from tests.recording.world import (
    PAGE,
    PRE_SKIP,
    SECOND,
    absent,
    blob,
    mp4,
    ogg,
    recording,
    replayed,
    shape,
    slices,
    stored,
)

OVER = recording(state=RecordingState.FINISHING, ended_by=EndedBy.STOPPED)


def announced(last: int) -> Recording:
    return replace(OVER, announced_last=last)


def run(*lengths: int, serial: int = 7, first: int = 1, eos: bool = True) -> list[Chunk]:
    """Return a run of Element Web's, numbered from `first`: `$1`, `$2`, …"""
    found = slices(lengths, serial=serial, eos=eos)
    return [stored(f"${number}", number, facts) for number, facts in enumerate(found, start=first)]


def test_one_run_pays_the_pre_skip_once() -> None:
    """The first chunk of a run is shorter by the pre-skip, the others are as long as their packets."""
    ledger = lay_out(OVER, run(7, 7, 3))
    assert [(entry.samples, entry.continues) for entry in ledger.entries] == [
        (7 * PAGE - PRE_SKIP, False),
        (7 * PAGE, True),
        (3 * PAGE, True),
    ]
    assert [entry.position for entry in ledger.entries] == [0, 7 * PAGE - PRE_SKIP, 14 * PAGE - PRE_SKIP]
    assert (ledger.samples, ledger.proved, ledger.complete, ledger.certain) == (17 * PAGE - PRE_SKIP, True, True, True)
    assert ledger.gaps == ()


def test_end_trim_of_the_last_page() -> None:
    """Samples that the last granule cuts off are not counted."""
    facts = slices([7, 3])
    last = facts[1].ogg
    assert last is not None
    cut = replace(facts[1], ogg=replace(last, end_granule=last.end_granule - 500))
    ledger = lay_out(OVER, [stored("$1", 1, facts[0]), stored("$2", 2, cut)])
    assert ledger.samples == 10 * PAGE - PRE_SKIP - 500


def test_end_trim_of_a_last_page_that_stands_alone() -> None:
    """A last page alone tells only its end; the chunk before it, if there is one, tells where it begins."""
    first, alone = slices([7, 1])
    last = alone.ogg
    assert last is not None
    cut = replace(alone, ogg=replace(last, start_granule=last.start_granule - 500, end_granule=last.end_granule - 500))
    ledger = lay_out(OVER, [stored("$1", 1, first), stored("$2", 2, cut)])
    assert ledger.samples == 8 * PAGE - PRE_SKIP - 500
    assert ledger.complete
    beheaded = lay_out(OVER, [absent("$1", 1, ChunkState.DAMAGED), stored("$2", 2, cut)])
    assert beheaded.entries[1].samples == PAGE


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_pages_decide_within_a_run(order: tuple[int, ...]) -> None:
    """However the uploads were numbered, the sound has the order of the pages."""
    facts = slices([7, 7, 3])
    chunks = [stored(f"$p{page}", number, facts[page]) for number, page in enumerate(order, start=1)]
    ledger = lay_out(OVER, chunks)
    assert [entry.chunk_id for entry in ledger.entries] == ["$p0", "$p1", "$p2"]
    assert ledger.certain


def test_runs_by_their_lowest_number() -> None:
    """After a pause the next run follows, though its head was numbered before the slow tail of the first."""
    first, second = slices([7, 3], serial=1), slices([7, 2], serial=2)
    chunks = [
        stored("$a1", 1, first[0]),
        stored("$a2", 3, first[1]),
        stored("$b1", 2, second[0]),
        stored("$b2", 4, second[1]),
    ]
    ledger = lay_out(OVER, chunks)
    assert [entry.chunk_id for entry in ledger.entries] == ["$a1", "$a2", "$b1", "$b2"]
    assert [entry.continues for entry in ledger.entries] == [False, True, False, True]
    assert ledger.samples == 19 * PAGE - 2 * PRE_SKIP


def test_without_numbers_the_timeline_decides() -> None:
    """If one chunk has no number, runs stand as they came; inside a run pages still decide."""
    first, second = slices([7, 3], serial=1), slices([7], serial=2)
    chunks = [
        stored("$a2", None, first[1], position=20),
        stored("$a1", 9, first[0], position=21),
        stored("$b1", 1, second[0], position=30),
    ]
    ledger = lay_out(OVER, chunks)
    assert [entry.chunk_id for entry in ledger.entries] == ["$a1", "$a2", "$b1"]
    assert (ledger.complete, ledger.certain) == (True, False)


def test_without_numbers_and_pages_nothing_is_known() -> None:
    """Chunks that have neither numbers nor pages are never known to be complete."""
    ledger = lay_out(OVER, [stored("$1", None, mp4(), position=5), stored("$2", 1, mp4(), position=6)])
    assert (ledger.complete, ledger.gaps) == (False, ())


# ---- gaps


def test_missing_in_the_middle_of_a_run_is_as_long_as_the_granules_say() -> None:
    """A lost chunk between two of its run is silence of exactly its length; the one behind it still carries on."""
    facts = slices([7, 6, 3])
    ledger = lay_out(OVER, [stored("$1", 1, facts[0]), stored("$3", 3, facts[2])])
    assert shape(ledger) == [("$1", 1, "stored"), (None, 2, "missing"), ("$3", 3, "stored")]
    assert ledger.gaps == (Gap(Samples(7 * PAGE - PRE_SKIP), Samples(6 * PAGE), ChunkState.MISSING),)
    assert [entry.timing for entry in ledger.entries] == [Timing.EXACT] * 3
    assert ledger.entries[2].continues
    assert (ledger.samples, ledger.complete) == (16 * PAGE - PRE_SKIP, False)


def test_missing_head_of_a_run() -> None:
    """If the head is lost, what follows is heard from its first packet on, and stands where it will stand with it."""
    facts = slices([7, 3])
    lost = lay_out(OVER, [stored("$2", 2, facts[1])])
    healed = lay_out(OVER, [stored("$1", 1, facts[0]), stored("$2", 2, facts[1])])
    assert shape(lost) == [(None, 1, "missing"), ("$2", 2, "stored")]
    assert lost.samples == healed.samples
    assert lost.gaps == (Gap(Samples(0), Samples(7 * PAGE - PRE_SKIP), ChunkState.MISSING),)
    assert (lost.entries[1].position, lost.entries[1].samples) == (7 * PAGE - PRE_SKIP, 3 * PAGE)


def test_several_missing_in_front_of_a_run() -> None:
    """If the first chunks of a run are lost, all their numbers stand in the one hole at its head."""
    facts = slices([7, 7, 7, 3])
    ledger = lay_out(OVER, [stored("$3", 3, facts[2]), stored("$4", 4, facts[3])])
    assert [number for _, number, _ in shape(ledger)] == [1, 2, 3, 4]
    assert (ledger.samples, [gap.samples for gap in ledger.gaps]) == (24 * PAGE - PRE_SKIP, [14 * PAGE - PRE_SKIP])


def test_head_of_the_second_run_leaves_the_tail_of_the_first() -> None:
    """Only as many absent numbers between two runs go into the hole of the second as fit."""
    first, second = slices([7, 7], serial=1, eos=False), slices([7, 3], serial=2)
    chunks = [stored("$1", 1, first[0]), stored("$2", 2, first[1]), stored("$5", 5, second[1])]
    ledger = lay_out(OVER, chunks)
    assert [number for _, number, _ in shape(ledger)] == [1, 2, 3, 4, 5]
    assert [entry.timing for entry in ledger.entries[2:4]] == [Timing.ESTIMATED, Timing.EXACT]
    assert ledger.entries[3].samples == 7 * PAGE - PRE_SKIP


def test_several_missing_share_the_hole() -> None:
    """Two lost chunks in one hole make one gap of the right length."""
    facts = slices([7, 6, 5, 3])
    ledger = lay_out(OVER, [stored("$1", 1, facts[0]), stored("$4", 4, facts[3])])
    assert shape(ledger)[1:3] == [(None, 2, "missing"), (None, 3, "missing")]
    assert [gap.samples for gap in ledger.gaps] == [11 * PAGE]


def test_hole_without_a_number_of_its_own() -> None:
    """If a chunk is under way that will get the next number, the hole in the pages shows already."""
    facts = slices([7, 7, 3])
    ledger = lay_out(OVER, [stored("$1", 1, facts[0]), stored("$3", 2, facts[2])])
    assert shape(ledger) == [("$1", 1, "stored"), (None, None, "missing"), ("$3", 2, "stored")]
    assert ledger.samples == 17 * PAGE - PRE_SKIP


def test_slow_head_waits_in_front_of_its_tail() -> None:
    """The chunk that was numbered 2 after the tail's 1, and is not fetched yet, stands in the hole before the tail."""
    tail = slices([7, 3])[1]
    ledger = lay_out(OVER, [stored("$tail", 1, tail), absent("$head", 2, ChunkState.WAITING_FOR_MEDIA)])
    assert shape(ledger) == [("$head", 2, "waiting_for_media"), ("$tail", 1, "stored")]
    assert ledger.gaps == (Gap(Samples(0), Samples(7 * PAGE - PRE_SKIP), ChunkState.WAITING_FOR_MEDIA),)


def test_pages_run_on_so_nothing_is_missing() -> None:
    """A number that was skipped inside a run whose pages run on is listed and adds no silence."""
    facts = slices([7, 7, 3])
    chunks = [stored("$1", 1, facts[0]), stored("$2", 2, facts[1]), stored("$4", 4, facts[2])]
    ledger = lay_out(OVER, chunks)
    assert (None, 3, "missing") in shape(ledger)
    assert (ledger.gaps, ledger.complete, ledger.certain) == ((), True, False)
    more = lay_out(OVER, [*chunks, stored("$5", 5, slices([4], serial=8)[0])])
    assert (more.gaps, more.complete) == ((), True)


def test_announced_length_of_a_chunk_that_is_waited_for() -> None:
    """In other containers a chunk that is not there is silence as long as its event said."""
    ledger = lay_out(
        OVER,
        [
            stored("$1", 1, mp4(5)),
            absent("$2", 2, ChunkState.WAITING_FOR_MEDIA, announced_ms=4000),
            stored("$3", 3, mp4(5)),
        ],
    )
    assert ledger.gaps == (Gap(Samples(5 * SECOND), Samples(4 * SECOND), ChunkState.WAITING_FOR_MEDIA),)
    assert ledger.entries[1].timing is Timing.ESTIMATED
    assert ledger.waiting


@pytest.mark.parametrize("told", [1 / 1000, 1000])
def test_announced_lengths_that_are_wrong_measure_nothing(told: float) -> None:
    """A lost chunk is as long as the median if the others hold far more or less than announced."""

    def ms(length_s: float) -> DurationMs:
        return DurationMs(round(1000 * told * length_s))

    there = [replace(stored(f"${n}", n, mp4(5)), announced_ms=ms(5)) for n in (1, 3)]
    lost = absent("$2", 2, ChunkState.DAMAGED, announced_ms=ms(4))
    assert [gap.samples for gap in lay_out(OVER, [there[0], lost, there[1]]).gaps] == [5 * SECOND]


def test_an_announced_length_that_no_chunk_has_measures_nothing() -> None:
    """Hours in one chunk are not believed, even of a client whose other chunks are right."""
    there = [replace(stored(f"${n}", n, mp4(5)), announced_ms=DurationMs(5000)) for n in (1, 3)]
    lost = absent("$2", 2, ChunkState.DAMAGED, announced_ms=36_000_000)
    assert [gap.samples for gap in lay_out(OVER, [there[0], lost, there[1]]).gaps] == [5 * SECOND]


def test_a_hole_inside_a_chunk_is_a_gap_of_its_own() -> None:
    """The chunk is stored and as long as it was; silence stands for the part that is lost, so it is not complete."""
    facts = replace(mp4(5), holes=(Hole(Samples(2 * SECOND), Samples(SECOND)),))
    ledger = lay_out(announced(2), [stored("$1", 1, mp4(5)), stored("$2", 2, facts)])
    assert shape(ledger) == [("$1", 1, "stored"), ("$2", 2, "stored")]
    assert ledger.samples == 10 * SECOND
    assert ledger.gaps == (Gap(Samples(7 * SECOND), Samples(SECOND), ChunkState.DAMAGED),)
    assert (ledger.complete, ledger.certain) == (False, False)


def test_a_hole_stands_in_its_place_whether_the_pre_skip_is_heard_or_not() -> None:
    """Its place is counted in packets; of a run's head the pre-skip is left out, and of the hole what lies in it."""
    first, second = (replace(each, holes=(Hole(Samples(0), Samples(PAGE)),)) for each in slices([7, 3]))
    ledger = lay_out(OVER, [stored("$1", 1, first), stored("$2", 2, second)])
    assert [(gap.position, gap.samples) for gap in ledger.gaps] == [
        (0, PAGE - PRE_SKIP),
        (7 * PAGE - PRE_SKIP, PAGE),
    ]


def test_what_a_microphone_did_not_give_is_a_gap_and_no_loss() -> None:
    """The gap is listed with its place, and all that was sent is there: nothing has to be waited for."""
    first, second = slices([7, 3])
    first = replace(first, unrecorded=(Hole(Samples(6 * PAGE), Samples(PAGE)),))
    second = replace(second, unrecorded=(Hole(Samples(0), Samples(PAGE)), Hole(Samples(2 * PAGE), Samples(960))))
    ledger = lay_out(announced(2), [stored("$1", 1, first), stored("$2", 2, second)])
    assert ledger.gaps == (
        Gap(Samples(6 * PAGE - PRE_SKIP), Samples(2 * PAGE), ChunkState.UNRECORDED),
        Gap(Samples(9 * PAGE - PRE_SKIP), Samples(960), ChunkState.UNRECORDED),
    )
    assert (ledger.proved, ledger.complete, ledger.certain) == (True, True, True)


def test_runs_whose_granules_prove_nothing_pay_the_pre_skip_once() -> None:
    """Only the pages after the headers begin a run whose granules are all 0, and a hole is as long as its pages."""
    pieces = [_without_granules(each) for each in slices([7, 7, 7])]
    ledger = lay_out(OVER, [stored(f"${n}", n, each) for n, each in enumerate(pieces, start=1)])
    assert [entry.samples for entry in ledger.entries] == [7 * PAGE - PRE_SKIP, 7 * PAGE, 7 * PAGE]
    lacking = lay_out(OVER, [stored("$1", 1, pieces[0]), stored("$3", 3, pieces[2])])
    assert [entry.timing for entry in lacking.entries] == [Timing.EXACT, Timing.ESTIMATED, Timing.EXACT]
    assert lacking.entries[1].samples == 7 * PAGE
    beheaded = lay_out(OVER, [stored("$2", 2, pieces[1])])
    assert shape(beheaded) == [(None, 1, "missing"), ("$2", 2, "stored")]
    assert [entry.samples for entry in beheaded.entries] == [7 * PAGE - PRE_SKIP, 7 * PAGE]


def _without_granules(facts: ChunkFacts) -> ChunkFacts:
    assert facts.ogg is not None
    ogg = replace(facts.ogg, start_granule=0, end_granule=0, agrees=False, begins=facts.ogg.first_page == 2)
    return replace(facts, ogg=ogg)


def test_median_chunk_for_what_nobody_saw() -> None:
    """A number that nobody saw is silence of the median chunk."""
    ledger = lay_out(OVER, [stored("$1", 1, mp4(5)), stored("$2", 2, mp4(6)), stored("$4", 4, mp4(60))])
    assert [gap.samples for gap in ledger.gaps] == [6 * SECOND]


@pytest.mark.parametrize("state", [ChunkState.DAMAGED, ChunkState.REFUSED, ChunkState.WAITING_FOR_KEY])
def test_gaps_have_the_reason_of_their_chunk(state: ChunkState) -> None:
    """A chunk that is there and can't be heard is silence with a reason of its own."""
    ledger = lay_out(OVER, [stored("$1", 1, mp4(5)), absent("$2", 2, state), stored("$3", 3, mp4(5))])
    assert [gap.reason for gap in ledger.gaps] == [state]
    assert not ledger.complete


@pytest.mark.parametrize("state", [ChunkState.DAMAGED, ChunkState.WAITING_FOR_MEDIA, ChunkState.REDACTED])
def test_no_silence_at_the_end(state: ChunkState) -> None:
    """After the last sound nothing is added, whatever is known to be missing there."""
    chunks = [stored("$1", 1, mp4(5)), absent("$2", 2, state, announced_ms=5000)]
    ledger = lay_out(announced(9), chunks)
    assert (ledger.samples, ledger.gaps, ledger.complete) == (5 * SECOND, (), False)
    assert [number for _, number, _ in shape(ledger)] == list(range(1, 10))


def test_redacted_chunk_keeps_its_length() -> None:
    """A redacted chunk of a run is silence of its length, and the sound after it keeps its place."""
    chunks = run(7, 6, 3)
    gone = replace(chunks[1], state=ChunkState.REDACTED, blob=None, bytes=None)
    before, after = lay_out(OVER, chunks), lay_out(OVER, [chunks[0], gone, chunks[2]])
    assert after.samples == before.samples
    assert after.gaps == (Gap(Samples(7 * PAGE - PRE_SKIP), Samples(6 * PAGE), ChunkState.REDACTED),)
    head_gone = replace(chunks[0], state=ChunkState.REDACTED, blob=None, bytes=None)
    assert lay_out(OVER, [head_gone, *chunks[1:]]).samples == before.samples


# ---- events that can't be read


def test_sealed_event_stands_for_the_absent_number() -> None:
    """An event without its key takes the place of the number that is absent, and is no second gap."""
    chunks = [
        stored("$1", 1, mp4(5)),
        absent("$s", None, ChunkState.WAITING_FOR_KEY, position=12),
        stored("$3", 3, mp4(5)),
    ]
    ledger = lay_out(OVER, chunks)
    assert shape(ledger) == [("$1", 1, "stored"), ("$s", None, "waiting_for_key"), ("$3", 3, "stored")]
    assert [gap.samples for gap in ledger.gaps] == [5 * SECOND]


def test_sealed_event_takes_the_number_after_those_before_it() -> None:
    """A sealed event takes the absent number that fits its place in the timeline."""
    chunks = [
        stored("$1", 1, mp4(5), position=11),
        stored("$3", 3, mp4(5), position=13),
        absent("$s", None, ChunkState.WAITING_FOR_KEY, position=14),
        stored("$5", 5, mp4(5), position=15),
    ]
    assert [event for event, _, _ in shape(lay_out(OVER, chunks))] == ["$1", None, "$3", "$s", "$5"]


def test_sealed_event_in_a_hole_of_pages() -> None:
    """If pages are missing in a run, the sealed event stands in the hole and is as long as it."""
    facts = slices([7, 6, 3])
    chunks = [
        stored("$1", 1, facts[0]),
        absent("$s", None, ChunkState.WAITING_FOR_KEY, position=12),
        stored("$3", 3, facts[2]),
    ]
    ledger = lay_out(OVER, chunks)
    assert ledger.gaps == (Gap(Samples(7 * PAGE - PRE_SKIP), Samples(6 * PAGE), ChunkState.WAITING_FOR_KEY),)


def test_sealed_events_at_the_end() -> None:
    """Sealed events for which no number is absent stand at the end, in the timeline's order."""
    chunks = [
        absent("$s2", None, ChunkState.WAITING_FOR_KEY, position=14),
        absent("$s1", None, ChunkState.WAITING_FOR_KEY, position=13),
        stored("$1", 1, mp4(5)),
    ]
    assert [event for event, _, _ in shape(lay_out(OVER, chunks))] == ["$1", "$s1", "$s2"]


def test_nothing_but_sealed_events() -> None:
    """Without any sound the ledger still lists what is waited for."""
    ledger = lay_out(OVER, [absent("$s", None, ChunkState.WAITING_FOR_KEY, position=3)])
    assert (ledger.sounds, ledger.waiting, ledger.samples) == (False, True, 0)


# ---- one number twice


def test_same_media_twice() -> None:
    """A chunk that was sent again with its number is a duplicate of the first."""
    facts = slices([7, 3])
    chunks = [
        stored("$1", 1, facts[0], position=11),
        stored("$again", 1, facts[0], position=12, media="$1"),
        stored("$2", 2, facts[1], position=13),
    ]
    ledger = lay_out(OVER, chunks)
    assert shape(ledger) == [("$1", 1, "stored"), ("$again", 1, "duplicate"), ("$2", 2, "stored")]
    assert (ledger.samples, ledger.certain) == (10 * PAGE - PRE_SKIP, True)


def test_other_media_with_the_same_number() -> None:
    """The chunk that stands first in the timeline is heard, of two with one number."""
    chunks = [
        stored("$late", 1, mp4(9), position=30),
        stored("$early", 1, mp4(5), position=20),
        stored("$2", 2, mp4(5), position=40),
    ]
    ledger = lay_out(OVER, chunks)
    assert shape(ledger) == [("$early", 1, "stored"), ("$late", 1, "duplicate"), ("$2", 2, "stored")]
    assert ledger.samples == 10 * SECOND


def test_single_file_against_a_slice() -> None:
    """A file of its own with a slice's number, later in the timeline, is a duplicate."""
    chunks = [*run(7, 7, 3), stored("$other", 2, ogg(2, 5, 0, serial=99, eos=True), position=50)]
    ledger = lay_out(OVER, chunks)
    assert ("$other", 2, "duplicate") in shape(ledger)
    assert ledger.certain


def test_file_that_came_before_the_slice_with_its_number() -> None:
    """If the file came first it is heard in the slice's place, without a silence beside it."""
    chunks = [*run(7, 7, 3), stored("$other", 2, mp4(4), position=5)]
    ledger = lay_out(OVER, chunks)
    assert shape(ledger) == [
        ("$1", 1, "stored"),
        ("$other", 2, "stored"),
        ("$2", 2, "duplicate"),
        ("$3", 3, "stored"),
    ]
    assert ledger.gaps == ()
    assert [entry.continues for entry in ledger.entries] == [False] * 4


@pytest.mark.parametrize("bad", [mp4(0), None])
def test_empty_file_with_an_old_number(bad: ChunkFacts | None) -> None:
    """An empty or damaged leftover with the number of a real chunk doesn't stand in its way, though it came first."""
    leftover = stored("$0", 1, bad, position=1) if bad else absent("$0", 1, ChunkState.DAMAGED, position=1)
    ledger = lay_out(announced(1), [leftover, stored("$1", 1, mp4(5), position=2)])
    assert shape(ledger) == [("$1", 1, "stored"), ("$0", 1, "duplicate")]
    assert ledger.certain


def test_second_chunk_that_is_not_there_yet() -> None:
    """While a second chunk with a number is being fetched nobody knows whether it is a duplicate."""
    chunks = [stored("$1", 1, mp4(5)), absent("$b", 1, ChunkState.WAITING_FOR_MEDIA, position=40)]
    ledger = lay_out(announced(1), chunks)
    assert shape(ledger) == [("$1", 1, "stored"), ("$b", 1, "waiting_for_media")]
    assert not ledger.complete


def test_two_runs_with_the_same_numbers() -> None:
    """When two starts were merged both runs are heard, the one that began first in the timeline first."""
    first = [replace(chunk, position=Position(20 + index * 2)) for index, chunk in enumerate(run(7, 3, serial=1))]
    second = [
        replace(chunk, id=ChunkId(f"$b{index}"), position=Position(21 + index * 2), blob=blob(f"b{index}"))
        for index, chunk in enumerate(run(7, 7, 2, serial=2))
    ]
    ledger = lay_out(OVER, [*second, *first])
    assert [entry.chunk_id for entry in ledger.entries] == ["$1", "$2", "$b0", "$b1", "$b2"]
    assert {entry.state for entry in ledger.entries} == {ChunkState.STORED}
    assert ledger.samples == 26 * PAGE - 2 * PRE_SKIP
    assert ledger.certain


def test_of_two_merged_runs_the_one_whose_first_chunk_came_first() -> None:
    """Merged runs are ordered by their first chunks by page, not by those with the lowest numbers."""
    first, second = slices([7, 3], serial=1), slices([7, 3], serial=2)
    chunks = [
        stored("$a1", 1, first[0], position=20),
        stored("$a2", 2, first[1], position=30),
        stored("$b1", 2, second[0], position=15),
        stored("$b2", 1, second[1], position=25),
    ]
    assert [entry.chunk_id for entry in lay_out(OVER, chunks).entries] == ["$b1", "$b2", "$a1", "$a2"]


def test_independent_files_with_one_serial() -> None:
    """Files that each begin at their first page are each a run, even under one serial number."""
    chunks = [stored(f"${number}", number, ogg(2, 5, 0, eos=True)) for number in (1, 2, 3)]
    ledger = lay_out(OVER, chunks)
    assert [entry.continues for entry in ledger.entries] == [False] * 3
    assert ledger.samples == 3 * (5 * PAGE - PRE_SKIP)
    assert ledger.certain


def test_same_file_under_two_numbers() -> None:
    """Two whole files with the same bytes and two numbers are both heard: silence sounds alike."""
    chunks = [stored(f"${number}", number, ogg(2, 5, 0, eos=True), media="same") for number in (1, 2)]
    assert [entry.state for entry in lay_out(OVER, chunks).entries] == [ChunkState.STORED] * 2


# ---- proofs


def test_empty_last_page_proves_the_end() -> None:
    """The chunk without a packet that Element Web sends at times adds nothing and proves the end."""
    chunks = run(7, eos=False)
    tail = ogg(9, 1, 0, eos=True)
    assert tail.ogg is not None
    nothing = replace(tail.ogg, start_granule=-1, end_granule=-1, packet_samples=Samples(0))
    chunks.append(stored("$2", 2, replace(tail, samples=Samples(0), ogg=nothing)))
    ledger = lay_out(OVER, chunks)
    assert (ledger.samples, ledger.proved, ledger.certain) == (7 * PAGE - PRE_SKIP, True, True)


def test_the_end_of_a_run_that_nobody_heard() -> None:
    """The number of a last page, the only chunk of its run that came, says that sound is missing before it."""
    tail = ogg(9, 1, 0, serial=2, eos=True)
    assert tail.ogg is not None
    nothing = replace(tail.ogg, start_granule=-1, end_granule=-1, packet_samples=Samples(0))
    end = stored("$2", 2, replace(tail, samples=Samples(0), ogg=nothing))
    ledger = lay_out(replace(OVER, announced_last=2), [*run(7), end])
    assert (ledger.samples, ledger.complete, ledger.certain) == (7 * PAGE - PRE_SKIP, False, False)


@pytest.mark.parametrize("last", [None, 1, 5])
def test_proved_runs_are_complete_whatever_was_announced(last: int | None) -> None:
    """A proof by pages outweighs a last number that is absent, too low or too high; too high waits for more."""
    ledger = lay_out(replace(OVER, announced_last=last), run(7, 7, 3))
    assert (ledger.proved, ledger.complete, ledger.certain) == (True, True, last != 5)
    assert [number for event, number, _ in shape(ledger) if event is None] == ([4, 5] if last == 5 else [])


@pytest.mark.parametrize(
    ("last", "complete", "certain"), [(None, True, False), (1, True, True), (2, True, True), (3, False, False)]
)
def test_other_containers_need_a_number(last: int | None, *, complete: bool, certain: bool) -> None:
    """Without pages it is certain with a number above 0 and all up to the highest; without one it waits."""
    ledger = lay_out(replace(OVER, announced_last=last), [stored("$1", 1, mp4()), stored("$2", 2, mp4())])
    assert (ledger.proved, ledger.complete, ledger.certain) == (False, complete, certain)


@pytest.mark.parametrize("by", [by for by in EndedBy if by is not EndedBy.STOPPED])
def test_other_ends_need_a_proof(by: EndedBy) -> None:
    """Ended by anything but `stopped`: complete if its pages prove it, else incomplete without a gap."""
    ended = replace(OVER, ended_by=by)
    assert lay_out(ended, run(7, 3)).complete
    unproved = lay_out(ended, run(7, 3, eos=False))
    assert (unproved.complete, unproved.gaps) == (False, ())


def test_run_without_its_end_is_not_certain() -> None:
    """A run without EOS may go on, so it is waited for more, though every announced number is there."""
    ledger = lay_out(announced(2), run(7, 7, eos=False))
    assert (ledger.proved, ledger.complete, ledger.certain) == (False, True, False)


def test_pages_missing_inside_a_chunk_prove_nothing() -> None:
    """A chunk that lacks a page itself is no proof."""
    facts = slices([7])[0]
    assert facts.ogg is not None
    holed = replace(facts, ogg=replace(facts.ogg, contiguous=False))
    assert not lay_out(OVER, [stored("$1", 1, holed)]).proved


# ---- bounds


def test_a_number_that_jumps_is_not_believed() -> None:
    """A step of thousands is no loss of days: only the first absent number is listed, without silence."""
    ledger = lay_out(OVER, [stored("$1", 1, mp4()), stored("$x", 90_000, mp4())])
    assert shape(ledger) == [("$1", 1, "stored"), (None, 2, "missing"), ("$x", 90_000, "stored")]
    assert (ledger.gaps, ledger.complete) == ((), False)


def test_silence_is_bounded() -> None:
    """However many numbers jump and granules leap, the silence in a recording has an end."""
    jumps = [stored(f"${number}", number, mp4(120)) for number in range(1, 9000, 900)]
    leap = stored("$leap", 9001, ogg(90, 5, 1 << 60), position=1 << 20)
    ledger = lay_out(OVER, [*jumps, leap])
    assert sum(gap.samples for gap in ledger.gaps) == MAX_SILENCE


# ---- fingerprints


def test_fingerprint_follows_the_sound() -> None:
    """The fingerprint changes with what is heard, and with nothing else."""
    whole = run(7, 7, 3)
    same = [replace(chunk, sent_at=OVER.started_at, announced_bytes=5) for chunk in reversed(whole)]
    assert fingerprint(lay_out(OVER, whole)) == fingerprint(lay_out(replace(OVER, announced_last=9), same))
    assert fingerprint(lay_out(OVER, whole)) != fingerprint(lay_out(OVER, whole[:2]))


def test_reason_of_a_gap_is_not_in_the_fingerprint() -> None:
    """Whether silence is missing or damaged, it sounds the same."""
    one, three = stored("$1", 1, mp4(5)), stored("$3", 3, mp4(5))
    missing, damaged = lay_out(OVER, [one, three]), lay_out(OVER, [one, absent("$2", 2, ChunkState.DAMAGED), three])
    assert fingerprint(missing) == fingerprint(damaged)


# ---- a real Element Web


@pytest.mark.parametrize(
    ("name", "packets", "heads"),
    [
        ("plain", 280 + 280 + 87 + 280 + 175, 2),
        ("encrypted", 280 + 280 + 92 + 280 + 194, 2),
        ("pauses", 200 + 280 + 69 + 148 + 102, 4),
        ("kill", 280 + 280, 1),
        ("slowstop", 280 + 83, 1),
    ],
)
def test_captures_are_as_long_as_their_packets(name: str, packets: int, heads: int) -> None:
    """A capture's length is that of all its packets, less one pre-skip for each run, without a gap."""
    ledger = replayed(name).ledger
    assert ledger.samples == packets * 960 - heads * PRE_SKIP
    assert ledger.gaps == ()
    assert ledger.proved is (name != "kill")


def test_slowstop_is_heard_in_the_order_of_its_pages() -> None:
    """The chunk that came last and is numbered 2 is heard first."""
    ledger = replayed("slowstop").ledger
    assert [(entry.sequence, entry.continues, entry.position) for entry in ledger.entries] == [
        (2, False, 0),
        (1, True, 280 * 960 - PRE_SKIP),
    ]
