"""`studio`, `studio source`, `studio on|off`, `studio events on|off`: broadcasts from a page, or from a program.

The address of a studio is never part of an answer: a job sends it in the direct chat, and makes it only then.
"""

from dataclasses import replace
from functools import partial

from bot import logged, orders, rules, words
from bot.commands.context import Action, Context, Verb, always
from bot.commands.parse import Words
from bot.commands.replies import general
from bot.commands.replies import studio as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.intake import consent
from bot.language import N_, _
from bot.studio import rights
from bot.studio.opening import studio_for
from bot.studio.rights import Refusal
from storage import jobs, rooms, studios
from storage.records import StudioSource


async def _open(context: Context, *, source: StudioSource) -> str:
    db, room_id, user_id = context.db, context.room.room_id, context.asker.user_id
    refusal = await rights.refusal(db, room_id, user_id)
    if refusal is not None:
        return await _refused(context, refusal)
    studio = await studio_for(db, room_id, user_id, source, await context.secret(db), context.now)
    await jobs.add(db, orders.Direct.of_studio(studio).job(), context.now)
    return replies.is_coming(source, live=studio.state.is_on_air)


async def _refused(context: Context, refusal: Refusal) -> str:
    """Return the reason in words, with the way out of it."""
    prefix = context.prefix
    match refusal:
        case Refusal.BOT_LEFT | Refusal.NOT_A_MEMBER:
            return replies.NOT_THERE
        case Refusal.NO_POWER:
            return replies.NO_POWER
        case Refusal.STUDIO_OFF:
            return replies.is_off(prefix)
        case Refusal.BEHIND:
            return replies.BEHIND
        case Refusal.NOT_RECORDED:
            return replies.AWAITS_NOTICE if context.room.recording_on else replies.not_recorded(prefix)
        case Refusal.WALKIE:
            return replies.is_walkie(prefix)
        case Refusal.NOT_WANTED:
            out = await consent.is_out(context.db, context.room.room_id, context.asker.user_id)
            return replies.opted_out(prefix) if out else replies.others_only(prefix)


async def _switch(context: Context, *, on: bool) -> str:
    if not context.asker.moderates:
        return general.ONLY_MODS
    who, room = context.asker.name, context.room
    if room.studio == on:
        return replies.ALREADY_OPEN if on else replies.ALREADY_CLOSED
    running = 0 if on else sum(each.state.is_on_air for each in await studios.open_in(context.db, room.room_id))
    await rooms.save_room(context.db, replace(room, studio=on, changed_at=context.now))
    await context.note("studio", logged.switch(not on), logged.switch(on))
    return replies.opened(who, context.prefix) if on else replies.closed(who, running)


async def _switch_events(context: Context, *, on: bool) -> str:
    if not context.asker.moderates:
        return general.ONLY_MODS
    room = context.room
    if room.studio_events == on:
        return replies.EVENTS_ALREADY_ON if on else replies.EVENTS_ALREADY_OFF
    await rooms.save_room(context.db, replace(room, studio_events=on, changed_at=context.now))
    await context.note("studio events", logged.switch(not on), logged.switch(on))
    switched = replies.events_switched(context.asker.name, on=on)
    power = await rooms.power(context.db, room.room_id)
    if not on or rules.may_send_broadcast(context.us, power, sealed=room.encrypted):
        return switched
    return f"{switched} {_(words.STUDIO_UNHEARD).format(prefix=context.prefix)}"


def _read(said: Words) -> Action | None:
    match [word.lower() for word in said]:
        case []:
            return partial(_open, source=StudioSource.PAGE)
        case ["source"]:
            return partial(_open, source=StudioSource.CLIENT)
        case ["on" | "off" as word]:
            return partial(_switch, on=word == "on")
        case ["events", "on" | "off" as word]:
            return partial(_switch_events, on=word == "on")
        case _:
            return None


VERBS = (
    Verb(
        "studio",
        (
            Form(
                "studio",
                Who.MAY_BROADCAST,
                N_("gives you an address from which you broadcast into this room, by direct chat: a page in a browser"),
                "studio",
                Group.RECORDING,
            ),
            Form(
                "studio source",
                Who.MAY_BROADCAST,
                N_("gives you the same for a program that sends to Icecast servers, with user and password"),
                "studio source",
                Group.RECORDING,
            ),
            Form(
                "studio on|off",
                Who.MODERATORS,
                N_("lets members broadcast here from a studio, as at first, or nobody; `off` ends what runs"),
                "studio off",
                Group.RECORDING,
            ),
            Form(
                "studio events on|off",
                Who.MODERATORS,
                N_("sends what is made in a studio into this room too, for clients that know voice broadcasts, or not"),
                "studio events on",
                Group.RECORDING,
            ),
        ),
        _read,
        changes=always,
    ),
)
