"""`title RECORDING TEXT`, `describe RECORDING TEXT`

A text is kept without what no page or feed may show (`bot.feeds.text`). A text that is too long is refused before it is
cleaned. The title is also a tag of the file: an episode is made again, from the same frames and under the same GUID.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial

from bot import orders
from bot.commands.context import Action, Context, Verb, always
from bot.commands.one_recording import changeable
from bot.commands.parse import RecordingName, Words, recording_name, text_after
from bot.commands.replies import describe as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.feeds.text import DESCRIPTION_BYTES, clean_line, clean_text
from bot.language import N_
from storage import archive, jobs, rooms
from storage.records import Recording

WORDS_BEFORE = 2  # the verb and the recording

TITLE_MOST = 200
DESCRIPTION_MOST = 4000
GIVEN = "given"
"""The word in the log of changes for a text that somebody wrote."""

_Change = Callable[[Context, Recording, str, Collection[str]], "tuple[Recording, str]"]


def _titled(context: Context, recording: Recording, text: str, servers: Collection[str]) -> tuple[Recording, str]:
    title = clean_line(text, servers=servers)
    return replace(recording, title=title), replies.titled(recording.code, context.asker.name, title)


def _described(context: Context, recording: Recording, text: str, servers: Collection[str]) -> tuple[Recording, str]:
    description = clean_text(text, servers)[:DESCRIPTION_BYTES]
    return replace(recording, description=description), replies.described(recording.code, context.asker.name)


async def _change(context: Context, *, name: RecordingName, change: _Change, too_long: str, most: int) -> str:
    recording = await changeable(context, name)
    if isinstance(recording, str):
        return recording
    text = text_after(context.text, WORDS_BEFORE)
    if len(text) > most:
        return replies.too_long(too_long, len(text), most)
    if not clean_line(text):
        return replies.NOTHING_TO_SHOW
    changed, answer = change(context, recording, text, await rooms.servers(context.db, [recording.room_id]))
    await archive.save_recording(context.db, changed)
    if changed.title != recording.title:
        await context.note("title", _logged(recording.title), GIVEN, subject=recording.code)
    if changed.description != recording.description:
        await context.note("describe", _logged(recording.description), GIVEN, subject=recording.code)
    if changed.title != recording.title and changed.state.may_have_episode:
        await jobs.add(context.db, orders.Finish(recording.id).job(), context.now)
    await rooms.touch(context.db, context.room.room_id, context.now)
    return answer


def _logged(text: str | None) -> str | None:
    """Return a text as the log of changes shows it: not what was written."""
    return None if text is None else GIVEN


def _read(words: Words, *, change: _Change, too_long: str, most: int) -> Action | None:
    name = recording_name(words[0]) if len(words) > 1 else None
    return partial(_change, name=name, change=change, too_long=too_long, most=most) if name else None


VERBS = (
    Verb(
        "title",
        (
            Form(
                "title RECORDING TEXT",
                Who.BROADCASTER_OR_MODERATORS,
                N_("sets the title of a recording (its code, or `last`)"),
                "title last Soup for beginners",
                Group.ONE_RECORDING,
            ),
        ),
        partial(_read, change=_titled, too_long=replies.TITLE_TOO_LONG, most=TITLE_MOST),
        changes=always,
    ),
    Verb(
        "describe",
        (
            Form(
                "describe RECORDING TEXT",
                Who.BROADCASTER_OR_MODERATORS,
                N_("sets the description of a recording"),
                "describe last Stock first, then bread.",
                Group.ONE_RECORDING,
            ),
        ),
        partial(_read, change=_described, too_long=replies.DESCRIPTION_TOO_LONG, most=DESCRIPTION_MOST),
        changes=always,
    ),
)
