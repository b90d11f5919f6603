"""Title, description and picture that a speaker gives their broadcast in a studio, before it and meanwhile."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

from bot import orders
from bot.dialects.studio import started_id
from bot.feeds.text import DESCRIPTION_MOST, TITLE_MOST, clean_line
from bot.intake import describing
from storage import archive, jobs, rooms, studios
from storage.database import Connection
from storage.records import BlobKey, Recording, RecordingState, Studio

MOST = {"title": TITLE_MOST, "description": DESCRIPTION_MOST}
"""Characters of each text, as the commands `title` and `describe` take them."""


async def recording_of(db: Connection, studio: Studio) -> Recording | None:
    """Return the recording of a studio's broadcast; None before the recorder has begun it, and once it is deleted."""
    recording = await archive.recording_by_event(db, started_id(studio))
    return recording if recording is not None and recording.state is not RecordingState.DELETED else None


async def tell(db: Connection, studio: Studio, texts: Mapping[str, str | None], now: datetime) -> None:
    """Change the texts that are named, `title` and `description`, of a studio and of its recording; None: none."""
    servers = await rooms.servers(db, [studio.room_id])
    told = {name: _cleaned(name, text, servers) for name, text in texts.items()}
    title, description = told.get("title", studio.title), told.get("description", studio.description)
    await studios.save(db, replace(studio, title=title, description=description))
    recording = await recording_of(db, studio)
    if recording is not None:
        title, description = told.get("title", recording.title), told.get("description", recording.description)
        changed = replace(recording, title=title, description=description)
        if changed != recording:
            await describing.save(db, recording, changed, now, describing.Said(studio.room_id, studio.user_id))


def _cleaned(name: str, text: str | None, servers: Collection[str]) -> str | None:
    if text is None or not clean_line(text):
        return None
    clean = describing.title if name == "title" else describing.description
    return clean(text, servers) or None


async def show(db: Connection, studio: Studio, cover: BlobKey | None, now: datetime) -> None:
    """Change the picture of a studio and of its recording; None: it has none."""
    await studios.save(db, replace(studio, cover=cover))
    recording = await recording_of(db, studio)
    if recording is not None:
        await archive.save_recording(db, replace(recording, cover=cover))
        await rooms.touch(db, recording.room_id, now)
    if studio.cover is not None and studio.cover != cover:
        await jobs.add(db, orders.Forget((studio.cover,)).job(), now)
