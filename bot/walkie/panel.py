"""The panel of a walkie-talkie: a notice whose reactions are its buttons. Pure."""

from enum import StrEnum

from bot.language import _, plural


class Wish(StrEnum):
    """A wish that a reaction to the panel says."""

    JOIN = "join"
    LEAVE = "leave"
    TALK = "talk"
    OVER = "over"


BUTTONS = {"✅": Wish.JOIN, "🎙️": Wish.TALK, "🛑": Wish.OVER, "🚪": Wish.LEAVE}
"""The reactions, in the order in which the bot puts them under the panel."""
_PLAIN = {key.rstrip("\ufe0f"): wish for key, wish in BUTTONS.items()}


def wish_of(key: str) -> Wish | None:
    """Return the wish of a reaction, given its emoji without variation selector; None for any other emoji."""
    return _PLAIN.get(key)


def text(*, floor_s: int, prefix: str) -> str:
    """Explain the walkie-talkie and its reactions."""
    head = _(
        "This room is a walkie-talkie: one person speaks, and the homeserver refuses the messages of everybody else "
        "meanwhile. React to this message:"
    )
    join = _("✅ join: you are willing to listen, and may ask for the floor, for 8 hours")
    talk = plural(
        "🎙️ ask for the floor: when this reaction disappears, it is yours. Send one voice message within {count} second",
        "🎙️ ask for the floor: when this reaction disappears, it is yours. Send one voice message within {count} "
        "seconds",
        floor_s,
    )
    over = _("🛑 give the floor back without speaking, or leave the queue")
    leave = _("🚪 leave the walkie-talkie")
    more = _(
        "In a direct chat with me you can say the same: `in ROOM walkie join 2h`, `in ROOM talk`, `in ROOM over`, `in "
        "ROOM walkie leave`. A moderator ends this with `{prefix} walkie off`."
    ).format(prefix=prefix)
    return "\n".join([head, join, talk, over, leave, more])


def unlimited(names: str) -> str:
    """Name the members whom the homeserver can't stop."""
    return _(
        "I can't stop these members, who have too much power in this room: {names}. What they say without the floor is "
        "not recorded."
    ).format(names=names)
