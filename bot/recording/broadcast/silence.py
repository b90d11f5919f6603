"""The length of the silence that stands for a chunk. Pure.

The pages around it decide, then its own bytes, then what its event announced, then the median chunk. An announced
length is a stranger's hint: clients have sent seconds for milliseconds. It counts where the recording's other chunks
hold about as much sound as their events announced, and where it is no longer than a chunk can be.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median_low

from bot.recording.broadcast.places import Place
from bot.recording.broadcast.runs import pages
from storage.records import SAMPLE_RATE, Chunk, ChunkState, OggFacts, Samples, Timing, to_samples

LONGEST = 900 * SAMPLE_RATE
"""Samples that one chunk may announce, if no chunk that is heard is longer than half of that. Two minutes are usual."""
MOST_OFF = 2
"""Factor by which an announced length may be too long or too short."""
NEAR = SAMPLE_RATE
"""Samples by which an announced length may be wrong in any case."""


@dataclass(frozen=True, slots=True)
class Measure:
    """Facts of the chunks that are heard, from which the length of the others is estimated."""

    median: int  # samples
    longest: int  # longest announced length that is believed, in samples; 0: none is

    def silence(self, place: Place) -> tuple[int, Timing]:
        """Return the length of a place without sound, if sound comes after it."""
        facts = place.chunk.facts if place.chunk else None
        if place.room is not None:
            return place.room, place.timing
        if place.empty:
            return 0, Timing.EXACT
        if facts is not None and facts.ogg is not None and place.run is not None:
            return own_length(facts.ogg, head=place.run.head is place.chunk), Timing.EXACT
        if facts is not None:
            return facts.samples, facts.timing
        announced = _announced(place.chunk) if place.chunk else None
        if announced is not None and announced <= self.longest:
            return announced, Timing.ESTIMATED
        return self.median, Timing.ESTIMATED


def measure(places: Sequence[Place], lengths: Iterable[int]) -> Measure:
    """Measure the places of a broadcast. `lengths`: samples of the chunks that are heard."""
    heard = [length for length in lengths if length]
    longest = max(LONGEST, MOST_OFF * max(heard, default=0))
    return Measure(median_low(heard) if heard else 0, longest if _honest(places) else 0)


def own_length(ogg: OggFacts, before: OggFacts | None = None, *, head: bool = False) -> Samples:
    """Return the samples in the packets of a chunk of a run, less the end trim of the last page and, for the run's
    head, the pre-skip. `before`: the sound that it continues."""
    begins_at = before.end_granule if before is not None and before.last_page + 1 == ogg.first_page else None
    skip = ogg.pre_skip if head else 0
    return Samples(max(0, ogg.packet_samples - ogg.end_trim(begins_at) - skip))


def _honest(places: Iterable[Place]) -> bool:
    """Return whether at least half of the chunks of known length hold about as much sound as their events announced."""
    right = compared = 0
    for chunk in (place.chunk for place in places):
        announced = _announced(chunk) if chunk and chunk.state is ChunkState.STORED else None
        if chunk is None or chunk.facts is None or announced is None:
            continue
        ogg = pages(chunk)
        counted = ogg.packet_samples if ogg else chunk.facts.samples
        compared += 1
        low, high = sorted((announced, counted))
        right += high - low <= NEAR or high <= MOST_OFF * low
    return 2 * right >= compared


def _announced(chunk: Chunk) -> Samples | None:
    return None if chunk.announced_ms is None else to_samples(chunk.announced_ms)
