"""Names and titles as notices show them: shortened and made harmless. Pure.

The whole room reads the notices. A personal address is never part of one.
"""

from zoneinfo import ZoneInfo

from bot.feeds.mxids import SOMEBODY
from bot.feeds.text import clean_line, isolated
from bot.feeds.titles import credited, episode_title, given_title, speaker, together, with_others
from bot.recording.speakers import credits_of
from bot.words import without_ping
from storage.records import Recording

SHOWN_CHARACTERS = 80
"""The longest part of a name or title that is shown: fifty must fit into one event (Client-Server API, size limits:
65,536 bytes)."""

_DIRECTION_MARKS = dict.fromkeys(map(ord, "\u061c\u200e\u200f"))


def shown(text: str, characters: int = SHOWN_CHARACTERS) -> str:
    """Return what somebody wrote as one harmless line: no control or direction characters but its own isolates, no
    MXID, no ping."""
    return without_ping(isolated(clean_line(text.translate(_DIRECTION_MARKS), characters, isolates=True)))


def person(display_name: str | None, user_id: str) -> str:
    """Return the display name, or the MXID where there is none that can be shown. For the room's own members only."""
    name = shown(speaker(display_name.translate(_DIRECTION_MARKS))) if display_name else ""
    if name and name != SOMEBODY:
        return name
    return without_ping(isolated("".join(filter(str.isprintable, user_id))[:SHOWN_CHARACTERS]))


def title_of(recording: Recording, zone: ZoneInfo) -> str:
    """Return the title with the names of the speakers that it does not tell."""
    given = given_title(recording)
    if given is None:
        return without_ping(with_others(shown(episode_title(recording, zone)), recording))
    return without_ping(credited(shown(given), recording))


def people(recording: Recording) -> str:
    """Return the names of the speakers, or their MXIDs where there are none that can be shown. For the room's own
    members only."""
    return together([person(credit.name, credit.user_id) for credit in credits_of(recording)])
