"""`feed`, `feed renew`: how people get at a room's podcast.

A personal address never stands in an answer: a job has it said in the direct chat. In a direct chat that is not
recorded itself, `feed` means the rooms that the asker and the bot share.
"""

from bot import facts, orders
from bot.commands import replies
from bot.commands.context import Action, Asked, Verb
from bot.commands.parse import Words
from bot.feeds.addresses import look_up_hash, token_for
from storage import archive, heirs, jobs, rooms
from storage.records import Listener, Room, RoomId, Visibility

MOST_ROOMS = 20
"""Addresses said at once in a direct chat: those of the rooms that changed last."""


async def _feed(asked: Asked) -> str:
    if await _is_mere_chat(asked):
        return await _feeds_of_shared_rooms(asked)
    if asked.room.visibility is Visibility.PUBLIC:
        return replies.public_address(asked.public.feed)
    await _send_address(asked, asked.room.room_id)
    return replies.address_is_coming(renewed=False)


async def _renew(asked: Asked) -> str:
    if await _is_mere_chat(asked):
        return replies.renew_in_the_room(asked.prefix)
    await _send_address(asked, asked.room.room_id, renew=True)
    return replies.address_is_coming(renewed=True)


async def _is_mere_chat(asked: Asked) -> bool:
    """A direct chat without a podcast of its own; one with `record on` is a room like any other."""
    room = asked.room
    direct = room.direct or await rooms.direct_user(asked.db, room.room_id) is not None
    return direct and not await _has_podcast(asked, room)


async def _has_podcast(asked: Asked, room: Room) -> bool:
    line = await heirs.line(asked.db, room.room_id)
    return room.recording_on or bool(await archive.recordings(asked.db, line, limit=1))


async def _feeds_of_shared_rooms(asked: Asked) -> str:
    found = 0
    for room in sorted(await rooms.all_rooms(asked.db), key=lambda room: room.changed_at, reverse=True):
        if found < MOST_ROOMS and await _shares(asked, room) and await _has_podcast(asked, room):
            await _send_address(asked, room.room_id)
            found += 1
    return replies.addresses_are_coming(found) if found else replies.NO_SHARED_ROOM


async def _shares(asked: Asked, room: Room) -> bool:
    """Whether both are in it, and it is the present room of its podcast."""
    if not room.joined or await heirs.present(asked.db, room.room_id) != room.room_id:
        return False
    member = await rooms.state(asked.db, room.room_id, "m.room.member", asked.asker.user_id)
    return facts.is_joined(member)


async def _send_address(asked: Asked, room_id: RoomId, *, renew: bool = False) -> None:
    """Makes sure that the asker has an address of this room's podcast, always the same unless renewed, and sends it.

    It is named after the first room of the line, and outlives its upgrades. A later one may have had its own before
    it became the heir: renewing ends that too. The old ones work until the new one was said.
    """
    line = await heirs.line(asked.db, room_id)
    for one in line:
        known = await rooms.listener(asked.db, one, asked.asker.user_id)
        if one == line[0] or (renew and known is not None):
            await _save_address(asked, one, known, renew=renew)
    await jobs.add(asked.db, orders.Direct.address(asked.asker.user_id, line[0]).job(), asked.now)


async def _save_address(asked: Asked, room_id: RoomId, known: Listener | None, *, renew: bool) -> None:
    """One renewal at a time: asked for again before its address was said, it is the same one."""

    def digest(generation: int) -> str:
        return look_up_hash(token_for(asked.secret, room_id, asked.asker.user_id, generation))

    generation = 1 if known is None else known.generation
    following = None if known is None else known.next_generation or (generation + 1 if renew else None)
    listener = Listener(
        room_id,
        asked.asker.user_id,
        generation,
        digest(generation),
        next_generation=following,
        next_sha256=None if following is None else digest(following),
    )
    if listener != known:
        await rooms.save_listener(asked.db, listener)


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
            replies.Form("feed", "everybody", "the podcast's address; your own one by direct chat while it is private"),
            replies.Form("feed renew", "everybody", "a new address of your own; the old one ends when you have it"),
        ),
        _read,
        changes=True,
    ),
)
