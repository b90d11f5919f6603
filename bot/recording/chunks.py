"""The changes that events make to the chunks of any recording. Pure; each kind's machine states the rules."""

from collections.abc import Collection
from dataclasses import replace

from bot.recording.ledger import Entry
from bot.recording.model import (
    Answer,
    ChunkFailed,
    ChunkSealed,
    ChunkSent,
    ChunkStored,
    Effect,
    Ended,
    FetchChunk,
    Forget,
    Forgotten,
    Opened,
    Outcome,
    RecordingEvent,
    Redacted,
    Silenced,
    Tell,
    VoiceMessage,
)
from bot.recording.policy import MAX_CHUNKS, Limits
from storage.records import OUT_OF_TURN as OUT_OF_TURN
from storage.records import (
    BlobKey,
    Chunk,
    ChunkId,
    ChunkState,
    EndedBy,
    EventId,
    Position,
    RecordingId,
    UserId,
    chunk_id_of,
)

JUDGED = frozenset({ChunkState.DAMAGED, ChunkState.REFUSED})
FETCHABLE = JUDGED | {ChunkState.WAITING_FOR_MEDIA}
FAILURES = frozenset({ChunkState.WAITING_FOR_MEDIA, ChunkState.DAMAGED, ChunkState.REFUSED})
TOO_LARGE = "too_large"
BEYOND_LIMIT = "beyond_limit"  # the recording is too long; a single chunk that is `too_long` ends nothing
NOT_WANTED = "not_wanted"  # the speaker, or a moderator, objected
REMOVED = (ChunkState.REDACTED, NOT_WANTED)
"""The state, and the reason, of chunks whose sound was taken out."""
GIVEN_UP = frozenset({BEYOND_LIMIT, NOT_WANTED, OUT_OF_TURN})
"""Reasons for which no media are accepted any more."""
LIMIT = "limit"  # the sentence for the room


def sent(event: ChunkSent | VoiceMessage, recording: RecordingId, event_id: EventId, position: Position) -> Chunk:
    """Return the chunk that an event announces; its media is still to be fetched."""
    return Chunk(
        id=chunk_id_of(event_id),
        recording_id=recording,
        event_id=event_id,
        sender=event.sender,
        position=position,
        state=ChunkState.WAITING_FOR_MEDIA,
        source=event.source,
        announced_ms=event.announced_ms,
        announced_bytes=event.announced_bytes,
        sent_at=event.sent_at,
    )


def sealed(event: ChunkSealed, recording: RecordingId, event_id: EventId, position: Position) -> Chunk:
    """Return the chunk for an event that can't be decrypted yet."""
    return Chunk(
        id=chunk_id_of(event_id),
        recording_id=recording,
        event_id=event_id,
        sender=event.sender,
        position=position,
        state=ChunkState.WAITING_FOR_KEY,
        session_id=event.session_id,
        sent_at=event.sent_at,
    )


def arrived(outcome: Outcome, chunk: Chunk) -> Outcome:
    """Add a chunk as its event describes it (`sent`, `sealed`). A sealed chunk that can be read now keeps its position
    in the timeline."""
    known = find(outcome.chunks, chunk.id)
    if known is None:
        return _new(outcome, chunk)
    if chunk.state is ChunkState.WAITING_FOR_MEDIA and is_fetchable(known):
        return _asked_anew(outcome, known, chunk)
    if known.state is not ChunkState.WAITING_FOR_KEY or chunk.state is ChunkState.WAITING_FOR_KEY:
        return outcome
    return _fetched(outcome, replace(chunk, position=known.position))


def refused_out_of_turn(
    outcome: Outcome,
    event: ChunkSent | ChunkSealed | VoiceMessage,
    event_id: EventId,
    position: Position,
    *,
    transmission: EventId | None = None,
    name: str | None = None,
) -> Outcome:
    """List what its sender said without the floor. Its media are never fetched."""
    if find(outcome.chunks, chunk_id_of(event_id)) is not None:
        return outcome
    if len(outcome.chunks) >= MAX_CHUNKS:
        return replace(outcome, ignored="too_many_chunks")
    whose = outcome.recording.id, event_id, position
    chunk = sealed(event, *whose) if isinstance(event, ChunkSealed) else sent(event, *whose)
    sequence = event.sequence if isinstance(event, ChunkSent) else None
    listed = replace(chunk, transmission=transmission, sender_name=name, sequence=sequence)
    return replace(outcome, chunks=with_chunk(outcome.chunks, given_up(listed, ChunkState.REFUSED, OUT_OF_TURN)))


def is_fetchable(chunk: Chunk) -> bool:
    """Return whether media are still accepted for a chunk that is not stored."""
    return chunk.state in FETCHABLE and chunk.reason not in GIVEN_UP


def is_removed(chunk: Chunk | Entry) -> bool:
    """Return whether a chunk's sound was taken out of the recording: redacted, or not wanted."""
    state, reason = REMOVED
    return chunk.state is state or chunk.reason == reason


def _asked_anew(outcome: Outcome, known: Chunk, sent_again: Chunk) -> Outcome:
    """Fetch media again at once that could not be used: the chunk's event was read once more."""
    if known.state is ChunkState.WAITING_FOR_MEDIA and known.answer is None:
        return outcome  # the first try is under way
    again = replace(known, source=sent_again.source)
    return replace(outcome, chunks=with_chunk(outcome.chunks, again), effects=(FetchChunk(known.id),))


def _new(outcome: Outcome, chunk: Chunk) -> Outcome:
    if outcome.recording.ended_by is EndedBy.SWITCHED_OFF:
        return replace(outcome, ignored="switched_off")
    if len(outcome.chunks) >= MAX_CHUNKS:
        return replace(outcome, ignored="too_many_chunks")
    if outcome.recording.ended_by is EndedBy.LIMIT:
        return replace(outcome, chunks=with_chunk(outcome.chunks, given_up(chunk, ChunkState.REFUSED, BEYOND_LIMIT)))
    return _fetched(outcome, chunk)


def _fetched(outcome: Outcome, chunk: Chunk) -> Outcome:
    effects = (FetchChunk(chunk.id),) if chunk.state is ChunkState.WAITING_FOR_MEDIA else ()
    return replace(outcome, chunks=with_chunk(outcome.chunks, chunk), effects=effects)


def stored(outcome: Outcome, event: ChunkStored, limits: Limits) -> Outcome:
    """Keep media that were fetched. Blobs that are no longer wanted are forgotten."""
    chunk = find(outcome.chunks, event.chunk_id)
    if chunk is not None and chunk.state is ChunkState.STORED and chunk.blob == event.blob:
        return outcome
    if chunk is None or not is_fetchable(chunk):
        return replace(outcome, effects=(Forget(event.blob),), ignored=_unfit(chunk))
    if event.bytes > limits.max_chunk_bytes:
        return _refused(outcome, chunk, event.blob, TOO_LARGE)
    if _samples(outcome.chunks, event.blob) + event.facts.samples > limits.max_samples:
        told = ended_by_limit(outcome)
        refused = _refused(outcome, chunk, event.blob, BEYOND_LIMIT)
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
    return replace(outcome, chunks=with_chunk(outcome.chunks, kept), effects=_forgotten(chunk.blob, event.blob))


def ended_by_limit(outcome: Outcome) -> bool:
    """Return whether the recording went beyond what may be recorded."""
    return any(chunk.reason == BEYOND_LIMIT and chunk.state is ChunkState.REFUSED for chunk in outcome.chunks)


def _refused(outcome: Outcome, chunk: Chunk, blob: BlobKey, reason: str) -> Outcome:
    refused = given_up(chunk, ChunkState.REFUSED, reason)
    return replace(
        outcome, chunks=with_chunk(outcome.chunks, refused), effects=(Forget(blob), *_forgotten(chunk.blob, blob))
    )


def failed(outcome: Outcome, event: ChunkFailed, limits: Limits) -> Outcome:
    """Note that media are not available so far, or can't be used. A stored chunk stays stored; a judged one stays
    judged until better media come. Raises ValueError for a state that is no failure."""
    if event.state not in FAILURES:
        raise ValueError(f"{event.state} is no failure")
    chunk = find(outcome.chunks, event.chunk_id)
    came = event.answer.blob if event.answer else None
    if chunk is None or not is_fetchable(chunk):
        return replace(outcome, effects=_forgotten(came, None), ignored=_unfit(chunk))
    if chunk.state in JUDGED and event.reason != NOT_WANTED:
        return replace(outcome, effects=_forgotten(came, chunk.blob))
    after = after_failure(outcome, chunk, event, limits)
    unwanted = (*_forgotten(chunk.blob, after.blob), *_forgotten(came, after.blob))
    return replace(outcome, chunks=with_chunk(outcome.chunks, after), effects=unwanted)


def after_failure(outcome: Outcome, chunk: Chunk, event: ChunkFailed, limits: Limits) -> Chunk:
    """Return a chunk after a try that failed. A rule of ours, or a malformed event, decides at the first try. A first
    unusable answer of the homeserver decides nothing: the chunk is still being fetched (`settling`). The same answer
    twice decides."""
    answer = event.answer
    if answer is None:
        if event.state is ChunkState.DAMAGED or event.reason == NOT_WANTED:
            return given_up(chunk, event.state, event.reason)  # no address to fetch from, or none that may be used
        return replace(chunk, state=event.state, reason=event.reason)
    if answer.digest == chunk.answer:
        return replace(chunk, state=event.state, reason=event.reason)
    reason = event.reason if chunk.answer else None
    if answer.blob is None and event.state is ChunkState.WAITING_FOR_MEDIA:  # the earlier bytes still count
        return replace(chunk, reason=reason, answer=chunk.answer or answer.digest)
    others = [one for one in outcome.chunks if one.blob and one.state is not ChunkState.STORED and one is not chunk]
    room = limits.max_chunk_bytes - sum(one.bytes or 0 for one in others)
    kept = answer if (answer.bytes or 0) <= room else Answer(answer.digest)
    return replace(chunk, reason=reason, answer=answer.digest, blob=kept.blob, bytes=kept.bytes)


def blob_of(event: RecordingEvent) -> BlobKey | None:
    """Return the key of the bytes that an event brings into the archive."""
    if isinstance(event, ChunkStored):
        return event.blob
    return event.answer.blob if isinstance(event, ChunkFailed) and event.answer else None


def _forgotten(blob: BlobKey | None, kept: BlobKey | None) -> tuple[Effect, ...]:
    """Forget a blob that another one replaces."""
    return () if blob is None or blob == kept else (Forget(blob),)


def opened(outcome: Outcome, event: Opened) -> Outcome:
    """Remove a sealed event that turned out not to be a chunk. A malformed chunk stays, as damaged."""
    chunk = find_of_event(outcome.chunks, event.event_id)
    if chunk is None or chunk.state is not ChunkState.WAITING_FOR_KEY:
        return replace(outcome, ignored=_unfit(chunk))
    if event.rule is not None:
        return replace(outcome, chunks=with_chunk(outcome.chunks, given_up(chunk, ChunkState.DAMAGED, event.rule)))
    return replace(outcome, chunks=tuple(other for other in outcome.chunks if other is not chunk))


def redacted(outcome: Outcome, event: Redacted | Forgotten) -> Outcome:
    """Remove the sound of a chunk, or of a speaker, whose name goes too. Places and lengths stay, so that later chunks
    keep theirs."""
    if isinstance(event, Forgotten):
        return _forgotten_speaker(outcome, event.sender)
    chunk = find_of_event(outcome.chunks, event.redacts)
    return replace(outcome, ignored="unknown_event") if chunk is None else without_sound(outcome, {chunk.id})


def _forgotten_speaker(outcome: Outcome, speaker: UserId) -> Outcome:
    theirs = {chunk.id for chunk in outcome.chunks if chunk.sender == speaker}
    after = without_sound(outcome, theirs)
    nameless = tuple(replace(each, sender_name=None) if each.id in theirs else each for each in after.chunks)
    recording = outcome.recording
    if recording.broadcaster == speaker:
        recording = replace(recording, broadcaster_name=None)
    return replace(after, recording=recording, chunks=nameless)


def without_sound(outcome: Outcome, those: Collection[ChunkId]) -> Outcome:
    """Remove the sound of some chunks."""
    kept: list[Chunk] = []
    unwanted: list[Effect] = []
    for chunk in outcome.chunks:
        if chunk.id in those and chunk.state is not ChunkState.REDACTED and chunk.reason != OUT_OF_TURN:
            unwanted += [Forget(chunk.blob)] if chunk.blob else []
            chunk = given_up(chunk, ChunkState.REDACTED, "redacted")
            chunk = replace(chunk, announced_bytes=None, sender_name=None)
        kept.append(chunk)
    return replace(outcome, chunks=tuple(kept), effects=(*outcome.effects, *unwanted))


def silenced(outcome: Outcome, event: Silenced) -> Outcome:
    """Remove the sound that came after an objection, and stop waiting for any."""
    kept: list[Chunk] = []
    unwanted: list[Effect] = []
    for chunk in outcome.chunks:
        if event.sender not in (None, chunk.sender):
            kept.append(chunk)
            continue
        if chunk.state is ChunkState.CANDIDATE:
            continue
        too_late = chunk.position > event.since and chunk.state is ChunkState.STORED
        if too_late or chunk.state is ChunkState.WAITING_FOR_KEY or is_fetchable(chunk):
            unwanted += [Forget(chunk.blob)] if chunk.blob else []
            chunk = replace(given_up(chunk, ChunkState.REFUSED, NOT_WANTED), sender_name=None)
        kept.append(chunk)
    return replace(outcome, chunks=tuple(kept), effects=tuple(unwanted))


def cut(outcome: Outcome, event: Ended) -> Outcome:
    """Remove the messages that were sent after the command that ended the recording, before it was carried out."""
    if event.since is None:
        return outcome
    kept: list[Chunk] = []
    unwanted: list[Effect] = []
    for chunk in outcome.chunks:
        if chunk.position > event.since and chunk.transmission is None and not is_removed(chunk):
            unwanted += [Forget(chunk.blob)] if chunk.blob else []
            chunk = replace(given_up(chunk, ChunkState.REFUSED, NOT_WANTED), sender_name=None)
        kept.append(chunk)
    return replace(outcome, chunks=tuple(kept), effects=tuple(unwanted))


def given_up(chunk: Chunk, state: ChunkState, reason: str) -> Chunk:
    return replace(chunk, state=state, reason=reason, source=None, session_id=None, answer=None, blob=None, bytes=None)


def _unfit(chunk: Chunk | None) -> str:
    return f"chunk_{chunk.state}" if chunk else "unknown_chunk"


def find(chunks: tuple[Chunk, ...], chunk_id: ChunkId) -> Chunk | None:
    return next((chunk for chunk in chunks if chunk.id == chunk_id), None)


def find_of_event(chunks: tuple[Chunk, ...], event_id: EventId) -> Chunk | None:
    return next((chunk for chunk in chunks if chunk.event_id == event_id), None)


def with_chunk(chunks: tuple[Chunk, ...], new: Chunk) -> tuple[Chunk, ...]:
    """Return the chunks with a new or changed one, in the order of the timeline."""
    others = [chunk for chunk in chunks if chunk.id != new.id]
    return tuple(sorted([*others, new], key=lambda chunk: chunk.position))


def _samples(chunks: tuple[Chunk, ...], but: BlobKey) -> int:
    """Return the length of all stored media but one. The same media sent twice count once."""
    lengths = {chunk.blob: chunk.facts.samples for chunk in chunks if chunk.facts and chunk.blob not in (None, but)}
    return sum(lengths.values())
