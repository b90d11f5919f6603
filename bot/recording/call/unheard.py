"""Times in which single members of a call were not heard, though they should have been. Pure.

- Such a time is a gap of its user alone: the others are heard, and there is no hole in the sound.
- While the bot is out of the call nobody is heard, and its time away says so. So these times end there, and begin anew
  when it is back.
- A device that is mute, or says nothing, misses nothing; nobody can know that.
"""

from collections.abc import Iterable
from dataclasses import replace

from bot.recording.model import Heard, NotHeard, Outcome
from storage.records import Recording, RecordingState, Samples, Unheard, UserId

MOST, MOST_OF_ONE = 500, 50
"""Times of one recording, and of one user. A device that has more is listed as not heard from its last one on."""


def began(outcome: Outcome, event: NotHeard) -> Outcome:
    """Begin a time in which a device is not heard, unless one lasts."""
    recording = outcome.recording
    last = max((n for n, each in enumerate(recording.unheard) if _is_of(each, event)), default=None)
    is_away = bool(recording.aways) and recording.aways[-1].ends is None
    if recording.state is not RecordingState.LIVE or is_away or (last is not None and lasts(recording.unheard[last])):
        return outcome
    begins = event.at
    if last is not None:
        begins = max(begins, recording.unheard[last].ends or begins)
    of_user = sum(each.user_id == event.user_id for each in recording.unheard)
    if len(recording.unheard) < MOST and of_user < MOST_OF_ONE:
        times = (*recording.unheard, Unheard(event.user_id, event.device_id, event.why, begins))
    elif last is not None:
        again = replace(recording.unheard[last], ends=None)
        times = (*recording.unheard[:last], again, *recording.unheard[last + 1 :])
    else:
        return outcome
    return replace(outcome, recording=replace(recording, unheard=times))


def ended(outcome: Outcome, event: Heard) -> Outcome:
    """End the time in which a device was not heard."""
    recording = outcome.recording
    times = (_until(each, event.at) if _is_of(each, event) else each for each in recording.unheard)
    return replace(outcome, recording=_with(recording, times))


def all_ended(recording: Recording, at: Samples) -> Recording:
    """Return the recording with all times that last ended: the bot is out of the call, or it is over."""
    return _with(recording, (_until(each, at) for each in recording.unheard))


def without(recording: Recording, user: UserId) -> Recording:
    """Return the recording without the times of a user, who wants to be in it no more."""
    return _with(recording, (each for each in recording.unheard if each.user_id != user))


def lasts(time: Unheard) -> bool:
    """Return whether a device is not heard up to now."""
    return time.ends is None


def _is_of(time: Unheard, event: NotHeard | Heard) -> bool:
    return (time.user_id, time.device_id) == (event.user_id, event.device_id)


def _until(time: Unheard, at: Samples) -> Unheard:
    return replace(time, ends=max(at, time.begins)) if lasts(time) else time


def _with(recording: Recording, times: Iterable[Unheard]) -> Recording:
    """Return the recording with these times, but for those without a length."""
    return replace(recording, unheard=tuple(each for each in times if each.ends != each.begins))
