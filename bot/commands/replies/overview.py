"""Answers to the commands of `bot.commands.overview`. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from bot.feeds.shown import person, title_of
from bot.feeds.titles import date_and_time
from bot.language import _
from bot.recording import account
from bot.recording.lengths import spoken_length
from storage.records import DurationMs, Loss, Recording, Visibility


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording as it is described in the room. `length` None: not known yet."""

    recording: Recording
    length: DurationMs | None
    loss: Loss


def trouble(code: str, what: str, chunks: int) -> str:
    """Describe a problem of so many chunks of one recording."""
    return f"{'1 chunk' if chunks == 1 else f'{chunks} chunks'} of {code} {what}."


MOST_TIMES = 5


def candidates(code: str, count: int, times: Sequence[datetime], zone: ZoneInfo) -> str:
    """Tell of voice messages that may belong to a recording, with the times that are known."""
    spoken = [f"{moment.astimezone(zone):%H:%M}" for moment in times[:MOST_TIMES]] + ["…"] * (len(times) > MOST_TIMES)
    sent = f" (sent {', '.join(spoken)})" if spoken else ""
    if count == 1:
        may_be, so = "1 voice message of its speaker may be a missing part of it", "so it is not in it"
    else:
        may_be, so = f"{count} voice messages of its speaker may be missing parts of it", "so they are not in it"
    return f"{code}: {may_be}{sent}; I can't be certain, {so}."


def what_is_recorded(prefix: str, *, on: bool, waits: bool, visibility: Visibility, feed: str) -> str:
    public = f"The podcast is public: {feed}"
    private = f"The podcast is private: members get their address with `{prefix} feed`."
    told = "Recording is on." if on else f"Recording is off: a moderator can say `{prefix} record on`."
    if waits:
        told = (
            "Recording waits: I could not say yet what I record here. It begins when my notice is in the room, or when "
            f"a moderator says `{prefix} record on`."
        )
    return f"{told} {public if visibility is Visibility.PUBLIC else private}"


NOTHING_LIVE = "Nothing is live."
NO_EPISODE = "There is no episode yet."
NO_PROBLEMS = "I know of no problems."
STATE_UNKNOWN = "I don't know yet who may do what in this room, so for now nobody counts as a moderator."


def live(recording: Recording, now: datetime, zone: ZoneInfo) -> str:
    who = person(recording.broadcaster_name, recording.broadcaster)
    lasted = max(now - recording.started_at, timedelta()) // timedelta(milliseconds=1)
    since = f"since {date_and_time(recording.started_at, zone)} ({spoken_length(lasted)})"
    told = f"Live: {who}, {since}{', paused' if recording.paused else ''}. Code: {recording.code}"
    return f"{told} · {_('waits for approval')}" if recording.unreviewed else told


def last_episode(heard: Heard, zone: ZoneInfo) -> str:
    return f"Last episode: {_described(heard, zone)}"


def listed(heard: Sequence[Heard], zone: ZoneInfo, *, visibility: Visibility) -> str:
    lines = []
    for each in heard:
        public = " · public" if _is_public(each.recording, visibility) else ""
        lines.append(f"{each.recording.code} · {_described(each, zone)}{public}")
    return "\n".join(lines)


def _is_public(recording: Recording, visibility: Visibility) -> bool:
    return visibility is Visibility.PUBLIC and recording.public and not recording.unreviewed


def _described(heard: Heard, zone: ZoneInfo) -> str:
    parts = [title_of(heard.recording, zone)]
    if heard.length is not None:
        parts.append(spoken_length(heard.length))
    parts.append(account.whole(heard.recording, heard.loss))
    return " · ".join([*parts, *([_("waits for approval")] if heard.recording.unreviewed else [])])
