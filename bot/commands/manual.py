"""`help [command]`"""

from functools import partial

from bot.commands import replies
from bot.commands.context import Action, Asked, Verb
from bot.commands.parse import Words, no_such_command


async def _overview(asked: Asked) -> str:
    return replies.overview(asked.prefix, [form for verb in asked.verbs.values() for form in verb.forms])


async def _details(asked: Asked, *, topic: str) -> str:
    verb = asked.verbs.get(topic)
    return replies.details(asked.prefix, verb.forms) if verb else no_such_command(asked.prefix).sentence


def _read(words: Words) -> Action | None:
    """`help publish public` explains `publish`."""
    return partial(_details, topic=words[0].lower()) if words else _overview


VERBS = (
    Verb(
        "help",
        (replies.Form("help [command]", "everybody", "what I can do"),),
        _read,
        changes=False,
        everywhere=True,
    ),
)
