"""Chunks that a client sent again as plain voice messages, without relation and number. Pure.

https://github.com/element-hq/element-ios/issues/7261

- A voice message of the speaker that comes while their broadcast is open is only a candidate: it is no sign of life
  (people send voice messages) and no part of the ledger; its sound is inspected but not kept.
- It is a chunk when its sound proves it: Ogg Opus pages of the same stream (serial and OpusHead) that continue a chunk
  of the recording, or come right before one, without a gap in page numbers and granules, where no chunk is yet. A
  serial is 32 random bits, new for each stream, so nothing else fits. Other containers prove nothing, so their voice
  messages are never attached.
- Pages that are known already (or were redacted) are a chunk sent twice, and no candidate.
- A candidate whose sound shows that it is whole, or that proves nothing, is no lost chunk. It is released, and becomes
  a part of a session where voice messages are recorded.
- The client's number is lost. The number of such a chunk is computed each time, from the chunks that its pages
  touch, and is never stored: so the chunk that really has the number can still come, and is heard. If every number is
  taken (the client never counted the lost chunk), it shares its neighbour's: within one stream pages are the order,
  not numbers.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bot.recording.broadcast.places import NEAR
from bot.recording.broadcast.runs import Stream, pages, streams
from bot.recording.chunks import JUDGED, after_failure, find, find_of_event, given_up, with_chunk
from bot.recording.model import ChunkFailed, ChunkStored, FetchChunk, Outcome, RecordingEvent, Redacted
from bot.recording.policy import Limits
from storage.records import Chunk, ChunkFacts, ChunkId, ChunkState, EndedBy, OggFacts, Recording, RecordingState

KEPT_FOR = timedelta(days=1)
"""The time for which candidates are kept after the end of their broadcast: a late chunk may prove them."""
MAX_CANDIDATES = 50
"""Candidates of one recording. Nobody loses more chunks in one broadcast; people do send many voice messages."""


def is_candidate(chunk: Chunk) -> bool:
    return chunk.state is ChunkState.CANDIDATE


def ordinary(chunks: Iterable[Chunk]) -> tuple[Chunk, ...]:
    """Return all chunks except candidates: the ledger is made from them."""
    return tuple(chunk for chunk in chunks if not is_candidate(chunk))


def suspected(outcome: Outcome, message: Chunk) -> Outcome:
    """Make a voice message of the speaker a candidate, so that its media is inspected."""
    if find(outcome.chunks, message.id) is not None:
        return outcome
    if outcome.recording.ended_by in (EndedBy.SWITCHED_OFF, EndedBy.LIMIT):
        return replace(outcome, ignored=str(outcome.recording.ended_by))
    if sum(map(is_candidate, outcome.chunks)) >= MAX_CANDIDATES:
        return replace(outcome, ignored="too_many_candidates")
    candidate = replace(message, state=ChunkState.CANDIDATE)
    return replace(outcome, chunks=with_chunk(outcome.chunks, candidate), effects=(FetchChunk(candidate.id),))


def candidate_of(chunks: tuple[Chunk, ...], event: RecordingEvent) -> Chunk | None:
    """Return the candidate whose media or redaction an event reports; None for every other event."""
    match event:
        case ChunkStored(chunk_id=chunk_id) | ChunkFailed(chunk_id=chunk_id):
            chunk = find(chunks, chunk_id)
        case Redacted(redacts=event_id):
            chunk = find_of_event(chunks, event_id)
        case _:
            return None
    return chunk if chunk and is_candidate(chunk) else None


def told(outcome: Outcome, candidate: Chunk, event: RecordingEvent, limits: Limits) -> Outcome:
    """Change a candidate by an event about it (`candidate_of`). Its media is never kept."""
    match event:
        case ChunkStored():
            return replace(outcome, chunks=with_chunk(outcome.chunks, _looked_into(candidate, event.facts)))
        case ChunkFailed():
            return replace(outcome, chunks=with_chunk(outcome.chunks, _failed(outcome, candidate, event, limits)))
        case _:
            return replace(outcome, chunks=tuple(other for other in outcome.chunks if other is not candidate))


def _looked_into(candidate: Chunk, facts: ChunkFacts) -> Chunk:
    """Record the facts of a candidate's sound. If it can never be proved, drop the address of its media, and the
    key."""
    return replace(candidate, facts=facts, reason=None, source=candidate.source if facts.ogg else None)


def _failed(outcome: Outcome, candidate: Chunk, event: ChunkFailed, limits: Limits) -> Chunk:
    after = after_failure(outcome, candidate, event, limits)
    if after.state in JUDGED:
        return given_up(candidate, candidate.state, event.reason)
    return replace(after, state=candidate.state)


def released(before: Sequence[Chunk], after: Outcome, event: RecordingEvent, now: datetime) -> tuple[Chunk, ...]:
    """Return the candidates, as they were before an event, that turned out to be no chunks, and all that are left a day
    after the end. Of a broadcast that its speaker took back, only those that nobody has looked into."""
    candidates = [chunk for chunk in before if is_candidate(chunk) and chunk.source is not None]
    if after.recording.state is RecordingState.DELETED:
        taken_back = isinstance(event, Redacted)
        return tuple(chunk for chunk in candidates if taken_back and chunk.facts is None)
    left = {chunk.id: chunk for chunk in after.chunks if is_candidate(chunk)}
    until = kept_until(after.recording)
    over = until is not None and until <= now
    return tuple(chunk for chunk in candidates if chunk.id in left and (over or _stands_alone(left[chunk.id])))


def kept_until(recording: Recording) -> datetime | None:
    """Return when the candidates of a recording are kept no longer, by our clock; None while it is not decided."""
    if not recording.state.is_decided:
        return None
    return (recording.quiet_until or recording.heard_at) + KEPT_FOR


def _stands_alone(candidate: Chunk) -> bool:
    """Return whether a candidate can be no part of a longer stream: it is a stream of its own, its container proves
    nothing, or it was given up."""
    if candidate.facts is None:
        return candidate.source is None
    ogg = candidate.facts.ogg
    return ogg is None or (ogg.begins_run and ogg.eos)


def attached(outcome: Outcome) -> Outcome:
    """Attach every candidate that is proved now: make it an ordinary chunk, which is fetched again."""
    waiting = [chunk for chunk in outcome.chunks if is_candidate(chunk) and pages(chunk)]
    if not waiting:
        return outcome
    known_streams = streams(outcome.chunks)
    there = _grouped(ordinary(outcome.chunks), known_streams)
    proved: dict[ChunkId, Chunk] = {}
    known: set[ChunkId] = set()
    rising = sorted(waiting, key=_first_page)
    for chunk in (*rising, *reversed(rising)):  # an attached chunk may prove the next one, on either side
        facts = pages(chunk)
        if facts is None or chunk.id in proved or chunk.id in known:
            continue
        stream = there[known_streams[chunk.id]]
        beside = _beside(facts, stream)
        if any(each.first_page <= facts.first_page and facts.last_page <= each.last_page for each in beside):
            known.add(chunk.id)
        elif _fits(facts, beside):
            proved[chunk.id] = _taken(chunk, outcome)
            stream.append(chunk)
    return replace(
        outcome,
        chunks=tuple(proved.get(chunk.id, chunk) for chunk in outcome.chunks if chunk.id not in known),
        effects=(*outcome.effects, *map(FetchChunk, proved)),
    )


def _taken(chunk: Chunk, outcome: Outcome) -> Chunk:
    return replace(
        chunk,
        recording_id=outcome.recording.id,
        state=ChunkState.WAITING_FOR_MEDIA,
        reason=None,
        attached=True,
        answer=None,
    )


def _beside(facts: OggFacts, stream: Iterable[Chunk]) -> list[OggFacts]:
    """Return the pages of the stream that these pages overlap or touch."""
    low, high = facts.first_page - 1, facts.last_page + 1
    every = (each for chunk in stream if (each := pages(chunk)))
    return [each for each in every if each.first_page <= high and each.last_page >= low]


def _fits(facts: OggFacts, beside: Sequence[OggFacts]) -> bool:
    """Return whether these pages continue the pages beside them, and overlap none."""
    if not facts.contiguous or not beside:
        return False
    return all(_continues(each, facts) or _continues(facts, each) for each in beside)


def _continues(before: OggFacts, after: OggFacts) -> bool:
    """Return whether no page and no sample lies between two slices. A tail without packets has no granule."""
    if before.eos or not before.packet_samples or after.first_page != before.last_page + 1:
        return False
    return not after.packet_samples or before.end_granule == after.start_granule


# ---- numbers


def numbered(chunks: Sequence[Chunk]) -> tuple[Chunk, ...]:
    """Give a number to each chunk that was attached, by the chunks that its pages touch."""
    bare = [chunk.id for chunk in chunks if chunk.attached and pages(chunk)]
    if not bare:
        return tuple(chunks)
    known = streams(chunks)
    taken = {chunk.sequence for chunk in chunks if chunk.sequence is not None}
    given: dict[ChunkId, int] = {}
    there = _grouped(chunks, known)
    for stream in sorted({known[chunk_id] for chunk_id in bare}):
        given |= _given(sorted(there[stream], key=_rank), taken)
    return tuple(replace(chunk, sequence=given[chunk.id]) if chunk.id in given else chunk for chunk in chunks)


def _given(run: Sequence[Chunk], taken: set[int]) -> dict[ChunkId, int]:
    """Return numbers for the attached chunks of a stream, in the order of its pages, and add them to `taken`."""
    numbers = {chunk.id: chunk.sequence for chunk in run if chunk.sequence is not None}
    span = (min(numbers.values(), default=0), max(numbers.values(), default=0))
    given: dict[ChunkId, int] = {}
    for chunk, beside, step in _pairs(run):
        neighbour = numbers.get(beside.id)
        if not chunk.attached or chunk.id in numbers or neighbour is None:
            continue
        number = neighbour if step == 0 else _free(neighbour + step, span, taken) or neighbour
        numbers[chunk.id] = given[chunk.id] = number
        taken.add(number)
    return given


def _pairs(run: Sequence[Chunk]) -> Iterator[tuple[Chunk, Chunk, int]]:
    """Yield each chunk with a chunk that it touches, and the distance of their numbers."""
    for index in range(1, len(run)):
        before, after = pages(run[index - 1]), pages(run[index])
        assert before is not None
        assert after is not None
        if (before.first_page, before.last_page) == (after.first_page, after.last_page):
            yield run[index], run[index - 1], 0  # the same sound, sent twice
        elif _continues(before, after):
            yield run[index], run[index - 1], 1
    for index in range(len(run) - 1, 0, -1):
        before, after = pages(run[index - 1]), pages(run[index])
        assert before is not None
        assert after is not None
        if _continues(before, after):
            yield run[index - 1], run[index], -1


def _free(wanted: int, span: tuple[int, int], taken: set[int]) -> int | None:
    """Return the expected number, else an absent number nearby, since a slow upload may have swapped some."""
    if wanted > 0 and wanted not in taken:
        return wanted
    near = (wanted + sign * distance for distance in range(1, NEAR + 1) for sign in (-1, 1))
    return next((number for number in near if span[0] < number < span[1] and number not in taken), None)


# ---- streams


def _grouped(chunks: Iterable[Chunk], known: Mapping[ChunkId, Stream]) -> defaultdict[Stream, list[Chunk]]:
    by_stream: defaultdict[Stream, list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        if chunk.id in known:
            by_stream[known[chunk.id]].append(chunk)
    return by_stream


def _first_page(chunk: Chunk) -> int:
    facts = pages(chunk)
    return facts.first_page if facts else 0


def _rank(chunk: Chunk) -> tuple[int, bool, int]:
    return _first_page(chunk), chunk.sequence is None, chunk.position
