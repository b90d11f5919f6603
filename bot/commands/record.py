"""`record on|off`"""

from dataclasses import replace
from functools import partial

from bot.commands import replies
from bot.commands.asked import Action, Asked, Verb
from bot.commands.parse import Words
from storage import archive, jobs, rooms
from storage.records import EndedBy, JobKind, NewJob, RecordingState


async def _switch(asked: Asked, *, on: bool) -> str:
    if not asked.asker.moderates:
        return replies.ONLY_MODS
    changed = asked.room.recording_on != on
    if changed:
        await rooms.save_room(asked.db, replace(asked.room, recording_on=on, changed_at=asked.now))
    if on:
        return replies.recording_on(asked.asker.name, changed=changed)
    return replies.recording_off(asked.asker.name, await _end_what_runs(asked), changed=changed)


async def _end_what_runs(asked: Asked) -> int:
    """How many are ended. One that is finishing has ended already, by what it was ended by."""
    running = [
        recording
        for recording in await archive.open_recordings(asked.db, asked.room.room_id)
        if recording.state is RecordingState.LIVE
    ]
    for recording in running:
        job = NewJob(JobKind.END, str(recording.id), {"by": EndedBy.SWITCHED_OFF})
        await jobs.add(asked.db, job, asked.now)
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
    ),
)
