"""Each asker's share of the bot's answers: some at once, then one now and then. Pure but for what it remembers.

What is above it is not written down, so that a thousand commands of one member cost nobody else an answer.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from storage.records import EventId, UserId

AT_ONCE = 30
ONE_MORE_EACH = timedelta(seconds=5)
MOST_ASKERS = 10_000  # remembered; who asked last


class Share(Enum):
    LEFT = "left"
    EXCEEDED = "exceeded"  # by this one: the asker is to be told
    USED_UP = "used up"  # and the asker was told


@dataclass(slots=True)
class _Asker:
    counted_at: datetime
    left: float = AT_ONCE
    told: bool = False
    answered: dict[EventId, Share] = field(default_factory=dict)  # the last ones: a batch may be heard again


class Shares:
    """In memory: a restart gives everybody a full share."""

    def __init__(self) -> None:
        self._askers: OrderedDict[UserId, _Asker] = OrderedDict()

    def take(self, user_id: UserId, event_id: EventId, now: datetime) -> Share:
        """What is left for this command; the same for the same event."""
        asker = self._askers.setdefault(user_id, _Asker(now))
        self._askers.move_to_end(user_id)
        if len(self._askers) > MOST_ASKERS:
            self._askers.popitem(last=False)
        if event_id in asker.answered:
            return asker.answered[event_id]
        asker.left = min(AT_ONCE, asker.left + max(timedelta(), now - asker.counted_at) / ONE_MORE_EACH)
        asker.counted_at = now
        if asker.left == AT_ONCE:
            asker.told = False
        if asker.left < 1 and asker.told:
            return Share.USED_UP
        share = Share.LEFT if asker.left >= 1 else Share.EXCEEDED
        asker.left -= 1 if share is Share.LEFT else 0
        asker.told = asker.told or share is Share.EXCEEDED
        asker.answered[event_id] = share
        if len(asker.answered) > AT_ONCE:
            del asker.answered[next(iter(asker.answered))]
        return share
