"""Answers to the commands of `bot.commands.overview`. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from bot import disclosure
from bot.feeds.shown import people, title_of
from bot.language import N_, _, plural, spoken_moment
from bot.recording import account
from bot.recording.lengths import spoken_length
from bot.recording.wording import words_of
from storage.records import DurationMs, Loss, Recorded, Recording, Visibility


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording as it is described in the room. `length` None: not known yet."""

    recording: Recording
    length: DurationMs | None
    loss: Loss


MOST_TIMES = 5
MOST_LIVE = 10


def audio_lost(codes: Sequence[str]) -> str:
    """Tell of episodes whose files are gone or cut, with some of their codes."""
    named = ", ".join([*codes[:MOST_TIMES], *(["…"] if len(codes) > MOST_TIMES else [])])
    return plural(
        "{codes}: the audio file is gone from my disk, or damaged. It is in no feed until it is made again.",
        "{count} audio files are gone from my disk, or damaged ({codes}). They are in no feed until they are made "
        "again.",
        len(codes),
        codes=named,
    )


def candidates(code: str, count: int, times: Sequence[datetime], zone: ZoneInfo) -> str:
    """Tell of voice messages that may belong to a recording, with the times that are known."""
    spoken = [f"{moment.astimezone(zone):%H:%M}" for moment in times[:MOST_TIMES]] + ["…"] * (len(times) > MOST_TIMES)
    return plural(
        "{code}: 1 voice message of its speaker may be a missing part of it{sent}; I can't be certain, so it is not in "
        "it.",
        "{code}: {count} voice messages of its speaker may be missing parts of it{sent}; I can't be certain, so they "
        "are not in it.",
        count,
        code=code,
        sent=_(" (sent {times})").format(times=f"{', '.join(spoken)} {zone.key}") if spoken else "",
    )


def what_is_recorded(
    prefix: str,
    *,
    recorded: Collection[Recorded],
    waiting: Collection[Recorded],
    visibility: Visibility,
    closed: bool,
    feed: str,
) -> str:
    """Tell what is recorded and who can hear it. `waiting`: the kinds that wait for the bot's notice."""
    told = [_("Recording is on. I record {kinds}.").format(kinds=disclosure.spoken(recorded))] if recorded else []
    if waiting:
        told.append(
            _(
                "Recording waits: I could not say yet what I record here. It begins when my notice is in the room, or "
                "when a moderator says {commands}."
            ).format(commands=disclosure.commands(waiting, prefix))
        )
    elif not recorded:
        told = [_("Recording is off: a moderator can say `{prefix} record on`.").format(prefix=prefix)]
    if visibility is Visibility.PUBLIC and closed:
        heard_by = _("What was public stays so, what begins now is for members only: {feed}").format(feed=feed)
    elif visibility is Visibility.PUBLIC:
        heard_by = _("The podcast is public: {feed}").format(feed=feed)
    else:
        heard_by = _("The podcast is private: members get their address with `{prefix} feed`.").format(prefix=prefix)
    return " ".join([*told, heard_by])


NOTHING_LIVE = N_("Nothing is live.")
NO_EPISODE = N_("There is no episode yet.")
NO_PROBLEMS = N_("I know of no problems.")
STATE_UNKNOWN = N_("I don't know yet who may do what in this room, so for now nobody counts as a moderator.")


def all_live(running: Sequence[Recording], now: datetime, zone: ZoneInfo) -> list[str]:
    """Tell what is live, one line each."""
    if not running:
        return [_(NOTHING_LIVE)]
    lines = [live(recording, now, zone) for recording in running[:MOST_LIVE]]
    more = len(running) - MOST_LIVE
    return [*lines, plural("… and {count} more is live.", "… and {count} more are live.", more)] if more > 0 else lines


def live(recording: Recording, now: datetime, zone: ZoneInfo) -> str:
    lasted = max(now - recording.started_at, timedelta()) // timedelta(milliseconds=1)
    form = _("Live: {who}, since {time}, for {length}. Code: {code}")
    if special := words_of(recording).live:
        form = special(recording)
    if recording.paused:
        form = _("Live: {who}, since {time}, for {length}, paused. Code: {code}")
    since = spoken_moment(recording.started_at, zone)
    told = form.format(who=people(recording), time=since, length=spoken_length(lasted), code=recording.code)
    return f"{told} · {_('waits for approval')}" if recording.unreviewed else told


def last_episode(heard: Heard, zone: ZoneInfo) -> str:
    return _("Last episode: {episode}").format(episode=_described(heard, zone))


def listed(heard: Sequence[Heard], zone: ZoneInfo, *, visibility: Visibility) -> list[str]:
    """Describe recordings, one line each."""
    lines = []
    for each in heard:
        public = f" · {_('public')}" if _is_public(each.recording, visibility) else ""
        lines.append(f"{each.recording.code} · {_described(each, zone)}{public}")
    return lines


def _is_public(recording: Recording, visibility: Visibility) -> bool:
    return visibility is Visibility.PUBLIC and recording.public and not recording.unreviewed


def _described(heard: Heard, zone: ZoneInfo) -> str:
    parts = [title_of(heard.recording, zone)]
    if heard.length is not None:
        parts.append(spoken_length(heard.length))
    parts.append(account.whole(heard.recording, heard.loss))
    return " · ".join([*parts, *([_("waits for approval")] if heard.recording.unreviewed else [])])
