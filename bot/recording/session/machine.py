"""The life of a session: a state and an event in, the new state and its effects out. Pure; the clock is passed in.

    live ──nobody speaks for session_gap_s──▶ finishing ──▶ complete | incomplete | empty ──late message──▶ finishing …

What is hard to see in the code:

- A message is whole when it is sent: nothing proves that another one follows, and nothing is waited for but media. So a
  session is over when the gap is, and decided as soon as all its messages are there.
- A message that belongs into a session that has ended (found late, or decrypted late) re-opens it, as a late chunk does
  with a broadcast. `session.joining` decides where a message belongs; here it does.
- Redacting a message takes it out of the sound, also the first one: the session keeps that one's event id as its own.
- An objection of one speaker takes their later messages out; the others' session goes on. Who speaks alone ends it.
- A voice broadcast that is a transmission lives by its own rules (`transmissions`): every event about it or one of its
  chunks goes to it. A session that ends ends those that are running.
- What somebody said without the floor of a walkie-talkie is listed, and is no sign of life.
- A message that turns out to be too long for what is left of the session is released: another session begins with it.
- The same event twice changes nothing: a chunk is identified by its event id, and states only move forward.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from bot.recording import chunks as on_chunks
from bot.recording.life import by_this_clock, ended, tombstone
from bot.recording.model import (
    BroadcastChanged,
    BroadcastStarted,
    ChunkFailed,
    ChunkSealed,
    ChunkSent,
    ChunkStored,
    Deleted,
    Effect,
    Ended,
    Erase,
    Forget,
    Forgotten,
    LookAgain,
    Opened,
    Outcome,
    RecordingEvent,
    Redacted,
    Release,
    Silenced,
    Tick,
    VoiceMessage,
)
from bot.recording.policy import Limits
from bot.recording.session import transmissions
from bot.recording.session.layout import WAITING, lay_out, sounds
from bot.recording.settling import settled
from bot.recording.speakers import credited, taking_part
from storage.records import (
    Chunk,
    ChunkState,
    EndedBy,
    EventId,
    HistoryVisibility,
    Position,
    Recording,
    RecordingId,
    RecordingKind,
    RecordingState,
    RoomId,
    to_ms,
)

MESSAGES = RecordingKind.VOICE_MESSAGES
TRANSMISSIONS = RecordingKind.WALKIE_TALKIE


@dataclass(frozen=True, slots=True)
class Line:
    """The messages of a room that sessions are made of, one after the other: of one kind, in one thread."""

    kind: RecordingKind = MESSAGES
    thread: EventId | None = None

    @classmethod
    def of(cls, recording: Recording) -> "Line":
        """Return the line in which a message that this recording releases stands."""
        return cls(recording.kind if recording.kind in (MESSAGES, TRANSMISSIONS) else MESSAGES, recording.thread)


def begin(
    message: VoiceMessage | BroadcastStarted,
    line: Line,
    *,
    room_id: RoomId,
    event_id: EventId,
    position: Position,
    said_at: datetime,
    now: datetime,
    history_visibility: HistoryVisibility = HistoryVisibility.JOINED,
    public: bool = False,
) -> Recording:
    """Return the recording of a session that begins with this message. Storage gives it its id, code and number."""
    return Recording(
        id=RecordingId(0),
        code="",
        number=0,
        room_id=room_id,
        event_id=event_id,
        kind=line.kind,
        broadcaster=message.sender,
        state=RecordingState.LIVE,
        position=position,
        started_at=said_at,
        heard_at=now,
        history_visibility=history_visibility,
        public=public,
        broadcaster_name=message.sender_name,
        thread=line.thread,
    )


def step(
    recording: Recording,
    chunks: tuple[Chunk, ...],
    event: RecordingEvent,
    *,
    now: datetime,
    limits: Limits,
    event_id: EventId | None = None,
    position: Position | None = None,
    asked: bool = True,
) -> Outcome:
    """Apply an event to a session. `event_id` and `position` are the event's own; a message has both, and the time
    that counts for it as its `sent_at` (`session.joining`)."""
    before = Outcome(by_this_clock(recording, now, limits), chunks)
    if recording.state is RecordingState.DELETED:
        unwanted = (Forget(blob),) if (blob := on_chunks.blob_of(event)) else ()
        return replace(before, effects=unwanted, ignored="deleted")
    if isinstance(event, Deleted):
        return replace(before, recording=tombstone(recording, now), effects=(Erase(),))
    after = _with_its_end(_credited(before, _applied(before, event, event_id, position, now, limits)))
    if after.ignored:
        return after
    if after.recording.state is RecordingState.LIVE:
        return _watched(before, after, event, now, limits, asked=asked)
    return settled(before, after, event, now, limits, lay_out=lay_out, asked=asked)


def _applied(
    outcome: Outcome,
    event: RecordingEvent,
    event_id: EventId | None,
    position: Position | None,
    now: datetime,
    limits: Limits,
) -> Outcome:
    """Apply the event itself, before anything is decided."""
    if (after := _to_transmission(outcome, event, event_id, position, now, limits)) is not None:
        return _within_limit(outcome, after, now, limits)
    match event:
        case VoiceMessage():
            assert event_id is not None
            assert position is not None
            return _take_in(outcome, event, event_id, position, now)
        case ChunkStored():
            return _stored(outcome, event, now, limits)
        case ChunkFailed():
            return on_chunks.failed(outcome, event, limits)
        case Redacted():
            return on_chunks.redacted(outcome, event)
        case Forgotten(sender=sender):
            return transmissions.forgotten(on_chunks.redacted(outcome, event), sender)
        case Silenced(sender=None) | Ended():
            after = on_chunks.silenced(outcome, event) if isinstance(event, Silenced) else on_chunks.cut(outcome, event)
            by = event.by if isinstance(event, Ended) else EndedBy.SWITCHED_OFF
            return _closed(after, by, now, limits)
        case Silenced(sender=sender):
            after = transmissions.ended(
                on_chunks.silenced(outcome, event), EndedBy.SWITCHED_OFF, now, limits, sender=sender
            )
            others = taking_part(after.recording, after.chunks) - {sender}
            return after if others else _closed(after, EndedBy.SWITCHED_OFF, now, limits)
    return outcome


def _credited(before: Outcome, after: Outcome) -> Outcome:
    """Note who is in the audio, where the event may have changed that. For most messages the layout of thousands need
    not be made: they are more of somebody who was heard before."""
    known = {chunk.id: chunk for chunk in before.chunks}
    decided = [chunk for chunk in after.chunks if chunk.state not in WAITING]
    changed = [chunk for chunk in decided if (old := known.get(chunk.id)) is not chunk and old != chunk]
    if all(before.recording.speakers and _adds_nobody(after, chunk, known.get(chunk.id)) for chunk in changed):
        return after
    ledger = lay_out(after.recording, after.chunks)
    return replace(after, recording=credited(after.recording, after.chunks, ledger))


def _adds_nobody(outcome: Outcome, chunk: Chunk, old: Chunk | None) -> bool:
    """Return whether a chunk that changed leaves the credits as they are: it is not heard and was not, or its speaker
    is heard before it, under a name."""
    if on_chunks.is_removed(chunk) or (old and old.state is ChunkState.STORED):
        return False
    if chunk.state is not ChunkState.STORED:
        return True
    began = {each.event_id: each.position for each in outcome.recording.transmissions}
    place = _place(chunk, began)
    return any(
        other is not chunk
        and other.sender == chunk.sender
        and sounds(other)
        and (other.sender_name is not None or chunk.sender_name is None)
        and (_place(other, began) < place or (chunk.transmission and other.transmission == chunk.transmission))
        for other in outcome.chunks
    )


def _place(chunk: Chunk, began: Mapping[EventId, Position]) -> Position:
    return began.get(chunk.transmission, chunk.position) if chunk.transmission else chunk.position


def _to_transmission(
    outcome: Outcome,
    event: RecordingEvent,
    event_id: EventId | None,
    position: Position | None,
    now: datetime,
    limits: Limits,
) -> Outcome | None:
    """Apply an event about a broadcast that is a transmission, or about one of its chunks; None for any other event."""
    match event:
        case BroadcastStarted():
            assert event_id is not None
            assert position is not None
            return transmissions.begun(outcome, event, event_id, position, now, limits)
        case Tick():
            return transmissions.ticked(outcome, now, limits)
        case BroadcastChanged(broadcast=broadcast) | ChunkSent(broadcast=broadcast) | ChunkSealed(broadcast=broadcast):
            transmission = transmissions.find(outcome.recording, broadcast)
            if transmission is None:
                return replace(outcome, ignored="other_broadcast")
        case ChunkStored(chunk_id=chunk_id) | ChunkFailed(chunk_id=chunk_id):
            transmission = transmissions.of_chunk(outcome, on_chunks.find(outcome.chunks, chunk_id))
        case Opened(event_id=opened):
            transmission = transmissions.of_chunk(outcome, on_chunks.find_of_event(outcome.chunks, opened))
        case Redacted(redacts=redacted):
            if (whole := transmissions.find(outcome.recording, redacted)) is not None:
                return transmissions.removed(outcome, whole)
            transmission = transmissions.of_chunk(outcome, on_chunks.find_of_event(outcome.chunks, redacted))
        case _:
            return None
    if transmission is None:
        return None
    return transmissions.step(
        outcome, transmission, event, now=now, limits=limits, event_id=event_id, position=position
    )


def _take_in(outcome: Outcome, event: VoiceMessage, event_id: EventId, position: Position, now: datetime) -> Outcome:
    """Take in a message. It is a sign of life if it is new, and was said in turn."""
    if not event.in_turn:
        return on_chunks.refused_out_of_turn(outcome, event, event_id, position, name=event.sender_name)
    chunk = on_chunks.sent(event, outcome.recording.id, event_id, position)
    after = on_chunks.arrived(outcome, replace(chunk, sender_name=event.sender_name))
    if after.ignored or len(after.chunks) == len(outcome.chunks):
        return after
    return replace(after, recording=replace(after.recording, heard_at=max(after.recording.heard_at, now)))


def _closed(outcome: Outcome, by: EndedBy, now: datetime, limits: Limits) -> Outcome:
    if outcome.recording.state is not RecordingState.LIVE:
        return outcome
    over = transmissions.ended(outcome, by, now, limits)
    at = _last_said(over) if by is EndedBy.GAP else now
    return replace(over, recording=ended(over.recording, by, at, now, limits))


def _stored(outcome: Outcome, event: ChunkStored, now: datetime, limits: Limits) -> Outcome:
    """Keep the media of a message. One that is longer than what is left of the session is released, and ends it; but
    never the first, whose id is the session's."""
    chunk = on_chunks.find(outcome.chunks, event.chunk_id)
    others = tuple(other for other in outcome.chunks if other is not chunk)
    kept = sum(other.facts.samples for other in others if other.state is ChunkState.STORED and other.facts)
    fits = not kept or kept + event.facts.samples <= limits.max_samples
    if fits or chunk is None or not on_chunks.is_fetchable(chunk) or chunk.event_id == outcome.recording.event_id:
        return _within_limit(outcome, on_chunks.stored(outcome, event, limits), now, limits)
    unwanted = tuple(Forget(blob) for blob in {event.blob, chunk.blob} if blob is not None)
    release = Release(replace(chunk, announced_ms=to_ms(event.facts.samples)))
    return _closed(replace(outcome, chunks=others, effects=(*unwanted, release)), EndedBy.LIMIT, now, limits)


def _within_limit(before: Outcome, after: Outcome, now: datetime, limits: Limits) -> Outcome:
    """End a live session whose newest sound goes beyond the limit."""
    if not on_chunks.ended_by_limit(after) or on_chunks.ended_by_limit(before):
        return after
    return _closed(after, EndedBy.LIMIT, now, limits)


# ---- the clock


def first_effects(recording: Recording, limits: Limits) -> tuple[Effect, ...]:
    """Return the effects of the session's beginning."""
    return (LookAgain(recording.started_at + limits.session_gap),)


def _watched(
    before: Outcome, after: Outcome, event: RecordingEvent, now: datetime, limits: Limits, *, asked: bool
) -> Outcome:
    """End a live session when a Tick finds that nobody spoke for the gap; else schedule the next Tick."""
    if not isinstance(event, Tick):
        return after
    last = _last_said(after)
    over = last + limits.session_gap
    if now < over:
        return after.also(LookAgain(over))
    after = transmissions.ended(after, EndedBy.ABANDONED, now, limits)
    recording = ended(after.recording, EndedBy.GAP, last, now, limits)
    return settled(before, replace(after, recording=recording), event, now, limits, lay_out=lay_out, asked=asked)


def _with_its_end(outcome: Outcome) -> Outcome:
    """Move the end of a session that was over to its last message, which may have come since."""
    if outcome.recording.ended_by is not EndedBy.GAP:
        return outcome
    return replace(outcome, recording=replace(outcome.recording, ended_at=_last_said(outcome)))


def _last_said(outcome: Outcome) -> datetime:
    """Return when the last message was sent, or the last broadcast gave a sign of life, whether it is heard or not. The
    clock may have been set back since a message was heard."""
    heard_at = outcome.recording.heard_at
    sent = [chunk.sent_at for chunk in outcome.chunks if chunk.sent_at and chunk.reason != on_chunks.OUT_OF_TURN]
    began = [each.ended_at or each.started_at for each in outcome.recording.transmissions if each.in_turn]
    return max([min(max(sent, default=outcome.recording.started_at), heard_at), *began])
