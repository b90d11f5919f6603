"""Bounds on what studios may ask and send, so that one neither starves the others nor fills the disk at once.

What waited in a browser while its network was away is sent faster than it was said, but not as fast as it could be.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil

MOST_OF_A_STUDIO = 4
"""Uploads of one studio at once."""
MOST_OF_A_ROOM = 16
SHARE = 0.125
"""Share of the server's connections that uploads may have, each of which takes a file."""
REMEMBERED = 4096
"""Buckets; the ones that were used longest ago are full again."""


class TooManyError(Exception):
    """More than is allowed now; `after_s`: seconds after which it may be tried again."""

    def __init__(self, after_s: float = 1.0) -> None:
        super().__init__()
        self.after_s = max(1, ceil(after_s))


class Buckets:
    """Allowances that are used up and come back with time: `rate` a second, up to `most`, for each name by itself."""

    def __init__(self, rate: float, most: float, now: Callable[[], float]) -> None:
        self._rate = rate
        self._most = most
        self._now = now
        self._levels: OrderedDict[object, tuple[float, float]] = OrderedDict()  # what is left, and when that was

    def take(self, name: object, amount: float = 1.0) -> None:
        """Use some of an allowance, of which something has to be left. Raises TooManyError."""
        if (left := self._left(name)) <= 0:
            raise TooManyError((1 - left) / self._rate)
        self.spend(name, amount)

    def spend(self, name: object, amount: float) -> None:
        """Use some of an allowance, whatever is left of it."""
        self._levels[name] = (self._left(name) - amount, self._now())
        self._levels.move_to_end(name)
        if len(self._levels) > REMEMBERED:
            self._levels.popitem(last=False)

    def _left(self, name: object) -> float:
        now = self._now()
        left, at = self._levels.get(name, (self._most, now))
        return min(self._most, left + max(0.0, now - at) * self._rate)


class StudioBounds:
    """The bounds of one server. `most_connections` it may have; `now`: seconds that only grow."""

    def __init__(self, most_connections: Callable[[], int], now: Callable[[], float]) -> None:
        self._most_connections = most_connections
        self._asking = Buckets(20, 200, now)
        self._changing = Buckets(1, 40, now)
        self._pictures = Buckets(1 / 60, 5, now)
        self._slices = Buckets(10, 60, now)
        self._slices_of_room = Buckets(20, 200, now)
        self._bytes = Buckets(2_000_000, 32_000_000, now)
        self._bytes_of_room = Buckets(4_000_000, 64_000_000, now)
        self._uploads: Counter[object] = Counter()
        self.uploads = 0  # that run

    def ask(self, studio: object) -> None:
        """Count any request. Raises TooManyError."""
        self._asking.take(studio)

    def change(self, studio: object) -> None:
        """Count a change of state or texts. Raises TooManyError."""
        self._changing.take(studio)

    def picture(self, studio: object) -> None:
        """Count a picture, which takes much CPU. Raises TooManyError."""
        self._pictures.take(studio)

    def slice(self, studio: object, room: object) -> None:
        """Count a slice. Raises TooManyError."""
        self._slices.take(studio)
        self._slices_of_room.take(room)
        self._bytes.take(studio, 0)
        self._bytes_of_room.take(room, 0)

    def received(self, studio: object, room: object, count: int) -> None:
        """Count bytes of a slice that have come, whatever becomes of it: where they are more than are left, the next
        slices wait."""
        self._bytes.spend(studio, count)
        self._bytes_of_room.spend(room, count)

    @contextmanager
    def uploading(self, studio: object, room: object) -> Iterator[None]:
        """Hold a place for an upload while the block runs. Raises TooManyError."""
        if (
            self.uploads >= max(1, int(self._most_connections() * SHARE))
            or self._uploads[studio] >= MOST_OF_A_STUDIO
            or self._uploads[room] >= MOST_OF_A_ROOM
        ):
            raise TooManyError
        self.uploads += 1
        self._uploads.update((studio, room))
        try:
            yield
        finally:
            self.uploads -= 1
            self._uploads -= Counter((studio, room))  # this also drops names whose count is 0
