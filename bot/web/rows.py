"""Recordings as lists on the pages show them. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from bot.feeds.mxids import SOMEBODY
from bot.feeds.titles import episode_title, given_title, persons, speakers, together
from bot.language import _, spoken_date, spoken_size, spoken_time
from bot.recording.account import STATES
from bot.recording.kinds import kind_of
from bot.recording.lengths import spoken_gap, spoken_length
from bot.recording.wording import name_of
from storage.records import Episode, Loss, Recording, RecordingState, to_ms


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """A recording in words; `length`, `size` and `lack` are empty while it has no audio."""

    code: str
    title: str  # also where it stands alone: the default one has name and date
    heading: str  # where name and date stand beside it: the given title, else the speakers
    speakers: str  # empty where the heading names them
    kind: str  # empty for a voice broadcast
    moment: str  # RFC 3339
    day: str
    clock: str
    date: str  # day and clock
    length: str
    seconds: int
    size: str
    lack: str  # `20 s missing`; empty where nothing is
    waits: bool  # for approval


def episode_row(recording: Recording, episode: Episode | None, zone: ZoneInfo) -> EpisodeRow:
    given, began, named = given_title(recording), recording.started_at, speakers(recording)
    return EpisodeRow(
        code=recording.code,
        title=episode_title(recording, zone),
        heading=given or named,
        speakers=named if given else "",
        kind=name_of(recording) if kind_of(recording).several_speakers else "",
        moment=began.isoformat(timespec="seconds"),
        day=spoken_date(began, zone),
        clock=f"{began.astimezone(zone):%H:%M}",
        date=spoken_time(began, zone),
        length=spoken_length(to_ms(episode.samples)) if episode else "",
        seconds=round(to_ms(episode.samples) / 1000) if episode else 0,
        size=spoken_size(episode.bytes) if episode else "",
        lack=_lack(recording, episode.loss) if episode else "",
        waits=recording.unreviewed,
    )


def _lack(recording: Recording, loss: Loss) -> str:
    """Tell in a few words what an episode lacks; its page says where."""
    if loss.samples:
        return _("{length} missing").format(length=spoken_gap(to_ms(loss.samples)))
    if recording.state is RecordingState.COMPLETE:
        return ""
    if loss.end and recording.state is RecordingState.INCOMPLETE:
        return _("its end is missing")
    return _(STATES[recording.state])


def heard_in(recordings: Iterable[Recording]) -> str:
    """Name who is heard in these recordings, the most frequent first, in one line; empty where nobody has a name."""
    names = Counter(name for recording in recordings for name in persons(recording) if name != SOMEBODY)
    return together([name for name, _count in names.most_common()]) if names else ""
