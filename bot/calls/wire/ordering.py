"""Messages to the bot in the order of their numbers, where they came in another. Pure.

MSC3401 numbers the messages of a device about a leg (`seq`), since to-device messages may come in any order. js-sdk
begins each leg at 0, Hydrogen counts on: a leg begins with the number of its invite or answer. A message that came too
early waits; when it has waited for `PATIENCE`, the numbers before it are given up.

The discussion of MSC3401 names the attack: numbers far apart, so that the receiver keeps everything. So what waits is
bounded for each device and user and in all, and the legs that are remembered for each user and in all. For a new one
that is forgotten which was heard least recently: nobody pushes out others while they speak. A message whose turn it is
passes in any case.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.calls.model import Answered, Device, LegId, Offered, Received
from storage.records import UserId

PATIENCE = timedelta(seconds=10)
MOST_WAITING = 64
"""Messages of one device that wait."""
MOST_WAITING_OF_A_USER, MOST_WAITING_OF_ALL = 128, 1024
MOST_LEGS_OF_A_USER = 64
"""Legs of one user's devices whose numbers are remembered; js-sdk makes a new one for each try."""
MOST_USERS = 320


@dataclass(slots=True)
class _Leg:
    """The numbers of one device about one leg. `next`: the one that is expected; None: the leg has not begun."""

    next: int | None = None
    waiting: dict[int, tuple[Received, datetime]] = field(default_factory=dict)


_LegKey = tuple[Device, LegId]


class Ordering:
    """The messages of one call. Each function returns messages whose turn has come, in their order."""

    def __init__(self) -> None:
        self._users: dict[UserId, dict[_LegKey, _Leg]] = {}  # both, least recently heard first
        self._late: dict[_LegKey, _Leg] = {}  # legs for whose messages others wait

    def take(self, received: Received, now: datetime) -> tuple[Received, ...]:
        """Take a message. One that came before, or for which there is no place, is dropped."""
        if received.seq is None:
            return (received,)
        leg = self._leg(received)
        begins = leg.next is None and (received.seq == 0 or isinstance(received.message, Offered | Answered))
        if begins:
            leg.next = received.seq
            leg.waiting = {seq: waiting for seq, waiting in leg.waiting.items() if seq > received.seq}
        if leg.next is not None and received.seq < leg.next:
            return ()
        if received.seq != leg.next and self._is_full(received):
            return ()
        leg.waiting.setdefault(received.seq, (received, now))
        return self._run((received.device, received.leg), leg)

    def overdue(self, now: datetime) -> tuple[Received, ...]:
        """Give up the numbers that did not come in time, and return what waited for them."""
        ready: list[Received] = []
        for key, leg in tuple(self._late.items()):
            while any(now - since >= PATIENCE for _, since in leg.waiting.values()):
                leg.next = min(leg.waiting)
                ready += self._run(key, leg)
        return tuple(ready)

    @property
    def due(self) -> datetime | None:
        """The time at which `overdue` has something to return; None: never."""
        since = [at for leg in self._late.values() for _, at in leg.waiting.values()]
        return min(since) + PATIENCE if since else None

    def _leg(self, received: Received) -> _Leg:
        """Find a leg's numbers, or begin to remember them; what was heard least recently is forgotten for it."""
        user = received.device.user_id
        legs = self._users.pop(user, {})
        self._users[user] = legs
        key = received.device, received.leg
        leg = legs.pop(key, None) or _Leg()
        legs[key] = leg
        if len(legs) > MOST_LEGS_OF_A_USER:
            self._forget(legs, next(iter(legs)))
        if len(self._users) > MOST_USERS:
            oldest = self._users.pop(next(iter(self._users)))
            for old in tuple(oldest):
                self._forget(oldest, old)
        return leg

    def _forget(self, legs: dict[_LegKey, _Leg], key: _LegKey) -> None:
        del legs[key]
        self._late.pop(key, None)

    def _is_full(self, received: Received) -> bool:
        device = received.device
        waiting = [(other, len(leg.waiting)) for (other, _), leg in self._late.items()]
        of_device = sum(count for other, count in waiting if other == device)
        of_user = sum(count for other, count in waiting if other.user_id == device.user_id)
        of_all = sum(count for _, count in waiting)
        return of_device >= MOST_WAITING or of_user >= MOST_WAITING_OF_A_USER or of_all >= MOST_WAITING_OF_ALL

    def _run(self, key: _LegKey, leg: _Leg) -> tuple[Received, ...]:
        """Take out of what waits for a leg the messages that are next."""
        ready = []
        while leg.next is not None and leg.next in leg.waiting:
            ready.append(leg.waiting.pop(leg.next)[0])
            leg.next += 1
        if leg.waiting:
            self._late[key] = leg
        else:
            self._late.pop(key, None)
        return tuple(ready)
