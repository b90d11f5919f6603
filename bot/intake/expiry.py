"""Retention of a podcast: its rules and recordings read together; and which podcasts need a look."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.recording.retention import Plan, Policy, plan
from bot.settings import RetentionSettings
from storage import archive, heirs, rooms
from storage.database import Connection
from storage.records import Recording, RecordingId, Retention, Room, RoomId


@dataclass(frozen=True, slots=True)
class Basis:
    """All that decides on a recording beside its own row and the time. While it is the same, so is the decision."""

    line: tuple[RoomId, ...]
    policy: Policy
    last_within: RecordingId | None  # the oldest episode within the number that the room keeps


@dataclass(frozen=True, slots=True)
class Look:
    """A look at a podcast. `room` is its present one, whose rule holds for the recordings of the whole line."""

    room: Room
    basis: Basis
    plan: Plan

    @property
    def policy(self) -> Policy:
        return self.basis.policy


async def look(db: Connection, room_id: RoomId, limits: RetentionSettings, now: datetime) -> Look | None:
    """Read the recordings of the podcast that a room belongs to, and decide on them; None for an unknown room."""
    line = await heirs.line(db, room_id)
    room = await rooms.room(db, line[-1])
    if room is None:
        return None
    basis = await _basis(db, line, room, limits)
    recordings = await archive.not_deleted(db, line)
    return Look(room, basis, await asyncio.to_thread(plan, recordings, basis.policy, now))


async def _basis(db: Connection, line: tuple[RoomId, ...], room: Room, limits: RetentionSettings) -> Basis:
    policy = Policy(room.retention, limits.max_days, limits.warn_days, reachable=room.joined)
    most = room.retention.episodes
    return Basis(line, policy, await archive.nth_episode(db, line, most) if most else None)


async def unchanged(
    db: Connection, seen: Look, limits: RetentionSettings, recordings: Sequence[Recording]
) -> frozenset[RecordingId]:
    """Return those of these recordings for which an earlier look still holds. Only their rows are read again."""
    line = await heirs.line(db, seen.room.room_id)
    room = await rooms.room(db, line[-1])
    if room is None or await _basis(db, line, room, limits) != seen.basis:
        return frozenset()
    now = await archive.recordings_by_id(db, [recording.id for recording in recordings])
    return frozenset(recording.id for recording in recordings if now.get(recording.id) == recording)


async def spare(db: Connection, recordings: Iterable[Recording]) -> None:
    """Forget that the end of these recordings was told: if a rule ends them later, their room is told anew."""
    await archive.expiry_tried(db, [recording.id for recording in recordings], None)


async def podcasts(db: Connection, limits: RetentionSettings) -> tuple[RoomId, ...]:
    """Return the present rooms of the podcasts of which a rule may end recordings, or has told so."""
    found = dict[RoomId, None]()
    for room_id, noted in (await archive.rooms_with_recordings(db)).items():
        present = await heirs.present(db, room_id)
        room = await rooms.room(db, present)
        if noted or limits.max_days is not None or (room is not None and room.retention != Retention()):
            found[present] = None
    return tuple(found)
