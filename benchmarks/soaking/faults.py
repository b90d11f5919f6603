"""What goes wrong in a soak, and when: a plan from a seed. Pure."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    KILL = "the bot killed"  # SIGKILL, and started again
    RESTART = "the homeserver restarted"  # in order
    CRASH = "the homeserver killed"  # SIGKILL, and started again
    LIMITED = "429"  # with retry_after_ms
    BROKEN = "502 and 503"  # with a page of HTML
    HANGING = "no answer"  # what is asked meanwhile is never answered
    CUT = "cut connections"  # in the middle of a download; elsewhere the request is carried out and its answer lost
    LOST = "404 to media"  # to some, once each


WEATHER = frozenset({Fault.LIMITED, Fault.BROKEN, Fault.HANGING, Fault.CUT, Fault.LOST})
"""What the line between bot and homeserver does for a while; the others happen to a process."""

LASTS_S = (3.0, 8.0)
SHARE = 0.6  # of the time until the next one, at most


@dataclass(frozen=True, slots=True)
class Trouble:
    """Seconds of speech from the first broadcast on; `for_s` counts for weather only, and by the clock."""

    at_s: float
    fault: Fault
    for_s: float


def plan(seed: int, seconds: float, counts: Mapping[Fault, int]) -> tuple[Trouble, ...]:
    """So many of each, in any order, spread over this time: each one has a slot of its own. Same seed, same plan."""
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
