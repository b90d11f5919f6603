"""Walkie-talkies: an event is applied to a room's floor in the caller's transaction. What follows from it for the
homeserver is a job (`orders.KeepFloor`)."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bot import orders
from bot.intake import floor_requests
from bot.walkie import levels, machine, permits
from bot.walkie.model import Asked, FloorEvent, Lapsed, Locked, SwitchedOff, SwitchedOn, Tick
from storage import jobs, walkies
from storage.database import Connection
from storage.records import (
    Floor,
    FloorPhase,
    Permit,
    PermitSource,
    Position,
    RoomId,
    StateEvent,
    UserId,
    Walkie,
)

log = logging.getLogger(__name__)


async def apply(db: Connection, room_id: RoomId, event: FloorEvent, now: datetime) -> Floor | None:
    """Apply an event to a room's floor, and return it as it is then; None where no walkie-talkie is on. Who asks
    without a permit gets no place."""
    walkie = await walkies.get(db, room_id)
    if walkie is None:
        return None
    return (await _apply(db, walkie, event, now)).floor if walkie.on else None


async def switch_on(db: Connection, room_id: RoomId, now: datetime, *, floor_s: float, guard_s: float) -> None:
    """Switch a room's walkie-talkie on. The caller has checked that the bot may (`levels.missing`)."""
    walkie = await walkies.get(db, room_id) or Walkie(room_id, on=False, floor_s=floor_s, guard_s=guard_s)
    if not walkie.on:
        walkie = replace(walkie, on=True, floor_s=floor_s, guard_s=guard_s, hindered=False)
        await _apply(db, walkie, SwitchedOn(), now)
        log.info("walkie-talkie on: room=%s", room_id)


async def switch_off(db: Connection, room_id: RoomId, now: datetime) -> None:
    """Switch a room's walkie-talkie off, and have its power levels put back."""
    walkie = await walkies.get(db, room_id)
    if walkie is not None and walkie.on:
        await _apply(db, replace(walkie, on=False), SwitchedOff(), now)
        log.info("walkie-talkie off: room=%s", room_id)


async def inherit(db: Connection, old_id: RoomId, new_id: RoomId, now: datetime) -> None:
    """Have the power levels put right that an upgraded room copied from the old one's walkie-talkie. It is not switched
    on by that: permits were not copied."""
    old, new = await walkies.get(db, old_id), await walkies.get(db, new_id)
    if old is None or not (old.saved or old.raised):
        return
    heir = new or Walkie(new_id, on=False, floor_s=old.floor_s, guard_s=old.guard_s)
    known = {one.user for one in heir.raised}
    copied = [replace(one, lowered_at=None) for one in old.raised if one.user not in known]
    saved = levels.inherited(heir.saved, old.saved)
    await walkies.save(db, replace(heir, saved=saved, raised=(*heir.raised, *copied)))
    await _order(db, new_id, now)


async def is_on(db: Connection, room_id: RoomId) -> bool:
    walkie = await walkies.get(db, room_id)
    return walkie is not None and walkie.on


# ---- permits


async def permit_of(db: Connection, room_id: RoomId, user: UserId) -> Permit | None:
    """Return the permit that counts of a member's, also one that has ended; None where they have none."""
    return permits.counting(await walkies.permits_of(db, room_id, user))


async def give_permit(
    db: Connection, room_id: RoomId, user: UserId, *, until: datetime | None, at: Position, now: datetime
) -> None:
    """Give a member a permit by the bot, which they asked for at the position `at`; `until` None: for ever."""
    given = Permit(room_id, user, PermitSource.BOT, at, receive=True, send=True, expires_at=until, written=False)
    await _permit(db, given, now)


async def end_permit(db: Connection, room_id: RoomId, user: UserId, *, at: Position, now: datetime) -> None:
    """End a member's permit by the bot: they left the walkie-talkie at the position `at`."""
    ended = Permit(room_id, user, PermitSource.BOT, at, receive=False, send=False, written=False)
    await _permit(db, ended, now)


async def _permit(db: Connection, permit: Permit, now: datetime) -> None:
    known = {other.source: other for other in await walkies.permits_of(db, permit.room_id, permit.user_id)}
    same = known.get(permit.source)
    if same is not None and same.position > permit.position:
        return
    known[permit.source] = permit
    await walkies.save_permit(db, permit)
    bots = known.get(PermitSource.BOT)
    if bots is not None and not bots.written and permits.counting(known.values()) is not bots:
        await walkies.save_permit(db, replace(bots, written=True))  # the member's own event is newer
    await look(db, permit.room_id, now)


# ---- what the sync shows


async def permit_heard(db: Connection, old: StateEvent | None, state: StateEvent, now: datetime) -> None:
    """Take in a permit of a member's own client, where `old` stood before. The bot's are known from their rows, and
    nobody else gives any. An event that was redacted stays where it was among the permits."""
    if state.state_key != state.sender or (old and (old.event_id, old.content) == (state.event_id, state.content)):
        return
    permit = permits.read(state.room_id, state.sender, state.content, state.position)
    if old is not None and old.event_id == state.event_id:
        known = await walkies.permits_of(db, state.room_id, state.sender)
        at = next((other.position for other in known if other.source is PermitSource.MEMBER), state.position)
        permit = replace(permit, position=at)
    await _permit(db, permit, now)


async def is_turn(db: Connection, old: StateEvent | None, state: StateEvent) -> bool:
    """Return whether a change of the power levels gives or takes a floor, and changes no rights of the bot's."""
    walkie = await walkies.get(db, state.room_id)
    return walkie is not None and old is not None and levels.differ_by_turns(old.content, state.content, walkie.raised)


async def floor_heard(db: Connection, state: StateEvent, now: datetime) -> None:
    """Have the floor event written again if it is not as the bot wrote it last."""
    walkie = await walkies.get(db, state.room_id)
    if walkie is not None and walkie.shown is not None and state.content != walkie.shown:
        await walkies.save(db, replace(walkie, shown=None))
        await _order(db, state.room_id, now)


async def look(db: Connection, room_id: RoomId, now: datetime) -> None:
    """Look at a room's clocks, permits and power levels again, if it has or had a walkie-talkie."""
    walkie = await walkies.get(db, room_id)
    if walkie is not None:
        await _apply(db, walkie, Tick(), now)
        await _order(db, room_id, now)


async def left(db: Connection, room_id: RoomId, users: Sequence[UserId], now: datetime) -> None:
    """End the floor of members who left the room, and their places in the queue."""
    walkie = await walkies.get(db, room_id)
    if walkie is None or not walkie.on:
        return
    for user in users:
        walkie = await _apply(db, walkie, Lapsed(user), now)


async def removed(db: Connection, room_id: RoomId, now: datetime) -> None:
    """End the floor of a room that the bot is out of. Its power levels are put right once the bot is back."""
    walkie = await walkies.get(db, room_id)
    if walkie is not None and walkie.on:
        after = replace(walkie, floor=machine.step(walkie, SwitchedOff(), now), shown=None)
        await _save(db, walkie, after, now)


# ---- at the start


async def begin(db: Connection, now: datetime, *, floor_s: float, guard_s: float) -> tuple[RoomId, ...]:
    """Look at all floors at the start of a process, under its settings. Return the rooms to be put right."""
    rooms = []
    for walkie in await walkies.every(db):
        if walkie.on or walkie.locked or walkie.saved or walkie.raised or walkie.delayed:
            anew = replace(walkie, floor_s=floor_s, guard_s=guard_s, shown=None)
            await _apply(db, anew, Tick(), now)
            await _order(db, walkie.room_id, now)
            rooms.append(walkie.room_id)
    return tuple(rooms)


# ---- the work


async def ticked(db: Connection, room_id: RoomId, now: datetime) -> Walkie | None:
    """Apply what the clock and the permits have done, for the job that brings the homeserver up to it."""
    walkie = await walkies.get(db, room_id)
    if walkie is None:
        return None
    after = await lapsed(db, walkie, now)
    after = replace(after, floor=machine.step(after, Tick(), now))
    if after != walkie:
        await _save(db, walkie, after, now)
    return after


async def kept(db: Connection, shown: Walkie, now: datetime) -> None:
    """Note that the homeserver is brought up to a walkie-talkie as it was a moment ago, and order the next look."""
    walkie = await walkies.get(db, shown.room_id)
    if walkie is None:
        return
    if shown.floor.phase is FloorPhase.RELEASING:
        walkie = await _apply(db, walkie, Locked(shown.floor.serial), now)
    due = await next_look(db, walkie)
    if due is not None:
        await jobs.add(db, orders.KeepFloor(shown.room_id).job(max(due, now)), now)


async def hindered(
    db: Connection, room_id: RoomId, notice: orders.Notice, now: datetime, *, again: datetime | None
) -> None:
    """End a room's floor, and its queue, because the homeserver refuses to keep it. The room is told, once until that
    is over. `again`: when that is tried again; None: when the bot has more power."""
    walkie = await walkies.get(db, room_id)
    if walkie is None:
        return
    if not walkie.hindered:
        await jobs.add(db, notice.job(), now)
    await _save(db, walkie, replace(walkie, hindered=True, floor=machine.step(walkie, SwitchedOff(), now)), now)
    if again is not None:
        await jobs.add(db, orders.KeepFloor(room_id).job(again), now)
    log.warning("floor can't be kept, the homeserver refuses: room=%s", room_id)


async def _apply(db: Connection, walkie: Walkie, event: FloorEvent, now: datetime) -> Walkie:
    """Apply an event after what the clock and the permits have done; store what changed, and order its consequences."""
    after = await lapsed(db, walkie, now)
    after = replace(after, floor=machine.step(after, Tick(), now))
    if not isinstance(event, Asked) or permits.may_send(await permit_of(db, walkie.room_id, event.user), now):
        after = replace(after, floor=machine.step(after, event, now))
    before = await walkies.get(db, walkie.room_id)
    if after != before:
        await _save(db, before, after, now)
        await _order(db, walkie.room_id, now)
    if before is None or after.floor.holder != before.floor.holder:
        log.info("floor: room=%s holder=%s phase=%s", walkie.room_id, after.floor.holder, after.floor.phase)
    return after


async def _save(db: Connection, before: Walkie | None, after: Walkie, now: datetime) -> None:
    """Store a walkie-talkie, and do what was ordered for the requests that wait no longer."""
    await walkies.save(db, after)
    if before is not None:
        await floor_requests.settle(db, before.floor, after.floor, now)


async def lapsed(db: Connection, walkie: Walkie, now: datetime) -> Walkie:
    """Return a walkie-talkie without those whose permit has ended, neither as holder nor in its queue."""
    floor = walkie.floor
    present = [*([floor.holder] if floor.holder else []), *(request.user for request in floor.queue)]
    if not (walkie.on and present):
        return walkie
    given = permits.counting_of_each(await walkies.permits_of(db, walkie.room_id, *present))
    for user in present:
        if not permits.may_send(given.get(user), now):
            walkie = replace(walkie, floor=machine.step(walkie, Lapsed(user), now))
    return walkie


async def next_look(db: Connection, walkie: Walkie) -> datetime | None:
    """Return when the floor changes by itself: a time is over, or the holder's permit ends."""
    holder = walkie.floor.holder
    permit = await permit_of(db, walkie.room_id, holder) if holder else None
    times = [machine.next_look(walkie), permit.expires_at if permit else None]
    return min((time for time in times if time is not None), default=None)


async def _order(db: Connection, room_id: RoomId, now: datetime) -> None:
    await jobs.add(db, orders.KeepFloor(room_id).job(), now)
