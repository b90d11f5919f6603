"""Counts and durations of a process, kept in plain numbers where something happens.

Nobody is told: a reader takes a copy (`bot.monitoring`). To count costs less than a microsecond, so it is always on.
Count on the event loop only: two threads at once could lose one. Label values come from short lists of ours; no id,
name or address is one.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

Labels = tuple[str, ...]


class Count:
    """A sum that only grows, for each combination of label values: `known` values of the last labels, and others of
    the first ones. Combinations begin at 0, since the first time shows as growth only then."""

    __slots__ = ("_values", "known", "labels", "meaning", "name")

    def __init__(self, name: str, meaning: str, *first: str, **known: tuple[str, ...]) -> None:
        self.name = name
        self.meaning = meaning
        self.labels = (*first, *known)
        self.known = known
        self._values: dict[Labels, float] = {}
        if not first:
            self.begin()

    def begin(self, *first: str) -> None:
        """Begin at 0 with these values of the first labels."""
        for last in product(*self.known.values()):
            self._values.setdefault((*first, *last), 0)

    def add(self, *labels: str, by: float = 1) -> None:
        self._values[labels] = self._values.get(labels, 0) + by

    def copy(self) -> dict[Labels, float]:
        """Return the sums. Can be called from any thread."""
        return self._values.copy()


class Durations:
    """A histogram of seconds, for each combination of label values: how many took how long, and their sum."""

    __slots__ = ("_values", "bounds", "labels", "meaning", "name")

    def __init__(self, name: str, meaning: str, *labels: str, bounds: tuple[float, ...]) -> None:
        self.name = name
        self.meaning = meaning
        self.labels = labels
        self.bounds = bounds
        self._values: dict[Labels, list[float]] = {}
        if not labels:
            self._values[()] = self._empty()

    def _empty(self) -> list[float]:
        return [0] * (len(self.bounds) + 2)  # one for each bound, one above the last, and the sum

    def note(self, seconds: float, *labels: str) -> None:
        values = self._values.get(labels)
        if values is None:
            values = self._values[labels] = self._empty()
        values[bisect_left(self.bounds, seconds)] += 1
        values[-1] += seconds

    @contextmanager
    def timing(self, *labels: str) -> Iterator[None]:
        """Note how long the block takes, whether it raises or not."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.note(time.perf_counter() - began, *labels)

    def copy(self) -> dict[Labels, tuple[list[float], float]]:
        """Return the numbers of each range of seconds, and the sum. Can be called from any thread."""
        copied = {labels: values.copy() for labels, values in self._values.copy().items()}
        return {labels: (values[:-1], values[-1]) for labels, values in copied.items()}
