"""Answers to the commands of `bot.commands.feed`. Pure."""


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
