"""`record`, `record on|off`, `record messages on|off`, `record calls on|off`, `record call`: what is recorded in a
room."""

from collections.abc import Collection
from dataclasses import replace
from functools import partial

from bot import disclosure, facts, logged
from bot.commands.context import Action, Context, Verb
from bot.commands.parse import Words
from bot.commands.policies import decisions, setter
from bot.commands.replies import general
from bot.commands.replies import record as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.event_types import CREATE
from bot.intake import calls, unrecorded
from bot.intake.greeting import told_by_command
from bot.intake.succession import succeed, take_back
from bot.language import N_
from bot.recording.kinds import kind_of
from bot.recording.model import Ended
from bot.words import CONTINUES_ELSEWHERE, continues_podcast
from storage import archive, heirs, rooms, sealed_messages
from storage.calls import running as running_calls
from storage.records import EndedBy, Position, Recorded, RecordingState, Room, Visibility


async def _switch(context: Context, kinds: Collection[Recorded], *, on: bool) -> str:
    """Switch kinds of what is recorded on or off. Only `record on` makes or ends a line of rooms."""
    room, lets_in = context.room, on and Recorded.BROADCASTS in kinds
    if context.podcast.room_id != room.room_id:
        # A moderator may take the podcast back from an heir that the room's tombstone doesn't name.
        back = await take_back(context.db, room.room_id, context.now) if lets_in and context.asker.moderates else None
        if back is None:
            return CONTINUES_ELSEWHERE
        room = back
    if not context.asker.moderates:
        return general.ONLY_MODS
    if on and Recorded.CALLS in kinds and not calls.installed():
        return replies.NO_CALLS_HERE
    heir = await _heir(context) if lets_in else None
    was = room.recorded if on else room.switched_on
    changing = [kind for kind in kinds if heir or (kind in was) != on]
    after = heir or room
    for kind in changing:
        after = _switched(after, kind, context.position, on=on)
    unwanted = not on and Recorded.CALLS in kinds and room.call_wanted
    after = replace(after, call_wanted=after.call_wanted and not unwanted)
    if changing or unwanted:
        await rooms.save_room(context.db, replace(after, changed_at=context.now))
    await _look_again(context, after, kinds, on=on)
    for kind in changing:
        await context.note(disclosure.SWITCHES[kind], logged.switch(kind in was), logged.switch(on))
    if unwanted:
        await context.note(disclosure.RECORD_CALL, logged.switch(True), logged.switch(False))
    return await _answer(context, kinds, after, heir, changed=bool(changing) or unwanted, on=on)


async def _look_again(context: Context, after: Room, kinds: Collection[Recorded], *, on: bool) -> None:
    """Have that looked at which a switch of these kinds concerns: messages that wait, and calls that run."""
    if not after.messages_on:
        for room_id in await heirs.line(context.db, after.room_id):
            await sealed_messages.forget_room(context.db, room_id)
    if on and Recorded.MESSAGES in kinds:
        await unrecorded.look_again(context.db, [after.room_id], context.position, context.now)
    if Recorded.CALLS in kinds:
        await calls.order(context.db, after.room_id, context.now)


async def _answer(
    context: Context, kinds: Collection[Recorded], after: Room, heir: Room | None, *, changed: bool, on: bool
) -> str:
    who, kind = context.asker.name, disclosure.spoken(kinds)
    if on:
        answer = replies.recording_on(who, kinds, changed=changed)
        public = heir is not None and heir.visibility is Visibility.PUBLIC
        return f"{answer} {continues_podcast(public=public)}" if heir else answer
    running = await _end_what_runs(context, after, kinds)
    if after.switched_on:
        return replies.kind_off(who, kind, running, changed=changed)
    return replies.recording_off(who, running, changed=changed)


def _switched(room: Room, kind: Recorded, position: Position, *, on: bool) -> Room:
    """Return the room with a kind switched by a moderator's command, which stands in for a notice."""
    match kind:
        case Recorded.BROADCASTS:
            switched = replace(room, recording_on=on)
            return told_by_command(switched, position) if on else switched
        case Recorded.MESSAGES:
            return replace(room, messages_since=position if on else None, messages_wait=False)
        case Recorded.CALLS:
            return replace(room, calls_on=on, call_wanted=False)


async def _heir(context: Context) -> Room | None:
    """Make the room the heir of the one that it replaces, and return it: a moderator of both lets the bot in by
    `record on`. None where it becomes no heir."""
    if not context.asker.mod:
        return None
    await heirs.let_in(context.db, context.room.room_id, context.asker.user_id)
    old = facts.predecessor(await rooms.state(context.db, context.room.room_id, CREATE))
    if old is None:
        return None
    publishes = partial(context.settings.may_publish, mod=True)
    return await succeed(context.db, old, context.room.room_id, context.now, publishes=publishes)


async def _end_what_runs(context: Context, room: Room, kinds: Collection[Recorded]) -> int:
    """End the live recordings of what was switched off, and return how many. One that is finishing has already ended by
    itself; one that a moderator chose goes on unless its own kind is among the `kinds` that were switched off."""
    running = []
    for recording in await archive.open_recordings(context.db, await heirs.line(context.db, room.room_id)):
        switches = kind_of(recording).recorded_with
        goes_on = recording.chosen and switches.isdisjoint(kinds)
        if recording.state is RecordingState.LIVE and switches.isdisjoint(room.switched_on) and not goes_on:
            running.append(recording)
    for recording in running:
        await context.apply(context.db, recording.id, Ended(EndedBy.SWITCHED_OFF, context.position))
    return len(running)


async def _record_call(context: Context) -> str:
    """Have the call recorded that runs now, if the bot may be seen in it."""
    room = context.room
    if context.podcast.room_id != room.room_id:
        return CONTINUES_ELSEWHERE
    if not context.asker.moderates:
        return general.ONLY_MODS
    if not calls.installed():
        return replies.NO_CALLS_HERE
    if room.call_wanted or await running_calls(context.db, room.room_id):
        return replies.CALL_ALREADY
    going_on = await context.calls_in(context.db, room.room_id)
    if not going_on:
        return replies.NO_CALL
    hindrances = {
        protocol: await calls.hindrance(context.db, room, protocol, context.us, sticky=sticky)
        for protocol, sticky in going_on.items()
    }
    joined = [protocol for protocol, hindrance in hindrances.items() if hindrance is None]
    if not joined:
        return next(iter(hindrances.values())) or ""
    await rooms.save_room(context.db, replace(room, call_wanted=True, changed_at=context.now))
    await context.note(disclosure.RECORD_CALL, logged.switch(False), logged.switch(True))
    await calls.order(context.db, room.room_id, context.now)
    return replies.call_wanted(context.asker.name, joined)


async def _tell(context: Context) -> str:
    room = context.room
    if context.podcast.room_id != room.room_id:
        return CONTINUES_ELSEWHERE
    decided = await decisions(context)
    is_wanted = room.call_wanted or any(call.chosen for call in await running_calls(context.db, room.room_id))
    call = (await setter(context, decided.get(disclosure.RECORD_CALL)) or "") if is_wanted else None
    told = replies.told(room.recorded, room.awaits_notice, context.prefix, call=call)
    for kind in Recorded:
        switched = await setter(context, decided.get(disclosure.SWITCHES[kind]))
        told += [replies.switched(kind, switched, on=kind in room.switched_on)] if switched else []
    if room.switched_on and room.speakers is not None:
        told.append(replies.only_some(context.prefix))
    return " ".join(told)


def _read(words: Words) -> Action | None:
    match [word.lower() for word in words]:
        case []:
            return _tell
        case ["on"]:
            return partial(_switch, kinds=(Recorded.BROADCASTS,), on=True)
        case ["off"]:
            return partial(_switch, kinds=tuple(Recorded), on=False)
        case ["messages", "on" | "off" as word]:
            return partial(_switch, kinds=(Recorded.MESSAGES,), on=word == "on")
        case ["call"]:
            return _record_call
        case ["calls", "on" | "off" as word]:
            return partial(_switch, kinds=(Recorded.CALLS,), on=word == "on")
        case _:
            return None


VERBS = (
    Verb(
        "record",
        (
            Form(
                "record",
                Who.EVERYBODY,
                N_("tells what is recorded here, who switched it on, and when"),
                "record",
                Group.RECORDING,
            ),
            Form(
                "record on|off",
                Who.MODERATORS,
                N_("starts recording this room's broadcasts, or stops recording anything"),
                "record on",
                Group.RECORDING,
            ),
            Form(
                "record messages on|off",
                Who.MODERATORS,
                N_("starts or stops recording this room's voice messages"),
                "record messages on",
                Group.RECORDING,
            ),
            Form(
                "record call",
                Who.MODERATORS,
                N_("joins and records the call that runs now, and no other"),
                "record call",
                Group.RECORDING,
            ),
            Form(
                "record calls on|off",
                Who.MODERATORS,
                N_("joins and records this room's calls, as a member whom everybody sees, or does so no longer"),
                "record calls on",
                Group.RECORDING,
            ),
        ),
        _read,
        changes=bool,
        everywhere=True,
        of_chat=bool,
    ),
)
