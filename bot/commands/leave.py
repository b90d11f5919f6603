"""`leave`: the bot leaves the room, and its recordings stay. The log says so once it is out (`bot.worker.leaving`)."""

from bot import facts, orders
from bot.commands.context import Action, Context, ToConfirm, Verb, always
from bot.commands.parse import Words
from bot.commands.replies import general
from bot.commands.replies import leave as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.commands.walkie import switch_off
from bot.event_types import ROOM_NAME
from bot.intake import walkie
from bot.language import N_
from storage import archive, heirs, jobs, rooms
from storage.records import RecordingState, Visibility


async def _leave(context: Context) -> str | ToConfirm:
    if not context.asker.moderates:
        return general.ONLY_MODS
    if not context.confirmed:
        line = await heirs.line(context.db, context.room.room_id)
        counts = await archive.count_states(context.db, line)
        recordings = sum(count for state, count in counts.items() if state.may_have_audio)
        public = await archive.count_public(context.db, line)
        if context.podcast.visibility is not Visibility.PUBLIC:
            public = 0
        live = counts.get(RecordingState.LIVE, 0)
        room = await _name_elsewhere(context)
        return ToConfirm(replies.question(context.prefix, room, recordings, public, live), ())
    if await walkie.is_on(context.db, context.room.room_id):
        await switch_off(context)  # nobody could write in the room that is left
    reason, asker = replies.reason(context.asker.name), context.asker.user_id
    leave = orders.Leave(context.room.room_id, reason, context.now, asker=asker, command=context.command)
    await jobs.add(context.db, leave.job(), context.now)
    return replies.leaving(context.asker.name)


async def _name_elsewhere(context: Context) -> str | None:
    """Return the room's name for whoever says it in a direct chat; None in the room itself."""
    if context.said.room_id == context.room.room_id:
        return None
    return facts.room_name(await rooms.state(context.db, context.room.room_id, ROOM_NAME)) or context.room.room_id


def _read(words: Words) -> Action | None:
    return None if words else _leave


VERBS = (
    Verb(
        "leave",
        (
            Form(
                "leave",
                Who.MODERATORS,
                N_("makes me leave this room; I ask once more first, and say what stays"),
                "leave",
                Group.ROOM,
            ),
        ),
        _read,
        changes=always,
        everywhere=True,
        of_chat=always,
    ),
)
