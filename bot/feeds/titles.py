"""Titles of episodes, channels and speakers, also where nobody gave one: for feeds, pages, tags, notices. Pure.

A name or title that is read from right to left stands in an isolate where other text stands beside it.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from bot.feeds.mxids import SOMEBODY
from bot.feeds.text import clean_line, isolated, name_holds_mxid
from bot.language import _, plural
from bot.recording.speakers import credits_of
from storage.records import Recording

NAMELESS_ROOM = "A room"
MOST_TOGETHER = 3
"""The most people that one line names."""
MOST_PERSONS = 50
"""The most people that a list names: each is an element of a feed's item, and a value of the file's tag."""
# Not by strftime, which uses the locale of the process.
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


@lru_cache(maxsize=256)  # a feed asks three times for each of its items
def speaker(display_name: str | None) -> str:
    """Return the name to show; `Somebody` where there is none or it holds an MXID."""
    if display_name is None or name_holds_mxid(display_name):
        return SOMEBODY
    name = clean_line(display_name, 100)
    return name or SOMEBODY


def long_date(moment: datetime, zone: ZoneInfo) -> str:
    """Format a date as `20 November 2026`."""
    local = moment.astimezone(zone)
    return f"{local.day} {MONTHS[local.month - 1]} {local.year}"


def date_and_time(moment: datetime, zone: ZoneInfo) -> str:
    """Format a date as `20 November 2026, 14:05`."""
    return f"{long_date(moment, zone)}, {moment.astimezone(zone):%H:%M}"


def default_title(display_name: str | None, started: datetime, zone: ZoneInfo) -> str:
    """Make the title `<display name>, 20 November 2026, 14:05`."""
    return f"{isolated(speaker(display_name))}, {date_and_time(started, zone)}"


def episode_title(recording: Recording, zone: ZoneInfo) -> str:
    """Return the title that people gave, else the default one; at most 255 characters, never empty."""
    return given_title(recording) or default_title(recording.broadcaster_name, recording.started_at, zone)


def credited_title(recording: Recording, zone: ZoneInfo) -> str:
    """Return the title with the speakers' names: the default one has the first, and gets the others beside it; one that
    people gave gets all."""
    given = given_title(recording)
    return credited(given, recording) if given else with_others(episode_title(recording, zone), recording)


def credited(title: str, recording: Recording) -> str:
    """Put the speakers' names beside a title that people gave."""
    return _("{title}, by {speaker}").format(title=isolated(title), speaker=speakers(recording))


def with_others(title: str, recording: Recording) -> str:
    """Put the names of the other speakers beside a title that names whoever began."""
    others = [speaker(credit.name) for credit in credits_of(recording) if credit.user_id != recording.broadcaster]
    return _("{title}, with {speakers}").format(title=isolated(title), speakers=together(others)) if others else title


def speakers(recording: Recording) -> str:
    """Return the names of all speakers in one line: `Ann, Ben and 3 others`."""
    return together([speaker(credit.name) for credit in credits_of(recording)])


def persons(recording: Recording) -> tuple[str, ...]:
    """Return the name to show of each speaker, every name once."""
    return tuple(dict.fromkeys(speaker(credit.name) for credit in credits_of(recording)))[:MOST_PERSONS]


def together(names: Sequence[str]) -> str:
    """Put the names of people into one line. Those without a name, and those behind the first few, are counted."""
    named = list(dict.fromkeys(name for name in names if name != SOMEBODY)) or [SOMEBODY]
    if len(named) > MOST_TOGETHER or (len(named) == MOST_TOGETHER and len(names) > MOST_TOGETHER):
        named = named[: MOST_TOGETHER - 1]
    others = len(names) - len(named)
    named = [isolated(name) for name in named]
    if others:
        return plural("{names} and {count} other", "{names} and {count} others", others, names=", ".join(named))
    if len(named) == 1:
        return named[0]
    return _("{several} and {last}").format(several=", ".join(named[:-1]), last=named[-1])


def given_title(recording: Recording) -> str | None:
    """Return the title that people gave; None where they gave none that can be shown."""
    return (clean_line(recording.title) or None) if recording.title else None


def channel_title(room_name: str | None, first_speaker: str | None, servers: Collection[str] = ()) -> str:
    """Return the room's name, else `Room of <first speaker>`. `first_speaker`: a display name, not cleaned; `servers`:
    those of the room's members."""
    name = clean_line(room_name, servers=servers) if room_name else ""
    if name:
        return name
    return f"Room of {isolated(speaker(first_speaker))}" if first_speaker else NAMELESS_ROOM
