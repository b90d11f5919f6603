"""Answers to the commands of `bot.commands.walkie`. Pure."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from bot.feeds.shown import shown
from bot.language import N_, _, plural, spoken_moment

MOST_NAMES = 20
"""The most members that an answer names in one list."""

ALREADY_ON = N_("The walkie-talkie is already on.")
ALREADY_OFF = N_("The walkie-talkie is already off.")
SWITCHED_OFF = N_(
    "The walkie-talkie is off: everybody who could write here before can write again. Its recordings stay."
)
NOT_JOINED = N_("You have not joined the walkie-talkie.")
LEFT = N_("You have left the walkie-talkie.")
TOO_LATE = N_("That reached me too late, please say it again.")
GAVE_BACK = N_("You have given the floor back.")
QUEUE_IS_FULL = N_("Too many members wait for the floor already. Please ask again later.")
LEFT_QUEUE = N_("You have left the queue.")
NOTHING_TO_GIVE_BACK = N_("You neither have the floor nor wait for it.")
ENDED = N_("What was said so far becomes an episode.")
NOTHING_TO_END = N_("Nothing has been said since the last episode.")

ONLY_IN_CHAT = N_("Please say that in a direct chat with me.")
MAY_NOT_CREATE = N_("The administrator of this Aircheck does not let me make rooms for you.")
TOO_MANY_ROOMS = N_("I have made many rooms for you lately. Please try again tomorrow.")


def is_off(prefix: str) -> str:
    return _("This room has no walkie-talkie. A moderator can say `{prefix} walkie on`.").format(prefix=prefix)


def lacks_power(needed: int, power: int) -> str:
    """Tell which power the bot needs to switch the walkie-talkie on, and which one it has."""
    return _(
        "I need power {needed} in this room to lock it, and have only {power}. Please give it to me and say that "
        "again. Nothing was changed."
    ).format(needed=needed, power=power)


def still_locked(needed: int, power: int) -> str:
    """Tell that the walkie-talkie is off, but the power levels are not put back yet: which power the bot needs for
    that, and which one it has."""
    return _(
        "The walkie-talkie is off, but this room is still locked: to put its power levels back I need power {needed}, "
        "but have only {power}. I do it once you have given it to me. Its recordings stay."
    ).format(needed=needed, power=power)


def switched_on(who: str, unlimited: Sequence[str]) -> str:
    told = _(
        "The walkie-talkie is on: {who} switched it on. Only the member who has the floor can write here now; "
        "my panel, a message with four reactions, explains how to get it."
    ).format(who=who)
    return " ".join([told, *_not_limited(unlimited)])


def state(*, holder: Sequence[str], queue: Sequence[str], joined: Sequence[str], unlimited: Sequence[str]) -> str:
    """Tell who has the floor (nobody or one), who waits for it, who has joined, and who can't be limited."""
    lines = [
        _("The floor: {who}").format(who=_names(holder)) if holder else _("The floor is free."),
        *([_("Waiting, in this order: {names}").format(names=_names(queue))] if queue else []),
        _("Joined: {names}").format(names=_names(joined)) if joined else _("Nobody has joined."),
        *_not_limited(unlimited),
    ]
    return "\n".join(lines)


def _not_limited(unlimited: Sequence[str]) -> list[str]:
    """Name the members whom the homeserver can't stop."""
    if not unlimited:
        return []
    told = _(
        "These members have too much power for me to limit them: {names}. I don't record what they send without the "
        "floor."
    )
    return [told.format(names=_names(unlimited))]


def joined(until: datetime | None, zone: ZoneInfo, prefix: str) -> str:
    """Tell a member until when they have joined (None: for ever)."""
    if until is None:
        return _("You have joined the walkie-talkie. `{prefix} talk` asks for the floor.").format(prefix=prefix)
    told = _("You have joined the walkie-talkie until {until}. `{prefix} talk` asks for the floor.")
    return told.format(until=spoken_moment(until, zone), prefix=prefix)


def join_first(prefix: str) -> str:
    return _("Please say `{prefix} walkie join` first: only those who are willing to listen can speak.").format(
        prefix=prefix
    )


def floor_is_yours(floor_s: int) -> str:
    return plural(
        "The floor is yours for {count} second: send one voice message.",
        "The floor is yours for {count} seconds: send one voice message.",
        floor_s,
    )


def waits(place: int) -> str:
    """Tell a member their place in the queue, from 1."""
    return _("You are number {place} in the queue.").format(place=place)


def bad_name(most: int) -> str:
    return _(
        "Please give the room a name of at most {most} characters, followed by the Matrix ids of those to invite, such "
        "as `@ann:example.org`."
    ).format(most=most)


def too_many_users(most: int) -> str:
    return _("I invite at most {most} people to a new room. Its members can invite others.").format(most=most)


def making(name: str, users: int) -> str:
    """Tell that a room is being made, and how many others than the asker are invited."""
    return plural(
        "I am making the room {name}, and invite you and {count} other.",
        "I am making the room {name}, and invite you and {count} others.",
        users,
        name=shown(name),
    )


def _names(names: Sequence[str]) -> str:
    listed, more = ", ".join(names[:MOST_NAMES]), len(names) - MOST_NAMES
    return listed if more <= 0 else _("{names} and {count} more").format(names=listed, count=more)
