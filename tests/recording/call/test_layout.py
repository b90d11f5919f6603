"""The layout of a call: windows on its clock, whatever slices there are and in whatever order they come."""

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bot.recording.call.layout import WINDOW, lay_out
from storage.records import Away, Chunk, ChunkState, Recording, RecordingState, Samples
from tests.recording.call.world import ANN, BEN, begun, slice_of, stem

PACKET = 960
OVER = replace(begun(), state=RecordingState.FINISHING)


def a_slice(number: int, at: int, samples: int) -> Chunk:
    return replace(slice_of(number, at, length=samples), at=Samples(at))


def stem_of(number: int, joined: int, packets: int, without: frozenset[int] = frozenset()) -> list[Chunk]:
    """Return the slices of a stem: a packet belongs to the window in which it begins. `without`: windows that are
    missing."""
    windows: dict[int, list[int]] = defaultdict(list)
    for packet in range(packets):
        at = joined + packet * PACKET
        windows[at // WINDOW].append(at)
    kept = (places for window, places in windows.items() if window not in without)
    return [a_slice(number, places[0], len(places) * PACKET) for places in kept]


stems = st.tuples(st.integers(0, 5 * WINDOW), st.integers(1, 1_500), st.frozensets(st.integers(0, 7), max_size=2))
times = st.lists(st.integers(0, 9 * WINDOW), max_size=6, unique=True).map(sorted)


@given(st.lists(stems, max_size=4), times, st.booleans(), st.randoms())
def test_windows_cover_the_clock(
    speakers: list[tuple[int, int, frozenset[int]]], away: list[int], live: bool, chance: random.Random
) -> None:
    """Entries lie side by side from the beginning to the end of the sound. Each packet is heard once, at its place, in
    the window that it is in. The order in which slices come changes nothing."""
    aways = tuple(Away(Samples(begin), Samples(end)) for begin, end in zip(away[::2], away[1::2], strict=False))
    recording: Recording = replace(OVER, aways=aways, state=RecordingState.LIVE if live else RecordingState.FINISHING)
    chunks = [chunk for number, each in enumerate(speakers, start=1) for chunk in stem_of(number, *each)]
    ledger = lay_out(recording, chunks)
    end = 0
    heard: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for entry in ledger.entries:
        end += entry.pause
        assert entry.position == end
        for part in entry.parts:
            assert 0 <= part.lead <= part.at <= part.at + part.samples <= WINDOW
            assert (part.blob is None) == (part.samples == 0)
            heard[part.stem].append((end + part.at - part.lead, end + part.at + part.samples))
        end += entry.samples
        assert bool(entry.parts) != (entry.state is ChunkState.AWAY)
    assert end == ledger.samples
    spoken = max((chunk.at or 0) + chunk.facts.samples for chunk in chunks if chunk.facts) if chunks else 0
    assert ledger.samples <= spoken if live else ledger.samples == spoken
    assert not live or ledger.samples % WINDOW == 0
    for number, each in enumerate(speakers, start=1):
        wanted = [(int(chunk.at or 0), chunk.facts.samples) for chunk in stem_of(number, *each) if chunk.facts]
        assert _union(heard[number]) == _union((at, min(at + samples, end)) for at, samples in wanted if at < end)
    for gap in ledger.gaps:
        assert any(gap.position == away.begins for away in aways)
        assert gap.position + gap.samples <= ledger.samples
    chance.shuffle(chunks)
    assert lay_out(recording, chunks) == ledger


def _union(stretches: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join stretches that meet. None overlap."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(stretches):
        assert not joined or begin >= joined[-1][1]
        if joined and begin == joined[-1][1]:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return joined


def test_a_packet_over_the_border_is_heard_in_both_windows() -> None:
    """The end of a slice that reaches into the next window is decoded there: before the slice that continues it, or
    alone where none does."""
    first, second, other = a_slice(1, 480, WINDOW), a_slice(1, WINDOW + 480, 4_800), a_slice(2, WINDOW, 9_600)
    _, window = lay_out(OVER, [first, second, other]).entries
    assert [(part.blob, part.before, part.at, part.lead) for part in window.parts] == [
        (second.blob, first.blob, 480, 480),
        (other.blob, None, 0, 0),
    ]
    _, window = lay_out(OVER, [first, other]).entries
    assert [(part.blob, part.before, part.at, part.lead) for part in window.parts] == [
        (None, first.blob, 480, 480),
        (other.blob, None, 0, 0),
    ]


def test_a_stem_follows_the_one_that_its_user_had_before() -> None:
    """The level of a device that comes back goes on: of the same device, else of another one of the same user."""
    stems = (stem(1, ANN, "A"), stem(2, BEN, "B"), stem(3, ANN, "C"), stem(4, ANN, "A"), stem(5, BEN, "B"))
    ledger = lay_out(replace(OVER, stems=stems), [a_slice(number, 0, 4_800) for number in range(1, 6)])
    assert [part.follows for part in ledger.entries[0].parts] == [None, None, 1, 1, 2]


def test_a_running_call_is_laid_out_up_to_its_last_whole_window() -> None:
    """A window is in the live track once its end is reached, so that it need not be made again."""
    live = replace(OVER, state=RecordingState.LIVE)
    assert lay_out(live, [a_slice(1, 0, WINDOW - PACKET)]).entries == ()
    ledger = lay_out(live, [a_slice(1, 0, WINDOW - PACKET), a_slice(2, PACKET, WINDOW)])
    assert [(entry.position, entry.samples, len(entry.parts)) for entry in ledger.entries] == [(0, WINDOW, 2)]
