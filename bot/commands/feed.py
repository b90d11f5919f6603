"""`feed`, `feed renew`: the address of a room's podcast.

A personal address is never part of an answer: a job sends it in the direct chat. In a public room it is sent too where
it reaches more than the public one. In a direct chat that has no podcast of its own, `feed` stands for all rooms that
the asker and the bot share.
"""

from collections.abc import Sequence

from bot import orders
from bot.commands.context import Action, Context, Verb, always
from bot.commands.parse import Words
from bot.commands.replies import feed as replies
from bot.commands.replies import general
from bot.commands.replies.manual import Form, Group, Who
from bot.event_types import MEMBER
from bot.feeds.addresses import look_up_hash, token_for
from bot.intake import chats
from bot.language import N_
from bot.rules import deciding_member, may_hear
from storage import ended_addresses, heirs, jobs, private_episodes, rooms
from storage.records import Listener, RoomId, Visibility

MOST_ROOMS = 20
"""Addresses sent at once in a direct chat: those of the rooms that changed last."""


async def _feed(context: Context) -> str:
    if await _is_about_all(context):
        return await _feeds_of_shared_rooms(context)
    if context.room.visibility is Visibility.PUBLIC:
        more = await _hears_more(context)
        if more:
            await _send_address(context, context.room.room_id)
        return replies.public_address(context.public.feed, more=more)
    await _send_address(context, context.room.room_id)
    return replies.address_is_coming(renewed=False)


async def _hears_more(context: Context) -> bool:
    """Return whether the asker may hear episodes that the public feed lacks, such as those of before it was public."""
    line = await heirs.line(context.db, context.room.room_id)
    members = [await rooms.state(context.db, room_id, MEMBER, context.asker.user_id) for room_id in line]
    for room_id, member in zip(line, members, strict=True):
        for visibility, began in (await private_episodes.newest(context.db, room_id)).items():
            if may_hear(visibility, began, deciding_member(visibility, member, members[-1])):
                return True
    return False


async def _is_about_all(context: Context) -> bool:
    return await context.in_own_chat() and not await chats.has_podcast(context.db, context.room)


async def _renew(context: Context) -> str:
    if await _is_about_all(context):
        return replies.renew_in_the_room(context.prefix)
    await _send_address(context, context.room.room_id, renew=True)
    return replies.address_is_coming(renewed=True)


async def _feeds_of_shared_rooms(context: Context) -> str:
    sent = 0
    replaced = await heirs.replaced(context.db)
    for room in await rooms.joined_with(context.db, context.asker.user_id):
        if sent < MOST_ROOMS and room.room_id not in replaced and await chats.has_podcast(context.db, room):
            await _send_address(context, room.room_id)
            sent += 1
    return replies.addresses_are_coming(sent) if sent else general.NO_SHARED_ROOM


async def _send_address(context: Context, room_id: RoomId, *, renew: bool = False) -> None:
    """Make sure that the asker has an address of this room's podcast, the same one unless renewed, and have it sent."""
    line = await keep_address(context, room_id, renew=renew)
    await jobs.add(context.db, orders.Direct.address(context.asker.user_id, line[0]).job(), context.now)


async def keep_address(context: Context, room_id: RoomId, *, renew: bool = False) -> Sequence[RoomId]:
    """Make sure that the asker has an address of this room's podcast, the same one unless renewed; return its rooms.

    The address belongs to the first room of the line, so that it outlives upgrades. A later room may have had an
    address of its own before it became the heir: renewing ends that too. The old ones work until the new one was sent.
    """
    line = await heirs.line(context.db, room_id)
    for each in line:
        listener = await rooms.listener(context.db, each, context.asker.user_id)
        if each == line[0] or (renew and listener is not None):
            await _save_address(context, each, listener, renew=renew)
    return line


async def _save_address(context: Context, room_id: RoomId, known: Listener | None, *, renew: bool) -> None:
    """Save the address. Renewals don't pile up: renewed again before the new address was sent, it stays the same."""

    secret = await context.secret(context.db)

    def digest(generation: int) -> str:
        return look_up_hash(token_for(secret, room_id, context.asker.user_id, generation))

    generation = 1 if known is None else known.generation
    next_generation = None if known is None else known.next_generation or (generation + 1 if renew else None)
    listener = Listener(
        room_id,
        context.asker.user_id,
        generation,
        digest(generation),
        next_generation=next_generation,
        next_sha256=None if next_generation is None else digest(next_generation),
    )
    if listener == known:
        return
    await rooms.save_listener(context.db, listener)
    if known is not None:  # made with a secret that was lost: the address that was given out ends
        ended = {known.token_sha256, known.next_sha256} - {listener.token_sha256, listener.next_sha256, None}
        await ended_addresses.note(context.db, {each for each in ended if each}, context.now)


def _read(words: Words) -> Action | None:
    match [word.lower() for word in words]:
        case []:
            return _feed
        case ["renew"]:
            return _renew
        case _:
            return None


VERBS = (
    Verb(
        "feed",
        (
            Form(
                "feed",
                Who.EVERYBODY,
                N_("gives the podcast's address (your own, by direct chat, while private)"),
                "feed",
                Group.LISTENING,
            ),
            Form(
                "feed renew",
                Who.EVERYBODY,
                N_("gives you a new address; the old one ends when you have it"),
                "feed renew",
                Group.YOU,
            ),
        ),
        _read,
        changes=always,
        of_chat=always,
    ),
)
