"""The grammar of commands that tell a policy, switch it on, or switch it off: `record`, `record on|off`."""

from functools import partial
from typing import Protocol

from bot.commands.context import Action, Context
from bot.commands.parse import Words


class Switch(Protocol):
    """The work of switching a policy. It returns the answer."""

    async def __call__(self, context: Context, *, on: bool) -> str: ...


def read_switch(tell: Action, switch: Switch, words: Words) -> Action | None:
    """Return the action that tells, or the one that switches; None where the words don't fit."""
    match [word.lower() for word in words]:
        case []:
            return tell
        case ["on" | "off" as word]:
            return partial(switch, on=word == "on")
        case _:
            return None
