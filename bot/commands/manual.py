"""`help [command]`"""

from functools import partial

from bot.commands.context import Action, Context, Verb
from bot.commands.parse import Words, no_such_command
from bot.commands.replies import manual as replies
from bot.commands.replies.manual import Form


async def _overview(context: Context) -> str:
    return replies.overview(context.prefix, [form for verb in context.verbs.values() for form in verb.forms])


async def _details(context: Context, *, topic: str) -> str:
    verb = context.verbs.get(topic)
    return replies.details(context.prefix, verb.forms) if verb else no_such_command(context.prefix).sentence


def _read(words: Words) -> Action | None:
    """Explain the first word only: `help publish public` explains `publish`."""
    return partial(_details, topic=words[0].lower()) if words else _overview


VERBS = (
    Verb(
        "help",
        (Form("help [command]", "everybody", "lists what I can do"),),
        _read,
        changes=False,
        everywhere=True,
    ),
)
