"""`title RECORDING TEXT`, `describe RECORDING TEXT`

A text is kept without what no page or feed may show (`bot.feeds.text`). A text that is too long is refused before it is
cleaned. The title is also a tag of the file: an episode is made again, from the same frames and under the same GUID.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial

from bot.commands.context import Action, Context, Verb, always
from bot.commands.one_recording import changeable
from bot.commands.parse import RecordingName, Words, recording_name, text_after
from bot.commands.replies import describe as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.feeds.text import DESCRIPTION_MOST, TITLE_MOST, clean_line
from bot.intake import describing
from bot.language import N_
from storage import rooms
from storage.records import Recording

WORDS_BEFORE = 2  # the verb and the recording

_Change = Callable[[Context, Recording, str, Collection[str]], "tuple[Recording, str]"]


def _titled(context: Context, recording: Recording, text: str, servers: Collection[str]) -> tuple[Recording, str]:
    title = describing.title(text, servers)
    return replace(recording, title=title), replies.titled(recording.code, context.asker.name, title)


def _described(context: Context, recording: Recording, text: str, servers: Collection[str]) -> tuple[Recording, str]:
    description = describing.description(text, servers)
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
    texts = describing.Said(context.room.room_id, context.asker.user_id, context.command)
    await describing.save(context.db, recording, changed, context.now, texts)
    return answer


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
