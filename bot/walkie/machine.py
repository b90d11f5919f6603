"""The floor of a walkie-talkie: a floor and an event in, the new floor out. Pure; the clock is passed in.

    free ──asked──▶ held ──spoke, gave back, lapsed, time over──▶ releasing ──locked──▶ guard ──guard_s──▶ held | free

What is hard to see in the code:

- The floor is what the bot has decided; the homeserver follows (`bot.worker.keeping_floors`). So a floor that was taken
  back is `releasing` until the homeserver has lowered its last holder: only then the guard time begins, and the next
  member can be raised. Thus there are never two holders, however late the homeserver is.
- The queue moves at the end of the guard time alone, and one step for each grant. Each grant ends by itself after
  `floor_s`, so whoever waits gets the floor in the end.
- Who asks while they have the floor, or wait for it already, changes nothing: one place for each member. The holder may
  ask again once the floor is taken back, behind those who wait.
- Which transmissions count is not decided here, but by their place in the timeline (`bot.recording.session.floor`).
"""

import json
from dataclasses import replace
from datetime import datetime, timedelta

from bot.walkie.model import (
    Asked,
    FloorEvent,
    GaveBack,
    Lapsed,
    Locked,
    Spoke,
    SwitchedOff,
    SwitchedOn,
    Tick,
    TookBack,
)
from storage.records import Floor, FloorPhase, FloorRequest, Json, UserId, Walkie

MOST_WAITING = 100
"""The most members in a queue."""
MOST_BYTES = 32_768
"""The most bytes of the user ids in a queue, as JSON: an event holds 64 KiB (Client-Server API, size limits)."""
CLOCK_JITTER = timedelta(seconds=5)
"""The time by which an event may be applied later than another one that happened after it. What seems to lie further in
the future was written down before the clock was set back."""


def step(walkie: Walkie, event: FloorEvent, now: datetime) -> Floor:
    """Apply an event to the floor of a walkie-talkie."""
    floor = walkie.floor
    match event:
        case SwitchedOn():
            return Floor(serial=floor.serial, phase=_after_release(floor), since=now)
        case SwitchedOff():
            return replace(_released(floor, now) if floor.holder else floor, queue=())
        case _ if not walkie.on and not isinstance(event, Locked):
            return floor
        case Asked() if not is_known(floor, event.user) and _has_place(floor, event.user):
            waiting = FloorRequest(event.user, event.event_id, event.position)
            return _next(replace(floor, queue=(*floor.queue, waiting)), walkie, now)
        case TookBack(user=user):
            return _without(floor, user)
        case GaveBack(user=user) | Lapsed(user=user):
            return _ended(_without(floor, user), user, now)
        case Spoke(user=user):
            return _ended(floor, user, now)
        case Locked(serial=serial) if floor.phase is FloorPhase.RELEASING and serial == floor.serial:
            locked = replace(floor, phase=FloorPhase.GUARD, guard_until=now + timedelta(seconds=walkie.guard_s))
            return _next(locked, walkie, now)
        case Tick():
            return _tick(floor, walkie, now)
    return floor


def is_known(floor: Floor, user: UserId) -> bool:
    """Return whether a member has the floor, or waits for it."""
    return floor.holder == user or any(request.user == user for request in floor.queue)


def next_look(walkie: Walkie) -> datetime | None:
    """Return when a Tick changes the floor; None where time alone changes nothing."""
    floor = walkie.floor
    match floor.phase if walkie.on else None:
        case FloorPhase.HELD:
            return floor.until
        case FloorPhase.GUARD:
            return floor.guard_until
    return None


def content(floor: Floor) -> Json:
    """Return the content of the state event that shows the floor. Without a holder both times are that of the end of
    the last one's floor."""
    since = floor.since
    until = floor.until or since
    return {
        "holder": floor.holder,
        "since": 0 if since is None else round(since.timestamp() * 1000),
        "until": 0 if until is None else round(until.timestamp() * 1000),
        "queue": [request.user for request in floor.queue],
    }


def _tick(floor: Floor, walkie: Walkie, now: datetime) -> Floor:
    if floor.phase is FloorPhase.HELD and floor.since is not None and floor.until is not None:
        was_set_back = floor.since - now > CLOCK_JITTER
        if now >= floor.until or was_set_back:
            return _released(floor, now)
    return _next(floor, walkie, now)


def _next(floor: Floor, walkie: Walkie, now: datetime) -> Floor:
    """Give a floor that is free to the first in the queue, once the guard time is over."""
    if floor.phase is FloorPhase.GUARD and floor.guard_until is not None:
        was_set_back = floor.guard_until - now > timedelta(seconds=walkie.guard_s) + CLOCK_JITTER
        if now >= floor.guard_until or was_set_back:
            floor = replace(floor, phase=FloorPhase.FREE, guard_until=None)
    if floor.phase is not FloorPhase.FREE or not floor.queue:
        return floor
    first, *others = floor.queue
    return Floor(
        phase=FloorPhase.HELD,
        holder=first.user,
        since=now,
        until=now + timedelta(seconds=walkie.floor_s),
        queue=tuple(others),
        serial=floor.serial + 1,
        request=first.event_id,
    )


def _has_place(floor: Floor, user: UserId) -> bool:
    """Return whether one more member can wait: the event that shows the floor holds so many."""
    users = [*(request.user for request in floor.queue), user]
    return len(users) <= MOST_WAITING and len(json.dumps(users)) <= MOST_BYTES


def _ended(floor: Floor, user: UserId, now: datetime) -> Floor:
    return _released(floor, now) if floor.holder == user else floor


def _released(floor: Floor, now: datetime) -> Floor:
    """Take the floor back from its holder; the queue stays."""
    return Floor(phase=FloorPhase.RELEASING, since=now, queue=floor.queue, serial=floor.serial)


def _after_release(floor: Floor) -> FloorPhase:
    """Return the phase in which a new floor begins: behind a holder whom the homeserver may not have lowered yet."""
    busy = floor.phase in (FloorPhase.HELD, FloorPhase.RELEASING)
    return FloorPhase.RELEASING if busy else FloorPhase.FREE


def _without(floor: Floor, user: UserId) -> Floor:
    return replace(floor, queue=tuple(request for request in floor.queue if request.user != user))
