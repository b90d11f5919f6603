"""Days as people write them: `2026-01-31`, `31.1.2026`, `yesterday`, `2 weeks ago`, in the language that is spoken now
and in English. Pure.

The library takes a third of a second to import and then some milliseconds for each text: read days beside the event
loop (`asyncio.to_thread`), and call `warm_up` before a transaction begins.
"""

import re
from datetime import date, datetime
from enum import Enum
from zoneinfo import ZoneInfo

from bot.language import ENGLISH, current

MOST_CHARACTERS = 50
"""The longest text that is read as a day."""
EARLIEST = date(2000, 1, 1)
"""The earliest day: nothing was broadcast before it."""
LATEST = date(9000, 1, 1)
"""The latest day of which every zone has a midnight."""

_EITHER_WAY = re.compile(r"(\d{1,2})/(\d{1,2})/\d{2,4}")
"""Day and month in one of two orders."""
_NOT_A_DAY = re.compile(r"\d{1,3}|\d{5,}|\d{1,2}:.*")
"""Numbers and times of day, which the library fills up with the present month."""
_DAY_MONTH_YEAR = {"DATE_ORDER": "DMY", "PREFER_DAY_OF_MONTH": "first", "PREFER_MONTH_OF_YEAR": "first"}


class Misread(Enum):
    """The reason why a text is not taken as a day of the past."""

    UNREADABLE = "unreadable"
    AMBIGUOUS = "ambiguous"  # day and month may be meant in either order
    FUTURE = "future"
    TOO_EARLY = "too early"


def warm_up() -> None:
    """Load the library, which is slow the first time."""
    read_past_day("1 January 2020", datetime(2020, 1, 2, tzinfo=ZoneInfo("UTC")), ZoneInfo("UTC"))


def read_past_day(text: str, now: datetime, zone: ZoneInfo) -> date | Misread:
    """Read the day that a text names: a date of ISO 8601 as it stands, others from EARLIEST to today."""
    local = now.astimezone(zone)
    try:
        return min(max(date.fromisoformat(text.strip()), EARLIEST), LATEST)
    except ValueError:
        day = _read(text.strip(), local.replace(tzinfo=None))
    if isinstance(day, Misread):
        return day
    if day > local.date():
        return Misread.FUTURE
    return day if day >= EARLIEST else Misread.TOO_EARLY


def _read(text: str, now: datetime) -> date | Misread:
    """Read a day; `now` is the local time, without its zone."""
    if len(text) > MOST_CHARACTERS or _NOT_A_DAY.fullmatch(text):
        return Misread.UNREADABLE
    either_way = _EITHER_WAY.fullmatch(text)
    if either_way and max(int(number) for number in either_way.groups()) <= 12:
        return Misread.AMBIGUOUS
    import dateparser

    settings = {"RELATIVE_BASE": now, "PREFER_DATES_FROM": "past", "RETURN_AS_TIMEZONE_AWARE": False, **_DAY_MONTH_YEAR}
    languages = list(dict.fromkeys([current().partition("-")[0], ENGLISH]))
    try:
        moment = dateparser.parse(text, languages=languages, settings=settings)
    except ValueError:  # the library does not know the language
        moment = dateparser.parse(text, languages=[ENGLISH], settings=settings)
    return moment.date() if moment else Misread.UNREADABLE
