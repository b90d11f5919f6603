"""The decision on an ended recording: when it is made, and whether the recording is complete. Pure; each kind's machine
states the rules."""

from dataclasses import replace
from datetime import datetime

from bot.recording.account import loss_of
from bot.recording.chunks import is_removed
from bot.recording.ledger import LayOut, Ledger, fingerprint
from bot.recording.model import (
    Ask,
    Finish,
    Forgotten,
    Joined,
    LookAgain,
    Outcome,
    RecordingEvent,
    Redacted,
    Silenced,
    Tell,
    Tick,
    Withdraw,
)
from bot.recording.policy import ASKING_MAY_TAKE, DOWNLOADS_MAY_TAKE, Limits
from bot.recording.speakers import credits_of
from storage.records import ChunkState, EndedBy, RecordingState

EMPTY = "empty"  # the sentence for the room
# The room does not want to be recorded, or can't read the bot's notices.
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
    """Decide on an ended recording, or schedule a Tick for the end of the quiet period. `asked`: the homeserver
    returned all of its events, or did not answer in time; no uncertain recording is decided before that. `lay_out`: the
    layout function of the recording's kind."""
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
        and credits_of(decided.recording) == credits_of(before.recording)
        and _says_the_same(ledger, lay_out(before.recording, before.chunks))
    ):
        return decided
    return decided.also(Finish()) if ledger.sounds else _silent(decided)


def _says_the_same(ledger: Ledger, earlier: Ledger) -> bool:
    """Return whether two ledgers are the same to listeners and readers."""
    is_same_gap = ledger.of_speakers == earlier.of_speakers or not ledger.sounds
    return is_same_gap and fingerprint(ledger) == fingerprint(earlier) and loss_of(ledger) == loss_of(earlier)


def _silent(outcome: Outcome) -> Outcome:
    """Finish a recording without any sound. The room is told, unless somebody asked for the removal."""
    if any(map(is_removed, outcome.chunks)):
        return outcome.also(Withdraw())
    told = outcome.recording.state is RecordingState.EMPTY and outcome.recording.ended_by not in NOT_TOLD
    return outcome.also(Tell(EMPTY)) if told else outcome


def _joined(outcome: Outcome, ledger: Ledger, event: Joined) -> Outcome:
    """Compare the audio that was made with the ledger: chunks may have come, or been redacted, meanwhile."""
    if fingerprint(ledger) == event.fingerprint:
        return outcome
    return outcome.also(Finish() if ledger.sounds else Withdraw())


def _is_time(outcome: Outcome, ledger: Ledger, event: RecordingEvent, now: datetime, *, was_decided: bool) -> bool:
    if ledger.certain:
        return True
    if was_decided and isinstance(event, Redacted | Silenced | Forgotten):
        return True  # until then the removed sound stays published
    quiet_until = outcome.recording.quiet_until
    if quiet_until is not None and now < quiet_until:
        return False
    if not any(chunk.state is ChunkState.WAITING_FOR_MEDIA and not chunk.reason for chunk in outcome.chunks):
        return True
    waited = quiet_until is None or now >= quiet_until + DOWNLOADS_MAY_TAKE
    return isinstance(event, Redacted | Forgotten) or (isinstance(event, Tick) and waited)


def _reopened(outcome: Outcome, now: datetime, limits: Limits) -> Outcome:
    quiet_until = outcome.recording.quiet_until
    look_at = quiet_until if quiet_until and now < quiet_until else now + limits.quiet_period
    return replace(outcome, recording=replace(outcome.recording, state=RecordingState.FINISHING)).also(
        LookAgain(look_at)
    )


def _verdict(ledger: Ledger) -> RecordingState:
    if ledger.complete:
        return RecordingState.COMPLETE
    return RecordingState.INCOMPLETE if ledger.sounds or ledger.waiting else RecordingState.EMPTY
