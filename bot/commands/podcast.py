"""`podcast`, `podcast FIELD TEXT`, `podcast stems|cover`, `podcast reset [FIELD]`: how a room's podcast is described.

Addresses and GUIDs never change with them: subscribers keep the podcast.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bot import logged, orders
from bot.commands.context import Action, Context, Verb
from bot.commands.parse import Words, text_after
from bot.commands.replies import describe, general
from bot.commands.replies import podcast as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.feeds import categories
from bot.feeds.languages import language_tag, nearest_language
from bot.feeds.text import DESCRIPTION_MOST, TITLE_MOST, clean_line, clean_text
from bot.intake import own_cover
from bot.language import N_
from storage import jobs, rooms
from storage.records import PodcastTexts, Room

WORDS_BEFORE = 2  # the verb and the field
ON_OR_OFF = {"on": True, "off": False}
YES_OR_NO = {"yes": True, "true": True, "no": False, "false": False}


@dataclass(frozen=True, slots=True)
class _Refused:
    """A text that a field can't hold, with the answer that says why."""

    answer: str


Value = str | bool
_Read = Callable[[str, frozenset[str]], "Value | _Refused"]
"""A reader of a field's text; the servers are those of the room's members, whose user ids are masked."""


def _text(text: str, servers: frozenset[str], *, most: int, too_long: str, lines: bool = False) -> Value | _Refused:
    if len(text) > most:
        return _Refused(describe.too_long(too_long, len(text), most))
    clean = clean_text(text, servers) if lines else clean_line(text, servers=servers)
    return clean or _Refused(describe.NOTHING_TO_SHOW)


def _language(text: str, _: frozenset[str]) -> Value | _Refused:
    return language_tag(text) or _Refused(replies.no_language(nearest_language(text)))


def _category(text: str, _: frozenset[str]) -> Value | _Refused:
    category = categories.find(text)
    if category is not None:
        return str(category)
    nearest = categories.nearest(text)
    return _Refused(replies.no_category(str(nearest) if nearest else None, tuple(categories.CATEGORIES)))


def _explicit(text: str, _: frozenset[str]) -> Value | _Refused:
    explicit = YES_OR_NO.get(text.lower())
    return _Refused(replies.YES_OR_NO) if explicit is None else explicit


def _switch(text: str, _: frozenset[str]) -> Value | _Refused:
    on = ON_OR_OFF.get(text.lower())
    return _Refused(replies.ON_OR_OFF) if on is None else on


TEXTS: dict[str, _Read] = {
    "title": partial(_text, most=TITLE_MOST, too_long=describe.TITLE_TOO_LONG),
    "description": partial(_text, most=DESCRIPTION_MOST, too_long=describe.DESCRIPTION_TOO_LONG, lines=True),
    "author": partial(_text, most=TITLE_MOST, too_long=replies.AUTHOR_TOO_LONG),
    "language": _language,
    "category": _category,
    "explicit": _explicit,
}
"""The fields that are texts."""
READERS = {**TEXTS, "stems": _switch}
COVER = "cover"
FIELDS = (*READERS, COVER)


async def _tell(context: Context) -> str:
    return replies.told(context.prefix, context.room, context.settings.feeds)


async def _set(context: Context, *, field: str) -> str:
    if not context.asker.moderates:
        return general.ONLY_MODS
    servers = await rooms.servers(context.db, [context.room.room_id])
    value = READERS[field](text_after(context.text, WORDS_BEFORE), servers)
    if isinstance(value, _Refused):
        return value.answer
    changed: dict[str, Any] = {field: value}
    await _save(context, context.room, replace(context.room.podcast, **changed))
    return replies.changed(field, context.asker.name, value)


async def _choose_cover(context: Context) -> str:
    if not context.asker.moderates:
        return general.ONLY_MODS
    said = context.said
    if said.reply_to is None:
        return replies.reply_to_a_picture(context.prefix)
    order = orders.ChooseCover(
        context.command, context.room.room_id, said.room_id, said.reply_to, context.asker.user_id, said.thread
    )
    await jobs.add(context.db, order.job(), context.now)
    return replies.FETCHING_COVER


async def _reset(context: Context, *, fields: tuple[str, ...]) -> str:
    if not context.asker.moderates:
        return general.ONLY_MODS
    room = context.room
    if COVER in fields and room.own_cover is not None:
        bare = room.without_own_cover()
        await own_cover.change(context.db, room, bare, context.now, by=context.asker.user_id, said=context.command)
        room = bare
    await _save(context, room, replace(room.podcast, **{field: None for field in fields if field in READERS}))
    return replies.reset(context.asker.name, fields[0] if len(fields) == 1 else None)


async def _save(context: Context, before: Room, texts: PodcastTexts) -> None:
    """Save what is said of the podcast, and write each field that changed into the log."""
    room = replace(before, podcast=texts)
    for field in READERS:
        if getattr(texts, field) != getattr(before.podcast, field):
            what = f"podcast {field}"
            await context.note(what, logged.policies(before)[what], logged.policies(room)[what])
    await rooms.save_room(context.db, room)
    await rooms.touch(context.db, room.room_id, context.now)
    if texts.title != before.podcast.title:  # a cover that is drawn bears it
        await jobs.add(context.db, orders.Cover(room.room_id).job(), context.now)


def _read(words: Words) -> Action | None:
    match [word.lower() for word in words[:1]], words[1:]:
        case [], _:
            return _tell
        case ["reset"], ():
            return partial(_reset, fields=FIELDS)
        case ["cover"], ():
            return _choose_cover
        case ["reset"], (field,) if field.lower() in FIELDS:
            return partial(_reset, fields=(field.lower(),))
        case [field], (_, *_) if field in READERS:
            return partial(_set, field=field)
        case _:
            return None


VERBS = (
    Verb(
        "podcast",
        (
            Form(
                "podcast",
                Who.EVERYBODY,
                N_("tells what this room's podcast is called and how it is described"),
                "podcast",
                Group.PODCAST,
            ),
            Form(
                f"podcast {'|'.join(TEXTS)} TEXT",
                Who.MODERATORS,
                N_("sets what the podcast's feed, pages and files say"),
                "podcast title The Kitchen Table",
                Group.PODCAST,
            ),
            Form(
                "podcast cover",
                Who.MODERATORS,
                N_("makes the picture that you reply to the podcast's cover"),
                "podcast cover",
                Group.PODCAST,
            ),
            Form(
                "podcast stems on|off",
                Who.MODERATORS,
                N_("offers the sound of each speaker of a call in the feed, beside the episode"),
                "podcast stems on",
                Group.PODCAST,
            ),
            Form(
                "podcast reset [FIELD]",
                Who.MODERATORS,
                N_("takes one of these, or all, back to what the room and the settings say"),
                "podcast reset title",
                Group.PODCAST,
            ),
        ),
        _read,
        changes=bool,
    ),
)
