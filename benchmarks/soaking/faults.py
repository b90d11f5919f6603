"""Faults of a soak and when they happen: a plan from a seed. Pure."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    KILL = "the bot killed"  # SIGKILL, then started again
    RESTART = "the homeserver restarted"  # in an orderly way
    CRASH = "the homeserver killed"  # SIGKILL, then started again
    LIMITED = "429"  # with retry_after_ms
    BROKEN = "502 and 503"  # with a page of HTML
    HANGING = "no answer"  # requests during it are never answered
    CUT = "cut connections"  # in the middle of a download; other requests are carried out and their answers lost
    LOST = "404 to media"  # for some, once each


WEATHER = frozenset({Fault.LIMITED, Fault.BROKEN, Fault.HANGING, Fault.CUT, Fault.LOST})
"""Faults of the network that last for a while; the others happen to a process."""

LASTS_S = (3.0, 8.0)
SHARE = 0.6  # of the time until the next one, at most


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault and its time in seconds of speech since the first broadcast; `for_s`, for weather only, by the clock."""

    at_s: float
    fault: Fault
    for_s: float


def plan(seed: int, seconds: float, counts: Mapping[Fault, int]) -> tuple[Trouble, ...]:
    """Plan so many of each fault in random order, each in a slot of its own. The same seed gives the same plan."""
    chance = random.Random(seed)
    faults = [fault for fault, count in sorted(counts.items()) for _ in range(count)]
    chance.shuffle(faults)
    slot = seconds / max(1, len(faults))
    troubles = []
    for number, fault in enumerate(faults):
        for_s = min(chance.uniform(*LASTS_S), slot * SHARE)
        at_s = slot * number + chance.uniform(0, slot - for_s)
        troubles.append(Trouble(at_s, fault, for_s))
    return tuple(troubles)
