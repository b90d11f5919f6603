"""The life of a broadcast: a state and an event in, the new state and its effects out. Pure; the clock is passed in.

    live ──end──▶ finishing ──decided──▶ complete | incomplete | empty ──late chunk──▶ finishing …
      └────────────────── the started event is redacted ──▶ deleted

What is hard to see in the code:

- `stopped` is not the end of the data. Android and iOS send it before the last chunk, Element Web while an upload may
  be under way, and `last_chunk_sequence` may be absent, 0, too high or too low. So an ended recording is decided at
  once only where the ledger is certain; else after `quiet_period_s` without new chunks.
- A decided recording is never closed. A late chunk, a late key or late media re-open it; the quiet period is over by
  then, so it is decided again as soon as nothing is being fetched. Ten minutes later a Tick decides in any case: a
  download that hangs must not hold back an episode.
- Clients have no time-out: after a crash a broadcast stays live in room state indefinitely. Our time-out counts from
  the last sign of life by our clock, and only a Tick ends a broadcast for it: every other event is a sign of life, even
  after a long outage of the bot.
- `abandoned` is our guess, so a later `stopped` corrects it. Every other end is a fact and stays; a broadcast never
  becomes live again.
- /sync may leave events out without saying so. So no uncertain recording is decided, and none abandoned, before the
  homeserver was asked for all events of the broadcast (`Ask`), or did not answer for 30 s.
- After `switched_off` no new chunk is accepted: the speaker or a moderator has refused the recording. After `limit` new
  chunks are listed as refused.
- An objection (`Silenced`) counts from its own position in the timeline, so it also removes chunks that came after it
  and were fetched before it was handled. It ends a live broadcast, and stops the healing of one that has ended.
- Redacting the started event deletes everything, in every state, and late events meet the tombstone: servers don't
  redact events that come after a deletion (https://github.com/matrix-org/synapse/issues/14231). Redacting a chunk takes
  its sound; its length stays, as silence. Redacting `paused`, `resumed` or `stopped` changes nothing: its statement was
  true, and a broadcast that ended can't continue because somebody tidied up.
- Only events of the started event's sender count; Element Web itself doesn't check that. The homeserver has decided who
  may redact.
- A plain voice message of the speaker may be a chunk that lost its relation: until that is proved it is a candidate,
  which changes nothing in the recording (`orphans`). Candidates are examined again after every event, since a
  neighbouring chunk may have come. A proved candidate is an ordinary chunk from then on, and heals a decided recording
  as any late chunk does.
- The same event twice changes nothing: a chunk is identified by its event id, and states only move forward.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from bot.recording import chunks as on_chunks
from bot.recording.broadcast import orphans
from bot.recording.broadcast.layout import lay_out
from bot.recording.broadcast.speakers import speaker_of
from bot.recording.life import by_this_clock, clamped, ended, tombstone
from bot.recording.model import (
    Ask,
    BroadcastChanged,
    BroadcastStarted,
    Change,
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
    Joined,
    LookAgain,
    Opened,
    Outcome,
    RecordingEvent,
    Redacted,
    Silenced,
    Tell,
    Tick,
    VoiceMessage,
)
from bot.recording.policy import ASKING_MAY_TAKE, Limits
from bot.recording.settling import settled
from storage.records import (
    Chunk,
    EndedBy,
    EventId,
    HistoryVisibility,
    Position,
    Recording,
    RecordingId,
    RecordingKind,
    RecordingState,
    RoomId,
    UserId,
)

MOST_RESUMES = 255
REMOVED = "removed"  # the sentence for the room


def begin(
    event: BroadcastStarted,
    *,
    room_id: RoomId,
    event_id: EventId,
    position: Position,
    now: datetime,
    room_created: datetime | None = None,
    history_visibility: HistoryVisibility = HistoryVisibility.JOINED,
    broadcaster_name: str | None = None,
    public: bool = False,
) -> Recording:
    """Return the recording of a broadcast that starts. Storage gives it its id, code and number."""
    return Recording(
        id=RecordingId(0),
        code="",
        number=0,
        room_id=room_id,
        event_id=event_id,
        kind=RecordingKind.VOICE_BROADCAST,
        broadcaster=event.sender,
        device_id=event.device_id,
        state=RecordingState.LIVE,
        position=position,
        started_at=clamped(event.sent_at, room_created, now),
        heard_at=now,
        history_visibility=history_visibility,
        public=public,
        broadcaster_name=broadcaster_name,
    )


def first_effects(recording: Recording, limits: Limits) -> tuple[Effect, ...]:
    """Return the effects of the recording's start."""
    return (LookAgain(_patience_ends(recording, limits)),)


def restarts(event: BroadcastStarted, position: Position, earlier: Recording) -> bool:
    """Return whether this start ends an earlier broadcast, one of the same user and device.

    Two devices of one user may be live at once (both press "Go live"), and they share a state key.
    """
    return (
        earlier.state is RecordingState.LIVE
        and earlier.broadcaster == event.sender
        and earlier.device_id is not None
        and earlier.device_id == event.device_id
        and earlier.position < position
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
    """Apply an event to a recording. `event_id` and `position` are the event's own; an event that brings a chunk has
    both. `asked`: the homeserver returned all of its events, or did not answer in time."""
    before = Outcome(by_this_clock(recording, now, limits), chunks)
    ignored = _refusal(before, event)
    if ignored:
        # Media that were being fetched for a deleted recording must not stay.
        unwanted = (Forget(blob),) if (blob := on_chunks.blob_of(event)) else ()
        return replace(before, effects=unwanted, ignored=ignored)
    after = _applied(before, event, event_id, position, now, limits)
    if after.ignored or after.recording.state is RecordingState.DELETED:
        return after
    after = orphans.attached(after)
    if _only_candidates(before, after) and not isinstance(event, Tick | Joined):
        return after
    if after.recording.state is RecordingState.LIVE:
        return _watched(before, after, event, now, limits, asked=asked)
    return settled(before, after, event, now, limits, lay_out=lay_out, asked=asked)


def _only_candidates(before: Outcome, after: Outcome) -> bool:
    return after.recording == before.recording and orphans.ordinary(after.chunks) == orphans.ordinary(before.chunks)


def _refusal(outcome: Outcome, event: RecordingEvent) -> str | None:
    if outcome.recording.state is RecordingState.DELETED:
        return "deleted"
    if isinstance(event, VoiceMessage):
        return _foreign(outcome, event.sender) if outcome.recording.state.is_open else "over"
    if not isinstance(event, BroadcastChanged | ChunkSent | ChunkSealed):
        return None
    if event.broadcast != outcome.recording.event_id:
        return "other_broadcast"
    return _foreign(outcome, event.sender)


def _foreign(outcome: Outcome, sender: UserId) -> str | None:
    return speaker_of(outcome.recording).refusal(sender, outcome.recording.room_id)


def _applied(
    outcome: Outcome,
    event: RecordingEvent,
    event_id: EventId | None,
    position: Position | None,
    now: datetime,
    limits: Limits,
) -> Outcome:
    """Apply the event itself, before anything is decided."""
    if _deletes(event, outcome.recording):
        gone = replace(outcome, recording=tombstone(outcome.recording, now), effects=(Erase(),))
        # Whoever deleted it by a command has the answer; a rule tells the room itself.
        is_told = isinstance(event, Redacted) and outcome.recording.state.may_have_audio
        return gone.also(Tell(REMOVED)) if is_told else gone
    candidate = orphans.candidate_of(outcome.chunks, event)
    if candidate is not None:
        return orphans.told(outcome, candidate, event, limits)
    match event:
        case BroadcastChanged():
            return _changed(outcome, event, position, now, limits)
        case ChunkSent() | ChunkSealed() | VoiceMessage():
            assert event_id is not None
            assert position is not None
            return _take_in(outcome, event, event_id, position, now)
        case ChunkStored():
            return _within_limit(outcome, on_chunks.stored(outcome, event, limits), now, limits)
        case ChunkFailed():
            return on_chunks.failed(outcome, event, limits)
        case Opened():
            return on_chunks.opened(outcome, event)
        case Redacted() | Forgotten():
            return on_chunks.redacted(outcome, event)
        case Ended() | Silenced():
            return _closed(outcome, event, now, limits)
    return outcome


def _closed(outcome: Outcome, event: Ended | Silenced, now: datetime, limits: Limits) -> Outcome:
    """End a live recording from outside; an objection also removes sound from one that has ended."""
    by, after = EndedBy.SWITCHED_OFF, outcome
    if isinstance(event, Silenced):
        after = on_chunks.silenced(outcome, event)
    else:
        by = event.by
    if outcome.recording.state is not RecordingState.LIVE:
        return after
    return replace(after, recording=ended(outcome.recording, by, now, now, limits))


def _deletes(event: RecordingEvent, recording: Recording) -> bool:
    """Return whether an event deletes the whole recording: by itself, or by the redaction of its start."""
    return isinstance(event, Deleted) or (isinstance(event, Redacted) and event.redacts == recording.event_id)


def _take_in(
    outcome: Outcome,
    event: ChunkSent | ChunkSealed | VoiceMessage,
    event_id: EventId,
    position: Position,
    now: datetime,
) -> Outcome:
    """Take in a chunk, or a voice message that may be one."""
    match event:
        case VoiceMessage():
            return orphans.suspected(outcome, on_chunks.sent(event, outcome.recording.id, event_id, position))
        case ChunkSealed():
            chunk = on_chunks.sealed(event, outcome.recording.id, event_id, position)
        case ChunkSent():
            chunk = replace(on_chunks.sent(event, outcome.recording.id, event_id, position), sequence=event.sequence)
    return _with_sign_of_life(outcome, on_chunks.arrived(outcome, chunk), now)


def _with_sign_of_life(before: Outcome, after: Outcome, now: datetime) -> Outcome:
    """Count a new chunk as a sign of life, but not one that was known already."""
    if after.ignored or len(after.chunks) == len(before.chunks):
        return after
    return replace(after, recording=replace(after.recording, heard_at=max(after.recording.heard_at, now)))


def _within_limit(before: Outcome, after: Outcome, now: datetime, limits: Limits) -> Outcome:
    """End a live broadcast whose newest chunk goes beyond the limit."""
    if before.recording.state is not RecordingState.LIVE or not on_chunks.ended_by_limit(after):
        return after
    return replace(after, recording=ended(after.recording, EndedBy.LIMIT, now, now, limits))


# ---- info events


def _paused(recording: Recording, _: BroadcastChanged, now: datetime, __: Limits) -> Recording:
    return replace(recording, paused=True, heard_at=max(recording.heard_at, now))


def _resumed(recording: Recording, _: BroadcastChanged, now: datetime, __: Limits) -> Recording:
    return replace(recording, paused=False, heard_at=max(recording.heard_at, now))


def _stopped(recording: Recording, event: BroadcastChanged, now: datetime, limits: Limits) -> Recording:
    at = clamped(event.sent_at, recording.started_at, now)
    return _announced(ended(recording, EndedBy.STOPPED, at, now, limits), event)


def _stopped_again(recording: Recording, event: BroadcastChanged, now: datetime, limits: Limits) -> Recording:
    if recording.ended_by is EndedBy.ABANDONED:
        return _stopped(recording, event, now, limits)
    return _announced(recording, event)


CHANGES: Mapping[tuple[bool, Change], Callable[[Recording, BroadcastChanged, datetime, Limits], Recording]] = {
    (True, Change.PAUSED): _paused,
    (True, Change.RESUMED): _resumed,
    (True, Change.STOPPED): _stopped,
    (False, Change.STOPPED): _stopped_again,
}
"""Changes by event and by whether the recording is live. Every other pair is ignored."""


def _changed(
    outcome: Outcome, event: BroadcastChanged, position: Position | None, now: datetime, limits: Limits
) -> Outcome:
    change = CHANGES.get((outcome.recording.state is RecordingState.LIVE, event.change))
    if change is None:
        return replace(outcome, ignored="over")
    changed = change(outcome.recording, event, now, limits)
    if outcome.recording.paused and event.change is Change.RESUMED:
        changed = replace(changed, resumes=_with(changed.resumes, position))
    return replace(outcome, recording=changed)


def _with(resumes: tuple[Position, ...], position: Position | None) -> tuple[Position, ...]:
    """Add a position once, up to the greatest number of chapters."""
    if position is None or position in resumes or len(resumes) >= MOST_RESUMES:
        return resumes
    return (*resumes, position)


def _announced(recording: Recording, event: BroadcastChanged) -> Recording:
    """Keep the highest number of several `stopped` events: a client that was restarted sends one without a number."""
    numbers = [number for number in (recording.announced_last, event.last_sequence) if number is not None]
    return replace(recording, announced_last=max(numbers, default=None))


# ---- the clock


def _watched(
    before: Outcome, after: Outcome, event: RecordingEvent, now: datetime, limits: Limits, *, asked: bool
) -> Outcome:
    """Abandon a live recording when a Tick finds no sign of life; else schedule the next Tick."""
    ends = _patience_ends(after.recording, limits)
    if not isinstance(event, Tick):
        sooner = ends < _patience_ends(before.recording, limits)
        return after.also(LookAgain(ends)) if sooner else after
    if now < ends:
        return after.also(LookAgain(ends))
    if not asked:
        return after.also(Ask()).also(LookAgain(now + ASKING_MAY_TAKE))
    recording = ended(after.recording, EndedBy.ABANDONED, after.recording.heard_at, now, limits)
    return settled(before, replace(after, recording=recording), event, now, limits, lay_out=lay_out, asked=asked)


def _patience_ends(recording: Recording, limits: Limits) -> datetime:
    return recording.heard_at + limits.patience(paused=recording.paused)
