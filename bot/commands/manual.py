"""`help [command]`"""

from functools import partial

from bot.commands import unknown
from bot.commands.context import Action, Context, Verb, always, never
from bot.commands.parse import Words
from bot.commands.replies import manual as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.language import N_


async def _overview(context: Context) -> str:
    return replies.overview(context.prefix, context.forms)


async def _details(context: Context, *, topic: Words) -> str:
    verb = context.verbs.get(topic[0].lower())
    if verb is None:
        return unknown.answer(context.prefix, context.forms, topic)
    return replies.details(context.prefix, verb.forms)


def _read(words: Words) -> Action | None:
    """Explain the first word only: `help publish public` explains `publish`."""
    return partial(_details, topic=words) if words else _overview


VERBS = (
    Verb(
        "help",
        (Form("help [command]", Who.EVERYBODY, N_("lists what I can do"), "help feed", Group.ROOM),),
        _read,
        changes=never,
        everywhere=True,
        of_chat=always,
    ),
)
