"""Times of a call's recording: its clock, when the bot is out of the call, and when it is over. Pure; the clock is
passed in.

A time away begins where the last sound before it ends. After a crash this is known only once the stems are recovered,
so the end of a lost stem moves the beginning.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from bot.recording import chunks as on_chunks
from bot.recording import life
from bot.recording.call import unheard
from bot.recording.model import LookAgain, Outcome, Tell
from bot.recording.policy import Limits
from storage.records import SAMPLE_RATE, Away, EndedBy, Recording, RecordingState, Samples, Stem

NOBODY_WATCHES = timedelta(minutes=2)
"""Time behind the limit after which a recording that nobody ended is over: the part that is in the call should have
ended it."""


def clock(recording: Recording, at: datetime) -> Samples:
    """Return the place of a time on the clock of a call."""
    return Samples(max(0, round((at - recording.started_at).total_seconds() * SAMPLE_RATE)))


def away(outcome: Outcome, at: Samples) -> Outcome:
    """Note that the bot is out of the call, and whether it leaves an open stem. It is out once at a time."""
    recording = outcome.recording
    company = any(stem.left is None for stem in recording.stems) or any(map(unheard.lasts, recording.unheard))
    last = recording.aways[-1] if recording.aways else None
    if recording.state is not RecordingState.LIVE or (last and last.ends is None):
        return outcome
    recording = unheard.all_ended(recording, at)
    if last is not None and last.ends is not None and at <= last.ends:  # it was hardly back
        again = Away(last.begins, company=last.company or company)
        return replace(outcome, recording=replace(recording, aways=(*recording.aways[:-1], again)))
    return replace(outcome, recording=replace(recording, aways=(*recording.aways, Away(at, company=company))))


def back(outcome: Outcome, at: Samples) -> Outcome:
    """End the time away that lasts."""
    recording = outcome.recording
    last = recording.aways[-1] if recording.aways else None
    if last is None or last.ends is not None:
        return outcome
    ended_away = (replace(last, ends=at),) if at > last.begins else ()
    return replace(outcome, recording=replace(recording, aways=(*recording.aways[:-1], *ended_away)))


def heard_until(recording: Recording, stem: Stem, end: Samples) -> Recording:
    """Begin a time away where the sound of a stem ends that was open when the bot went."""
    aways = []
    for away in recording.aways:
        until = end if away.ends is None else min(end, away.ends)
        begins = max(away.begins, until) if stem.joined <= away.begins else away.begins
        if begins != away.ends:
            aways.append(replace(away, begins=Samples(begins)))
    return replace(recording, aways=tuple(aways))


def ended(outcome: Outcome, by: EndedBy, now: datetime, limits: Limits) -> Outcome:
    """End a live recording, and a time away that lasts."""
    if outcome.recording.state is not RecordingState.LIVE:
        return outcome
    at = clock(outcome.recording, now)
    over = back(outcome, at)
    over = replace(over, recording=life.ended(unheard.all_ended(over.recording, at), by, now, now, limits))
    return over.also(Tell(on_chunks.LIMIT)) if by is EndedBy.LIMIT else over


def latest_end(recording: Recording, limits: Limits) -> datetime:
    """Return when a recording is over that nobody ended."""
    return recording.started_at + timedelta(seconds=limits.max_broadcast_s) + NOBODY_WATCHES


def watched(outcome: Outcome, now: datetime, limits: Limits) -> Outcome:
    """End a recording that nobody ended, or look again when that is due."""
    latest = latest_end(outcome.recording, limits)
    return ended(outcome, EndedBy.LIMIT, now, limits) if now >= latest else outcome.also(LookAgain(latest))
