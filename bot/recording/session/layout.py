"""The layout of a session's sound: its messages in the order of the timeline, with a pause between two. Pure.

- What was removed, or is not wanted, takes no time and leaves no pause: it is as if it had not been said. So is what
  somebody said without the floor of a walkie-talkie.
- A message in the middle that can't be heard is a gap of the length that its event announced. Nothing follows the last
  sound.
- A voice broadcast that is a transmission stands where it began, laid out by its own rules (`transmissions`).
- All lengths come from strangers, so the silence in one session is bounded.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from bot.recording.chunks import is_removed
from bot.recording.ledger import NOTHING, Entry, Ledger, gaps_of
from bot.recording.session import transmissions
from storage.records import (
    SAMPLE_RATE,
    Chunk,
    ChunkState,
    Container,
    Position,
    Recording,
    RecordingState,
    Samples,
    Timing,
    Transmission,
    to_samples,
)

PAUSE = Samples(SAMPLE_RATE)
"""The pause between two messages: one second."""
MAX_GAP = Samples(600 * SAMPLE_RATE)
"""The longest silence for one message."""
MAX_SILENCE = Samples(3600 * SAMPLE_RATE)
"""The longest silence in one session."""
WAITING = frozenset({ChunkState.WAITING_FOR_KEY, ChunkState.WAITING_FOR_MEDIA})


@dataclass(frozen=True, slots=True)
class _Part:
    """A message, or a broadcast that is a transmission, in the order of the timeline. The places of its entries are not
    those in the session."""

    place: tuple[Position, float, str]
    entries: tuple[Entry, ...]
    whole: bool  # all of it that was sent is there
    certain: bool  # and there is no need to wait for more


def lay_out(recording: Recording, chunks: Iterable[Chunk]) -> Ledger:
    """Lay out a session: place every message and every gap. The order of `chunks` doesn't matter."""
    chunks = tuple(chunks)
    parts = [_message(chunk) for chunk in chunks if transmissions.find(recording, chunk.transmission) is None]
    parts += [_broadcast(recording, each, chunks) for each in recording.transmissions]
    parts.sort(key=lambda part: part.place)
    entries = tuple(_placed(parts))
    complete = any(entry.sounds for entry in entries) and all(part.whole for part in parts)
    return Ledger(
        entries=entries,
        gaps=tuple(gaps_of(entries)),
        samples=Samples(sum(entry.pause + entry.samples for entry in entries)),
        proved=False,
        complete=complete,
        certain=complete and all(part.certain for part in parts),
        waiting=any(entry.state in WAITING for entry in entries),
    )


def _placed(parts: list[_Part]) -> Iterator[Entry]:
    """Yield all entries at their places in the session: no silence follows the last sound."""
    last = max((index for index, part in enumerate(parts) if any(entry.sounds for entry in part.entries)), default=-1)
    end, silence_left = 0, int(MAX_SILENCE)
    for index, part in enumerate(parts):
        pause = PAUSE if end else NOTHING
        for entry in part.entries:
            samples = int(entry.samples)
            if entry.silence:
                samples = min(samples, silence_left) if index <= last else 0
                silence_left -= samples
            before = pause if samples else NOTHING
            yield replace(entry, position=Samples(end + before), samples=Samples(samples), pause=before)
            end += before + samples
            pause = NOTHING if samples else pause


def _message(chunk: Chunk) -> _Part:
    heard = sounds(chunk)
    samples = chunk.facts.samples if chunk.facts and heard else 0
    passed_over = is_removed(chunk) or transmissions.is_passed_over(chunk)
    if not heard and not passed_over and chunk.state is not ChunkState.STORED:
        samples = min(to_samples(chunk.announced_ms or 0), MAX_GAP)
    entry = _entry(chunk, Samples(samples))
    whole = passed_over or (entry.state is ChunkState.STORED and not entry.holes)
    # One of two messages at one position was found late, between its neighbours (`session.past`).
    said_at = chunk.sent_at.timestamp() if chunk.sent_at else 0.0
    return _Part((chunk.position, said_at, chunk.id), (entry,), whole, whole)


def _broadcast(recording: Recording, transmission: Transmission, chunks: tuple[Chunk, ...]) -> _Part:
    ledger = transmissions.lay_out(recording, transmission, chunks)
    mine = [chunk for chunk in chunks if chunk.transmission == transmission.event_id]
    listed = [_entry(chunk, NOTHING) for chunk in mine if transmissions.is_passed_over(chunk)]
    gone = transmission.state is RecordingState.DELETED or not ledger.entries
    over = transmission.state is not RecordingState.LIVE
    return _Part(
        (transmission.position, 0.0, transmission.event_id),
        (*(replace(entry, sender=transmission.sender) for entry in ledger.entries), *listed),
        whole=gone or ledger.complete,
        certain=over and (gone or ledger.certain or transmission.state.is_decided),
    )


def sounds(chunk: Chunk) -> bool:
    """Return whether there is any sound of a message, or of a chunk of a broadcast."""
    return chunk.state is ChunkState.STORED and chunk.facts is not None and chunk.facts.samples > 0


def _entry(chunk: Chunk, samples: Samples) -> Entry:
    heard = sounds(chunk)
    facts = chunk.facts if heard else None
    return Entry(
        chunk_id=chunk.id,
        state=chunk.state,
        position=NOTHING,
        samples=samples,
        timing=facts.timing if facts else Timing.ESTIMATED,
        silence=not heard,
        blob=chunk.blob if heard else None,
        container=facts.container if facts else Container.UNKNOWN,
        reason=chunk.reason,
        announced=to_samples(chunk.announced_ms) if chunk.announced_ms is not None else None,
        off_told=Samples(facts.samples - facts.told) if facts and facts.told is not None else NOTHING,
        holes=facts.holes if facts else (),
        sequence=chunk.sequence,
    )
