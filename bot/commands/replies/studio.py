"""Answers to the commands of `bot.commands.studio`. Pure."""

from bot.language import N_, _, plural
from storage.records import StudioSource

ALREADY_OPEN = N_("The studio is already on.")
ALREADY_CLOSED = N_("The studio is already off.")
EVENTS_ALREADY_ON = N_("What is made in a studio is already sent into this room, too.")
EVENTS_ALREADY_OFF = N_("What is made in a studio is not sent into this room now.")


def is_coming(source: StudioSource, *, live: bool) -> str:
    """Tell that the address comes by direct message. `live`: the same one again, with which the asker broadcasts."""
    if live:
        return _("You are on the air; I am sending you the same address again in our direct chat.")
    if source is StudioSource.CLIENT:
        return _(
            "I am sending you server, user and password for your program in our direct chat; if there is none yet, "
            "please accept my invite to it."
        )
    return _(
        "I am sending you the address of your studio in our direct chat; if there is none yet, please accept my invite "
        "to it."
    )


NOT_THERE = N_("Only members of a room in which I am, too, can have a studio there.")
NO_POWER = N_("You may not begin a voice broadcast in this room: a moderator can give you the power level for it.")
BEHIND = N_(
    "I was restored from a backup, and am still reading what happened here since: please ask again in a few minutes."
)
AWAITS_NOTICE = N_("I record nothing here until my notice is in the room: please ask again when you see it.")


def is_off(prefix: str) -> str:
    return _("The studio is off in this room: a moderator can say `{prefix} studio on`.").format(prefix=prefix)


def not_recorded(prefix: str) -> str:
    return _("I record no voice broadcasts in this room: a moderator can say `{prefix} record on`.").format(
        prefix=prefix
    )


def is_walkie(prefix: str) -> str:
    return _(
        "This room is a walkie-talkie, in which one member at a time speaks, and a studio would speak over them: say "
        "`{prefix} talk` to ask for the floor."
    ).format(prefix=prefix)


def opted_out(prefix: str) -> str:
    return _("You opted out of being recorded: say `{prefix} optin` first.").format(prefix=prefix)


def others_only(prefix: str) -> str:
    return _("The moderators have me record other members of this room only: `{prefix} speakers` tells whom.").format(
        prefix=prefix
    )


# ---- switches


def opened(who: str, prefix: str) -> str:
    return _(
        "The studio is on: {who} switched it on. Whoever may begin a voice broadcast here can say `{prefix} studio`."
    ).format(who=who, prefix=prefix)


def closed(who: str, running: int) -> str:
    """Tell that the studio is off, and how many broadcasts that ends."""
    off = _("The studio is off: {who} switched it off.").format(who=who)
    if not running:
        return off
    ends = plural(
        "That ends the broadcast that was made in it just now.",
        "That ends the {count} broadcasts that were made in it just now.",
        running,
    )
    return f"{off} {ends}"


def events_switched(who: str, *, on: bool) -> str:
    if on:
        return _(
            "Studio events are on: {who} switched them on. What is made in a studio from now on I also send into this "
            "room, for clients that know voice broadcasts."
        ).format(who=who)
    return _("Studio events are off: {who} switched them off.").format(who=who)
