"""An exported recording: its files in the folder, its entry in the feed, and its place on the page."""

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bot.feeds.addresses import Shelf
from bot.feeds.catalog import Face, built_at, channel_of, item_of, show_notes
from bot.feeds.rss import render
from bot.feeds.text import clean_text
from bot.feeds.titles import date_and_time, episode_title, speakers
from bot.language import _, speaking, written
from bot.recording.kinds import kind_of
from bot.recording.lengths import player_clock, spoken_length
from bot.settings import FeedsSettings, Settings
from bot.shell.listings import recording_entry
from bot.web.access import may_serve_audio
from storage import archive, calls, originals, rooms
from storage.cache import Edition
from storage.private import FILE_MODE, make_folder
from storage.records import (
    BlobKey,
    Chunk,
    ChunkState,
    Container,
    Episode,
    Recording,
    RecordingId,
    RecordingState,
    Room,
    RoomId,
    UserId,
    to_ms,
)
from storage.store import Store

AUDIO, CHUNKS, STEMS, COVER = "audio", "chunks", "stems", "cover.jpg"
HERE = Shelf("./")
"""The shelf of a feed whose files lie beside it."""
ENDINGS = {
    Container.OGG_OPUS: "ogg", Container.OGG_VORBIS: "ogg", Container.OGG_FLAC: "ogg", Container.MP4_AAC: "m4a",
    Container.ADTS_AAC: "aac", Container.MP3: "mp3", Container.WAV: "wav", Container.CAF: "caf",
    Container.WEBM: "webm", Container.FLAC: "flac", Container.AMR: "amr", Container.AMR_WB: "awb",
    Container.MP4_AMR: "3gp", Container.MP4_AMR_WB: "3gp", Container.UNKNOWN: "bin",
}  # fmt: skip
TEMPLATES = Path(__file__).parent / "templates"
TRIES = 5
"""Copies of one recording that are begun anew because its files were replaced meanwhile."""


@dataclass(frozen=True, slots=True)
class Podcast:
    """The podcast that is exported from; `rooms` are those of its line."""

    room: Room
    face: Face
    rooms: tuple[RoomId, ...]


@dataclass(frozen=True, slots=True)
class Exported:
    """A recording in the folder. `audio` is None while there is no episode; `json` is its entry in recordings.json."""

    recording: Recording
    episode: Episode | None
    audio: str | None
    json: dict[str, Any]
    edition: Edition  # of its chunks when they were copied
    speakers: frozenset[UserId]
    missing: tuple[str, ...] = ()  # files that the store lacks

    def remove(self, folder: Path) -> None:
        """Remove the recording's files. Blocking."""
        for ending in ("mp3", "opus"):
            (folder / AUDIO / f"{self.recording.code}.{ending}").unlink(missing_ok=True)
        for files in (CHUNKS, STEMS):
            shutil.rmtree(folder / files / self.recording.code, ignore_errors=True)


async def copy_recording(store: Store, settings: Settings, recording_id: RecordingId, folder: Path) -> Exported:
    """Copy a recording's episode, original sound, chunks and stems, as they stand now. A file may be replaced at any
    time, so a copy that misses one begins anew; a file that the store lacks is named. Raises OSError."""
    for attempt in range(1, TRIES + 1):
        exported, files = await _read(store, settings, recording_id)
        missing = []
        for key, name in files:
            try:
                await _copy(store, key, folder / name)
            except FileNotFoundError:
                missing.append(name)
        if not missing or attempt == TRIES:
            return replace(exported, missing=tuple(missing), audio=_unless(exported.audio, missing))
        await asyncio.to_thread(exported.remove, folder)
    raise AssertionError("the last try returns")


def _unless(name: str | None, missing: Sequence[str]) -> str | None:
    return None if name in missing else name


async def _read(
    store: Store, settings: Settings, recording_id: RecordingId
) -> tuple[Exported, list[tuple[BlobKey, str]]]:
    """Read a recording and the files to be copied, with their names in the folder. An episode with sound that was
    removed since is left out, and so are the slices of a stem that has a file."""
    async with store.read() as db:
        recording = await archive.recording(db, recording_id)
        assert recording is not None, "a recording's row is never removed"
        edition = await archive.edition(db, recording_id)
        chunks = await archive.chunks(db, recording_id)
        episode = await archive.episode(db, recording_id)
        events = await calls.events(db, recording_id)
        kept = await originals.current(db, [recording_id])
        language = await rooms.language(db, recording.room_id)
    if episode and not await asyncio.to_thread(may_serve_audio, recording, episode, chunks):
        episode = None
    audio = f"{AUDIO}/{recording.code}.mp3" if episode else None
    closed = {stem.number: stem.blob for stem in recording.stems if stem.blob is not None}
    stems = {number: f"{STEMS}/{recording.code}/{number:03}.ogg" for number in closed}
    with speaking(language):
        described = await asyncio.to_thread(
            recording_entry, recording, chunks, episode, settings, path=audio, events=events, stem_paths=stems
        )
    several = kind_of(recording).several_speakers
    files = [(episode.blob, audio)] if episode and audio else []
    files += [(each.blob, f"{AUDIO}/{recording.code}.opus") for each in kept.values() if episode]
    files += [
        (chunk.blob, f"{CHUNKS}/{recording.code}/{_file_name(chunk, number if several else chunk.sequence)}")
        for number, chunk in enumerate(chunks, start=1)
        if chunk.state in (ChunkState.STORED, ChunkState.DUPLICATE) and chunk.blob and chunk.stem not in closed
    ]
    files += [(blob, stems[number]) for number, blob in closed.items()]
    deleted = recording.state is RecordingState.DELETED
    speakers = frozenset() if deleted else frozenset({recording.broadcaster, *(chunk.sender for chunk in chunks)})
    return Exported(recording, episode, audio, described, edition, speakers), files


def _file_name(chunk: Chunk, number: int | None) -> str:
    """Name a chunk's file by its number, or its place in the timeline where several people speak, and its hash, under
    which `recordings.json` lists it."""
    ending = ENDINGS[chunk.facts.container if chunk.facts else Container.UNKNOWN]
    place = "" if number is None else f"{number:05}-"
    return f"{place}{chunk.blob}.{ending}"


async def _copy(store: Store, key: BlobKey, target: Path) -> None:
    def copy(source: Path) -> None:
        make_folder(target.parent.parent)
        make_folder(target.parent)
        shutil.copyfile(source, target)
        target.chmod(FILE_MODE)

    async with store.blobs.local(key) as source:
        await asyncio.to_thread(copy, source)


def feed_of(podcast: Podcast, exported: Sequence[Exported], settings: FeedsSettings) -> bytes:
    """Render the feed of what was published, with addresses inside the folder."""
    with speaking(podcast.room.language):
        return _rendered(podcast, exported, settings)


def _rendered(podcast: Podcast, exported: Sequence[Exported], settings: FeedsSettings) -> bytes:
    published = [
        (each.recording, each.episode) for each in exported if each.audio and each.episode and each.episode.published_at
    ]
    channel = channel_of(
        podcast.room,
        podcast.face,
        settings,
        HERE,
        private=True,
        cover=HERE.cover(COVER),
        built_at=built_at(podcast.room, published),
        published=published,
    )
    items = [
        replace(
            item_of((recording, episode), settings, HERE, explicit=channel.explicit),
            page=f"./index.html#{recording.code}",
            audio=f"./{AUDIO}/{recording.code}.mp3",
            chapters=None,
        )
        for recording, episode in published
    ]
    return render(replace(channel, page="./index.html"), items)


@dataclass(frozen=True, slots=True)
class Entry:
    """A recording on the page, in words."""

    code: str
    title: str
    speakers: str
    date: str
    length: str
    audio: str | None
    notes: tuple[str, ...]
    chapters: tuple[tuple[str, str], ...]
    chunks: str


def page_of(podcast: Podcast, exported: Sequence[Exported], settings: FeedsSettings) -> str:
    """Render the page that plays the episodes from the folder."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    with speaking(podcast.room.language):
        entries = [_entry(each, settings) for each in exported if each.recording.state.may_have_audio]
        template = templates.get_template("export.html")
        return template.render(_=_, language=written(), title=podcast.face.title, cover=COVER, entries=entries)


def _entry(exported: Exported, settings: FeedsSettings) -> Entry:
    recording, episode = exported.recording, exported.episode
    return Entry(
        code=recording.code,
        title=episode_title(recording, settings.zone),
        speakers=speakers(recording),
        date=date_and_time(recording.started_at, settings.zone),
        length=spoken_length(to_ms(episode.samples)) if episode else "",
        audio=exported.audio,
        notes=tuple(clean_text(show_notes(recording, episode, settings)).split("\n\n")) if episode else (),
        chapters=tuple((player_clock(mark.at), mark.title) for mark in episode.chapters) if episode else (),
        chunks=f"{STEMS if kind_of(recording).stems else CHUNKS}/{recording.code}/",
    )
