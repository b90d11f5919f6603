"""The title and the description that people give a recording: how long, without what, and what their change entails."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from bot import orders
from bot.feeds.text import DESCRIPTION_BYTES, clean_line, clean_text
from bot.intake import disclosing
from storage import archive, jobs, rooms
from storage.database import Connection
from storage.records import Change, EventId, Recording, RoomId, UserId

GIVEN = "given"
"""The word in the log of changes for a text that somebody wrote."""


@dataclass(frozen=True, slots=True)
class Said:
    """The room in which a text was given, by whom, and in which event, if it was in one."""

    room_id: RoomId
    by: UserId
    event_id: EventId | None = None


def title(text: str, servers: Collection[str]) -> str:
    """Clean a title of what no page or feed may show. `servers`: those of the room's members."""
    return clean_line(text, servers=servers)


def description(text: str, servers: Collection[str]) -> str:
    """Clean a description of the same."""
    return clean_text(text, servers)[:DESCRIPTION_BYTES]


async def save(db: Connection, before: Recording, after: Recording, now: datetime, said: Said) -> None:
    """Save a recording with other texts. The title is also a tag of the file: an episode is made again."""
    await archive.save_recording(db, after)
    for what, old, new in (
        ("title", before.title, after.title),
        ("describe", before.description, after.description),
    ):
        if old != new:
            states = {"before": _logged(old), "after": _logged(new)}
            change = Change(0, now, said.room_id, said.by, what, after.code, **states, event_id=said.event_id)
            await disclosing.note(db, change)
    if after.title != before.title and after.state.may_have_episode:
        await jobs.add(db, orders.Finish(after.id).job(), now)
    await rooms.touch(db, said.room_id, now)


def _logged(text: str | None) -> str | None:
    """Return a text as the log of changes shows it: not what was written."""
    return None if text is None else GIVEN
