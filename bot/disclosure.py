"""Disclosure: the facts of a room's recording that its members and their clients are shown. Pure."""

from collections.abc import Collection, Mapping
from datetime import datetime

from bot import words
from bot.language import N_, _, spoken_list
from storage.records import Change, ConsentNotice, Json, Recorded, Retention, Room, Visibility

RECORD = "record"
RECORD_MESSAGES = "record messages"
RECORD_CALLS = "record calls"
RECORD_CALL = "record call"
"""The command, and so the name in the log of changes, that has the call recorded that runs now."""
SWITCHES: Mapping[Recorded, str] = {
    Recorded.BROADCASTS: RECORD,
    Recorded.MESSAGES: RECORD_MESSAGES,
    Recorded.CALLS: RECORD_CALLS,
}
"""The commands, and so the names in the log of changes, that switch on and off what is recorded."""
KINDS: Mapping[Recorded, str] = {
    Recorded.BROADCASTS: N_("voice broadcasts"),
    Recorded.MESSAGES: N_("voice messages"),
    Recorded.CALLS: N_("calls"),
}
"""The kinds of what is recorded, as they are told."""
WALKIE = "walkie"
"""The command, and so the name in the log of changes, that switches the walkie-talkie on and off."""
PUBLISH = "publish"
"""The command that makes the podcast public or private."""
FOREVER = str(Retention())


def listed(recorded: Collection[Recorded]) -> list[Recorded]:
    """Return the kinds of what is recorded in the order in which they are told."""
    return [kind for kind in Recorded if kind in recorded]


def spoken(recorded: Collection[Recorded]) -> str:
    """Name the kinds of what is recorded: `voice broadcasts and voice messages`."""
    return spoken_list([_(KINDS[kind]) for kind in listed(recorded)])


def commands(kinds: Collection[Recorded], prefix: str) -> str:
    """Name the commands that switch these kinds on."""
    return spoken_list([f"`{prefix} {SWITCHES[kind]} on`" for kind in listed(kinds)])


def last_switch(newest: Mapping[str, Change]) -> Change | None:
    """Return the last change of what is recorded. `newest`: the newest change of each policy."""
    switched = [newest[what] for what in SWITCHES.values() if what in newest]
    return max(switched, key=lambda change: change.id, default=None)


def state_content(
    room: Room, visibility: Visibility, switched: Change | None, told: ConsentNotice | None, max_days: int | None
) -> Json:
    """Return the content of the state event `org.aircheck.room`. `switched` is the newest change of what is recorded,
    `told` the notice with which recording began; `max_days`: no room keeps a recording longer."""
    since = switched.at if switched else None
    if room.recorded and since and told:
        since = max(since, told.said_at)
    return {
        "records": [str(kind) for kind in listed(room.recorded)],
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
        case "record" | "record messages" | "record calls" | "replay" | "walkie":
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
    walkie: bool = False,
) -> str:
    """Tell a room what is recorded, for whom, where it can be heard, how long it is kept, who switched it on, and how
    to object. `public`: anybody can hear what begins now; `comes`: the bot has just come; `continues`: the podcast is
    that of a room that was replaced; `walkie`: the room is a walkie-talkie."""
    if room.direct and not room.switched_on:
        return _("Hello. I record nothing here. Say `{prefix} help` to see what I can do.").format(prefix=prefix)
    told = [_("Hello, I am Aircheck.")] if comes else []
    told += [words.continues_podcast(public=public)] if continues else []
    if not room.switched_on:
        return " ".join([*told, _nothing(prefix)])
    told += [_what(spoken(room.switched_on), public=public)]
    told += [] if public else [_("Say `{prefix} feed` to get your own address.").format(prefix=prefix)]
    told += [_("Only members whom a moderator chose are recorded.")] if room.speakers is not None else []
    told += [_("Each finished recording is also posted here as a voice message.")] if room.replay else []
    told += [_("This room is a walkie-talkie: I record whoever has the floor.")] if walkie else []
    told += [words.stays(room.retention, max_days)]
    told += [_("{who} switched this on.").format(who=switched_by)] if switched_by else []
    told += [_objections(prefix, public=public)]
    if comes and not continues and Recorded.BROADCASTS in room.switched_on:
        told.append(_("`{prefix} backfill` finds broadcasts from before I joined.").format(prefix=prefix))
    where = "\n" + _("Feed: {feed}\nPage: {page}").format(feed=feed, page=page) if public else ""
    return " ".join(told) + where


def _nothing(prefix: str) -> str:
    return _(
        "I record nothing here yet: a moderator can say `{prefix} record on` for voice broadcasts, `{prefix} record "
        "messages on` for voice messages, `{prefix} record calls on` for calls, and I will publish them as a podcast "
        "for the members of this room."
    ).format(prefix=prefix)


def _what(kinds: str, *, public: bool) -> str:
    if public:
        told = _("From now on I record {kinds} in this room for its public podcast, which anybody can hear.")
    else:
        told = _("From now on I record {kinds} in this room and publish them as a podcast for its members only.")
    return told.format(kinds=kinds)


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
