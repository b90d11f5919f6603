"""`record on|off`"""

from dataclasses import replace
from functools import partial

from bot import facts, orders
from bot.commands import replies
from bot.commands.context import Action, Asked, Verb
from bot.commands.parse import Words
from bot.intake.greeting import told_by_command
from bot.intake.succession import succeed, take_back
from bot.words import GOES_ON_ELSEWHERE, continues_podcast
from storage import archive, heirs, jobs, rooms
from storage.records import EndedBy, RecordingState, Room, Visibility


async def _switch(asked: Asked, *, on: bool) -> str:
    room = asked.room
    if asked.podcast.room_id != room.room_id:
        # A moderator may take the podcast back from an heir that the room's tombstone does not name.
        back = await take_back(asked.db, room.room_id, asked.now) if on and asked.asker.moderates else None
        if back is None:
            return GOES_ON_ELSEWHERE
        room = back
    if not asked.asker.moderates:
        return replies.ONLY_MODS
    changed = room.recording_on != on or (on and room.waits)
    heir = await _heir(asked) if on else None
    if changed or heir:
        switched = replace(heir or room, recording_on=on, changed_at=asked.now)
        await rooms.save_room(asked.db, told_by_command(switched, asked.position) if on else switched)
    if on:
        answer = replies.recording_on(asked.asker.name, changed=changed)
        public = heir is not None and heir.visibility is Visibility.PUBLIC
        return f"{answer} {continues_podcast(public=public)}" if heir else answer
    return replies.recording_off(asked.asker.name, await _end_what_runs(asked), changed=changed)


async def _heir(asked: Asked) -> Room | None:
    """The room as the heir of the one that it was upgraded from: who moderates both lets the bot in by saying so."""
    if not asked.asker.mod:
        return None
    await heirs.let_in(asked.db, asked.room.room_id, asked.asker.user_id)
    old = facts.predecessor(await rooms.state(asked.db, asked.room.room_id, "m.room.create"))
    if old is None:
        return None
    publishes = partial(asked.settings.may_publish, mod=True)
    return await succeed(asked.db, old, asked.room.room_id, asked.now, publishes=publishes)


async def _end_what_runs(asked: Asked) -> int:
    """How many are ended. One that is finishing has ended already, by what it was ended by."""
    running = [
        recording
        for recording in await archive.open_recordings(asked.db, await heirs.line(asked.db, asked.room.room_id))
        if recording.state is RecordingState.LIVE
    ]
    for recording in running:
        await jobs.add(asked.db, orders.End(recording.id, EndedBy.SWITCHED_OFF).job(), asked.now)
    return len(running)


def _read(words: Words) -> Action | None:
    match [word.lower() for word in words]:
        case ["on"]:
            return partial(_switch, on=True)
        case ["off"]:
            return partial(_switch, on=False)
        case _:
            return None


VERBS = (
    Verb(
        "record",
        (replies.Form("record on|off", "moderators", "record this room's broadcasts, or stop it"),),
        _read,
        changes=True,
        everywhere=True,
    ),
)
