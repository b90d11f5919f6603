"""`listeners`: how many personal addresses are in use; in the direct chat the asker's own, and their last uses.

When and by which app somebody listens is for them alone: a room that is called a direct chat may have other members.
"""

from bot import facts
from bot.commands.context import Action, Context, Verb, always, never
from bot.commands.parse import Words
from bot.commands.replies import general
from bot.commands.replies import listeners as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.event_types import MEMBER, ROOM_NAME
from bot.language import N_
from storage import heirs, listener_uses, rooms
from storage.records import RoomId


async def _listeners(context: Context) -> str:
    if await context.in_own_chat():
        return await _own(context)
    if not context.asker.moderates:
        return general.ONLY_MODS
    line = await heirs.line(context.db, context.room.room_id)
    uses = await listener_uses.of_room(context.db, line[0])
    members = await rooms.member_states(context.db, line[-1], uses)
    working = [uses[user_id] for user_id in uses if facts.is_joined(members.get(user_id))]
    lately = [use for use in working if use is not None and context.now - use.used_at <= replies.LATELY]
    return replies.counted(len(working), len(lately))


async def _own(context: Context) -> str:
    """List the asker's own addresses by room. One that has ended is listed too: nobody can use it, but it was given."""
    used = await listener_uses.of_user(context.db, context.asker.user_id)
    addresses = [(await _name(context, room_id), use) for room_id, use in used.items()]
    return replies.own(addresses, context.settings.feeds.zone, context.prefix)


async def _name(context: Context, room_id: RoomId) -> str | None:
    """Return the name of the present room of the podcast; None where it has none, or the asker is not in it."""
    present = await heirs.present(context.db, room_id)
    if not facts.is_joined(await rooms.state(context.db, present, MEMBER, context.asker.user_id)):
        return None
    return facts.room_name(await rooms.state(context.db, present, ROOM_NAME))


def _read(words: Words) -> Action | None:
    return None if words else _listeners


VERBS = (
    Verb(
        "listeners",
        (
            Form(
                "listeners",
                Who.MODERATORS,
                N_("says how many personal addresses are in use; in our direct chat: when yours were last used"),
                "listeners",
                Group.LISTENING,
            ),
        ),
        _read,
        changes=never,
        of_chat=always,
    ),
)
