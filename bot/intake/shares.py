"""Each member's share of the bot's work: of its answers, and of what the members of a walkie-talkie wish. Pure, except
for its memory.

A command beyond the share is not stored, so that a thousand commands of one member delay no answer to others.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from storage.records import EventId, UserId

AT_ONCE = 30
"""The commands of a member that are answered at once, after a rest."""
ONE_MORE_EACH = timedelta(seconds=5)
MOST_ASKERS = 10_000  # members that are remembered: the last ones to ask


class Share(Enum):
    """The state of a member's share after one command."""

    LEFT = "left"  # the command is answered
    EXCEEDED = "exceeded"  # this command exceeds it: the member is told
    USED_UP = "used up"  # the member has been told


@dataclass(slots=True)
class _Asker:
    counted_at: datetime
    left: float
    told: bool = False
    answered: dict[EventId, Share] = field(default_factory=dict)  # of the last commands: a batch may be taken again


class Shares:
    """All members' shares, in memory: a restart gives everybody a full one."""

    def __init__(self, at_once: int = AT_ONCE, one_more_each: timedelta = ONE_MORE_EACH) -> None:
        self._at_once = at_once
        self._one_more_each = one_more_each
        self._askers: OrderedDict[UserId, _Asker] = OrderedDict()

    def take(self, user_id: UserId, event_id: EventId, now: datetime) -> Share:
        """Count a command against its sender's share. The same event gets the same answer again."""
        asker = self._askers.setdefault(user_id, _Asker(now, self._at_once))
        self._askers.move_to_end(user_id)
        if len(self._askers) > MOST_ASKERS:
            self._askers.popitem(last=False)
        if event_id in asker.answered:
            return asker.answered[event_id]
        asker.left = min(self._at_once, asker.left + max(timedelta(), now - asker.counted_at) / self._one_more_each)
        asker.counted_at = now
        if asker.left == self._at_once:
            asker.told = False
        if asker.left < 1 and asker.told:
            return Share.USED_UP
        share = Share.LEFT if asker.left >= 1 else Share.EXCEEDED
        asker.left -= 1 if share is Share.LEFT else 0
        asker.told = asker.told or share is Share.EXCEEDED
        asker.answered[event_id] = share
        if len(asker.answered) > self._at_once:
            del asker.answered[next(iter(asker.answered))]
        return share
