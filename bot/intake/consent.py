"""Consent: who may be recorded in a room. One function answers (`may_record`), and is asked before anything is fetched.

A member's last word for the room counts: the newest `optout` or `optin` that they said in one of the rooms of its
podcast, or in a direct chat, for everywhere. Where a room only claims to replace another, the other's words can forbid,
too, but never allow: an upgrade that is not confirmed yet exposes nobody, and no claim undoes an `optout`. `optin`
counts from its position in the timeline: a broadcast that began before it stays unrecorded, and so does every broadcast
of the past.

The moderators' choice (`speakers`) is that of the podcast's present room. It never overrules a member who opted out.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime

from bot import dialects, facts, orders
from bot.dialects.events import Event
from bot.dialects.state import broadcast_of
from bot.event_types import CREATE
from bot.recording.chunks import GIVEN_UP, NOT_WANTED
from bot.recording.model import RecordingEvent, Rejected, Silenced, VoiceMessage
from storage import archive, heirs, jobs, journal, optouts, rooms, sealed_messages
from storage.database import Connection
from storage.records import EVERYWHERE, HeardEvent, OptOut, Position, Recording, RecordingId, RoomId, UserId

AT_ONCE = 20
"""The number of recordings that had ended and that one transaction closes."""

Apply = Callable[[Connection, RecordingId, RecordingEvent], Awaitable[None]]
"""The recorder's application of an event to a recording, in the caller's transaction."""


async def may_record(
    db: Connection, room_id: RoomId, user_id: UserId, *, began: Position | None = None, sent_at: datetime | None = None
) -> bool:
    """Return whether this user may be recorded in this room.

    `began`: the position at which their broadcast began, where it has one. `sent_at`: the time at which it began, for
    one that is read from the past: its position may be that of the reading.
    """
    line = await heirs.line(db, room_id)
    present = await rooms.room(db, line[-1])
    if present is not None and present.speakers is not None and user_id not in present.speakers:
        return False
    return all(_allow(words, began, sent_at) for words in await _words(db, line, user_id))


async def _words(db: Connection, line: Sequence[RoomId], user_id: UserId) -> tuple[Sequence[OptOut], ...]:
    """Return a member's words for the rooms of a line, and those together with the words for the rooms that it only
    claims to continue. Either can forbid."""
    words = await optouts.of(db, user_id)
    if not words:
        return ()
    return tuple(
        [word for word in words if word.room_id in (EVERYWHERE, *room_ids)]
        for room_ids in (line, await _replaced_too(db, line))
    )


def _allow(words: Sequence[OptOut], began: Position | None, sent_at: datetime | None) -> bool:
    """Return whether a member's words, the oldest first, allow to record a broadcast: they opted in after their last
    `optout`, and before it began."""
    outs = [index for index, word in enumerate(words) if word.out]
    if not outs:
        return True
    again = next(iter(words[outs[-1] + 1 :]), None)
    if again is None:
        return False
    return (began is None or began > again.position) and (sent_at is None or sent_at >= again.at)


async def _replaced_too(db: Connection, line: Sequence[RoomId]) -> Sequence[RoomId]:
    """Return the rooms of a line, behind those of the podcasts that its first room claims to continue."""
    while len(line) < heirs.MOST_ROOMS:
        claimed = facts.predecessor(await rooms.state(db, line[0], CREATE))
        if claimed is None or claimed in line:
            break
        line = (*await heirs.line(db, claimed), *line)
    return line


async def may_be_gathered(db: Connection, heard: HeardEvent, event: Event | Rejected | None) -> bool:
    """Return whether an event is a voice message that a search of the history may record later, at its position of
    now."""
    return isinstance(event, VoiceMessage) and await may_record(db, heard.room_id, event.sender)


async def may_go_on(db: Connection, recording: Recording) -> bool:
    """Return whether more of a recording may be fetched."""
    return await may_record(db, recording.room_id, recording.broadcaster, began=recording.position)


async def close_refused(
    db: Connection, apply: Apply, objection: orders.CloseRefused, now: datetime
) -> tuple[Recording, ...]:
    """Close what may not be recorded any more after an objection: all that is open, and the first of what has ended;
    the order itself is for the rest. Return the recordings that were open."""
    were_open = [
        recording
        for recording in await optouts.running(db, user_id=objection.user_id, room_ids=objection.room_ids)
        if await _close(db, apply, recording, objection.since)
    ]
    if objection.user_id is not None:
        await sealed_messages.forget_sender(db, objection.user_id, objection.room_ids)
    rest = await close_ended(db, apply, objection)
    if rest is not None:
        await jobs.add(db, rest.job(), now)
    return tuple(were_open)


async def close_ended(db: Connection, apply: Apply, objection: orders.CloseRefused) -> orders.CloseRefused | None:
    """Close the next recordings that have ended and may not be completed after an objection, in the caller's
    transaction. Return the order for the rest; None: there is none."""
    found = await optouts.half_kept(
        db,
        objection.since,
        user_id=objection.user_id,
        room_ids=objection.room_ids,
        given_up=GIVEN_UP,
        after=objection.after,
        limit=AT_ONCE,
    )
    for recording in found:
        await _close(db, apply, recording, objection.since)
    return replace(objection, after=found[-1].id) if len(found) == AT_ONCE else None


async def _close(db: Connection, apply: Apply, recording: Recording, since: Position) -> bool:
    """Close a recording, unless it may go on. Return whether it was closed."""
    if await may_go_on(db, recording):
        return False
    await apply(db, recording.id, Silenced(since))
    chunks = await archive.chunks(db, recording.id)
    await journal.forget(db, [chunk.event_id for chunk in chunks if chunk.event_id and chunk.reason == NOT_WANTED])
    return True


async def look_again(db: Connection, user_id: UserId, since: Position, now: datetime) -> None:
    """Have the broadcasts read that a member began after `since`, where they opted in, and that were not recorded since
    the command was not carried out yet."""
    for info in await rooms.states_of(db, dialects.INFOS, user_id):
        broadcast = broadcast_of(info) or info.event_id
        began = await journal.position_of(db, broadcast) if broadcast else None
        if broadcast is None or began is None or began <= since:
            continue
        if await archive.recording_of_broadcast(db, broadcast) is None and await may_record(
            db, info.room_id, user_id, began=began
        ):
            await jobs.add(db, orders.Reread(broadcast, info.room_id, user_id).job(), now)


async def is_out(db: Connection, room_id: RoomId, user_id: UserId) -> bool:
    """Return whether a member's last word for a room is `optout`, or was for one that it claims to replace."""
    return any(words and words[-1].out for words in await _words(db, await heirs.line(db, room_id), user_id))


async def has_said_out(db: Connection, room_id: RoomId, user_id: UserId) -> bool:
    """Return whether a member's last word for the podcast of a room is `optout`, whatever it claims to replace."""
    words, *_ = await _words(db, await heirs.line(db, room_id), user_id) or ((),)
    return bool(words) and words[-1].out


async def is_out_somewhere(db: Connection, user_id: UserId) -> bool:
    """Return whether a member's last word for any room, or for everywhere, is `optout`."""
    words = await optouts.of(db, user_id)
    where = {word.room_id for word in words}
    return any([word for word in words if word.room_id in (EVERYWHERE, room_id)][-1].out for room_id in where)


async def is_out_everywhere(db: Connection, user_id: UserId) -> bool:
    """Return whether a member has opted out everywhere, and nowhere in again since."""
    words = await optouts.of(db, user_id)
    everywhere = [index for index, word in enumerate(words) if word.room_id == EVERYWHERE]
    return bool(everywhere) and all(word.out for word in words[everywhere[-1] :])
