"""`language`, `language CODE`: the language in which the bot speaks in a room and on its pages."""

from dataclasses import replace
from functools import partial

from bot import language
from bot.commands.context import Action, Context, Verb, always
from bot.commands.parse import Words
from bot.commands.replies import general
from bot.commands.replies import language as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.language import N_, speaking
from storage import rooms


async def _tell(context: Context) -> str:
    return replies.spoken(context.prefix)


async def _choose(context: Context, *, code: str) -> str:
    """Speak a language from now on. The answer is in it already, and the pages follow at once."""
    if not context.asker.moderates:
        return general.ONLY_MODS
    if code not in language.languages():
        return replies.unknown(context.prefix)
    changed = language.written() != code
    if context.room.language != code:
        await rooms.save_room(context.db, replace(context.room, language=code))
        await rooms.touch(context.db, context.room.room_id, context.now)
        await context.note("language", context.room.language, code)
    with speaking(code):
        return replies.chosen(context.asker.name, changed=changed)


def _read(words: Words) -> Action | None:
    match words:
        case ():
            return _tell
        case (code,):
            return partial(_choose, code=code.lower())
        case _:
            return None


VERBS = (
    Verb(
        "language",
        (
            Form(
                "language CODE",
                Who.MODERATORS,
                N_("chooses the language in which I speak here and on the podcast's pages"),
                "language de",
                Group.ROOM,
            ),
            Form("language", Who.EVERYBODY, N_("tells which languages I speak"), "language", Group.ROOM),
        ),
        _read,
        changes=bool,
        of_chat=always,
    ),
)
