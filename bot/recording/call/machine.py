"""The life of a call's recording: a state and an event in, the new state and its effects out. Pure; the clock is passed
in.

    live ──the call ends, or the bot leaves it──▶ finishing ──▶ complete | incomplete | empty

The bot is in the call itself, so all sound that it will ever have is there when the recording ends.
"""

from dataclasses import replace
from datetime import datetime

from bot.recording import chunks as on_chunks
from bot.recording.call.layout import lay_out
from bot.recording.life import by_this_clock, ended, tombstone
from bot.recording.model import (
    CameBack,
    Deleted,
    Ended,
    Erase,
    NoticeSent,
    Outcome,
    RecordingEvent,
    SlicesKept,
    Spoken,
    StemClosed,
    StemOpened,
    WentAway,
)
from bot.recording.policy import Limits
from bot.recording.settling import settled
from storage.records import Away, Chunk, EventId, Position, Recording, RecordingState


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
        return replace(before, ignored="deleted")
    if isinstance(event, Deleted):
        return replace(before, recording=tombstone(recording, now), effects=(Erase(),))
    after = _applied(before, event, now, limits)
    if after.recording.state is RecordingState.LIVE:
        return after
    return settled(before, after, event, now, limits, lay_out=lay_out, asked=True)


def _applied(outcome: Outcome, event: RecordingEvent, now: datetime, limits: Limits) -> Outcome:
    recording = outcome.recording
    match event:
        case NoticeSent(notice=notice):
            return replace(outcome, recording=replace(recording, notice=notice))
        case StemOpened(stem=stem):
            return replace(outcome, recording=replace(recording, stems=(*recording.stems, stem), heard_at=now))
        case StemClosed():
            stems = tuple(
                replace(
                    stem,
                    left=event.left,
                    left_by=event.left_by,
                    received=event.received,
                    lost=event.lost,
                    blob=event.blob,
                    bytes=event.bytes,
                )
                if stem.number == event.number
                else stem
                for stem in recording.stems
            )
            return replace(outcome, recording=replace(recording, stems=stems))
        case SlicesKept(slices=slices):
            known = {chunk.id for chunk in outcome.chunks}
            new = tuple(chunk for chunk in slices if chunk.id not in known)
            return replace(outcome, recording=replace(recording, heard_at=now), chunks=(*outcome.chunks, *new))
        case WentAway(at=at):
            return replace(outcome, recording=replace(recording, aways=(*recording.aways, Away(at))))
        case CameBack(at=at):
            aways = tuple(replace(away, ends=at) if away.ends is None else away for away in recording.aways)
            return replace(outcome, recording=replace(recording, aways=aways))
        case Spoken(speakers=speakers, turns=turns):
            return replace(outcome, recording=replace(recording, speakers=speakers, turns=turns))
        case Ended(by=by):
            if recording.state is RecordingState.LIVE:
                over = replace(ended(recording, by, now, now, limits), quiet_until=None)
                return replace(on_chunks.cut(outcome, event), recording=over)
    return outcome
