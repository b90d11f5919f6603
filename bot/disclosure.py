"""Disclosure: the facts of a room's recording that its members and their clients are shown. Pure."""

from datetime import datetime

from bot import words
from bot.language import _
from storage.records import Change, ConsentNotice, Json, Retention, Room, Visibility

RECORD = "record"
"""The command, and so the name in the log of changes, that switches recording on and off."""
PUBLISH = "publish"
"""The command that makes the podcast public or private."""
FOREVER = str(Retention())


def recorded(room: Room) -> list[str]:
    """Return the kinds of what is recorded in a room, as the state event `org.aircheck.room` names them."""
    return ["broadcasts"] if room.records else []


def state_content(
    room: Room, visibility: Visibility, switched: Change | None, told: ConsentNotice | None, max_days: int | None
) -> Json:
    """Return the content of the state event `org.aircheck.room`. `switched` is the newest change of what is recorded,
    `told` the notice with which recording began; `max_days`: no room keeps a recording longer."""
    since = switched.at if switched else None
    if room.records and since and told:
        since = max(since, told.said_at)
    return {
        "records": recorded(room),
        "visibility": str(visibility),
        "retention": str(room.retention.within(max_days)),
        "since": _ms(since) if since else None,
        "by": switched.by if switched else None,
    }


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def is_more(change: Change) -> bool:
    """Return whether more is recorded, opened or kept after a change of a room's policy than before it."""
    before, after = change.before or "", change.after or ""
    match change.what:
        case "record" | "replay":
            return after == "on" != before
        case "publish":
            return after == Visibility.PUBLIC != before
        case "speakers":
            return before != "all" and (after == "all" or not set(after.split()) <= set(before.split()))
        case "retention":
            return before != FOREVER and not _is_shorter(after, before)
        case _:
            return False


def _is_shorter(after: str, before: str) -> bool:
    """Return whether a rule keeps less than another. Days and episodes can't be compared."""
    new, was = after.split(" "), before.split(" ")
    comparable = len(new) == len(was) == 2 and new[1:] == was[1:] and new[0].isdecimal() and was[0].isdecimal()
    return comparable and int(new[0]) <= int(was[0])


def notice(
    room: Room,
    *,
    public: bool,
    continues: bool,
    comes: bool,
    switched_by: str | None,
    feed: str,
    page: str,
    max_days: int | None,
    prefix: str,
) -> str:
    """Tell a room what is recorded, for whom, where it can be heard, how long it is kept, who switched it on, and how
    to object. `public`: anybody can hear what begins now; `comes`: the bot has just come; `continues`: the podcast is
    that of a room that was replaced."""
    if room.direct and not room.recording_on:
        return _("Hello. I record nothing here. Say `{prefix} help` to see what I can do.").format(prefix=prefix)
    told = [_("Hello, I am Aircheck.")] if comes else []
    told += [words.continues_podcast(public=public)] if continues else []
    if not room.recording_on:
        return " ".join([*told, _nothing(prefix)])
    told += [_what(public=public)]
    told += [] if public else [_("Say `{prefix} feed` to get your own address.").format(prefix=prefix)]
    told += [_("Only members whom a moderator chose are recorded.")] if room.speakers is not None else []
    told += [_("Each finished recording is also posted here as a voice message.")] if room.replay else []
    told += [words.stays(room.retention, max_days)]
    told += [_("{who} switched this on.").format(who=switched_by)] if switched_by else []
    told += [_objections(prefix, public=public)]
    if comes and not continues:
        told.append(_("`{prefix} backfill` finds broadcasts from before I joined.").format(prefix=prefix))
    where = "\n" + _("Feed: {feed}\nPage: {page}").format(feed=feed, page=page) if public else ""
    return " ".join(told) + where


def _nothing(prefix: str) -> str:
    return _(
        "I record nothing here yet: a moderator can say `{prefix} record on`, and I will keep this room's voice "
        "broadcasts and publish them as a podcast for its members."
    ).format(prefix=prefix)


def _what(*, public: bool) -> str:
    if public:
        return _(
            "From now on I record the voice broadcasts of this room for its public podcast, which anybody can hear."
        )
    return _(
        "From now on I record the voice broadcasts of this room and publish them as a podcast for its members only."
    )


def _objections(prefix: str, *, public: bool) -> str:
    if public:
        told = _(
            "If you do not want to be recorded, say `{prefix} optout`. A moderator can stop this with `{prefix} record "
            "off` and make the podcast private with `{prefix} publish private`."
        )
    else:
        told = _(
            "If you do not want to be recorded, say `{prefix} optout`. A moderator can stop this with `{prefix} record "
            "off` and make the podcast public with `{prefix} publish public`."
        )
    return told.format(prefix=prefix)
