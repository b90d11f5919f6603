"""Answers to the commands of `bot.commands.describe`. Pure."""

from bot.feeds.shown import shown
from bot.language import N_, _, spoken_number

NOTHING_TO_SHOW = N_("That text has nothing in it that can be shown.")
TITLE_TOO_LONG = N_("A title has at most {most} characters; yours has {characters}. Nothing was changed.")
DESCRIPTION_TOO_LONG = N_("A description has at most {most} characters; yours has {characters}. Nothing was changed.")


def too_long(sentence: str, characters: int, most: int) -> str:
    """Refuse a text. `sentence`: TITLE_TOO_LONG or the like."""
    return _(sentence).format(most=spoken_number(most), characters=spoken_number(characters))


def titled(code: str, who: str, title: str) -> str:
    return _("{code} is now called “{title}”: {who} named it.").format(code=code, title=shown(title), who=who)


def described(code: str, who: str) -> str:
    return _("{code} has a new description: {who} wrote it.").format(code=code, who=who)
