"""Room upgrades: whether the new room continues the old one's podcast (Client-Server API, room upgrades).

Both rooms and a moderator of both have to confirm it. The new room's m.room.create names the old one; alone that counts
for nothing, since anybody can create such a room. The old room's m.room.tombstone, sent by a user who may send it,
names the new one. A moderator of both has let the bot into the new room, by an invite or by `record on` there. And the
bot is in both.

These conditions are met in any order, so they are checked after each change in either room (`settle`). Until then, and
after the line has ended, each room has a podcast of its own. A moderator of the old room ends a line (`take_back`), or
the bot's joining one of its rooms again (`begin_anew`); it never ends while the old room's tombstone names its heir.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import datetime

from bot import disclosure, facts, logged, orders, rules, topics, words
from bot.event_types import CREATE, MEMBER, POWER_LEVELS, TOMBSTONE
from bot.intake import calls, consent, disclosing, reviewing, walkie
from bot.intake.greeting import greet
from bot.language import _, speaking
from storage import archive, changes, heirs, jobs, journal, optouts, rooms, sealed_messages
from storage.database import Connection
from storage.records import Change, EndedBy, PodcastTexts, Room, RoomId, StateEvent, UserId, Visibility

log = logging.getLogger(__name__)

MADE_OF = frozenset({CREATE, TOMBSTONE, POWER_LEVELS, MEMBER})
"""Types of state that a line of rooms depends on."""

POLICIES = ("announce", "language", "retention", "review", "replay", "speakers", "studio", "studio_events")
"""Fields of a room that the command of the same name changes, and that an heir takes over."""
OWN_COVER = ("own_cover", "own_cover_event", "own_cover_room", "own_cover_sender")
TEXTS = tuple(field.name for field in fields(PodcastTexts))

Publishes = Callable[[UserId], bool]
"""A function that tells whether this moderator of a room may make its podcast public (`feeds.public_by`)."""


async def settle(db: Connection, room_id: RoomId, now: datetime, *, publishes: Publishes) -> None:
    """Begin the lines whose last condition a change in this room has met. An heir that was greeted before gets a new
    notice."""
    named = facts.predecessor(await rooms.state(db, room_id, CREATE))
    replacement = facts.replacement(await rooms.state(db, room_id, TOMBSTONE))
    for old, new in ((named, room_id), (room_id, replacement)):
        heir = await succeed(db, old, new, now, publishes=publishes) if old and new else None
        if heir is not None:
            await greet(db, heir, now, waits=heir.visibility is Visibility.PUBLIC)


async def succeed(
    db: Connection, old_id: RoomId, new_id: RoomId, now: datetime, *, publishes: Publishes
) -> Room | None:
    """Make the new room the heir of the old one, and return it as saved; None where it is no heir, or was one before.

    The heir takes over from the old room what is recorded, whether it is public (for what begins from now on), the
    picture, and every other policy that its own moderators have not chosen (`_with_policies_of`).
    The levels of a walkie-talkie, which homeservers copy, are put back: it is off in the heir until somebody switches
    it on there.
    Broadcasts that run in the old room are recorded to their end; new ones there are not. What runs in the heir is
    closed if its speaker may not be recorded by what holds there now, and waits for approval if the old room wanted
    that.
    """
    old, new = await rooms.room(db, old_id), await rooms.room(db, new_id)
    if old is None or new is None or await heirs.heir(db, old_id) or not await _both_say_so(db, old, new):
        return None
    if await heirs.pending(db, old_id) == new_id:  # who let the bot in was checked when the link was made
        await _confirm(db, old, new, now)
        return None
    said_on = await heirs.let_in_by(db, new_id)
    invited_by = () if new.inviter is None or new.direct else (new.inviter,)
    hosts = [user for user in (*invited_by, *said_on) if await _moderates(db, user, old_id, new_id)]
    if not hosts or not await heirs.inherit(db, old_id, new_id):
        return None
    public = old.visibility is Visibility.PUBLIC and any(map(publishes, hosts))
    heir = replace(
        new,
        recording_on=new.recording_on and (old.recording_on or bool(said_on)),
        visibility=Visibility.PUBLIC if public else Visibility.PRIVATE,
        public_since=await journal.position(db) if public else None,
        closed_since=await journal.position(db) if public and not old.publishes else None,
        revision=new.revision + 1,
        changed_at=now,
    )
    if not public:
        await archive.close(db, await heirs.line(db, heir.room_id))
    heir = await _with_policies_of(db, old, await _with_picture_of(db, old, heir, now), now)
    await rooms.save_room(db, heir)
    left = replace(
        old,
        recording_on=False,
        messages_since=None,
        messages_wait=False,
        calls_on=False,
        call_wanted=False,
        changed_at=now,
    )
    await rooms.save_room(db, left)
    if not heir.messages_on:  # else those that wait for their key are recorded when it comes
        await sealed_messages.forget_room(db, old_id)
    await walkie.inherit(db, old_id, new_id, now)
    await calls.look(db, new_id, now)
    await disclosing.compare(db, old, left, now)
    await disclosing.compare(db, new, heir, now)
    await _close_refused(db, heir, now)
    if heir.review and not new.review:
        await reviewing.hold(db, heir, now)
    log.info("heir: room=%s old=%s recording=%s %s", new_id, old_id, heir.recording_on, heir.visibility)
    return heir


async def take_back(db: Connection, room_id: RoomId, now: datetime) -> Room | None:
    """End the line after a room, and return the room, as saved, with a podcast of its own again. None while its
    tombstone names its heir, or where it has no heir."""
    heir = await heirs.heir(db, room_id)
    if heir is None or await _named_by(db, room_id) == heir:
        return None
    return await _part(db, room_id, heir, now)


async def begin_anew(db: Connection, room_id: RoomId, now: datetime) -> None:
    """End the line before a room that the bot joins again, unless the old room's tombstone still names it, or can't
    be read."""
    before = await heirs.predecessor(db, room_id)
    old = await rooms.room(db, before) if before else None
    if old is None or not old.joined or (await rooms.power(db, old.room_id)).create is None:
        return
    if await _named_by(db, old.room_id) != room_id:
        await _part(db, old.room_id, room_id, now)


async def judge_pending(db: Connection, room_id: RoomId, now: datetime) -> None:
    """Confirm or end the link to an heir that an earlier version made, once all of the room's state was read."""
    new_id, old = await heirs.pending(db, room_id), await rooms.room(db, room_id)
    new = await rooms.room(db, new_id) if new_id else None
    if new is None or old is None:
        return
    if await _both_say_so(db, old, new):
        await _confirm(db, old, new, now)
    elif await _named_by(db, room_id) != new.room_id:
        await _part(db, room_id, new.room_id, now)
        with speaking(old.language):
            body = _(words.PODCAST_IS_BACK)
        notice = orders.Notice(topics.podcast_back(room_id, new.room_id), room_id, body, prefixed=True)
        await jobs.add(db, notice.job(), now)


async def _both_say_so(db: Connection, old: Room, new: Room) -> bool:
    """Return whether the bot is in both rooms and each names the other, the old one in a tombstone whose sender may
    send it."""
    if not old.joined or not new.joined:
        return False
    if facts.predecessor(await rooms.state(db, new.room_id, CREATE)) != old.room_id:
        return False
    tombstone = await _tombstone(db, old.room_id)
    if tombstone is None or facts.replacement(tombstone) != new.room_id:
        return False
    return rules.may_send_state(tombstone.sender, TOMBSTONE, await rooms.power(db, old.room_id))


async def _tombstone(db: Connection, room_id: RoomId) -> StateEvent | None:
    return await rooms.state(db, room_id, TOMBSTONE)


async def _named_by(db: Connection, room_id: RoomId) -> RoomId | None:
    return facts.replacement(await _tombstone(db, room_id))


async def _moderates(db: Connection, user: UserId, *where: RoomId) -> bool:
    """Return whether the user is a joined moderator in each of the rooms. A user who left or was banned keeps their
    level, so membership is checked too. The present state decides; for a room that the bot has left none is known.
    """
    for room_id in where:
        member = await rooms.state(db, room_id, MEMBER, user)
        if not facts.is_joined(member) or not rules.is_mod(user, await rooms.power(db, room_id)):
            return False
    return True


async def _confirm(db: Connection, old: Room, new: Room, now: datetime) -> None:
    """Confirm a pending link, unless other lines contradict it by now."""
    if await heirs.inherit(db, old.room_id, new.room_id):
        for room in (old, new):
            await rooms.touch(db, room.room_id, now)
        log.info("heir confirmed: room=%s old=%s", new.room_id, old.room_id)


async def _part(db: Connection, old_id: RoomId, heir: RoomId, now: datetime) -> Room:
    """Give each of the two rooms a podcast of its own from now on, and return the old room.

    The old room is public again only if the podcast stayed public to the end, and then for broadcasts that begin from
    now on. An opt-out said in any room of the line holds in both halves.
    """
    old = await rooms.room(db, old_id)
    podcast = await rooms.room(db, await heirs.present(db, heir))
    assert old is not None
    assert podcast is not None, "an heir is a known room"
    await optouts.share(db, await heirs.line(db, old_id), (old_id, heir))
    await heirs.end(db, old_id)
    public = old.visibility is Visibility.PUBLIC and podcast.visibility is Visibility.PUBLIC
    if not public:
        await archive.close(db, await heirs.line(db, old_id))
    freed = replace(
        old,
        visibility=Visibility.PUBLIC if public else Visibility.PRIVATE,
        public_since=await journal.position(db) if public else None,
        closed_since=await journal.position(db) if public and not (old.publishes and podcast.publishes) else None,
        revision=old.revision + 1,
        changed_at=now,
    )
    await rooms.save_room(db, freed)
    await disclosing.compare(db, old, freed, now)
    await disclosing.show(db, heir, now)
    await rooms.touch(db, heir, now)
    for room_id in (old_id, heir):
        await jobs.add(db, orders.Cover(room_id).job(), now)
    log.warning("heir removed: room=%s old=%s", heir, old_id)
    return freed


async def _with_picture_of(db: Connection, old: Room, heir: Room, now: datetime) -> Room:
    """Give the heir the old room's picture, which subscribers know, until the heir's own name or avatar changes."""
    await jobs.add(db, orders.Cover(heir.room_id).job(), now)
    if old.cover is None:
        return heir
    if heir.cover is not None:
        await jobs.add(db, orders.Forget((heir.cover,)).job(), now)
    return replace(heir, cover=old.cover, cover_of=old.cover_of)


async def _with_policies_of(db: Connection, old: Room, heir: Room, now: datetime) -> Room:
    """Give the heir the old room's policies: what its people agreed on must not lapse by an upgrade. What a moderator
    of the heir chose there by a command stays, for they decide now."""
    newest = await changes.newest_of_each(db, heir.room_id)
    chosen = {what: change for what, change in newest.items() if change.by is not None}
    if old.messages_on and not heir.messages_on and not _switched_off(chosen):
        heir = replace(heir, messages_since=await journal.position(db))
    if old.calls_on and not _switched_off(chosen):
        heir = replace(heir, calls_on=True)
    policies = {name: getattr(old, name) for name in POLICIES if name.replace("_", " ") not in chosen}
    texts = {name: getattr(old.podcast, name) for name in TEXTS if f"podcast {name}" not in chosen}
    heir = replace(heir, **policies, podcast=replace(heir.podcast, **texts))
    if "podcast cover" in chosen or heir.own_cover == old.own_cover:
        return heir
    if heir.own_cover is not None:
        await jobs.add(db, orders.Forget((heir.own_cover,)).job(), now)
    return replace(heir, **{name: getattr(old, name) for name in OWN_COVER})


def _switched_off(newest: Mapping[str, Change]) -> bool:
    """Return whether people have switched off the recording of a kind, or all recording. `newest`: their newest change
    of each policy."""
    return any(newest[what].after == logged.switch(False) for what in disclosure.SWITCHES.values() if what in newest)


async def _close_refused(db: Connection, heir: Room, now: datetime) -> None:
    """Order the end of what runs in the heir and may not be recorded there (`consent.refuse_what_runs`)."""
    since = await journal.position(db)
    for recording in await archive.open_recordings(db, heir.room_id):
        if await consent.refused_of(db, recording, since):
            await jobs.add(db, orders.End(recording.id, EndedBy.SWITCHED_OFF, since).job(), now)
