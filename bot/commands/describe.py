"""`title RECORDING TEXT`, `describe RECORDING TEXT`

What people write is kept without what no page or feed may show (`bot.feeds.text`). A title stands in the file too:
one that is there is made again, of the same frames and under the same GUID.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from bot.commands import replies
from bot.commands.asked import Action, Asked, Verb
from bot.commands.find import find_recording
from bot.commands.parse import RecordingName, Words, recording_name, text_after
from bot.feeds.text import DESCRIPTION_BYTES, clean_line, clean_text
from storage import archive, jobs, rooms
from storage.records import JobKind, NewJob, Recording, RecordingState

WITH_FILE = {RecordingState.COMPLETE, RecordingState.INCOMPLETE}
WORDS_BEFORE = 2  # the verb and the recording

_Change = Callable[[Asked, Recording, str], "tuple[Recording, str]"]


def _titled(asked: Asked, recording: Recording, text: str) -> tuple[Recording, str]:
    title = clean_line(text)
    return replace(recording, title=title), replies.titled(recording.code, asked.asker.name, title)


def _described(asked: Asked, recording: Recording, text: str) -> tuple[Recording, str]:
    description = clean_text(text)[:DESCRIPTION_BYTES]
    return replace(recording, description=description), replies.described(recording.code, asked.asker.name)


async def _change(asked: Asked, *, name: RecordingName, change: _Change) -> str:
    recording = await find_recording(asked.db, asked.room.room_id, name)
    if recording is None:
        return replies.NO_RECORDING
    if not (asked.asker.moderates or asked.asker.user_id == recording.broadcaster):
        return replies.ONLY_ITS_SPEAKER_OR_MODS
    text = text_after(asked.body, asked.prefix, WORDS_BEFORE)
    if not clean_line(text):
        return replies.NOTHING_TO_SHOW
    changed, answer = change(asked, recording, text)
    await archive.save_recording(asked.db, changed)
    if changed.title != recording.title and changed.state in WITH_FILE:
        await jobs.add(asked.db, NewJob(JobKind.FINISH, str(recording.id), {}), asked.now)
    await rooms.touch(asked.db, asked.room.room_id, asked.now)
    return answer


def _read(words: Words, *, change: _Change) -> Action | None:
    name = recording_name(words[0]) if len(words) > 1 else None
    return partial(_change, name=name, change=change) if name else None


VERBS = (
    Verb(
        "title",
        (
            replies.Form(
                "title RECORDING TEXT",
                "the one who spoke in it, moderators, administrators",
                "what a recording (its code, or `last`) is called in the podcast",
            ),
        ),
        partial(_read, change=_titled),
        changes=True,
    ),
    Verb(
        "describe",
        (
            replies.Form(
                "describe RECORDING TEXT",
                "the one who spoke in it, moderators, administrators",
                "what is said about a recording in the podcast",
            ),
        ),
        partial(_read, change=_described),
        changes=True,
    ),
)
