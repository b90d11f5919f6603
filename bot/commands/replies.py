"""Answers to commands. Pure; plain, short English, plain text.

The whole room reads them: names and titles that people chose are shortened and made harmless first, and a personal
address is never part of an answer.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from bot.feeds.mxids import SOMEBODY
from bot.feeds.text import clean_line
from bot.feeds.titles import date_and_time, episode_title, speaker
from bot.recording import account
from bot.recording.lengths import spoken_length
from storage.records import DurationMs, Loss, Recording, Visibility

SHOWN_CHARACTERS = 80
"""The longest part of a name or title that is shown: fifty must fit into one event (Client-Server API, size limits:
65,536 bytes)."""

_DIRECTION_MARKS = dict.fromkeys(map(ord, "\u061c\u200e\u200f"))
# Push rule .m.rule.roomnotif looks for `@room` in the plain body; a notice of the bot must not notify a whole room.
_ROOM_PING = re.compile(r"[@＠]+(?=room)", re.IGNORECASE)

AWAY = "I was away, please repeat."
NOT_ENCRYPTED = (
    "This room is encrypted and your message was not, so I did nothing. Please say it again from an encrypted session."
)
ONLY_MODS = "Only a moderator of this room can do that."
ONLY_ADMINS_PUBLISH = "Only an administrator of this Aircheck can make a podcast public."
NOBODY_PUBLISHES = "Public podcasts are switched off on this Aircheck: nobody can make one public."
ONLY_ITS_SPEAKER = "Only its speaker, or an administrator of this Aircheck, can do that."
ONLY_ITS_SPEAKER_OR_MODS = "Only its speaker, or a moderator of this room, can do that."
NO_RECORDING = "There is no recording of that name in this room."
NO_RECORDING_YET = "There is no recording in this room yet."
NO_SHARED_ROOM = "We share no room that I record. Invite me to one first."


def shown(text: str, characters: int = SHOWN_CHARACTERS) -> str:
    """Return what somebody wrote as one harmless line: no control or direction characters, no MXID, no ping."""
    return _ROOM_PING.sub("", clean_line(text.translate(_DIRECTION_MARKS), characters))


def person(display_name: str | None, user_id: str) -> str:
    """Return the display name, or the MXID where there is none that can be shown. For the room's own members only."""
    name = shown(speaker(display_name.translate(_DIRECTION_MARKS))) if display_name else ""
    if name and name != SOMEBODY:
        return name
    return _ROOM_PING.sub("", "".join(filter(str.isprintable, user_id))[:SHOWN_CHARACTERS])


def title_of(recording: Recording, zone: ZoneInfo) -> str:
    return shown(episode_title(recording, zone))


# ---- help


@dataclass(frozen=True, slots=True)
class Form:
    """A form of a command: its words, who may use it, what it does."""

    usage: str
    who: str
    about: str


def overview(prefix: str, forms: Sequence[Form]) -> str:
    lines = [f"`{prefix} {form.usage}`: {form.about}" for form in forms]
    return "\n".join(["I record this room's voice broadcasts and make a podcast of them.", *lines])


def details(prefix: str, forms: Sequence[Form]) -> str:
    return "\n".join(f"`{prefix} {form.usage}` ({form.who}): {form.about}" for form in forms)


def wrong_words(prefix: str, forms: Sequence[Form]) -> str:
    ways = " or ".join(f"`{prefix} {form.usage}`" for form in forms)
    return f"I don't understand that. Please say {ways}."


# ---- backfill

BACKFILL_BEGINS = "I am searching this room's history for past broadcasts, and will tell you what I found."
BACKFILL_UNDER_WAY = "I am already searching this room's history, and will tell you what I found."


# ---- record


def recording_on(who: str, *, changed: bool) -> str:
    if not changed:
        return "Recording is already on."
    return f"Recording is on: {who} switched it on. I keep the voice broadcasts that begin here from now on."


def recording_off(who: str, running: int, *, changed: bool) -> str:
    if not changed and not running:
        return "Recording is already off."
    ended = {0: "", 1: " The broadcast that is running is closed here."}.get(
        running, f" The {running} broadcasts that are running are closed here."
    )
    return f"Recording is off: {who} switched it off.{ended} What was recorded before stays."


# ---- feed


def public_address(feed: str) -> str:
    return f"This room's podcast is public. Its address: {feed}"


def address_is_coming(*, renewed: bool) -> str:
    where = "in our direct chat. If there is none yet, please accept my invite to it."
    if renewed:
        return f"I am sending you a new address {where} The old one works until I have sent the new one there."
    return f"I am sending you your own address {where}"


def addresses_are_coming(count: int) -> str:
    what = "the address of the one room" if count == 1 else f"the addresses of the {count} rooms"
    return f"I am sending you {what} that I record for you, in our direct chat."


def renew_in_the_room(prefix: str) -> str:
    return f"Please say `{prefix} feed renew` in the room whose address you want to replace."


# ---- publish


def now_public(who: str, feed: str, page: str, prefix: str, begun: int) -> str:
    """Tell that the podcast is public. `begun`: recordings that began after the command, before it was carried out."""
    meanwhile = f", and {_recordings(begun)} that began meanwhile" if begun else ""
    return (
        f"This room's podcast is public now: {who} made it so. Anybody can hear the broadcasts that begin here from "
        f"now on{meanwhile}. Earlier ones stay private, even if they were public before: `{prefix} publish "
        f"RECORDING` opens one.\nFeed: {feed}\nPage: {page}"
    )


def public_already(feed: str, count: int) -> str:
    return (
        f"This room's podcast is already public: {_recordings(count)}, and what begins here from now on. "
        f"Its address: {feed}"
    )


def now_private(who: str, prefix: str, closed: int) -> str:
    """Tell that the podcast is private. `closed`: recordings that were public."""
    return (
        f"This room's podcast is private now: {who} made it so. Nothing of it is public: {_recordings(closed)} "
        "closed. The public addresses have ended; personal ones still work. A later "
        f"`{prefix} publish public` opens only what begins after it. Copies in people's apps can't be called back."
    )


def _recordings(count: int) -> str:
    return "1 recording" if count == 1 else f"{count} recordings"


PRIVATE_ALREADY = "This room's podcast is already private."


def room_is_private(prefix: str) -> str:
    return f"This room's podcast is private. Make it public first with `{prefix} publish public`."


def recording_published(code: str, who: str, page: str) -> str:
    return f"{code} is public now: {who} published it. {page}"


def recording_public_already(code: str, page: str) -> str:
    return f"{code} is already public: {page}"


def recording_unpublished(code: str, who: str) -> str:
    return f"{code} is no longer public: {who} took it out. Copies in people's apps can't be called back."


def recording_private_already(code: str) -> str:
    return f"{code} is not public."


# ---- title and describe

NOTHING_TO_SHOW = "That text has nothing in it that can be shown."


def too_long(what: str, characters: int, most: int) -> str:
    return f"A {what} has at most {most:,} characters; yours has {characters:,}. Nothing was changed."


def titled(code: str, who: str, title: str) -> str:
    return f"{code} is now called “{shown(title)}”: {who} named it."


def described(code: str, who: str) -> str:
    return f"{code} has a new description: {who} wrote it."


# ---- status and list


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
    return f"Live: {who}, {since}{', paused' if recording.paused else ''}. Code: {recording.code}"


def last_episode(heard: Heard, zone: ZoneInfo) -> str:
    return f"Last episode: {_described(heard, zone)}"


def listed(heard: Sequence[Heard], zone: ZoneInfo, *, visibility: Visibility) -> str:
    lines = []
    for each in heard:
        public = " · public" if visibility is Visibility.PUBLIC and each.recording.public else ""
        lines.append(f"{each.recording.code} · {_described(each, zone)}{public}")
    return "\n".join(lines)


def _described(heard: Heard, zone: ZoneInfo) -> str:
    parts = [title_of(heard.recording, zone)]
    if heard.length is not None:
        parts.append(spoken_length(heard.length))
    return " · ".join([*parts, account.whole(heard.recording, heard.loss)])
