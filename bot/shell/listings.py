"""`aircheck rooms` and `aircheck recordings`: read from the database, also beside a running bot.

At a terminal they print tables, elsewhere lines with tabs between the columns. Strangers choose names, so control
characters are printed as escapes.
"""

import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bot import facts
from bot.errors import ConfigError
from bot.event_types import ROOM_NAME
from bot.feeds.titles import credited_title, episode_title, given_title, speaker
from bot.language import speaking
from bot.log import one_line
from bot.recording.kinds import kind_of, lay_out
from bot.recording.ledger import Ledger
from bot.recording.lengths import spoken_length
from bot.recording.report import recording_json
from bot.settings import Settings
from storage import archive, calls, heirs
from storage import rooms as room_rows
from storage.database import Connection
from storage.records import Announce, CallEvent, Chunk, Episode, Recording, Room, RoomId, to_ms
from storage.store import Store

ROOM_COLUMNS = ("room", "name", "recording", "podcast", "recordings", "size", "retention", "also", "continues in")
RECORDING_COLUMNS = ("code", "room", "number", "started (UTC)", "length", "state", "missing", "title")
MIB = 1024 * 1024


@asynccontextmanager
async def _reading(settings: Settings) -> AsyncIterator[tuple[Store, Connection]]:
    store = await Store.look(settings.storage.place)
    try:
        async with store.read() as db:
            yield store, db
    finally:
        await store.close()


async def print_rooms(settings: Settings, *, as_json: bool) -> None:
    """Print every room that is or was recorded; direct chats, where people get their addresses, are left out.

    Raises StoreError.
    """
    async with _reading(settings) as (_, db):
        every = [await room_json(db, room) for room in await room_rows.all_rooms(db)]
    entries = [entry for entry in every if entry["recording"] or entry["recordings"] or not entry["direct"]]
    if as_json:
        _print_json(entries)
    else:
        print_table(
            ROOM_COLUMNS, [_room_row(entry) for entry in entries], nothing="no rooms yet: invite the bot to one"
        )


async def print_recordings(settings: Settings, *, room_id: str | None, as_json: bool) -> None:
    """Print every recording, newest first. Raises StoreError, and ConfigError for an unknown room."""
    async with _reading(settings) as (store, db):
        only_room = RoomId(room_id) if room_id is not None else None
        if only_room is not None and await room_rows.room(db, only_room) is None:
            raise ConfigError(f"--room: {room_id} is not a room that Aircheck knows (`aircheck rooms` lists them)")
        entries, rows = [], []
        for recording in await archive.recordings(db, only_room):
            chunks = await archive.chunks(db, recording.id)
            if as_json:
                episode = await archive.episode(db, recording.id)
                path = store.blobs.relative(episode.blob) if episode else None
                stems = {stem.number: store.blobs.relative(stem.blob) for stem in recording.stems if stem.blob}
                events = await calls.events(db, recording.id) if kind_of(recording).stems else ()
                with speaking(await room_rows.language(db, recording.room_id)):
                    entry = recording_entry(
                        recording, chunks, episode, settings, path=path, events=events, stem_paths=stems
                    )
                    entries.append(entry)
            else:
                rows.append(_recording_row(recording, lay_out(recording, chunks), settings))
    if as_json:
        _print_json(entries)
    else:
        print_table(RECORDING_COLUMNS, rows, nothing="no recordings yet")


async def room_json(db: Connection, room: Room) -> dict[str, Any]:
    """Describe a room, its policies and the space that its recordings take, as JSON."""
    event = await room_rows.state(db, room.room_id, ROOM_NAME)
    line = await heirs.line(db, room.room_id)
    podcast = await heirs.podcast(db, line)
    return {
        "room_id": room.room_id,
        "name": facts.room_name(event),
        "joined": room.joined,
        "encrypted": room.encrypted,
        "direct": room.direct,
        "recording": room.recording_on,
        "recording_messages": room.messages_on,
        "recording_calls": room.calls_on,
        "waiting": room.waits,
        "podcast": str(podcast.visibility),
        "retention": str(podcast.retention),
        "announce": str(podcast.announce),
        "language": podcast.language,
        "review": podcast.review,
        "replay": podcast.replay,
        "studio": podcast.studio,
        "studio_events": podcast.studio_events,
        "speakers": None if podcast.speakers is None else list(podcast.speakers),
        "heir": next(iter(line[line.index(room.room_id) + 1 :]), None),
        "recordings": len(await archive.recordings(db, room.room_id)),
        "bytes": await archive.bytes_of_room(db, room.room_id),
    }


def _room_row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    recording = " + ".join(
        kind
        for kind, name in (
            ("broadcasts", "recording"),
            ("messages", "recording_messages"),
            ("calls", "recording_calls"),
        )
        if entry[name]
    )
    recording = "waiting for its notice" if entry["waiting"] else recording or "off"
    return (
        entry["room_id"],
        entry["name"] or "",
        recording if entry["joined"] else "left",
        entry["podcast"],
        str(entry["recordings"]),
        f"{entry['bytes'] / MIB:.1f} MiB",
        entry["retention"],
        _other_policies(entry),
        entry["heir"] or "",
    )


def _other_policies(entry: Mapping[str, Any]) -> str:
    """Name the policies that differ from those of a new room."""
    told = [f"announce {entry['announce']}"] if entry["announce"] != Announce.QUIET else []
    told += [f"language {entry['language']}"] if entry["language"] else []
    told += [name for name in ("review", "replay") if entry[name]]
    told += [f"speakers: {len(entry['speakers'])}"] if entry["speakers"] is not None else []
    told += ["no studio"] if not entry["studio"] else []
    told += ["studio events"] if entry["studio_events"] else []
    return ", ".join(told)


def recording_entry(
    recording: Recording,
    chunks: Sequence[Chunk],
    episode: Episode | None,
    settings: Settings,
    *,
    path: str | None,
    events: Sequence[CallEvent],
    stem_paths: Mapping[int, str],
) -> dict[str, Any]:
    """Return the JSON of a recording, in the language that is spoken. `path`: its episode's file; `path`, `events` and
    `stem_paths` as `recording_json` takes them."""
    return recording_json(
        recording,
        chunks,
        episode,
        title=episode_title(recording, settings.feeds.zone),
        given_title=given_title(recording),
        named=speaker,
        path=path,
        events=events,
        stem_paths=stem_paths,
    )


def _recording_row(recording: Recording, ledger: Ledger, settings: Settings) -> tuple[str, ...]:
    missing = sum(gap.samples for gap in ledger.gaps)
    return (
        recording.code,
        recording.room_id,
        str(recording.number),
        _moment(recording.started_at),
        spoken_length(to_ms(ledger.samples)),
        str(recording.state),
        spoken_length(to_ms(missing)) if missing else "",
        credited_title(recording, settings.feeds.zone),
    )


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _print_json(entries: Sequence[Mapping[str, Any]]) -> None:
    json.dump(entries, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, nothing: str) -> None:
    """Print a table; without rows the sentence `nothing` goes to standard error."""
    if not rows:
        sys.stderr.write(f"{nothing}\n")
        return
    clean = [[one_line(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(row) + "\n" for row in [list(columns), *clean])
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in clean:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
