"""Figures beside their budgets, and the tables of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure beside its budget. `within` is None where there is no budget, or nothing to compare with here.
    `vital`: a miss is a failure of the run, not of a slow machine. `value`: the number that is compared between
    databases."""

    what: str
    bound: str
    measured: str
    within: bool | None = None
    vital: bool = False
    value: float | None = None

    @property
    def cell(self) -> str:
        """The figure as a table shows it."""
        return f"{self.measured}: **missed**" if self.within is False else self.measured


@dataclass(frozen=True)
class Pair:
    """A figure over each database, with the same bound."""

    sqlite: Figure
    postgresql: Figure

    @property
    def ratio(self) -> str:
        """PostgreSQL's figure divided by SQLite's."""
        one, other = self.sqlite.value, self.postgresql.value
        return f"{other / one:.1f}" if one and other is not None else ""


def at_most(what: str, value: float, bound: float, unit: str, more: str = "") -> Figure:
    """Make a figure that must not exceed its budget."""
    return Figure(what, f"≤ {bound:g} {unit}", f"{shown(value)} {unit}{more}", value <= bound, value=value)


def at_least(what: str, value: float, bound: float, unit: str, more: str = "") -> Figure:
    """Make a figure that must not be below its budget; of a number of things without a unit."""
    return Figure(
        what, f"≥ {bound:g} {unit}".rstrip(), f"{shown(value)} {unit}".rstrip() + more, value >= bound, value=value
    )


def of(what: str, value: float, unit: str, more: str = "") -> Figure:
    """Make a figure without a budget."""
    return Figure(what, "", f"{shown(value)} {unit}{more}", value=value)


def shown(value: float) -> str:
    """Write a number with as many places as say something."""
    places = 0 if abs(value) >= 20 else 1 if abs(value) >= 2 else 2
    return f"{value:.{places}f}"


def paired(sqlite: Sequence[Figure], postgresql: Sequence[Figure]) -> tuple[list[Pair], list[Figure]]:
    """Pair the figures of the same name; return those that have no other too."""
    others = {figure.what: figure for figure in postgresql}
    pairs = [Pair(figure, others[figure.what]) for figure in sqlite if figure.what in others]
    both = {pair.sqlite.what for pair in pairs}
    return pairs, [figure for figure in (*sqlite, *postgresql) if figure.what not in both]


def rows(figures: Iterable[Figure]) -> list[str]:
    """Format a table in Markdown, as in docs/performance.md."""
    return _table(("what", "bound", "measured"), [(one.what, one.bound, one.cell) for one in figures])


def rows_of_pairs(pairs: Iterable[Pair]) -> list[str]:
    """Format a table of both databases, as in docs/performance.md."""
    head = ("what", "bound", "SQLite", "PostgreSQL", "ratio")
    told = [(each.sqlite, each.postgresql, each.ratio) for each in pairs]
    return _table(head, [(one.what, one.bound, one.cell, other.cell, ratio) for one, other, ratio in told])


def _table(head: tuple[str, ...], cells: Sequence[tuple[str, ...]]) -> list[str]:
    table = [head, tuple("---" for _ in head), *cells]
    return ["| " + " | ".join(row) + " |" for row in table]


def failed(figures: Iterable[Figure]) -> bool:
    """Return whether a vital figure missed its budget."""
    return any(one.vital and one.within is False for one in figures)
