"""Commands about one recording: its name as their only word, and the right to change it."""

from functools import partial
from typing import Protocol

from bot.commands.context import Action, Context, ToConfirm
from bot.commands.find import find_recording
from bot.commands.parse import RecordingName, Words, recording_name
from bot.commands.replies import general
from storage.records import Recording


class OfRecording(Protocol):
    """The work of a command about the recording of this name."""

    async def __call__(self, context: Context, *, name: RecordingName) -> str | ToConfirm: ...


def read_name(action: OfRecording, words: Words) -> Action | None:
    """Return the action for the recording that the words name; None where they are not the name of one."""
    name = recording_name(words[0]) if len(words) == 1 else None
    return partial(action, name=name) if name else None


async def changeable(context: Context, name: RecordingName) -> Recording | str:
    """Return the recording of this name if the asker may change it, as whoever began it and moderators may; else the
    refusal."""
    recording = await find_recording(context.db, context.room.room_id, name)
    if recording is None:
        return general.NO_RECORDING
    if not (context.asker.moderates or context.began(recording)):
        return general.ONLY_ITS_BROADCASTER_OR_MODS
    return recording
