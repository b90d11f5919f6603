"""Titles of episodes, channels and speakers, also where nobody gave one: for feeds, pages, tags, notices. Pure."""

from collections.abc import Collection
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from bot.feeds.mxids import SOMEBODY
from bot.feeds.text import clean_line, name_holds_mxid
from bot.language import _
from storage.records import Recording

NAMELESS_ROOM = "A room"
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
    return f"{speaker(display_name)}, {date_and_time(started, zone)}"


def episode_title(recording: Recording, zone: ZoneInfo) -> str:
    """Return the title that people gave, else the default one; at most 255 characters, never empty."""
    return given_title(recording) or default_title(recording.broadcaster_name, recording.started_at, zone)


def credited_title(recording: Recording, zone: ZoneInfo) -> str:
    """Return the title with the speaker's name: the default one has it, one that people gave gets it beside it."""
    given = given_title(recording)
    return credited(given, recording.broadcaster_name) if given else episode_title(recording, zone)


def credited(title: str, display_name: str | None) -> str:
    """Put the speaker's name beside a title that people gave."""
    return _("{title}, by {speaker}").format(title=title, speaker=speaker(display_name))


def given_title(recording: Recording) -> str | None:
    """Return the title that people gave; None where they gave none that can be shown."""
    return (clean_line(recording.title) or None) if recording.title else None


def channel_title(room_name: str | None, first_speaker: str | None, servers: Collection[str] = ()) -> str:
    """Return the room's name, else `Room of <first speaker>`. `first_speaker`: a display name, not cleaned; `servers`:
    those of the room's members."""
    name = clean_line(room_name, servers=servers) if room_name else ""
    if name:
        return name
    return f"Room of {speaker(first_speaker)}" if first_speaker else NAMELESS_ROOM
