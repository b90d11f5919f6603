"""`publish public|private`, `publish RECORDING`, `unpublish RECORDING`

`publish public` counts for what begins after the command in the room's timeline, not after the bot has read it:
recordings that began in between are corrected in the same transaction. `publish private` closes everything that was
public, in every room of the podcast: a later `publish public` opens none of it.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from bot.commands.context import Action, Context, Verb, always
from bot.commands.find import find_recording
from bot.commands.one_recording import changeable, read_name
from bot.commands.parse import RecordingName, Words
from bot.commands.replies import general
from bot.commands.replies import publish as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.commands.replies.review import waits
from bot.feeds.addresses import public_shelf
from bot.feeds.guids import podcast_guid
from bot.language import N_
from storage import archive, heirs, rooms
from storage.records import Recording, RoomId, Visibility

_REFUSALS = {
    "nobody": general.NOBODY_PUBLISHES,
    "admins": general.ONLY_ADMINS_PUBLISH,
    "mods": general.ONLY_MODS,
}


async def _publish_room(context: Context) -> str:
    if not context.settings.may_publish(context.asker.user_id, mod=context.asker.mod):
        return _REFUSALS[context.settings.feeds.public_by]
    line = await heirs.line(context.db, context.room.room_id)
    if context.room.publishes:
        return replies.public_already(context.public.feed, await archive.count_public(context.db, line))
    again = context.room.visibility is Visibility.PUBLIC
    room = replace(context.room, visibility=Visibility.PUBLIC, public_since=context.position, closed_since=None)
    await rooms.save_room(context.db, room)
    await context.note("publish", Visibility.PRIVATE, Visibility.PUBLIC)
    if not again:  # else the room had closed itself, and what was public stayed so
        await archive.close(context.db, line)
    for recording in await archive.begun_after(context.db, context.room.room_id, context.position):
        await archive.save_recording(context.db, replace(recording, public=True))
    await _name(context, line)
    await rooms.touch(context.db, context.room.room_id, context.now)
    begun = await archive.count_public(context.db, line)
    if again:
        return replies.public_again(context.asker.name, context.public.feed, context.public.page, begun)
    return replies.now_public(context.asker.name, context.public.feed, context.public.page, context.prefix, begun)


async def _name(context: Context, line: Sequence[RoomId]) -> None:
    """Give the podcast, and each room of its line for the time after it, a GUID of its present address for ever."""
    for room_id in line:
        room = await rooms.room(context.db, room_id)
        assert room is not None, "a line is of known rooms"
        feed = public_shelf(context.settings.web.address, room.key).feed
        await rooms.name_podcast(context.db, room_id, podcast_guid(feed))


async def _unpublish_room(context: Context) -> str:
    if not context.asker.moderates:
        return general.ONLY_MODS
    if context.room.visibility is Visibility.PRIVATE:
        return replies.PRIVATE_ALREADY
    line = await heirs.line(context.db, context.room.room_id)
    closed = await archive.count_public(context.db, line)
    await rooms.save_room(
        context.db, replace(context.room, visibility=Visibility.PRIVATE, public_since=None, closed_since=None)
    )
    await context.note("publish", Visibility.PUBLIC, Visibility.PRIVATE)
    await archive.close(context.db, line)
    await rooms.touch(context.db, context.room.room_id, context.now)
    return replies.now_private(context.asker.name, context.prefix, closed)


async def _publish(context: Context, *, name: RecordingName) -> str:
    if context.settings.feeds.public_by == "nobody":
        return general.NOBODY_PUBLISHES
    recording = await find_recording(context.db, context.room.room_id, name)
    if recording is None:
        return general.NO_RECORDING
    if not (context.asker.admin or context.began(recording)):
        return general.ONLY_ITS_BROADCASTER
    if recording.unreviewed:
        return waits(recording.code, context.prefix)
    if context.room.visibility is Visibility.PRIVATE:
        return replies.room_is_private(context.prefix)
    page = context.public.episode(recording.code)
    if recording.public:
        return replies.recording_public_already(recording.code, page)
    await _set(context, recording, public=True)
    return replies.recording_published(recording.code, context.asker.name, page)


async def _unpublish(context: Context, *, name: RecordingName) -> str:
    recording = await changeable(context, name)
    if isinstance(recording, str):
        return recording
    if not recording.public:
        return replies.recording_private_already(recording.code)
    await _set(context, recording, public=False)
    return replies.recording_unpublished(recording.code, context.asker.name)


async def _set(context: Context, recording: Recording, *, public: bool) -> None:
    await archive.save_recording(context.db, replace(recording, public=public))
    before, after = (Visibility.PRIVATE, Visibility.PUBLIC) if public else (Visibility.PUBLIC, Visibility.PRIVATE)
    await context.note("publish", before, after, subject=recording.code)
    await rooms.touch(context.db, context.room.room_id, context.now)


def _read_publish(words: Words) -> Action | None:
    match [word.lower() for word in words]:
        case ["public"]:
            return _publish_room
        case ["private"]:
            return _unpublish_room
        case [_]:
            return read_name(_publish, words)
        case _:
            return None


VERBS = (
    Verb(
        "publish",
        (
            Form(
                "publish public|private",
                Who.PUBLISHERS,
                N_("lets anybody hear what is broadcast from now on, or members only"),
                "publish public",
                Group.PODCAST,
            ),
            Form(
                "publish RECORDING",
                Who.BROADCASTER,
                N_("puts an older recording (its code, or `last`) into the public podcast"),
                "publish last",
                Group.ONE_RECORDING,
            ),
        ),
        _read_publish,
        changes=always,
    ),
    Verb(
        "unpublish",
        (
            Form(
                "unpublish RECORDING",
                Who.BROADCASTER_OR_MODERATORS,
                N_("takes a recording out of the public podcast"),
                "unpublish last",
                Group.ONE_RECORDING,
            ),
        ),
        partial(read_name, _unpublish),
        changes=always,
    ),
)
