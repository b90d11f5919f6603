"""`review`, `review on|off`, `approve RECORDING`: new episodes wait until somebody has listened to them.

What waits is within reach of its speakers and of moderators only, and in no feed (`bot.web.access`). `review on` also
counts for what is live, and for what began after the command and was read before it.
"""

from dataclasses import replace
from functools import partial

from bot import logged, orders
from bot.commands.context import Context, Verb, always
from bot.commands.find import find_recording
from bot.commands.one_recording import read_name
from bot.commands.parse import RecordingName
from bot.commands.replies import general
from bot.commands.replies import review as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.commands.switching import read_switch
from bot.intake.reviewing import APPROVED, WAITS, is_unheard
from bot.language import N_
from storage import archive, heirs, jobs, rooms
from storage.records import Recording


async def _tell(context: Context) -> str:
    waiting = await archive.unreviewed(context.db, await heirs.line(context.db, context.room.room_id))
    return replies.told(context.prefix, tuple(waiting.values()), on=context.room.review)


async def _switch(context: Context, *, on: bool) -> str:
    if not context.asker.moderates:
        return general.ONLY_MODS
    changed, line = context.room.review != on, await heirs.line(context.db, context.room.room_id)
    if changed:
        await rooms.save_room(context.db, replace(context.room, review=on))
        await context.note("review", logged.switch(not on), logged.switch(on))
    if on:
        for recording in await archive.begun_after(context.db, line, context.position, or_open=True):
            if not recording.unreviewed and await _is_new(context, recording):
                await _set(context, recording, unreviewed=True)
    waiting = tuple((await archive.unreviewed(context.db, line)).values())
    return replies.switched(context.prefix, context.asker.name, waiting, on=on, changed=changed)


async def _is_new(context: Context, recording: Recording) -> bool:
    """Return whether `review on` counts for a recording: it runs, or has no episode yet, or began after the command."""
    return recording.position > context.position or await is_unheard(context.db, recording)


async def _approve(context: Context, *, name: RecordingName) -> str:
    recording = await find_recording(context.db, context.room.room_id, name)
    if recording is None:
        return general.NO_RECORDING
    if not (context.asker.moderates or await context.spoke_in(recording)):
        return general.ONLY_ITS_SPEAKERS_OR_MODS
    if not recording.unreviewed:
        return replies.does_not_wait(recording.code)
    await _set(context, recording, unreviewed=False)
    if recording.state.may_have_episode:
        await jobs.add(context.db, orders.Finish(recording.id).job(), context.now)
    return replies.approved(recording.code, context.asker.name, runs=recording.state.is_open)


async def _set(context: Context, recording: Recording, *, unreviewed: bool) -> None:
    await archive.save_recording(context.db, replace(recording, unreviewed=unreviewed))
    await rooms.touch(context.db, context.room.room_id, context.now)
    before, after = (APPROVED, WAITS) if unreviewed else (WAITS, APPROVED)
    await context.note("approve", before, after, subject=recording.code)


VERBS = (
    Verb(
        "review",
        (
            Form(
                "review",
                Who.EVERYBODY,
                N_("tells whether new episodes wait for approval, and which do"),
                "review",
                Group.PODCAST,
            ),
            Form(
                "review on|off",
                Who.MODERATORS,
                N_("lets new episodes wait for approval before anybody else hears them"),
                "review on",
                Group.PODCAST,
            ),
        ),
        partial(read_switch, _tell, _switch),
        changes=bool,
    ),
    Verb(
        "approve",
        (
            Form(
                "approve RECORDING",
                Who.SPEAKERS_OR_MODERATORS,
                N_("publishes an episode that waits for approval (its code, or `last`)"),
                "approve last",
                Group.ONE_RECORDING,
            ),
        ),
        partial(read_name, _approve),
        changes=always,
    ),
)
