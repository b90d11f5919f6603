"""The life of a call's recording: a state and an event in, the new state and its effects out. Pure; the clock is passed
in.

    live ──the call ends, or the bot leaves it──▶ finishing ──every stem is closed──▶ complete | incomplete | empty

What is hard to see in the code:

- The recording ends when the bot decides so, or a command; the stems end a moment later, with their last slices. So it
  is decided once every stem is closed and all of its slices are here, or after the quiet period. Stems that a crash
  left open are closed later, and their slices heal it.
- A call goes on without one who objects: the others are still in it, or may come.
- Who speaks is known once the call was mixed. Until then whoever began it stands for the speakers.
- The same event twice changes nothing: states only move forward.
"""

from dataclasses import replace
from datetime import datetime

from bot.recording import chunks as on_chunks
from bot.recording.call import stems, times, unheard
from bot.recording.call.layout import lay_out
from bot.recording.life import by_this_clock, tombstone
from bot.recording.model import (
    CameBack,
    Deleted,
    Effect,
    Ended,
    Erase,
    Forget,
    Forgotten,
    Heard,
    LookAgain,
    NotHeard,
    NoticeSent,
    Outcome,
    RecordingEvent,
    Silenced,
    SlicesKept,
    Spoken,
    StemClosed,
    StemOpened,
    Tick,
    WentAway,
)
from bot.recording.policy import Limits
from bot.recording.settling import settled
from bot.recording.speakers import bounded
from storage.records import (
    CallProtocol,
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


def begin(
    *,
    protocol: CallProtocol,
    call_id: str,
    room_id: RoomId,
    event_id: EventId,
    position: Position,
    broadcaster: UserId,
    broadcaster_name: str | None,
    now: datetime,
    history_visibility: HistoryVisibility = HistoryVisibility.JOINED,
    public: bool = False,
    chosen: bool = False,
) -> Recording:
    """Return the recording of a call that the bot is about to join: its clock begins now. Storage gives it its id, code
    and number."""
    return Recording(
        id=RecordingId(0),
        code="",
        number=0,
        room_id=room_id,
        event_id=event_id,
        kind=RecordingKind.CALL,
        broadcaster=broadcaster,
        state=RecordingState.LIVE,
        position=position,
        started_at=now,
        heard_at=now,
        history_visibility=history_visibility,
        public=public,
        broadcaster_name=broadcaster_name,
        chosen=chosen,
        protocol=protocol,
        call_id=call_id,
    )


def first_effects(recording: Recording, limits: Limits) -> tuple[Effect, ...]:
    """Return the effects of the beginning."""
    return (LookAgain(times.latest_end(recording, limits)),)


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
    """Apply an event to the recording of a call."""
    before = Outcome(by_this_clock(recording, now, limits), chunks)
    if recording.state is RecordingState.DELETED:
        return replace(before, effects=tuple(map(Forget, stems.brought_by(event))), ignored="deleted")
    if isinstance(event, Deleted):
        return replace(before, recording=tombstone(recording, now), effects=(Erase(),))
    after = stems.without_torn_files(_applied(before, event, now, limits))
    if after.ignored or after.recording.state is RecordingState.LIVE or isinstance(event, Spoken):
        return after
    if isinstance(event, StemClosed | SlicesKept) and _is_ending(before.recording) and _is_ending(after.recording):
        return after  # the next stem, or the end of the quiet period, decides
    return settled(before, after, event, now, limits, lay_out=lay_out, asked=True)


def _is_ending(recording: Recording) -> bool:
    """Return whether a recording has ended, and stems of it are still to be closed."""
    return recording.state is RecordingState.FINISHING and any(stem.left is None for stem in recording.stems)


def _applied(outcome: Outcome, event: RecordingEvent, now: datetime, limits: Limits) -> Outcome:
    """Apply the event itself, before anything is decided."""
    match event:
        case StemOpened(stem=stem):
            return stems.opened(outcome, stem, now)
        case StemClosed():
            return stems.closed(outcome, event)
        case SlicesKept(slices=slices):
            return stems.kept(outcome, slices, now, limits)
        case Silenced() | Ended() | Forgotten():
            return _objected(outcome, event, now, limits)
        case Tick() if outcome.recording.state is RecordingState.LIVE:
            return times.watched(outcome, now, limits)
    return _noted(outcome, event)


def _noted(outcome: Outcome, event: RecordingEvent) -> Outcome:
    """Apply an event about the call as a whole."""
    match event:
        case NoticeSent():
            return _told(outcome, event)
        case WentAway(at=at):
            return times.away(outcome, at)
        case CameBack(at=at):
            return times.back(outcome, at)
        case NotHeard():
            return unheard.began(outcome, event)
        case Heard():
            return unheard.ended(outcome, event)
        case Spoken():
            return _spoken(outcome, event)
    return outcome


def _objected(outcome: Outcome, event: Silenced | Ended | Forgotten, now: datetime, limits: Limits) -> Outcome:
    """Apply an end, or the objection of one speaker, without whom the call goes on."""
    match event:
        case Forgotten(sender=sender):
            return _forgotten(outcome, sender)
        case Silenced(sender=None):
            return times.ended(stems.cut(outcome, event), EndedBy.SWITCHED_OFF, now, limits)
        case Silenced():
            return stems.cut(outcome, event)
        case Ended(by=by):
            return times.ended(stems.cut(outcome, event), by, now, limits)


# ---- the notice, and the speakers


def _told(outcome: Outcome, event: NoticeSent) -> Outcome:
    recording = outcome.recording
    return outcome if recording.notice else replace(outcome, recording=replace(recording, notice=event.notice))


def _forgotten(outcome: Outcome, sender: UserId) -> Outcome:
    """Take a speaker out: their sound is silence, and their name goes. Their stems stay, without a file.
    When they were not heard is no gap any more."""
    after = on_chunks.redacted(outcome, Forgotten(sender))
    after = stems.with_stems(
        after,
        [replace(stem, removed=True, name=None) for stem in after.recording.stems if stem.user_id == sender],
    )
    recording = after.recording
    remaining = tuple(credit for credit in recording.speakers if credit.user_id != sender)
    turns = tuple(turn for turn in recording.turns if turn.user_id != sender)
    nameless = unheard.without(replace(recording, speakers=remaining, turns=turns), sender)
    return replace(after, recording=_led(nameless))


def _spoken(outcome: Outcome, event: Spoken) -> Outcome:
    """Note who speaks. Whoever was taken out while the call was mixed is not among them."""
    heard = {stem.user_id for stem in outcome.recording.stems if not stem.removed}
    speakers = tuple(credit for credit in bounded(event.speakers) if credit.user_id in heard)
    turns = tuple(turn for turn in event.turns if turn.user_id in heard)
    return replace(outcome, recording=_led(replace(outcome.recording, speakers=speakers, turns=turns)))


def _led(recording: Recording) -> Recording:
    """Return the recording with its first speaker as its broadcaster, once they are known."""
    if not recording.speakers:
        return recording
    first = recording.speakers[0]
    return replace(recording, broadcaster=first.user_id, broadcaster_name=first.name)
