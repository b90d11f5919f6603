"""Consent: who may be recorded in a room. One function answers (`may_record`), and is asked before anything is fetched.

A member's last word for the room counts: the newest `optout` or `optin` that they said in one of the rooms of its
podcast, or in a direct chat, for everywhere. Where a room only claims to replace another, the other's words can forbid,
too, but never allow: an upgrade that is not confirmed yet exposes nobody, and no claim undoes an `optout`. `optin`
counts from its position in the timeline: a broadcast or message that began before it stays unrecorded, and so does
everything of the past.

A recording of several speakers goes on without one who objects. Only where nobody else takes part it is closed.

The moderators' choice (`speakers`) is that of the podcast's present room. It never overrules a member who opted out.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bot import dialects, facts, orders
from bot.dialects.events import Event
from bot.dialects.state import broadcast_of
from bot.event_types import CREATE
from bot.recording.chunks import GIVEN_UP, NOT_WANTED
from bot.recording.kinds import kind_of
from bot.recording.model import RecordingEvent, Rejected, Silenced, VoiceMessage
from bot.recording.objecting import began
from storage import archive, heirs, jobs, journal, optouts, rooms, sealed_messages
from storage.database import Connection
from storage.records import (
    EVERYWHERE,
    Chunk,
    HeardEvent,
    OptOut,
    Position,
    Recording,
    RecordingId,
    Room,
    RoomId,
    UserId,
)

AT_ONCE = 20
"""The number of recordings that had ended and that one transaction closes."""

Apply = Callable[[Connection, RecordingId, RecordingEvent], Awaitable[None]]
"""The recorder's application of an event to a recording, in the caller's transaction."""


async def may_record(
    db: Connection,
    room_id: RoomId,
    user_id: UserId,
    *,
    began: Position | None = None,
    sent_at: datetime | None = None,
    room: Room | None = None,
) -> bool:
    """Return whether this user may be recorded in this room.

    `began`: the position at which their broadcast began, where it has one. `sent_at`: the time at which it began, for
    one that is read from the past: its position may be that of the reading. `room`: this room, where it was read in
    this transaction.
    """
    line = await heirs.line(db, room_id)
    present = room if room is not None and line[-1] == room_id else await rooms.room(db, line[-1])
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
    now: in a room that was told what is recorded, and of a sender who may be recorded, or may be once a command is
    carried out."""
    if not isinstance(event, VoiceMessage):
        return False
    room = await rooms.room(db, heard.room_id)
    if room is None or room.told_at is None:
        return False
    if await may_record(db, heard.room_id, event.sender):
        return True
    return room.messages_on and await _may_be_allowed(db, heard.room_id, event.sender)


async def _may_be_allowed(db: Connection, room_id: RoomId, user_id: UserId) -> bool:
    """Return whether something was said in a room, or by a member elsewhere, that waits to be handled: a command that
    allows to record them may be among it."""
    said = [orders.Command.of(job) for job in await jobs.unfinished(db, orders.Command.kind)]
    by_command = any(command.room_id == room_id or command.sender == user_id for command in said)
    return by_command or await journal.waits(db, room_id, user_id)


async def may_go_on(db: Connection, recording: Recording) -> bool:
    """Return whether more of a broadcast may be recorded."""
    return await may_record(db, recording.room_id, recording.broadcaster, began=recording.position)


async def may_fetch(db: Connection, recording: Recording, chunk: Chunk) -> bool:
    """Return whether the sound of a chunk may be fetched."""
    return await may_record(db, recording.room_id, chunk.sender, began=began(recording, chunk))


@dataclass(frozen=True, slots=True)
class Refused:
    """A recording that an objection concerns. `closed`: nobody else takes part in it; else it goes on without those who
    may not be recorded."""

    recording: Recording
    closed: bool


async def close_refused(
    db: Connection, apply: Apply, objection: orders.CloseRefused, now: datetime
) -> tuple[Refused, ...]:
    """Take out what may not be recorded any more after an objection: of all that is open, and of the first that have
    ended; the order itself is for the rest. Return the recordings that were open."""
    running = await optouts.running(db, user_id=objection.user_id, room_ids=objection.room_ids)
    concerned = [await _refuse(db, apply, recording, objection) for recording in running]
    if objection.user_id is not None:
        await sealed_messages.forget_sender(db, objection.user_id, objection.room_ids)
    rest = await close_ended(db, apply, objection)
    if rest is not None:
        await jobs.add(db, rest.job(), now)
    return tuple(refused for refused in concerned if refused is not None)


async def close_ended(db: Connection, apply: Apply, objection: orders.CloseRefused) -> orders.CloseRefused | None:
    """Take out of the next recordings that have ended what may not be completed after an objection, in the caller's
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
        await _refuse(db, apply, recording, objection)
    return replace(objection, after=found[-1].id) if len(found) == AT_ONCE else None


async def _refuse(db: Connection, apply: Apply, recording: Recording, objection: orders.CloseRefused) -> Refused | None:
    """Apply an objection to a recording; None if it changes nothing."""
    members, refused = await _taking_part(db, recording, objection.since)
    if not refused or objection.user_id not in (None, *refused):
        return None
    closed = _closes(recording, members, refused)
    objecting = refused if closed or objection.user_id is None else {objection.user_id}
    await _silence(db, apply, recording, dict.fromkeys(sorted(objecting), objection.since), closed=closed)
    return Refused(recording, closed)


async def refuse_what_runs(db: Connection, apply: Apply, recording: Recording, since: Position) -> None:
    """Apply to a running recording what holds now for its room, which continues another's podcast since a position.
    Nothing stays of a speaker who had opted out in the old room; of one whom its moderators had not chosen, the sound
    so far does."""
    members, refused = await _taking_part(db, recording, since)
    before_all = Position(recording.position - 1)
    places = {
        member: before_all if await is_out(db, recording.room_id, member) else since for member in sorted(refused)
    }
    if refused:
        await _silence(db, apply, recording, places, closed=_closes(recording, members, refused))


def _closes(recording: Recording, members: frozenset[UserId], refused: frozenset[UserId]) -> bool:
    """Return whether a recording ends: nobody may be recorded who takes part in it."""
    return refused == members and not kind_of(recording).goes_on


async def refused_of(db: Connection, recording: Recording, since: Position) -> frozenset[UserId]:
    """Return those who take part in a recording, and may not be recorded in it from a position on."""
    _, refused = await _taking_part(db, recording, since)
    return refused


async def _taking_part(
    db: Connection, recording: Recording, since: Position
) -> tuple[frozenset[UserId], frozenset[UserId]]:
    """Return all who take part in a recording, and those of them who may not be recorded in it from a position on."""
    kind = kind_of(recording)
    members = kind.taking_part(recording, await archive.chunks(db, recording.id))
    place = since if kind.several_speakers else recording.position
    refused = [user for user in members if not await may_record(db, recording.room_id, user, began=place)]
    return members, frozenset(refused)


async def _silence(
    db: Connection, apply: Apply, recording: Recording, places: Mapping[UserId, Position], *, closed: bool
) -> None:
    """Take out of a recording what each of these members said behind a place. `closed`: nobody else takes part."""
    one_place = len(set(places.values())) == 1
    if not (closed and one_place):
        for member, place in places.items():
            await apply(db, recording.id, Silenced(place, member))
    if closed:
        await apply(db, recording.id, Silenced(max(places.values())))
    chunks = await archive.chunks(db, recording.id)
    await journal.forget(db, [chunk.event_id for chunk in chunks if chunk.event_id and chunk.reason == NOT_WANTED])


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
