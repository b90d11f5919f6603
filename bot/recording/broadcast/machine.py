"""The life of a recording: a state and an event in, the new state and what follows out. Pure; the clock is passed in.

    live ──end──▶ finishing ──decided──▶ complete | incomplete | empty ──late chunk──▶ finishing …
      └────────────────── the started event is redacted ──▶ deleted

What is hard to see in the code:

- `stopped` is not the end of the data. Android and iOS send it before the last chunk, Element Web while an upload may
  be under way, and `last_chunk_sequence` may be absent, 0, too high or too low. So an ended recording is decided at
  once only where the ledger is certain; else when it was quiet for `quiet_period_s`.
- A decided recording is never closed. A late chunk, a key, media that come at last re-open it; then the quiet period
  is over already, and it is decided as soon as nothing is being fetched. Ten minutes later a Tick decides in any case:
  a download that hangs must not keep back an episode.
- Clients have no time-out: who crashed stays live for ever in room state. Ours counts from the last sign of life by our
  clock, and only a Tick ends: whatever else arrives is a sign of life, even after a long outage of the bot.
- `abandoned` is our guess, so a later `stopped` corrects it. Every other end is a fact and stays; a broadcast never
  becomes live again.
- Only /sync is heard, and it leaves events out without a word. So nothing that is not certain is decided, and nothing
  abandoned, before the homeserver was asked for all of the broadcast (`Ask`), or did not answer for 30 s.
- After `switched_off` nothing new is taken: that person said no. After `limit` new chunks are listed as refused.
- Redacting the started event deletes everything, in every state, and what comes late meets the tombstone: servers don't
  redact what comes after a deletion (https://github.com/matrix-org/synapse/issues/14231). Redacting a chunk takes its
  sound; its length stays, as silence. Redacting `paused`, `resumed` or `stopped` changes nothing: what it said was
  true, and a broadcast that ended can't go on because somebody tidied up.
- Only events of the started event's sender count; Element Web itself doesn't check that. Who may redact, the
  homeserver has decided.
- A plain voice message of the speaker may be a chunk that lost its relation: until that is proved it is a candidate,
  which changes nothing of the recording (`orphans`). Whatever happens, it is looked at again: its neighbour may have
  come. What is proved is an ordinary chunk from then on, and heals a decided recording as any late one.
- The same event twice changes nothing: a chunk is its event id, and a state is only ever moved forward.
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
    Effect,
    Ended,
    Erase,
    Forget,
    Joined,
    LookAgain,
    Opened,
    Outcome,
    RecordingEvent,
    Redacted,
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
    """The recording of a broadcast that starts; storage gives it its id, code and number."""
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
    """What follows from its being there."""
    return (LookAgain(_patience_ends(recording, limits)),)


def restarts(event: BroadcastStarted, position: Position, earlier: Recording) -> bool:
    """Whether this start ends an earlier broadcast: of the same user and device, who can't speak twice at once.

    Two devices of one user can (both press "Go live"), and they share a state key.
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
    """What an event makes of a recording. `event_id` and `position` are the event's own; a chunk's has them always.
    `asked`: the homeserver told all that it has, or was waited for long enough."""
    before = Outcome(by_this_clock(recording, now, limits), chunks)
    ignored = _refusal(before, event)
    if ignored:
        # Media that were under way to a deleted recording must not stay.
        unwanted = (Forget(blob),) if (blob := on_chunks.blob_of(event)) else ()
        return replace(before, effects=unwanted, ignored=ignored)
    after = _told(before, event, event_id, position, now, limits)
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


def _refusal(it: Outcome, event: RecordingEvent) -> str | None:
    if it.recording.state is RecordingState.DELETED:
        return "deleted"
    if isinstance(event, VoiceMessage):
        return _foreign(it, event.sender) if it.recording.state.is_open else "over"
    if not isinstance(event, BroadcastChanged | ChunkSent | ChunkSealed):
        return None
    if event.broadcast != it.recording.event_id:
        return "other_broadcast"
    return _foreign(it, event.sender)


def _foreign(it: Outcome, sender: UserId) -> str | None:
    return speaker_of(it.recording).refusal(sender, it.recording.room_id)


def _told(
    it: Outcome,
    event: RecordingEvent,
    event_id: EventId | None,
    position: Position | None,
    now: datetime,
    limits: Limits,
) -> Outcome:
    """What the event itself changes."""
    candidate = orphans.candidate_of(it.chunks, event)
    if candidate is not None:
        return orphans.told(it, candidate, event, limits)
    match event:
        case BroadcastChanged():
            return _changed(it, event, position, now, limits)
        case ChunkSent() | ChunkSealed() | VoiceMessage():
            assert event_id is not None
            assert position is not None
            return _came(it, event, event_id, position, now)
        case ChunkStored():
            return _within_limit(it, on_chunks.stored(it, event, limits), now, limits)
        case ChunkFailed():
            return on_chunks.failed(it, event, limits)
        case Opened():
            return on_chunks.opened(it, event)
        case Redacted() if event.redacts == it.recording.event_id:
            return replace(it, recording=tombstone(it.recording, now), effects=(Erase(),))
        case Redacted():
            return on_chunks.redacted(it, event)
        case Ended(by=by) if it.recording.state is RecordingState.LIVE:
            return replace(it, recording=ended(it.recording, by, now, now, limits))
    return it


def _came(
    it: Outcome, event: ChunkSent | ChunkSealed | VoiceMessage, event_id: EventId, position: Position, now: datetime
) -> Outcome:
    """Take in a chunk, or a voice message that may be one."""
    match event:
        case VoiceMessage():
            return orphans.suspected(it, on_chunks.sent(event, it.recording.id, event_id, position))
        case ChunkSealed():
            chunk = on_chunks.sealed(event, it.recording.id, event_id, position)
        case ChunkSent():
            chunk = replace(on_chunks.sent(event, it.recording.id, event_id, position), sequence=event.sequence)
    return _alive(it, on_chunks.arrived(it, chunk), now)


def _alive(before: Outcome, after: Outcome, now: datetime) -> Outcome:
    """A new chunk is a sign of life; one that was known already is none."""
    if after.ignored or len(after.chunks) == len(before.chunks):
        return after
    return replace(after, recording=replace(after.recording, heard_at=max(after.recording.heard_at, now)))


def _within_limit(before: Outcome, after: Outcome, now: datetime, limits: Limits) -> Outcome:
    """The chunk that goes beyond the limit ends the broadcast."""
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
"""By whether the recording is live; what is not here counts for nothing."""


def _changed(it: Outcome, event: BroadcastChanged, position: Position | None, now: datetime, limits: Limits) -> Outcome:
    change = CHANGES.get((it.recording.state is RecordingState.LIVE, event.change))
    if change is None:
        return replace(it, ignored="over")
    changed = change(it.recording, event, now, limits)
    if it.recording.paused and event.change is Change.RESUMED:
        changed = replace(changed, resumes=_with(changed.resumes, position))
    return replace(it, recording=changed)


def _with(resumes: tuple[Position, ...], position: Position | None) -> tuple[Position, ...]:
    """One more, once; no more than can be chapters."""
    if position is None or position in resumes or len(resumes) >= MOST_RESUMES:
        return resumes
    return (*resumes, position)


def _announced(recording: Recording, event: BroadcastChanged) -> Recording:
    """Of several `stopped` the highest number: a client that was restarted sends one without."""
    numbers = [number for number in (recording.announced_last, event.last_sequence) if number is not None]
    return replace(recording, announced_last=max(numbers, default=None))


# ---- the clock


def _watched(
    before: Outcome, after: Outcome, event: RecordingEvent, now: datetime, limits: Limits, *, asked: bool
) -> Outcome:
    """A live recording: abandoned when a Tick finds no sign of life, else looked at again when that may be so."""
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
