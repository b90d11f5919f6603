"""Answers about the room that a command in a direct chat means. Pure."""

from collections.abc import Sequence

from bot.language import N_, _, plural

MOST_ROOMS = 20
"""The longest list of rooms in an answer."""
ONLY_IN_CHAT = N_("I understand `in ROOM …` only in a direct chat, with nobody in it but you and me.")
NO_SHARED_ROOM = N_("We share no room. Invite me to one first.")
NOT_ENCRYPTED_THERE = N_(
    "That room is encrypted and your message was not, so I did nothing. Please say it in the room, or in an encrypted "
    "chat with me."
)


def which_room(rooms: Sequence[str], example: str) -> str:
    """Ask for the room. `rooms`: the names of those that we share; `example`: a command."""
    if not rooms:
        return _(NO_SHARED_ROOM)
    return "\n".join([_("Which room do you mean? Please say, for example:"), *_examples(rooms, example)])


def several_fit(rooms: Sequence[str], example: str) -> str:
    asked = _("Several rooms that we share fit that. Please say which one you mean, for example:")
    return "\n".join([asked, *_examples(rooms, example)])


def none_fits(rooms: Sequence[str], example: str) -> str:
    if not rooms:
        return _(NO_SHARED_ROOM)
    asked = _("We share no room of that name. Please say, for example:")
    return "\n".join([asked, *_examples(rooms, example)])


def _examples(rooms: Sequence[str], example: str) -> list[str]:
    lines = [f"`in {room} {example}`" for room in rooms[:MOST_ROOMS]]
    more = len(rooms) - MOST_ROOMS
    return [*lines, plural("… and {count} more room.", "… and {count} more rooms.", more)] if more > 0 else lines
