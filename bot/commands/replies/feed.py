"""Answers to the commands of `bot.commands.feed`. Pure."""

from bot.language import _, plural


def public_address(feed: str, *, more: bool) -> str:
    """Tell the public address. `more`: the asker's own address is sent too."""
    if more:
        return _(
            "This room's podcast is public. Its address: {feed}\n"
            "Some episodes are not public, such as those of before. I am sending you your own address, which has all "
            "that you may hear, in our direct chat. If there is none yet, please accept my invite to it."
        ).format(feed=feed)
    return _("This room's podcast is public. Its address: {feed}").format(feed=feed)


def address_is_coming(*, renewed: bool) -> str:
    if renewed:
        return _(
            "I am sending you a new address in our direct chat. If there is none yet, please accept my invite to it. "
            "The old one works until I have sent the new one there."
        )
    return _(
        "I am sending you your own address in our direct chat. If there is none yet, please accept my invite to it."
    )


def addresses_are_coming(count: int) -> str:
    return plural(
        "I am sending you the address of the one room that I record for you, in our direct chat.",
        "I am sending you the addresses of the {count} rooms that I record for you, in our direct chat.",
        count,
    )


def renew_in_the_room(prefix: str) -> str:
    return _("Please say `{prefix} feed renew` in the room whose address you want to replace.").format(prefix=prefix)
