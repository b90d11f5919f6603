"""`walkie …`, `talk`, `over`: the walkie-talkie of a room.

Members who can write nothing in the room while it is locked say these in a direct chat (`in ROOM talk`), or react to
the panel (`bot.intake.wishes`).
"""

import re
from datetime import timedelta
from functools import partial

from bot import facts, logged, orders, rules, topics
from bot.commands.context import Action, Context, Verb, always
from bot.commands.making_walkie import make
from bot.commands.parse import Words
from bot.commands.replies import general
from bot.commands.replies import walkie as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.disclosure import WALKIE
from bot.intake import panels, transmissions, walkie, wishes
from bot.intake.floor_requests import WAITS_AT_MOST
from bot.intake.naming import names_of
from bot.language import N_
from bot.walkie import levels, permits
from bot.walkie.model import GaveBack, is_too_late
from storage import jobs, rooms, walkies
from storage.records import UserId

UNITS = {"m": "minutes", "h": "hours", "d": "days"}
FOR_EVER = "forever"

_TIME = re.compile(r"([1-9][0-9]{0,3})([mhd])", re.IGNORECASE | re.ASCII)


# ---- moderators


async def _switch(context: Context, *, on: bool) -> str:
    if not context.asker.moderates:
        return general.ONLY_MODS
    db, room_id, now = context.db, context.room.room_id, context.now
    there, power = await walkies.get(db, room_id), await rooms.power(db, room_id)
    is_on = there is not None and there.on
    needed, power_of_us = levels.missing(context.us, power), rules.power_of(context.us, power)
    if is_on and on:
        return replies.ALREADY_ON
    if not is_on and not on and (there is None or needed is None or levels.are_put_back(there)):
        return replies.ALREADY_OFF
    if on:
        if needed is not None:
            return replies.lacks_power(needed, power_of_us)
        times = context.settings.walkie
        await walkie.switch_on(db, room_id, now, floor_s=times.floor_s, guard_s=times.guard_s)
        await panels.post(db, room_id, context.command, context.settings, now)
        await context.note(WALKIE, logged.switch(False), logged.switch(True))
        return replies.switched_on(context.asker.name, await _unlimited(context))
    if is_on:
        await switch_off(context)
    return replies.SWITCHED_OFF if needed is None else replies.still_locked(needed, power_of_us)


async def switch_off(context: Context) -> None:
    """Switch the room's walkie-talkie off, close its panel, and end the session of transmissions that runs."""
    db, room_id = context.db, context.room.room_id
    await panels.close(db, room_id, context.now)
    await walkie.switch_off(db, room_id, context.now)
    await transmissions.end(db, context.apply, room_id)
    await context.note(WALKIE, logged.switch(True), logged.switch(False))


async def _end(context: Context) -> str:
    """End the session of transmissions that runs; the floor and the permits stay."""
    if not context.asker.moderates:
        return general.ONLY_MODS
    ended = await transmissions.end(context.db, context.apply, context.room.room_id)
    return replies.ENDED if ended else replies.NOTHING_TO_END


async def _unlimited(context: Context) -> list[str]:
    """Return the names of the members whom the homeserver can't stop."""
    members = await rooms.members(context.db, context.room.room_id)
    users = levels.unlimited(context.us, members, await rooms.power(context.db, context.room.room_id))
    return await names_of(context.db, context.room.room_id, users)


# ---- everybody


async def _tell(context: Context) -> str:
    there = await walkies.get(context.db, context.room.room_id)
    if there is None or not there.on:
        return replies.is_off(context.prefix)
    names = partial(names_of, context.db, context.room.room_id)
    return replies.state(
        holder=await names([there.floor.holder] if there.floor.holder else []),
        queue=await names([request.user for request in there.floor.queue]),
        joined=await names(await _joined(context)),
        unlimited=await _unlimited(context),
    )


async def _joined(context: Context) -> list[UserId]:
    """Return the members with a permit that counts now."""
    given = permits.counting_of_each(await walkies.permits_in(context.db, context.room.room_id))
    users = [user for user, permit in given.items() if permits.may_send(permit, context.now)]
    members = await rooms.member_states(context.db, context.room.room_id, users)
    return [user for user in users if facts.is_joined(members.get(user))]


async def _join(context: Context, *, lasts: timedelta | None) -> str:
    if not await walkie.is_on(context.db, context.room.room_id):
        return replies.is_off(context.prefix)
    until = None if lasts is None else context.now + lasts
    user, room_id = context.asker.user_id, context.room.room_id
    await walkie.give_permit(context.db, room_id, user, until=until, at=context.position, now=context.now)
    return replies.joined(until, context.settings.feeds.zone, context.prefix)


async def _leave(context: Context) -> str:
    user, room_id = context.asker.user_id, context.room.room_id
    permit = await walkie.permit_of(context.db, room_id, user)
    if permit is None or not permits.may_send(permit, context.now):
        return replies.NOT_JOINED
    await walkie.end_permit(context.db, room_id, user, at=context.position, now=context.now)
    return replies.LEFT


async def _talk(context: Context) -> str:
    db, room_id, user, said = context.db, context.room.room_id, context.asker.user_id, context.said
    if not await walkie.is_on(db, room_id):
        return replies.is_off(context.prefix)
    if is_too_late(said.sent_at, said.received_at):
        return replies.TOO_LATE
    floor = await wishes.talk(db, room_id, user, by=context.command, at=context.position, now=context.now)
    if floor is None:
        return replies.join_first(context.prefix)
    place = wishes.place(floor, user)
    if place is None:
        return replies.QUEUE_IS_FULL
    floor_s = round(context.settings.walkie.floor_s)
    if any(request.event_id == context.command for request in floor.queue):
        await _tell_later(context, replies.floor_is_yours(floor_s))
    return replies.floor_is_yours(floor_s) if place == 0 else replies.waits(place)


async def _tell_later(context: Context, body: str) -> None:
    """Order to tell the asker, where they asked, when the floor is theirs (`bot.intake.floor_requests`)."""
    said = context.said
    topic = topics.floor_given(context.command)
    notice = orders.Notice(topic, said.room_id, body, reply_to=context.command, thread=said.thread)
    await jobs.add(context.db, notice.job(context.now + WAITS_AT_MOST), context.now)


async def _over(context: Context) -> str:
    db, room_id, user = context.db, context.room.room_id, context.asker.user_id
    there = await walkies.get(db, room_id)
    if there is None or not there.on:
        return replies.is_off(context.prefix)
    place = wishes.place(there.floor, user)
    if place is None:
        return replies.NOTHING_TO_GIVE_BACK
    await walkie.apply(db, room_id, GaveBack(user), context.now)
    return replies.LEFT_QUEUE if place else replies.GAVE_BACK


# ---- the grammar


def lasting(word: str) -> timedelta | None:
    """Parse a time such as `30m`, `2h` or `7d`; None for anything else."""
    match = _TIME.fullmatch(word)
    return timedelta(**{UNITS[match[2].lower()]: int(match[1])}) if match else None


def _read(words: Words) -> Action | None:
    match [words[0].lower() if words else "", *words[1:]]:
        case [""]:
            return _tell
        case ["on" | "off" as word]:
            return partial(_switch, on=word == "on")
        case ["end"]:
            return _end
        case ["leave"]:
            return _leave
        case ["join"]:
            return partial(_join, lasts=wishes.PERMIT_LASTS)
        case ["join", time] if time.lower() == FOR_EVER:
            return partial(_join, lasts=None)
        case ["join", time] if lasts := lasting(time):
            return partial(_join, lasts=lasts)
        case ["create", *named] if named:
            return make
    return None


def _makes(words: Words) -> bool:
    return bool(words) and words[0].lower() == "create"


def _read_word(action: Action, words: Words) -> Action | None:
    return None if words else action


VERBS = (
    Verb(
        "walkie",
        (
            Form(
                "walkie",
                Who.EVERYBODY,
                N_("tells who has the floor of the walkie-talkie, who waits for it, and who has joined"),
                "walkie",
                Group.WALKIE,
            ),
            Form(
                "walkie on|off",
                Who.MODERATORS,
                N_("makes this room a walkie-talkie, in which one member at a time can send, or an ordinary one again"),
                "walkie on",
                Group.WALKIE,
            ),
            Form(
                "walkie join [TIME]",
                Who.EVERYBODY,
                N_(
                    "joins the walkie-talkie: you are willing to listen, and may ask for the floor. TIME is `30m`, "
                    "`2h`, `7d` or `forever`; without it, 8 hours"
                ),
                "walkie join 2h",
                Group.WALKIE,
            ),
            Form(
                "walkie leave",
                Who.EVERYBODY,
                N_("leaves the walkie-talkie"),
                "walkie leave",
                Group.WALKIE,
            ),
            Form(
                "walkie end",
                Who.MODERATORS,
                N_("makes an episode of what was said so far"),
                "walkie end",
                Group.WALKIE,
            ),
            Form(
                "walkie create NAME USER…",
                Who.EVERYBODY,
                N_(
                    "in a direct chat with me: makes a room with a walkie-talkie that limits everybody, and invites "
                    "these users"
                ),
                "walkie create Night shift @ann:example.org @ben:example.org",
                Group.WALKIE,
            ),
        ),
        _read,
        changes=bool,
        of_chat=_makes,
    ),
    Verb(
        "talk",
        (Form("talk", Who.EVERYBODY, N_("asks for the floor of the walkie-talkie"), "talk", Group.WALKIE),),
        partial(_read_word, _talk),
        changes=always,
    ),
    Verb(
        "over",
        (Form("over", Who.EVERYBODY, N_("gives the floor back, or leaves the queue"), "over", Group.WALKIE),),
        partial(_read_word, _over),
        changes=always,
    ),
)
