"""`announce`, `announce on|quiet|off`: how the room is told that a recording begins, and that it is published."""

from dataclasses import replace
from functools import partial

from bot.commands.context import Action, Context, Verb
from bot.commands.parse import Words
from bot.commands.replies import announce as replies
from bot.commands.replies import general
from bot.commands.replies.manual import Form, Group, Who
from bot.language import N_
from storage import rooms
from storage.records import Announce


async def _tell(context: Context) -> str:
    return replies.how(context.room.announce)


async def _choose(context: Context, *, how: Announce) -> str:
    if not context.asker.moderates:
        return general.ONLY_MODS
    before = context.room.announce
    if how is before:
        return replies.how(how)
    await rooms.save_room(context.db, replace(context.room, announce=how))
    await context.note("announce", before, how)
    return replies.chosen(context.asker.name, how)


def _read(words: Words) -> Action | None:
    match [word.lower() for word in words]:
        case []:
            return _tell
        case ["on" | "quiet" | "off" as how]:
            return partial(_choose, how=Announce(how))
        case _:
            return None


VERBS = (
    Verb(
        "announce",
        (
            Form("announce", Who.EVERYBODY, N_("tells how recordings are announced here"), "announce", Group.RECORDING),
            Form(
                "announce on|quiet|off",
                Who.MODERATORS,
                N_("announces a recording by a notice when it begins, by a reaction, or not at all"),
                "announce on",
                Group.RECORDING,
            ),
        ),
        _read,
        changes=bool,
    ),
)
