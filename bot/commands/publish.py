"""`publish public|private`, `publish RECORDING`, `unpublish RECORDING`

Going public is for what begins after the command in the room's timeline, not after the bot read it: recordings
that began in between are put right in the same transaction. Going private closes all that was public, in every room
of the podcast: a later `publish public` opens none of it.
"""

from dataclasses import replace
from functools import partial

from bot.commands import replies
from bot.commands.context import Action, Asked, Verb
from bot.commands.find import find_recording
from bot.commands.parse import RecordingName, Words, recording_name
from storage import archive, heirs, rooms
from storage.records import Recording, RecordingState, Visibility

_REFUSALS = {
    "nobody": replies.NOBODY_PUBLISHES,
    "admins": replies.ONLY_ADMINS_PUBLISH,
    "mods": replies.ONLY_MODS,
}


async def _publish_room(asked: Asked) -> str:
    if not asked.settings.may_publish(asked.asker.user_id, mod=asked.asker.mod):
        return _REFUSALS[asked.settings.feeds.public_by]
    line = await heirs.line(asked.db, asked.room.room_id)
    if asked.room.visibility is Visibility.PUBLIC:
        return replies.public_already(asked.public.feed, await archive.count_public(asked.db, line))
    room = replace(asked.room, visibility=Visibility.PUBLIC, public_since=asked.position)
    await rooms.save_room(asked.db, room)
    await archive.close(asked.db, line)
    for recording in await archive.recordings(asked.db, asked.room.room_id):
        if recording.position > asked.position and recording.state is not RecordingState.DELETED:
            await archive.save_recording(asked.db, replace(recording, public=True))
    await rooms.touch(asked.db, asked.room.room_id, asked.now)
    begun = await archive.count_public(asked.db, line)
    return replies.now_public(asked.asker.name, asked.public.feed, asked.public.page, asked.prefix, begun)


async def _unpublish_room(asked: Asked) -> str:
    if not asked.asker.moderates:
        return replies.ONLY_MODS
    if asked.room.visibility is Visibility.PRIVATE:
        return replies.PRIVATE_ALREADY
    line = await heirs.line(asked.db, asked.room.room_id)
    closed = await archive.count_public(asked.db, line)
    await rooms.save_room(asked.db, replace(asked.room, visibility=Visibility.PRIVATE, public_since=None))
    await archive.close(asked.db, line)
    await rooms.touch(asked.db, asked.room.room_id, asked.now)
    return replies.now_private(asked.asker.name, asked.prefix, closed)


async def _publish(asked: Asked, *, name: RecordingName) -> str:
    if asked.settings.feeds.public_by == "nobody":
        return replies.NOBODY_PUBLISHES
    recording = await find_recording(asked.db, asked.room.room_id, name)
    if recording is None:
        return replies.NO_RECORDING
    if not (asked.asker.admin or asked.asker.user_id == recording.broadcaster):
        return replies.ONLY_ITS_SPEAKER
    if asked.room.visibility is Visibility.PRIVATE:
        return replies.room_is_private(asked.prefix)
    page = asked.public.episode(recording.code)
    if recording.public:
        return replies.recording_public_already(recording.code, page)
    await _set(asked, recording, public=True)
    return replies.recording_published(recording.code, asked.asker.name, page)


async def _unpublish(asked: Asked, *, name: RecordingName) -> str:
    recording = await find_recording(asked.db, asked.room.room_id, name)
    if recording is None:
        return replies.NO_RECORDING
    if not (asked.asker.moderates or asked.asker.user_id == recording.broadcaster):
        return replies.ONLY_ITS_SPEAKER_OR_MODS
    if not recording.public:
        return replies.recording_private_already(recording.code)
    await _set(asked, recording, public=False)
    return replies.recording_unpublished(recording.code, asked.asker.name)


async def _set(asked: Asked, recording: Recording, *, public: bool) -> None:
    await archive.save_recording(asked.db, replace(recording, public=public))
    await rooms.touch(asked.db, asked.room.room_id, asked.now)


def _read_publish(words: Words) -> Action | None:
    match [word.lower() for word in words]:
        case ["public"]:
            return _publish_room
        case ["private"]:
            return _unpublish_room
        case [_]:
            name = recording_name(words[0])
            return partial(_publish, name=name) if name else None
        case _:
            return None


def _read_unpublish(words: Words) -> Action | None:
    name = recording_name(words[0]) if len(words) == 1 else None
    return partial(_unpublish, name=name) if name else None


VERBS = (
    Verb(
        "publish",
        (
            replies.Form(
                "publish public|private",
                "moderators, or as the administrator decided",
                "anybody may hear what is broadcast from now on, or members only",
            ),
            replies.Form(
                "publish RECORDING",
                "the one who spoke in it, administrators",
                "puts an older recording (its code, or `last`) into the public podcast",
            ),
        ),
        _read_publish,
        changes=True,
    ),
    Verb(
        "unpublish",
        (
            replies.Form(
                "unpublish RECORDING",
                "the one who spoke in it, moderators, administrators",
                "takes a recording out of the public podcast",
            ),
        ),
        _read_unpublish,
        changes=True,
    ),
)
