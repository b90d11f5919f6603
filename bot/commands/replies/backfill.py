"""Answers to the commands of `bot.commands.backfill`. Pure."""

from datetime import datetime
from zoneinfo import ZoneInfo

from bot.dates import Misread
from bot.language import N_, _, spoken_moment

BACKFILL_BEGINS = N_("I am searching this room's history for past broadcasts, and will tell you what I found.")
MESSAGES_BEGIN = N_("I am searching this room's history for voice messages, and will tell you what I recorded of them.")
BACKFILL_UNDER_WAY = N_("I am already searching this room's history, and will tell you what I found.")

_MISREAD = {
    Misread.UNREADABLE: N_("I can't read that as a day."),
    Misread.AMBIGUOUS: N_("I can't tell which number is the day and which is the month."),
    Misread.FUTURE: N_("That day is still to come."),
    Misread.TOO_EARLY: N_("That is before Matrix began: without a day I search all of the history."),
}


def begins(since: datetime | None, zone: ZoneInfo) -> str:
    """Tell that the search begins, and how far it goes back."""
    if since is None:
        return _(BACKFILL_BEGINS)
    answer = _("I am searching this room's history for broadcasts since {since}, and will tell you what I found.")
    return answer.format(since=spoken_moment(since, zone))


def messages_begin(since: datetime | None, zone: ZoneInfo) -> str:
    """Tell that the search for voice messages begins, and how far it goes back."""
    if since is None:
        return _(MESSAGES_BEGIN)
    answer = _(
        "I am searching this room's history for voice messages since {since}, and will tell you what I recorded of "
        "them."
    )
    return answer.format(since=spoken_moment(since, zone))


def misread(why: Misread, command: str) -> str:
    """Refuse a day, with examples. `command`: with its prefix."""
    say = _(
        "Please write it as in `{command} 2026-01-31`, `{command} 31.1.2026`, `{command} yesterday` or `{command} 2 "
        "weeks ago`."
    )
    return f"{_(_MISREAD[why])} {say.format(command=command)}"
