"""Answers to the commands of `bot.commands.describe`. Pure."""

from bot.feeds.shown import shown

NOTHING_TO_SHOW = "That text has nothing in it that can be shown."


def too_long(what: str, characters: int, most: int) -> str:
    return f"A {what} has at most {most:,} characters; yours has {characters:,}. Nothing was changed."


def titled(code: str, who: str, title: str) -> str:
    return f"{code} is now called “{shown(title)}”: {who} named it."


def described(code: str, who: str) -> str:
    return f"{code} has a new description: {who} wrote it."
