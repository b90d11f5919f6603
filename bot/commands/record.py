"""`record`, `record on|off`: what is recorded in a room."""

from dataclasses import replace
from functools import partial

from bot import disclosure, facts, logged
from bot.commands.context import Context, Verb
from bot.commands.policies import decisions, setter
from bot.commands.replies import general
from bot.commands.replies import record as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.commands.switching import read_switch
from bot.event_types import CREATE
from bot.intake.greeting import told_by_command
from bot.intake.succession import succeed, take_back
from bot.language import N_
from bot.recording.model import Ended
from bot.words import CONTINUES_ELSEWHERE, continues_podcast
from storage import archive, heirs, rooms
from storage.records import EndedBy, RecordingState, Room, Visibility


async def _switch(context: Context, *, on: bool) -> str:
    room = context.room
    if context.podcast.room_id != room.room_id:
        # A moderator may take the podcast back from an heir that the room's tombstone doesn't name.
        back = await take_back(context.db, room.room_id, context.now) if on and context.asker.moderates else None
        if back is None:
            return CONTINUES_ELSEWHERE
        room = back
    if not context.asker.moderates:
        return general.ONLY_MODS
    changed = room.recording_on != on or (on and room.waits)
    heir = await _heir(context) if on else None
    if changed or heir:
        switched = replace(heir or room, recording_on=on, changed_at=context.now)
        await rooms.save_room(context.db, told_by_command(switched, context.position) if on else switched)
        before = logged.switch(room.recording_on and not room.waits)
        await context.note(disclosure.RECORD, before, logged.switch(on))
    if on:
        answer = replies.recording_on(context.asker.name, changed=changed)
        public = heir is not None and heir.visibility is Visibility.PUBLIC
        return f"{answer} {continues_podcast(public=public)}" if heir else answer
    return replies.recording_off(context.asker.name, await _end_what_runs(context), changed=changed)


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


async def _end_what_runs(context: Context) -> int:
    """End the live recordings, and return how many. One that is finishing has already ended by itself."""
    running = [
        recording
        for recording in await archive.open_recordings(context.db, await heirs.line(context.db, context.room.room_id))
        if recording.state is RecordingState.LIVE
    ]
    for recording in running:
        await context.apply(context.db, recording.id, Ended(EndedBy.SWITCHED_OFF))
    return len(running)


async def _tell(context: Context) -> str:
    room = context.room
    if context.podcast.room_id != room.room_id:
        return CONTINUES_ELSEWHERE
    told = [replies.told(disclosure.recorded(room), context.prefix, waits=room.waits)]
    switched = await setter(context, (await decisions(context)).get(disclosure.RECORD))
    told += [replies.switched(switched, on=room.recording_on)] if switched else []
    if room.recording_on and room.speakers is not None:
        told.append(replies.only_some(context.prefix))
    return " ".join(told)


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
                N_("starts or stops recording this room's broadcasts"),
                "record on",
                Group.RECORDING,
            ),
        ),
        partial(read_switch, _tell, _switch),
        changes=bool,
        everywhere=True,
        of_chat=bool,
    ),
)
