"""The layout of a session's sound: its messages in the order of the timeline, with a pause between two. Pure.

- What was removed, or is not wanted, takes no time and leaves no pause: it is as if it had not been said.
- A message in the middle that can't be heard is a gap of the length that its event announced. Nothing follows the last
  sound.
- All lengths come from strangers, so the silence in one session is bounded.
"""

from collections.abc import Iterable, Iterator

from bot.recording.chunks import is_removed
from bot.recording.ledger import NOTHING, Entry, Ledger, gaps_of
from storage.records import (
    SAMPLE_RATE,
    Chunk,
    ChunkState,
    Container,
    Recording,
    Samples,
    Timing,
    to_samples,
)

PAUSE = Samples(SAMPLE_RATE)
"""The pause between two messages: one second."""
MAX_GAP = Samples(600 * SAMPLE_RATE)
"""The longest silence for one message."""
MAX_SILENCE = Samples(3600 * SAMPLE_RATE)
"""The longest silence in one session."""
WAITING = frozenset({ChunkState.WAITING_FOR_KEY, ChunkState.WAITING_FOR_MEDIA})


def lay_out(recording: Recording, chunks: Iterable[Chunk]) -> Ledger:
    """Lay out a session: place every message and every gap. The order of `chunks` doesn't matter."""
    entries = tuple(_entries(sorted(chunks, key=lambda chunk: (chunk.position, chunk.id))))
    counted = [entry for entry in entries if not is_removed(entry)]
    complete = any(entry.sounds for entry in counted) and all(
        entry.state is ChunkState.STORED and not entry.holes for entry in counted
    )
    return Ledger(
        entries=entries,
        gaps=tuple(gaps_of(entries)),
        samples=Samples(sum(entry.pause + entry.samples for entry in entries)),
        proved=False,
        complete=complete,
        certain=complete,
        waiting=any(entry.state in WAITING for entry in entries),
    )


def _entries(chunks: list[Chunk]) -> Iterator[Entry]:
    last = max((index for index, chunk in enumerate(chunks) if _sounds(chunk)), default=-1)
    end, silence_left = 0, int(MAX_SILENCE)
    for index, chunk in enumerate(chunks):
        samples = 0
        if _sounds(chunk):
            assert chunk.facts is not None
            samples = chunk.facts.samples
        elif index < last and not is_removed(chunk) and chunk.state is not ChunkState.STORED:
            samples = min(to_samples(chunk.announced_ms or 0), MAX_GAP, silence_left)
            silence_left -= samples
        pause = PAUSE if samples and end else NOTHING
        yield _entry(chunk, Samples(end + pause), Samples(samples), pause)
        end += pause + samples


def _sounds(chunk: Chunk) -> bool:
    return chunk.state is ChunkState.STORED and chunk.facts is not None and chunk.facts.samples > 0


def _entry(chunk: Chunk, position: Samples, samples: Samples, pause: Samples) -> Entry:
    heard = _sounds(chunk)
    facts = chunk.facts if heard else None
    return Entry(
        chunk_id=chunk.id,
        state=chunk.state,
        position=position,
        samples=samples,
        timing=facts.timing if facts else Timing.ESTIMATED,
        pause=pause,
        silence=not heard,
        blob=chunk.blob if heard else None,
        container=facts.container if facts else Container.UNKNOWN,
        reason=chunk.reason,
        announced=to_samples(chunk.announced_ms) if chunk.announced_ms is not None else None,
        off_told=Samples(facts.samples - facts.told) if facts and facts.told is not None else NOTHING,
        holes=facts.holes if facts else (),
    )
