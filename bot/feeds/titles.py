"""What things are called when nobody gave them a name. Feeds, pages, tags and notices ask here. Pure."""

from collections.abc import Collection
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from bot.feeds.mxids import SOMEBODY
from bot.feeds.text import clean_line, name_holds_mxid
from storage.records import Recording

NAMELESS_ROOM = "A room"
# Not strftime's: that follows the locale of whoever starts the bot.
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


@lru_cache(maxsize=256)  # one page of a feed asks some three times for each of its items
def speaker(display_name: str | None) -> str:
    """The name to show; `Somebody` where there is none or it holds an MXID."""
    if display_name is None or name_holds_mxid(display_name):
        return SOMEBODY
    name = clean_line(display_name, 100)
    return name or SOMEBODY


def long_date(moment: datetime, zone: ZoneInfo) -> str:
    """`20 November 2026`"""
    there = moment.astimezone(zone)
    return f"{there.day} {MONTHS[there.month - 1]} {there.year}"


def date_and_time(moment: datetime, zone: ZoneInfo) -> str:
    """`20 November 2026, 14:05`"""
    return f"{long_date(moment, zone)}, {moment.astimezone(zone):%H:%M}"


def default_title(display_name: str | None, started: datetime, zone: ZoneInfo) -> str:
    """`<display name>, 20 November 2026, 14:05`"""
    return f"{speaker(display_name)}, {date_and_time(started, zone)}"


def episode_title(recording: Recording, zone: ZoneInfo) -> str:
    """The title that people gave, else the default one; at most 255 characters, never empty."""
    return given_title(recording) or default_title(recording.broadcaster_name, recording.started_at, zone)


def given_title(recording: Recording) -> str | None:
    """The title that people gave; None where they gave none that can be shown."""
    return (clean_line(recording.title) or None) if recording.title else None


def channel_title(room_name: str | None, first_speaker: str | None, servers: Collection[str] = ()) -> str:
    """The room's name, else `Room of <first speaker>`; `first_speaker` is a display name as it came. `servers`: those
    that are known in the room."""
    given = clean_line(room_name, servers=servers) if room_name else ""
    if given:
        return given
    return f"Room of {speaker(first_speaker)}" if first_speaker else NAMELESS_ROOM
