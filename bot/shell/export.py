"""`aircheck export`: recordings, or the log of consent, as a folder that can be read and played without Aircheck.

The folder grows under another name beside its place, and gets its own name when it is whole. What is deleted while it
grows is not in it.
"""

import asyncio
import json
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot import facts
from bot.commands.find import find_recording
from bot.commands.parse import recording_name
from bot.consent_log import consent_json
from bot.errors import AircheckError, ConfigError
from bot.event_types import ROOM_NAME, ROOM_TOPIC
from bot.feeds.catalog import Face
from bot.pictures.cover import drawn_cover
from bot.settings import Settings
from bot.shell.exported import COVER, TRIES, Exported, Podcast, copy_recording, feed_of, page_of
from bot.shell.handover import closing_store, shown
from storage import archive, consent_log, heirs, rooms
from storage.consent_log import ConsentLog
from storage.database import Connection
from storage.private import make_folder, sync, write_whole
from storage.records import EVERYWHERE, Recording, RoomId, UserId
from storage.store import Store

CONSENT = "consent"
CONSENT_FILE = "consent.json"
MARK = ".aircheck-export"
"""The file by which an unfinished folder is known as ours, and may be removed."""


async def export(settings: Settings, what: str, target: Path) -> str:
    """Write what is named (`consent`, a room's id, or a recording) to a new or empty folder; give the result as a
    sentence. Reads only, also beside a running bot.

    Raises ConfigError for what does not exist and for a folder with something in it, AircheckError when the folder
    can't be written.
    """
    target = await asyncio.to_thread(target.resolve)
    if not await asyncio.to_thread(_is_free, target):
        raise ConfigError(f"--to: {target} is not an empty folder")
    async with closing_store(await Store.look(settings.storage.place)) as store:
        if what == CONSENT:
            return await _export_consent(store, target)
        podcast, recordings = await _named(store, what)
        with _growing(target) as folder:
            exported = await _copy(store, settings, recordings, folder)
            await _describe(store, settings, podcast, exported, folder)
        count = len([each for each in exported if each.audio])
        return f"{count} episode{'s' * (count != 1)} exported: open {target / 'index.html'} in a browser."


def _is_free(target: Path) -> bool:
    return not target.exists() or (target.is_dir() and not any(target.iterdir()))


@contextmanager
def _growing(target: Path) -> Iterator[Path]:
    """Give a folder to fill; it becomes `target` when the block ends, and is gone when it raises. Raises
    AircheckError."""
    part = target.with_name(f".{target.name}.part")
    try:
        if part.exists() and not (part / MARK).exists():
            raise AircheckError(f"{part} is in the way: it is not the rest of an export")
        shutil.rmtree(part, ignore_errors=True)
        make_folder(part)
        (part / MARK).touch(mode=0o600)
        yield part
        (part / MARK).unlink()
        sync(part)
        part.replace(target)
        sync(target.parent)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise AircheckError(f"{target} can't be written: {error.strerror}") from None
    except BaseException:
        with suppress(OSError):
            if (part / MARK).exists():
                shutil.rmtree(part)
        raise


async def _named(store: Store, what: str) -> tuple[Podcast, tuple[Recording, ...]]:
    """Find the podcast and the recordings that are meant. Raises ConfigError."""
    async with store.read() as db:
        if what.startswith("!"):
            if await rooms.room(db, RoomId(what)) is None:
                raise ConfigError(f"ROOM: {what} is not a room that Aircheck knows (`aircheck rooms` lists them)")
            line = await heirs.line(db, RoomId(what))
            return await _podcast(db, line), await archive.recordings(db, line)
        name = recording_name(what)
        if name is None:
            raise ConfigError("name `consent`, a room by its id, or a recording by its six letters, `last` or event id")
        recording = await find_recording(db, None, name)
        if recording is None:
            raise ConfigError(f"RECORDING: there is no {what} (`aircheck recordings` lists them)")
        return await _podcast(db, await heirs.line(db, recording.room_id)), (recording,)


async def _podcast(db: Connection, line: Sequence[RoomId]) -> Podcast:
    first = (await archive.recordings(db, line))[-1:]
    name = facts.room_name(await rooms.state(db, line[-1], ROOM_NAME))
    topic = facts.topic(await rooms.state(db, line[-1], ROOM_TOPIC))
    speaker = first[0].broadcaster_name if first else None
    room = await heirs.podcast(db, line)
    return Podcast(room, Face(name, topic, speaker, room.podcast), tuple(line))


async def _copy(
    store: Store, settings: Settings, recordings: Sequence[Recording], folder: Path
) -> tuple[Exported, ...]:
    """Copy the files of the recordings. What was removed meanwhile is not in the copy."""
    exported = []
    with shown() as progress:
        task = progress.add_task("copying", total=len(recordings))
        for number, recording in enumerate(recordings):
            progress.update(task, description=f"copying: {number + 1} of {len(recordings)} recordings")
            exported.append(await copy_recording(store, settings, recording.id, folder))
    settled = [await _settled(store, settings, each, folder) for each in exported]
    for each in settled:
        for name in each.missing:
            sys.stderr.write(f"missing in the store, so not in the copy: {name}\n")
    return tuple(settled)


async def _settled(store: Store, settings: Settings, exported: Exported, folder: Path) -> Exported:
    """Copy a recording again that was changed while the others were copied: sound may have been removed from it."""
    for _ in range(TRIES):
        async with store.read() as db:
            current = await archive.recording(db, exported.recording.id)
            edition = await archive.edition(db, exported.recording.id)
        assert current is not None, "a recording's row is never removed"
        if current.state is exported.recording.state and edition == exported.edition:
            break
        await asyncio.to_thread(exported.remove, folder)
        exported = await copy_recording(store, settings, exported.recording.id, folder)
    return exported


async def _describe(
    store: Store, settings: Settings, podcast: Podcast, exported: Sequence[Exported], folder: Path
) -> None:
    """Write everything beside the sound: the list, the feed, the page, the picture, and the rooms' log of consent."""
    cover = podcast.room.own_cover or podcast.room.cover
    async with store.read() as db:
        log = await consent_log.read(db, podcast.room.room_id)
    speakers = frozenset[UserId]().union(*(each.speakers for each in exported))

    picture = await store.blobs.read(cover) if cover else None

    def write() -> None:
        write_whole(folder / COVER, picture or drawn_cover(podcast.face.title, podcast.room.key))
        _write_json(folder / "recordings.json", [each.json for each in exported])
        _write_json(folder / CONSENT_FILE, _consent(_of_speakers(log, speakers)))
        write_whole(folder / "feed.xml", feed_of(podcast, exported, settings.feeds))
        write_whole(folder / "index.html", page_of(podcast, exported, settings.feeds).encode())

    await asyncio.to_thread(write)


async def _export_consent(store: Store, target: Path) -> str:
    async with store.read() as db:
        log = await consent_log.read(db)
    with _growing(target) as folder:
        await asyncio.to_thread(_write_json, folder / CONSENT_FILE, _consent(log))
    return f"The log of consent was exported: {target / CONSENT_FILE}"


def _of_speakers(log: ConsentLog, speakers: Collection[UserId]) -> ConsentLog:
    """Leave out what people said for everywhere who don't speak in the exported recordings: a copy is handed on, and
    they may never have been in the room. Nor does it tell who was in a call beside the speakers."""
    return replace(
        log,
        changes=tuple(change for change in log.changes if change.room_id is not None or change.by in speakers),
        opt_outs=tuple(word for word in log.opt_outs if word.room_id != EVERYWHERE or word.user_id in speakers),
        calls=tuple(replace(call, told=tuple(user for user in call.told if user in speakers)) for call in log.calls),
    )


def _consent(log: ConsentLog) -> dict[str, Any]:
    return consent_json(log.notices, log.changes, log.opt_outs, log.calls)


def _write_json(file: Path, value: Any) -> None:
    write_whole(file, json.dumps(value, ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n")
