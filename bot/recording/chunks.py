"""What events do to the chunks of a recording. Pure; the rules stand at the top of `machine`."""

from dataclasses import replace

from bot.recording.broadcast.orphans import MAX_CANDIDATES, is_candidate
from bot.recording.model import (
    Answer,
    ChunkFailed,
    ChunkSealed,
    ChunkSent,
    ChunkStored,
    Effect,
    FetchChunk,
    Forget,
    Opened,
    Outcome,
    RecordingEvent,
    Redacted,
    Tell,
    VoiceMessage,
)
from bot.recording.policy import MAX_CHUNKS, Limits
from storage.records import BlobKey, Chunk, ChunkFacts, ChunkState, EndedBy, EventId, Position, RecordingId

JUDGED = frozenset({ChunkState.DAMAGED, ChunkState.REFUSED})
FETCHABLE = JUDGED | {ChunkState.WAITING_FOR_MEDIA}
FAILURES = frozenset({ChunkState.WAITING_FOR_MEDIA, ChunkState.DAMAGED, ChunkState.REFUSED})
TOO_LARGE = "too_large"
BEYOND_LIMIT = "beyond_limit"  # of the broadcast; a single chunk that is `too_long` ends nothing
LIMIT = "limit"  # the sentence for the room


def arrived(it: Outcome, event: ChunkSent | ChunkSealed, event_id: EventId, position: Position) -> Outcome:
    """A chunk's event: new, known, or a sealed one that can be read now; that one keeps its place in the timeline."""
    known = _find(it.chunks, event_id)
    if known is None:
        return _new(it, _waiting(event, it.recording.id, event_id, position))
    if isinstance(event, ChunkSent) and is_fetchable(known):
        return _asked_anew(it, known, event)
    if known.state is not ChunkState.WAITING_FOR_KEY or isinstance(event, ChunkSealed):
        return it
    return _fetched(it, _waiting(event, it.recording.id, event_id, known.position))


def is_fetchable(chunk: Chunk) -> bool:
    """Whether better media of a chunk that is not stored would be taken."""
    return chunk.state in FETCHABLE and chunk.reason != BEYOND_LIMIT


def _asked_anew(it: Outcome, chunk: Chunk, event: ChunkSent) -> Outcome:
    """Its event was read once more: media that could not be used are asked for again, at once."""
    if chunk.state is ChunkState.WAITING_FOR_MEDIA and chunk.answer is None:
        return it  # the first try is under way
    again = replace(chunk, source=event.source)
    return replace(it, chunks=_with(it.chunks, again), effects=(FetchChunk(chunk.event_id),))


def _new(it: Outcome, chunk: Chunk) -> Outcome:
    if it.recording.ended_by is EndedBy.SWITCHED_OFF:
        return replace(it, ignored="switched_off")
    if len(it.chunks) >= MAX_CHUNKS:
        return replace(it, ignored="too_many_chunks")
    if it.recording.ended_by is EndedBy.LIMIT:
        return replace(it, chunks=_with(it.chunks, _given_up(chunk, ChunkState.REFUSED, BEYOND_LIMIT)))
    return _fetched(it, chunk)


def _fetched(it: Outcome, chunk: Chunk) -> Outcome:
    effects = (FetchChunk(chunk.event_id),) if chunk.state is ChunkState.WAITING_FOR_MEDIA else ()
    return replace(it, chunks=_with(it.chunks, chunk), effects=effects)


def _waiting(event: ChunkSent | ChunkSealed, recording: RecordingId, event_id: EventId, position: Position) -> Chunk:
    if isinstance(event, ChunkSealed):
        return Chunk(
            event_id=event_id,
            recording_id=recording,
            position=position,
            sequence=None,
            state=ChunkState.WAITING_FOR_KEY,
            session_id=event.session_id,
            sent_at=event.sent_at,
        )
    return Chunk(
        event_id=event_id,
        recording_id=recording,
        position=position,
        sequence=event.sequence,
        state=ChunkState.WAITING_FOR_MEDIA,
        source=event.source,
        announced_ms=event.announced_ms,
        announced_bytes=event.announced_bytes,
        sent_at=event.sent_at,
    )


def suspected(it: Outcome, event: VoiceMessage, event_id: EventId, position: Position) -> Outcome:
    """A voice message of the speaker becomes a candidate; its media is only looked into."""
    if _find(it.chunks, event_id) is not None:
        return it
    if it.recording.ended_by in (EndedBy.SWITCHED_OFF, EndedBy.LIMIT):
        return replace(it, ignored=str(it.recording.ended_by))
    if sum(map(is_candidate, it.chunks)) >= MAX_CANDIDATES:
        return replace(it, ignored="too_many_candidates")
    candidate = Chunk(
        event_id=event_id,
        recording_id=it.recording.id,
        position=position,
        sequence=None,
        state=ChunkState.CANDIDATE,
        source=event.source,
        announced_ms=event.announced_ms,
        announced_bytes=event.announced_bytes,
        sent_at=event.sent_at,
    )
    return replace(it, chunks=_with(it.chunks, candidate), effects=(FetchChunk(event_id),))


def _looked_into(chunk: Chunk, facts: ChunkFacts) -> Chunk:
    """A candidate whose sound is known. One that can never be proved needs its media, and the key to it, no more."""
    return replace(chunk, facts=facts, reason=None, source=chunk.source if facts.ogg else None)


def stored(it: Outcome, event: ChunkStored, limits: Limits) -> Outcome:
    """Its media is there. What is not wanted any more must not stay: its blob is forgotten. A candidate's never was
    kept."""
    chunk = _find(it.chunks, event.event_id)
    if chunk is not None and is_candidate(chunk):
        return replace(it, chunks=_with(it.chunks, _looked_into(chunk, event.facts)))
    if chunk is not None and chunk.state is ChunkState.STORED and chunk.blob == event.blob:
        return it
    if chunk is None or not is_fetchable(chunk):
        return replace(it, effects=(Forget(event.blob),), ignored=_unfit(chunk))
    if event.bytes > limits.max_chunk_bytes:
        return _refused(it, chunk, event.blob, TOO_LARGE)
    if _samples(it.chunks, event.blob) + event.facts.samples > limits.max_samples:
        told = ended_by_limit(it)
        refused = _refused(it, chunk, event.blob, BEYOND_LIMIT)
        return refused if told else replace(refused, effects=(*refused.effects, Tell(LIMIT)))
    kept = replace(
        chunk,
        state=ChunkState.STORED,
        reason=None,
        source=None,
        blob=event.blob,
        bytes=event.bytes,
        facts=event.facts,
        answer=None,
    )
    return replace(it, chunks=_with(it.chunks, kept), effects=_forgotten(chunk.blob, event.blob))


def ended_by_limit(it: Outcome) -> bool:
    """The broadcast went beyond what is recorded."""
    return any(chunk.reason == BEYOND_LIMIT and chunk.state is ChunkState.REFUSED for chunk in it.chunks)


def _refused(it: Outcome, chunk: Chunk, blob: BlobKey, reason: str) -> Outcome:
    refused = _given_up(chunk, ChunkState.REFUSED, reason)
    return replace(it, chunks=_with(it.chunks, refused), effects=(Forget(blob), *_forgotten(chunk.blob, blob)))


def failed(it: Outcome, event: ChunkFailed, limits: Limits) -> Outcome:
    """Its media is not to be had so far, or can't be used. What is stored stays stored; what was judged stays so until
    better media come."""
    if event.state not in FAILURES:
        raise ValueError(f"{event.state} is no failure")
    chunk = _find(it.chunks, event.event_id)
    came = event.answer.blob if event.answer else None
    if chunk is None or not (is_candidate(chunk) or is_fetchable(chunk)):
        return replace(it, effects=_forgotten(came, None), ignored=_unfit(chunk))
    if chunk.state in JUDGED:
        return replace(it, effects=_forgotten(came, chunk.blob))
    after = _answered(it, chunk, event, event.answer, limits) if event.answer else _ruled(chunk, event)
    unwanted = (*_forgotten(chunk.blob, after.blob), *_forgotten(came, after.blob))
    return replace(it, chunks=_with(it.chunks, after), effects=unwanted)


def _ruled(chunk: Chunk, event: ChunkFailed) -> Chunk:
    """By a rule of ours, or because its event is malformed: then there is nothing to ask for."""
    if is_candidate(chunk) and event.state in JUDGED:
        return _given_up(chunk, chunk.state, event.reason)
    if event.state is ChunkState.DAMAGED:
        return _given_up(chunk, event.state, event.reason)
    return replace(chunk, state=chunk.state if is_candidate(chunk) else event.state, reason=event.reason)


def _answered(it: Outcome, chunk: Chunk, event: ChunkFailed, answer: Answer, limits: Limits) -> Chunk:
    """After an answer that can't be used. The first one says nothing: the chunk is still on its way (`settling`). The
    same one twice is the verdict."""
    if answer.digest == chunk.answer:
        if is_candidate(chunk) and event.state in JUDGED:
            return _given_up(chunk, chunk.state, event.reason)
        return replace(chunk, state=chunk.state if is_candidate(chunk) else event.state, reason=event.reason)
    reason = event.reason if chunk.answer else None
    if answer.blob is None and event.state is ChunkState.WAITING_FOR_MEDIA:  # nothing came: what came before counts on
        return replace(chunk, reason=reason, answer=chunk.answer or answer.digest)
    others = [one for one in it.chunks if one.blob and one.state is not ChunkState.STORED and one is not chunk]
    room = limits.max_chunk_bytes - sum(one.bytes or 0 for one in others)
    kept = answer if (answer.bytes or 0) <= room else Answer(answer.digest)
    return replace(chunk, reason=reason, answer=answer.digest, blob=kept.blob, bytes=kept.bytes)


def blob_of(event: RecordingEvent) -> BlobKey | None:
    """The bytes that an event brings into the archive."""
    if isinstance(event, ChunkStored):
        return event.blob
    return event.answer.blob if isinstance(event, ChunkFailed) and event.answer else None


def _forgotten(blob: BlobKey | None, kept: BlobKey | None) -> tuple[Effect, ...]:
    """What is to be removed of a blob that another one replaces."""
    return () if blob is None or blob == kept else (Forget(blob),)


def opened(it: Outcome, event: Opened) -> Outcome:
    """A sealed event was no chunk after all: it leaves the ledger, unless it meant to be one."""
    chunk = _find(it.chunks, event.event_id)
    if chunk is None or chunk.state is not ChunkState.WAITING_FOR_KEY:
        return replace(it, ignored=_unfit(chunk))
    if event.rule is not None:
        return replace(it, chunks=_with(it.chunks, _given_up(chunk, ChunkState.DAMAGED, event.rule)))
    return replace(it, chunks=tuple(other for other in it.chunks if other is not chunk))


def redacted(it: Outcome, event: Redacted) -> Outcome:
    """Its sound goes; number and length stay, so that what comes after keeps its place. Of a candidate nothing
    stays."""
    chunk = _find(it.chunks, event.redacts)
    if chunk is None:
        return replace(it, ignored="unknown_event")
    if chunk.state is ChunkState.REDACTED:
        return it
    if is_candidate(chunk):
        return replace(it, chunks=tuple(other for other in it.chunks if other is not chunk))
    gone = replace(_given_up(chunk, ChunkState.REDACTED, "redacted"), announced_bytes=None)
    effects = (Forget(chunk.blob),) if chunk.blob else ()
    return replace(it, chunks=_with(it.chunks, gone), effects=effects)


def _given_up(chunk: Chunk, state: ChunkState, reason: str) -> Chunk:
    return replace(chunk, state=state, reason=reason, source=None, session_id=None, answer=None, blob=None, bytes=None)


def _unfit(chunk: Chunk | None) -> str:
    return f"chunk_{chunk.state}" if chunk else "unknown_chunk"


def _find(chunks: tuple[Chunk, ...], event_id: EventId) -> Chunk | None:
    return next((chunk for chunk in chunks if chunk.event_id == event_id), None)


def _with(chunks: tuple[Chunk, ...], new: Chunk) -> tuple[Chunk, ...]:
    """In the timeline's order."""
    others = [chunk for chunk in chunks if chunk.event_id != new.event_id]
    return tuple(sorted([*others, new], key=lambda chunk: chunk.position))


def _samples(chunks: tuple[Chunk, ...], but: BlobKey) -> int:
    """Of all other media that are stored; the same media sent twice count once."""
    lengths = {chunk.blob: chunk.facts.samples for chunk in chunks if chunk.facts and chunk.blob not in (None, but)}
    return sum(lengths.values())
