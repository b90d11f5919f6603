"""When an ended recording is decided, and as what. Pure; the rules stand at the top of `machine`."""

from dataclasses import replace
from datetime import datetime

from bot.recording.account import loss_of
from bot.recording.ledger import LayOut, Ledger, fingerprint
from bot.recording.model import (
    Ask,
    Finish,
    Joined,
    LookAgain,
    Outcome,
    RecordingEvent,
    Redacted,
    Tell,
    Tick,
    Withdraw,
)
from bot.recording.policy import ASKING_MAY_TAKE, DOWNLOADS_MAY_TAKE, Limits
from storage.records import ChunkState, EndedBy, RecordingState

EMPTY = "empty"  # the sentence for the room
# They said that nothing is to be recorded, or would not hear it.
NOT_TOLD = frozenset({EndedBy.SWITCHED_OFF, EndedBy.REMOVED})


def settled(
    before: Outcome,
    after: Outcome,
    event: RecordingEvent,
    now: datetime,
    limits: Limits,
    *,
    lay_out: LayOut,
    asked: bool,
) -> Outcome:
    """An ended recording: decided, or looked at again when the quiet period is over. What is not certain is `asked` for
    before it is decided."""
    was_decided = before.recording.state.is_decided
    unchanged = after.recording == before.recording and after.chunks == before.chunks
    if unchanged and (was_decided or not isinstance(event, Tick)):
        if not (was_decided and isinstance(event, Joined)):
            return after
        return _joined(after, lay_out(after.recording, after.chunks), event)
    ledger = lay_out(after.recording, after.chunks)
    if not _is_time(after, ledger, event, now, was_decided=was_decided):
        return _reopened(after, now, limits)
    if not (asked or was_decided or ledger.certain):
        finishing = replace(after, recording=replace(after.recording, state=RecordingState.FINISHING))
        return finishing.also(Ask()).also(LookAgain(now + ASKING_MAY_TAKE))
    decided = replace(after, recording=replace(after.recording, state=_verdict(ledger)))
    if (
        was_decided
        and decided.recording.state is before.recording.state
        and _says_the_same(ledger, lay_out(before.recording, before.chunks))
    ):
        return decided
    return decided.also(Finish()) if ledger.sounds else _silent(decided)


def _says_the_same(ledger: Ledger, earlier: Ledger) -> bool:
    """To whoever listens, and to whoever reads what is missing."""
    return fingerprint(ledger) == fingerprint(earlier) and loss_of(ledger) == loss_of(earlier)


def _silent(it: Outcome) -> Outcome:
    """Nothing can be heard: the room is told, unless that is somebody's will."""
    if any(chunk.state is ChunkState.REDACTED for chunk in it.chunks):
        return it.also(Withdraw())
    told = it.recording.state is RecordingState.EMPTY and it.recording.ended_by not in NOT_TOLD
    return it.also(Tell(EMPTY)) if told else it


def _joined(it: Outcome, ledger: Ledger, event: Joined) -> Outcome:
    """While the audio was made, something may have come that belongs into it, or gone that must not stay in it."""
    if fingerprint(ledger) == event.fingerprint:
        return it
    return it.also(Finish() if ledger.sounds else Withdraw())


def _is_time(it: Outcome, ledger: Ledger, event: RecordingEvent, now: datetime, *, was_decided: bool) -> bool:
    if ledger.certain:
        return True
    if was_decided and isinstance(event, Redacted):
        return True  # the sound of what was redacted is published at this moment
    quiet_until = it.recording.quiet_until
    if quiet_until is not None and now < quiet_until:
        return False
    if not any(chunk.state is ChunkState.WAITING_FOR_MEDIA and not chunk.reason for chunk in it.chunks):
        return True
    waited = quiet_until is None or now >= quiet_until + DOWNLOADS_MAY_TAKE
    return isinstance(event, Redacted) or (isinstance(event, Tick) and waited)


def _reopened(it: Outcome, now: datetime, limits: Limits) -> Outcome:
    quiet_until = it.recording.quiet_until
    look_at = quiet_until if quiet_until and now < quiet_until else now + limits.quiet_period
    return replace(it, recording=replace(it.recording, state=RecordingState.FINISHING)).also(LookAgain(look_at))


def _verdict(ledger: Ledger) -> RecordingState:
    if ledger.complete:
        return RecordingState.COMPLETE
    return RecordingState.INCOMPLETE if ledger.sounds or ledger.waiting else RecordingState.EMPTY
