"""`replay`, `replay on|off`: finished recordings are handed back as voice messages."""

from dataclasses import replace
from functools import partial

from bot import logged
from bot.commands.context import Context, Verb
from bot.commands.replies import general
from bot.commands.replies import replay as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.commands.switching import read_switch
from bot.language import N_
from storage import rooms


async def _tell(context: Context) -> str:
    return replies.told(on=context.room.replay)


async def _switch(context: Context, *, on: bool) -> str:
    if not context.asker.moderates:
        return general.ONLY_MODS
    changed = context.room.replay != on
    if changed:
        await rooms.save_room(context.db, replace(context.room, replay=on, changed_at=context.now))
        await context.note("replay", logged.switch(not on), logged.switch(on))
    return replies.switched(context.asker.name, on=on, changed=changed)


VERBS = (
    Verb(
        "replay",
        (
            Form(
                "replay",
                Who.EVERYBODY,
                N_("tells whether finished recordings are posted here as voice messages"),
                "replay",
                Group.RECORDING,
            ),
            Form(
                "replay on|off",
                Who.MODERATORS,
                N_("posts each finished recording here as a voice message, which every Matrix client plays, or not"),
                "replay on",
                Group.RECORDING,
            ),
        ),
        partial(read_switch, _tell, _switch),
        changes=bool,
    ),
)
