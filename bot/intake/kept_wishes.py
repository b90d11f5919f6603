"""Wishes of members that outlive the store: what protects people is also kept in the bot's account data (ADR 35).

Written after each change of a room's policies, and read after a restore before the first sync: then rows of commands
that the backup does not know are made up for, in the safe direction only. What is found again after that meets them
once more before its room opens (`bot.intake.catching_up`).
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from bot import disclosure, orders
from bot.intake import consent, disclosing, forgotten, portraying
from bot.intake import sealed_wishes as notes
from bot.intake.sealed_wishes import Objection, Wishes
from bot.recording.model import Deleted, RecordingEvent
from storage import archive, changes, found_again, heirs, jobs, journal, kept_wishes, optouts, rooms
from storage.database import Connection
from storage.found_again import Trace
from storage.records import (
    EVERYWHERE,
    Change,
    EventId,
    HeardEvent,
    Json,
    OptOut,
    Position,
    Recording,
    RecordingId,
    RecordingState,
    Room,
    RoomId,
    UserId,
    Visibility,
)

log = logging.getLogger(__name__)

Apply = Callable[[Connection, RecordingId, RecordingEvent], Awaitable[None]]
EVERYWHERES = ("optout", "forget")
"""Changes that hold everywhere and that are kept."""


async def begin(db: Connection, room_ids: Iterable[RoomId], now: datetime) -> None:
    """Note in a database that was just restored that the wishes for these rooms are to be read first."""
    await kept_wishes.begin(db)
    for room_id in (EVERYWHERE, *room_ids):
        await kept_wishes.await_room(db, room_id)
        await jobs.add(db, orders.KeepWishes(room_id).job(), now)


# ---- kept


async def gather(db: Connection, room_id: RoomId) -> Wishes:
    """Return what is kept for a room, or for everywhere."""
    everywhere = room_id == EVERYWHERE
    words = [word for word in await optouts.every(db, [room_id]) if word.room_id == room_id]
    asked = await changes.newest_by(db, None if everywhere else room_id, "forget")
    wishes = Wishes(out=_objections(words), forgotten=tuple(notes.Forgotten(user, at) for user, at in asked.items()))
    room = None if everywhere else await rooms.room(db, room_id)
    if room is None:
        return notes.bounded(wishes)
    published = await changes.newest_about(db, room_id, ("publish",))
    keeps = await changes.newest_about(db, room_id, ("keep", "unkeep"))
    podcast = await heirs.podcast(db, await heirs.line(db, room_id))
    return notes.bounded(
        replace(
            wishes,
            deleted=tuple(event for event, _ in await changes.newest_about(db, room_id, ("delete",))),
            private=tuple(event for event, change in published if change.after == Visibility.PRIVATE),
            kept=tuple(event for event, change in keeps if change.what == "keep"),
            records=tuple(str(kind) for kind in disclosure.listed(room.switched_on)),
            visibility=str(Visibility.PUBLIC if podcast.publishes else Visibility.PRIVATE),
            retention=str(room.retention),
            review=room.review,
            speakers=room.speakers,
            studio=room.studio,
        )
    )


def _objections(words: Sequence[OptOut]) -> tuple[Objection, ...]:
    """Return the last `optout` of each member, the newest first. `words`: the oldest first."""
    found = dict[UserId, Objection]()
    for word in words:
        last = found.get(word.user_id)
        if word.out:
            found[word.user_id] = Objection(word.user_id, word.at)
        elif last is not None and last.in_at is None:
            found[word.user_id] = replace(last, in_at=word.at)
    return tuple(sorted(found.values(), key=lambda each: each.out_at, reverse=True))


# ---- read after a restore


async def take(db: Connection, apply: Apply, room_id: RoomId, wishes: Wishes | None, now: datetime) -> None:
    """Carry out what was kept of a room, or for everywhere, and is not known. None: nothing that can be read."""
    await kept_wishes.note_read(db, room_id, None if wishes is None else notes.to_bytes(wishes).decode())
    if wishes is None:
        return
    for objection in wishes.out:
        await _opt_out(db, apply, room_id, objection, now)
    known = await changes.newest_by(db, None if room_id == EVERYWHERE else room_id, "forget")
    for each in wishes.forgotten:
        if each.user_id not in known or known[each.user_id] < each.at:
            where = None if room_id == EVERYWHERE else room_id
            await changes.add(db, Change(0, each.at, where, each.user_id, "forget"))
    room = None if room_id == EVERYWHERE else await rooms.room(db, room_id)
    if room is not None:
        after = stricter(room, wishes)
        if after != room:
            await rooms.save_room(db, after)
            await disclosing.compare(db, room, after, now)
    await meet(db, apply, room_id, wishes, now)


def stricter(room: Room, wishes: Wishes) -> Room:
    """Return the room with what must hold before anything is found again; the rest follows when it opens."""
    speakers = room.speakers if wishes.speakers is None else wishes.speakers
    studio = room.studio and wishes.studio
    return replace(room, review=room.review or wishes.review, speakers=speakers, studio=studio)


async def _opt_out(db: Connection, apply: Apply, room_id: RoomId, objection: Objection, now: datetime) -> None:
    user_id = objection.user_id
    known = [word.at for word in await optouts.of(db, user_id) if word.room_id == room_id]
    if known and max(known) >= objection.out_at:
        return
    since, name = await _place(db, room_id, now)
    await optouts.add(db, OptOut(user_id, room_id, since, out=True, at=objection.out_at))
    line = None if room_id == EVERYWHERE else await heirs.line(db, room_id)
    await portraying.remove(db, user_id, line, now)
    await consent.close_refused(db, apply, orders.CloseRefused(name, since, user_id, line), now)
    where = None if room_id == EVERYWHERE else room_id
    await changes.add(db, Change(0, objection.out_at, where, user_id, "optout", user_id, "in", "out"))
    if objection.in_at is not None:
        again, _ = await _place(db, room_id, now)
        await optouts.add(db, OptOut(user_id, room_id, again, out=False, at=objection.in_at))
        await changes.add(db, Change(0, objection.in_at, where, user_id, "optout", user_id, "out", "in"))


async def _place(db: Connection, room_id: RoomId, now: datetime) -> tuple[Position, EventId]:
    """Take a position in the journal for a command whose event is not known, behind all that is."""
    name = EventId(f"aircheck:{secrets.token_hex(16)}")
    position = await journal.add(db, HeardEvent(room_id, name, {}, history=True), now, keep=False)
    assert position is not None, "the name is new"
    return position, name


async def read(db: Connection, room_id: RoomId) -> Wishes | None:
    """Return what was read of a room and is yet to meet what is found again."""
    written = await kept_wishes.read(db, room_id)
    return None if written is None else notes.of_bytes(written.encode())


async def meet(db: Connection, apply: Apply, room_id: RoomId, wishes: Wishes, now: datetime) -> None:
    """Let recordings meet the wishes: those that are there, and those that are found again. May be repeated."""
    for event_id in wishes.deleted:
        recording = await archive.recording_by_event(db, event_id)
        if recording is None:
            await found_again.note(db, room_id, Trace.HELD, event_id)
        elif recording.state is not RecordingState.DELETED:
            await _delete(db, apply, recording, now)
    for event_id in wishes.private:
        recording = await archive.recording_by_event(db, event_id)
        if recording is not None and recording.public:
            await archive.save_recording(db, replace(recording, public=False))
            await rooms.touch(db, recording.room_id, now)
            await _note(db, recording, "publish", Visibility.PUBLIC, Visibility.PRIVATE, now)
    for event_id in wishes.kept:
        recording = await archive.recording_by_event(db, event_id)
        if recording is not None and not recording.kept and recording.state is not RecordingState.DELETED:
            await archive.save_recording(db, replace(recording, kept=True))
            await _note(db, recording, "keep", None, None, now)
    line = None if room_id == EVERYWHERE else await heirs.line(db, room_id)
    for each in wishes.forgotten:
        await _forget(db, apply, each, line, now)


async def _delete(db: Connection, apply: Apply, recording: Recording, now: datetime) -> None:
    await apply(db, recording.id, Deleted())
    await _note(db, recording, "delete", str(recording.state), "deleted", now)
    log.warning("deleted again, as it was after the backup: recording=%s", recording.code)


async def _note(
    db: Connection, recording: Recording, what: str, before: str | None, after: str | None, now: datetime
) -> None:
    await changes.add(db, Change(0, now, recording.room_id, None, what, recording.code, before, after))


async def _forget(
    db: Connection, apply: Apply, wish: notes.Forgotten, line: Sequence[RoomId] | None, now: datetime
) -> None:
    """Carry out `forget me` once more, for what had begun when it was said."""
    traces = await forgotten.traces(db, wish.user_id, line)
    alone = [recording.id for recording in traces.alone if recording.started_at <= wish.at]
    shared = [recording.id for recording in traces.shared if recording.started_at <= wish.at]
    await forgotten.remove(db, apply, wish.user_id, alone, shared)
    await forgotten.remove_the_rest(db, traces, now)


def said(wishes: Wishes | None) -> Json | None:
    """Return what was kept as the room's state event says it; None where it was not."""
    if wishes is None or wishes.records is None:
        return None
    return {"records": list(wishes.records), "visibility": wishes.visibility, "retention": wishes.retention}
