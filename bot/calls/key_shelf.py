"""The keys of devices' sound that have come: kept for devices that are not listed yet, and for legs that begin again.
Pure.

A sender gives its key once, so nobody may take the places of others: where there is no place, a device goes that the
call does not list, of the user who has most of them. Those that are listed stay.
"""

from collections import Counter
from collections.abc import Collection, Sequence

from bot.calls.model import Device, KeyTold
from bot.calls.session.state import Key, key_of

MOST_OF_A_DEVICE = 16
"""Keys of one device; the oldest go."""
MOST_DEVICES, MOST_OF_ONE_USER = 640, 32
"""Devices whose keys are kept, and those of one user among them."""


class KeyShelf:
    """The keys of a call, by device. Those of one index are not ordered by the time that their senders tell, of clocks
    that can be set: they stay in the order in which they came."""

    def __init__(self) -> None:
        self._keys: dict[Key, list[KeyTold]] = {}
        self._listed: frozenset[Key] = frozenset()

    def see(self, listed: Collection[Key]) -> None:
        """Take note of the devices that the call lists now."""
        self._listed = frozenset(listed)

    def put(self, told: KeyTold) -> bool:
        """Keep a key, and return whether it is news: no repetition of the last one with its index."""
        key = key_of(told.device)
        if key not in self._keys and not self._make_room(key):
            return False
        theirs = self._keys.setdefault(key, [])
        last = next((known for known in reversed(theirs) if known.index == told.index), None)
        if last == told:
            return False
        theirs.append(told)
        del theirs[:-MOST_OF_A_DEVICE]
        return True

    def of(self, device: Device) -> Sequence[KeyTold]:
        """Return the keys of a device, in the order in which they came."""
        return tuple(self._keys.get(key_of(device), ()))

    def _make_room(self, key: Key) -> bool:
        """Make a place for a device, and return whether there is one."""
        theirs = sum(user == key[0] for user, _ in self._keys)
        if theirs < MOST_OF_ONE_USER and len(self._keys) < MOST_DEVICES:
            return True
        others = [other for other in self._keys if other not in self._listed]
        counts = Counter(user for user, _ in others)
        most = key[0] if theirs >= MOST_OF_ONE_USER else max(counts, key=counts.__getitem__, default=None)
        goes = next((other for other in others if other[0] == most), None)
        is_just = key in self._listed or (most != key[0] and most is not None and counts[key[0]] + 1 < counts[most])
        if goes is None or not is_just:
            return False
        del self._keys[goes]
        return True
