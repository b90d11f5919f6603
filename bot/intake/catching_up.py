"""Rooms that were restored from a backup: what happened since then is learnt before their podcasts open again.

A room is behind until its state was read, its history was walked back to the backup, and everything found there was
handled: redactions, departures, missed broadcasts. Nobody gets a feed, page or sound of it before.

Policies are not in the room's history, as commands are not carried out a second time, and in an encrypted room they
can't even be read. What protects people is kept in the bot's account data (`bot.intake.kept_wishes`). And what the bot
itself left in the room tells of some: its state event says what was switched off and made private since, and its edits
of announcements say which recordings were deleted or lost a speaker, of those that are found again too. All of that
counts in the safe direction only, but for `retention`: the last rule holds where it is certain which that is, and the
room is told anew before anything goes. Of the rest the room is told. What was announced or handed back since is not
said again.
"""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from bot import disclosure, orders, topics, words
from bot.dialects import own, studio
from bot.event_types import DISCLOSURE
from bot.intake import chats, disclosing, kept_wishes, walkie
from bot.intake.kept_wishes import Apply
from bot.intake.reviewing import APPROVED, WAITS
from bot.intake.sealed_wishes import Wishes
from bot.language import speaking
from bot.recording.kinds import kind_of
from bot.recording.retention import Policy, plan
from bot.settings import RetentionSettings
from storage import archive, changes, found_again, gaps, heirs, jobs, journal, rooms, studio_events
from storage import kept_wishes as own_notes
from storage.database import Connection
from storage.found_again import Trace
from storage.records import (
    EVERYWHERE,
    Behind,
    Change,
    EventId,
    HeardEvent,
    JobKind,
    Json,
    Recorded,
    Recording,
    RecordingState,
    Retention,
    Room,
    RoomId,
    UserId,
    Visibility,
)

log = logging.getLogger(__name__)

RESTORED = "restored"
"""The key of the value that says when the backup was made from which the store was restored last."""
DROPPED: Collection[type[orders.Order]] = (
    orders.CheckFeed,
    orders.Command,
    orders.Confirm,
    orders.Direct,
    orders.HandBack,
    orders.HandBackPart,
    orders.ImportKeys,
    orders.MakeWalkie,
    orders.Notice,
    orders.PingHub,
    orders.PutButtons,
    orders.React,
    orders.TakeAway,
)
"""Orders that waited when the backup was made and that are given up: most were carried out since, and as the homeserver
knows a transaction only together with its device, a second time would be seen. Greetings are said again: nothing is
recorded before they are in the room."""
LEARNING: Collection[JobKind] = frozenset(
    order.kind for order in (orders.Refresh, orders.Walk, orders.Reread, orders.Redaction, orders.HearAgain, orders.End)
)
"""Kinds of jobs by which something of a room is learnt, or carried out that was."""


async def begin(db: Connection, made_at: datetime, now: datetime) -> None:
    """Mark everything as behind, in a database that was restored from a backup made at this time."""
    for kind in DROPPED:
        for job in await jobs.unfinished(db, kind.kind):
            if not (kind is orders.Notice and orders.Notice.of(job).greets):
                await jobs.drop(db, job.id)
    with_recordings = await archive.rooms_with_recordings(db)
    for room in await rooms.all_rooms(db):
        if room.joined or room.room_id in with_recordings:
            await rooms.save_room(db, replace(room, behind=Behind.WALKED if room.joined else Behind.OUT))
            await jobs.add(db, orders.CatchUp(room.room_id).job(), now)
        if room.joined:
            await walkie.switch_off(db, room.room_id, now)  # its power levels are put back, whatever they were
    known = [room.room_id for room in await rooms.all_rooms(db)]
    await kept_wishes.begin(db, known, now)
    await studio_events.doubt(db)  # most were sent since
    await archive.forget_expiry(db)  # each room is told anew, so that somebody can say `keep` again
    await journal.put(db, RESTORED, made_at.isoformat())


async def not_walked(db: Connection, room_id: RoomId) -> None:
    """Note that a room's history could not be read back to the backup."""
    room = await rooms.room(db, room_id)
    if room is not None and room.behind is Behind.WALKED:
        await rooms.save_room(db, replace(room, behind=Behind.UNWALKED))


async def own_message(db: Connection, us: UserId, heard: HeardEvent, now: datetime) -> None:
    """Note what a message of the bot's own, from after the backup, says of recordings. One whose announcement the bot
    edited, as it does where a recording was deleted or lost a speaker, is held back, or will be when it is found again.
    Also of an encrypted message the relation is in clear."""
    edited, answered, held = own.edited_by(us, heard), own.answered_by(us, heard), own.held_by(us, heard)
    about = edited or answered or held
    room = await rooms.room(db, heard.room_id) if about is not None else None
    if room is None or room.behind is None:
        return
    here = room.room_id
    if edited is not None:
        await found_again.note(db, here, Trace.EDITED, edited)
        announced = await archive.announced_as(db, here, edited)
        started = announced.event_id if announced else await found_again.get(db, here, Trace.ANSWERS, edited)
        if started is not None:
            await _hold(db, room, EventId(started), now)
    elif answered is not None:
        await found_again.note(db, here, Trace.ANSWERS, heard.event_id, answered)
        await found_again.note(db, here, Trace.ANSWERED, answered, heard.event_id)
        if await found_again.get(db, here, Trace.EDITED, heard.event_id) is not None:
            await _hold(db, room, answered, now)
    elif held is not None:
        await found_again.add_handed_back(db, here, held, heard.event_id)


async def _hold(db: Connection, room: Room, started: EventId, now: datetime) -> None:
    """Hold the recording of a started event back, also where it is yet to be found again."""
    recording = await archive.recording_by_event(db, started)
    if recording is None:
        await found_again.note(db, room.room_id, Trace.HELD, started)
    else:
        await _hold_recording(db, room, recording, now)


async def _hold_recording(db: Connection, room: Room, recording: Recording, now: datetime) -> None:
    if recording.unreviewed or recording.state is RecordingState.DELETED:
        return
    await archive.save_recording(db, replace(recording, unreviewed=True))
    await rooms.touch(db, recording.room_id, now)
    await changes.add(db, Change(0, now, room.room_id, None, "approve", recording.code, APPROVED, WAITS))
    log.warning("held back, as it was changed or ended after the backup: recording=%s", recording.code)


async def unread_wishes(db: Connection, room_id: RoomId) -> str | None:
    """Return in words that the wishes of a room, or those for everywhere, are yet to be read; None if they were."""
    if await own_notes.is_unread(db, room_id) or await own_notes.is_unread(db, EVERYWHERE):
        return "what was wished since the backup is being read"
    return None


async def awaited(db: Connection, room_id: RoomId) -> str | None:
    """Return what is awaited before everything that happened in a room since the backup is known and handled, in words;
    None for nothing."""
    if (unread := await unread_wishes(db, room_id)) is not None:
        return unread
    if await gaps.walking(db, room_id):
        return "its history is being read"
    if await journal.waits_in(db, room_id):
        return "its events are being handled"
    learning = await jobs.unfinished_of(db, LEARNING)
    of_room = {recording.id for recording in await archive.not_deleted(db, [room_id])} if learning else set()
    for job in learning:
        ends = orders.End.of(job).recording in of_room if job.kind == orders.End.kind else False
        if ends or room_id in (job.turn, job.subject):
            return f"a job is to be done first: {job.kind}"
    return None


async def ask_for_each(db: Connection, room: Room, now: datetime) -> None:
    """Order a comparison of all recordings of a room with the homeserver, as its history does not tell."""
    for recording in await archive.not_deleted(db, [room.room_id]):
        if (key := studio.key_of(recording.event_id)) is not None:
            for sent in await studio_events.of(db, key):
                if sent.event_id is not None:
                    await jobs.add(db, orders.Redaction(sent.event_id, room.room_id).job(), now)
            continue
        if kind_of(recording).related:
            order = orders.Reread(recording.event_id, room.room_id, recording.broadcaster)
            await jobs.add(db, order.job(), now)
            continue
        events = {chunk.event_id for chunk in await archive.chunks(db, recording.id)} | {recording.event_id}
        for asked in sorted(each for each in events if each and not studio.is_ours(each)):
            await jobs.add(db, orders.Redaction(asked, room.room_id).job(), now)
    await rooms.save_room(db, replace(room, behind=Behind.ASKED))


async def reopen(
    db: Connection, apply: Apply, room: Room, said: Json | None, limits: RetentionSettings, now: datetime
) -> None:
    """Open the podcast of a room again that the bot was out of at the backup and is out of now. `said`: the content of
    the bot's state event when it left, where the homeserver tells."""
    after, private, wishes = room, False, await kept_wishes.read(db, room.room_id)
    if said is not None or wishes is not None:
        after, private = await _narrowed(db, room, said, wishes)
    await _open(db, apply, room, after, said, wishes, limits, now, private=private)


async def settle(db: Connection, room_id: RoomId, now: datetime) -> None:
    """Let a room that the backup does not know, and that is open from the start, record and publish no more than what
    was kept of it says, and keep it for as long, once the room is there."""
    room, wishes = await rooms.room(db, room_id), await kept_wishes.read(db, room_id)
    if room is None or room.behind is not None or wishes is None:
        return
    after, _ = await _narrowed(db, kept_wishes.stricter(room, wishes), None, wishes)
    said = kept_wishes.said(wishes)
    for kind in after.awaits_notice - own.recorded(said) if said is not None else ():
        after = _without(after, kind)
    rule, words_here = _retention(said), await changes.newest_of_each(db, room_id, by_rules=False)
    if rule is not None and "retention" not in words_here:  # else somebody has said one again
        after = replace(after, retention=rule)
    await own_notes.forget_read(db, room_id)
    if after != room:
        await rooms.save_room(db, replace(after, changed_at=now))
        await rooms.touch(db, room_id, now)
        await disclosing.compare(db, room, after, now)


async def end(
    db: Connection,
    apply: Apply,
    room: Room,
    us: UserId,
    when: str,
    prefix: str,
    limits: RetentionSettings,
    now: datetime,
) -> None:
    """Open a room's podcast again, after its policies were compared with the state event of before. `when` the backup
    was made, in words."""
    state = await rooms.state(db, room.room_id, DISCLOSURE)
    said = state.content if state is not None and state.sender == us else None
    wishes = await kept_wishes.read(db, room.room_id)
    after, podcast = await _narrowed(db, room, said, wishes)
    held = await _open(db, apply, room, after, said, wishes, limits, now, private=podcast)
    if await chats.is_mere_chat(db, after):
        return
    off = room.switched_on - after.switched_on
    with speaking(after.language):
        spoken = disclosure.spoken(off) if off else ""
        known = wishes is not None
        body = words.restored(when=when, off=spoken, private=podcast, held=held, known=known, prefix=prefix)
    notice = orders.Notice(topics.restored(room.room_id, now), room.room_id, body)
    await jobs.add(db, notice.job(), now)


async def _open(
    db: Connection,
    apply: Apply,
    room: Room,
    after: Room,
    said: Json | None,
    wishes: Wishes | None,
    limits: RetentionSettings,
    now: datetime,
    *,
    private: bool,
) -> int:
    """Save a room that is no longer behind, let what was found again meet the wishes that were kept, hold back what
    retention has ended, and look at that again. Return how many recordings that are."""
    shown, kept = _retention(said), _retention(kept_wishes.said(wishes))
    await _meet(db, apply, room, after, wishes, now)
    held = await _hold_ended(db, room, {rule for rule in (room.retention, shown, kept) if rule}, limits, now)
    after = replace(after, retention=_last_rule(room.retention, shown, kept, limits.max_days))
    await rooms.save_room(db, replace(after, behind=None, changed_at=now))
    if private:
        await archive.close(db, await heirs.line(db, room.room_id))
    await rooms.touch(db, room.room_id, now)
    await disclosing.compare(db, room, after, now)
    await found_again.forget_messages(db, room.room_id)
    await own_notes.forget_read(db, room.room_id)
    await jobs.add(db, orders.KeepWishes(room.room_id).job(), now)
    await jobs.add(db, orders.Expire(await heirs.present(db, room.room_id)).job(), now)
    log.info("caught up after a restore: room=%s", room.room_id)
    return held


def _retention(said: Json | None) -> Retention | None:
    return own.retention(said) if said is not None else None


def _last_rule(backup: Retention, shown: Retention | None, kept: Retention | None, max_days: int | None) -> Retention:
    """Return the rule that decides what is deleted from now on: the last one that was said, where that is certain.

    It is `kept` in the bot's account data, unless the state event has `shown` another: the bot may have lost the power
    to send that, or the account data may have failed. Then, and where only the state event tells, nothing goes that one
    of these rules keeps. The state event shows the administrator's limit in place of a longer rule.
    """
    if kept is not None and (shown is None or kept.within(shown.days) == shown):
        return kept
    for told in (shown, kept):
        if told is not None and told != backup.within(max_days):
            backup = backup.or_longer(told)
    return backup


async def _meet(db: Connection, apply: Apply, room: Room, after: Room, wishes: Wishes | None, now: datetime) -> None:
    """Let recordings that were found again meet the wishes that were kept: those for this room, those for everywhere,
    `review on`, and that their kind was switched off at some time since the backup."""
    for place, kept in ((room.room_id, wishes), (EVERYWHERE, await kept_wishes.read(db, EVERYWHERE))):
        if kept is not None:
            await kept_wishes.meet(db, apply, place, kept, now)
    made_at = await journal.get(db, RESTORED)
    off = room.switched_on - after.switched_on
    if made_at is None or not (off or (wishes is not None and wishes.review)):
        return
    for recording in await archive.not_deleted(db, [room.room_id]):
        found = recording.started_at > datetime.fromisoformat(made_at)
        switches = kind_of(recording).recorded_with
        if found and not recording.kept and (after.review or (switches & off and not switches & after.switched_on)):
            await _hold_recording(db, room, recording, now)


async def _hold_ended(
    db: Connection, room: Room, rules: Collection[Retention], limits: RetentionSettings, now: datetime
) -> int:
    """Hold back what any of these rules has ended by now: most was deleted before the disaster. It is deleted when the
    room was told, as anything that retention ends, unless somebody keeps it."""
    line = await heirs.line(db, room.room_id)
    if line[-1] != room.room_id:
        return 0  # the rule of the present room holds for the whole podcast
    recordings, ended = await archive.not_deleted(db, line), dict[EventId, Recording]()
    for rule in rules:
        policy = Policy(rule, limits.max_days, warn_days=0)
        found = await asyncio.to_thread(plan, recordings, policy, now)
        ended |= {each.recording.event_id: each.recording for each in found.go if not each.recording.unreviewed}
    for recording in ended.values():
        await _hold_recording(db, room, recording, now)
    return len(ended)


async def _narrowed(db: Connection, room: Room, said: Json | None, wishes: Wishes | None) -> tuple[Room, bool]:
    """Return the room without what was switched off since the backup, by the state event that the bot left and by what
    it kept, and whether its podcast becomes private. Without either it is not known whether it was public at the end:
    it is private."""
    after, told = room, [content for content in (said, kept_wishes.said(wishes)) if content is not None]
    for content in told:
        for kind in room.switched_on - room.awaits_notice - own.recorded(content):
            after = _without(after, kind)
    public = room.visibility is Visibility.PUBLIC and await heirs.heir(db, room.room_id) is None
    closes = public and room.closed_since is None and not (told and all(map(own.is_public, told)))
    if closes:
        after = replace(after, visibility=Visibility.PRIVATE, public_since=None, closed_since=None)
    return after, closes


def _without(room: Room, kind: Recorded) -> Room:
    match kind:
        case Recorded.BROADCASTS:
            return replace(room, recording_on=False)
        case Recorded.MESSAGES:
            return replace(room, messages_since=None, messages_wait=False)
        case Recorded.CALLS:
            return replace(room, calls_on=False, call_wanted=False)
