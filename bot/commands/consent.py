"""`optout`, `optin`, `speakers`: who is recorded.

All three count from the command's position in the timeline. What runs and may not be recorded any more is closed in
the same transaction; what has ended waits for no more sound, a few recordings at a time (`bot.intake.consent`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from bot import facts, logged, orders
from bot.commands.context import Action, Context, Verb, always
from bot.commands.members import Unclear, members_named
from bot.commands.parse import Words
from bot.commands.replies import consent as replies
from bot.commands.replies import general
from bot.commands.replies.manual import Form, Group, Who
from bot.event_types import ROOM_NAME
from bot.intake import calls, consent, portraying, unrecorded
from bot.intake.consent import Refused
from bot.intake.naming import names_of
from bot.language import N_
from storage import heirs, jobs, optouts, rooms
from storage.records import EVERYWHERE, OptOut, UserId

OUT, IN = "out", "in"


async def _opt_out(context: Context) -> str:
    everywhere, user_id = await context.in_own_chat(), context.asker.user_id
    is_out = (
        await consent.is_out_everywhere(context.db, user_id)
        if everywhere
        else await consent.has_said_out(context.db, context.room.room_id, user_id)
    )
    if is_out:
        return replies.out_already(context.prefix, everywhere=everywhere)
    await _note_word(context, out=True, everywhere=everywhere)
    line = None if everywhere else await heirs.line(context.db, context.room.room_id)
    await calls.look_again(context.db, line, context.now)
    objection = orders.CloseRefused(context.command, context.position, user_id, line)
    refused = await consent.close_refused(context.db, context.apply, objection, context.now)
    if refused:
        body = await _how_to_delete(context, refused)
        await jobs.add(context.db, orders.Direct.closed(user_id, context.command, body).job(), context.now)
    return replies.out(context.prefix, everywhere=everywhere, closed=_closed(refused), left=_left(refused))


async def _opt_in(context: Context) -> str:
    everywhere, user_id = await context.in_own_chat(), context.asker.user_id
    is_out = (
        await consent.is_out_somewhere(context.db, user_id)
        if everywhere
        else await consent.is_out(context.db, context.room.room_id, user_id)
    )
    if not is_out:
        return replies.in_already(context.prefix, everywhere=everywhere)
    await _note_word(context, out=False, everywhere=everywhere)
    await consent.look_again(context.db, user_id, context.position, context.now)
    line = None if everywhere else await heirs.line(context.db, context.room.room_id)
    await unrecorded.look_again(context.db, line, context.position, context.now)
    await calls.look_again(context.db, line, context.now)
    return replies.back_in(context.prefix, everywhere=everywhere)


async def _note_word(context: Context, *, out: bool, everywhere: bool) -> None:
    user_id, room_id = context.asker.user_id, EVERYWHERE if everywhere else context.room.room_id
    word = OptOut(user_id, room_id, context.position, out, context.said.sent_at or context.now, context.command)
    await optouts.add(context.db, word)
    if out:
        line = None if everywhere else await heirs.line(context.db, room_id)
        await portraying.remove(context.db, user_id, line, context.now)
    before, after = (IN, OUT) if out else (OUT, IN)
    await context.note("optout", before, after, subject=user_id, everywhere=everywhere)


async def _how_to_delete(context: Context, refused: Sequence[Refused]) -> str:
    """Write the direct message about the recordings that an opt-out has closed, and those that go on without its
    asker."""
    closed, left = [], []
    for each in refused:
        recording = each.recording
        name = facts.room_name(await rooms.state(context.db, recording.room_id, ROOM_NAME))
        if each.closed:
            closed.append(replies.way_to_delete(context.prefix, recording.code, recording.room_id, name))
        else:
            left.append(replies.way_to_be_forgotten(context.prefix, recording.code, recording.room_id, name))
    return replies.told_after_opt_out(closed, left)


def _closed(refused: Sequence[Refused]) -> int:
    return sum(each.closed for each in refused)


def _left(refused: Sequence[Refused]) -> int:
    """Return how many recordings go on without a member who was in them."""
    return len(refused) - _closed(refused)


# ---- speakers


async def _tell_speakers(context: Context) -> str:
    speakers = context.podcast.speakers
    if speakers is None:
        return replies.everybody_is_recorded(context.prefix)
    return replies.only_these_are_recorded(await names_of(context.db, context.room.room_id, speakers), context.prefix)


async def _name_speakers(context: Context, *, words: Words) -> str:
    if not context.asker.moderates:
        return general.ONLY_MODS
    members = await rooms.members(context.db, context.room.room_id)
    named = await asyncio.to_thread(members_named, words, members)
    if isinstance(named, Unclear):
        return replies.unclear(named, context.prefix, context.asker.user_id)
    return await _set_speakers(context, named)


async def _name_everybody(context: Context) -> str:
    return await _set_speakers(context, None) if context.asker.moderates else general.ONLY_MODS


async def _set_speakers(context: Context, speakers: tuple[UserId, ...] | None) -> str:
    before = context.room.speakers
    names = None if speakers is None else await names_of(context.db, context.room.room_id, speakers)
    if (before is not None and speakers is not None and set(before) == set(speakers)) or before is speakers:
        return replies.speakers_already(names)
    await rooms.save_room(context.db, replace(context.room, speakers=speakers))
    await context.note("speakers", logged.speakers(before), logged.speakers(speakers))
    line = await heirs.line(context.db, context.room.room_id)
    objection = orders.CloseRefused(context.command, context.position, room_ids=line)
    refused = await consent.close_refused(context.db, context.apply, objection, context.now)
    await unrecorded.look_again(context.db, line, context.position, context.now)
    await calls.look_again(context.db, line, context.now)
    return replies.speakers_changed(
        context.asker.name, names, context.prefix, closed=_closed(refused), left=_left(refused)
    )


# ---- grammar


def _read_speakers(words: Words) -> Action | None:
    match [word.lower() for word in words]:
        case []:
            return _tell_speakers
        case ["all"]:
            return _name_everybody
        case _:
            return partial(_name_speakers, words=words)


def _read_alone(action: Action, words: Words) -> Action | None:
    return None if words else action


VERBS = (
    Verb(
        "optout",
        (Form("optout", Who.EVERYBODY, N_("records nothing of you here from now on"), "optout", Group.YOU),),
        partial(_read_alone, _opt_out),
        changes=always,
        everywhere=True,
        of_chat=always,
    ),
    Verb(
        "optin",
        (Form("optin", Who.EVERYBODY, N_("records you again after an `optout`"), "optin", Group.YOU),),
        partial(_read_alone, _opt_in),
        changes=always,
        everywhere=True,
        of_chat=always,
    ),
    Verb(
        "speakers",
        (
            Form("speakers", Who.EVERYBODY, N_("tells who is recorded"), "speakers", Group.RECORDING),
            Form(
                "speakers USER… | all",
                Who.MODERATORS,
                N_("records only these members, or everybody"),
                "speakers @ann:example.org @bob:example.org",
                Group.RECORDING,
            ),
        ),
        _read_speakers,
        changes=bool,
    ),
)
