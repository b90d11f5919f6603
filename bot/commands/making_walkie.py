"""`walkie create NAME USER…`: a room with a walkie-talkie that the bot makes, so that it can limit everybody in it."""

from datetime import timedelta

from bot import orders, rules
from bot.commands.context import Context
from bot.commands.members import name_and_users
from bot.commands.parse import text_after
from bot.commands.replies import walkie as replies
from bot.disclosure import WALKIE
from storage import changes, jobs

MOST_CHARACTERS = 100
"""The longest name of a room that the bot makes."""
MOST_USERS = 30
"""The most users whom one command invites."""
MOST_ROOMS, WITHIN = 5, timedelta(days=1)
"""The rooms that the bot makes for one user within that time."""
CREATE = f"{WALKIE} create"


async def make(context: Context) -> str:
    user = context.asker.user_id
    if context.said.room_id != context.room.room_id or not await context.in_own_chat():
        return replies.ONLY_IN_CHAT
    if not rules.invite_allowed(context.settings.matrix.invites, user):
        return replies.MAY_NOT_CREATE
    name, named = name_and_users(text_after(context.text, 2))
    users = tuple(other for other in named if other not in (user, context.us))
    if not users or not 0 < len(name) <= MOST_CHARACTERS:
        return replies.bad_name(MOST_CHARACTERS)
    if len(users) > MOST_USERS:
        return replies.too_many_users(MOST_USERS)
    if await changes.count(context.db, CREATE, by=user, since=context.now - WITHIN) >= MOST_ROOMS:
        return replies.TOO_MANY_ROOMS
    order = orders.MakeWalkie(context.command, user, name, users, context.said.room_id, context.said.thread)
    await jobs.add(context.db, order.job(), context.now)
    await context.note(CREATE, None, None, everywhere=True)
    return replies.making(name, len(users))
