"""`delete RECORDING`

What is deleted at once, in the transaction of the confirmed command, is said in `bot.recorder.erasing`.
"""

from dataclasses import replace
from functools import partial

from bot import orders
from bot.commands.context import Context, ToConfirm, Verb, always
from bot.commands.find import find_recording
from bot.commands.one_recording import read_name
from bot.commands.parse import RecordingName
from bot.commands.replies import delete as replies
from bot.commands.replies import general
from bot.commands.replies.manual import Form, Group, Who
from bot.language import N_, speaking
from bot.recording.model import Deleted
from bot.recording.wording import told
from bot.words import CONTINUES_ELSEWHERE
from storage import archive, jobs
from storage.records import Recording, to_ms


async def _delete(context: Context, *, name: RecordingName) -> str | ToConfirm:
    recording = await find_recording(context.db, context.room.room_id, name)
    if context.podcast.room_id != context.room.room_id and not _is_theirs(context, recording):
        return CONTINUES_ELSEWHERE
    if recording is None:
        return general.NO_RECORDING
    if not (context.asker.moderates or _is_theirs(context, recording)):
        return general.ONLY_ITS_BROADCASTER_OR_MODS
    if not context.confirmed:
        episode = await archive.episode(context.db, recording.id)
        length = to_ms(episode.samples) if episode else None
        return ToConfirm(replies.question(recording, length, context.settings.feeds.zone), (recording.code,))
    await context.apply(context.db, recording.id, Deleted())
    await context.note("delete", recording.state, "deleted", subject=recording.code)
    if context.said.room_id != context.room.room_id:  # only its asker reads the answer
        await _tell(context, recording)
    return replies.deleted(recording.code, context.asker.name)


def _is_theirs(context: Context, recording: Recording | None) -> bool:
    """Return whether the asker is the recording's broadcaster: all that counts in a room that was upgraded, which they
    may still be in when they are not in its heir."""
    return recording is not None and context.began(recording)


async def _tell(context: Context, recording: Recording) -> None:
    with speaking(context.room.language):
        body = told(recording, "deleted")
    notice = orders.Notice.on(recording, "deleted", body)
    if recording.room_id != context.room.room_id:  # an answer to what is in another room leads nowhere
        notice = replace(notice, room_id=context.room.room_id, reply_to=None)
    await jobs.add(context.db, notice.job(), context.now)


VERBS = (
    Verb(
        "delete",
        (
            Form(
                "delete RECORDING",
                Who.BROADCASTER_OR_MODERATORS,
                N_("deletes a recording (its code, or `last`) for good; I ask once more first"),
                "delete kfmtra",
                Group.ONE_RECORDING,
            ),
        ),
        partial(read_name, _delete),
        changes=always,
        everywhere=True,
    ),
)
