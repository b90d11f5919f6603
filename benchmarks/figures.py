"""Figures beside their budgets, and the table of them."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure beside its budget. `within` is None where there is no budget, or nothing to compare with here.
    `vital`: a miss is a failure of the run, not of a slow machine."""

    what: str
    bound: str
    measured: str
    within: bool | None = None
    vital: bool = False


def at_most(what: str, value: float, bound: float, unit: str, more: str = "") -> Figure:
    """Make a figure that must not exceed its budget."""
    return Figure(what, f"≤ {bound:g} {unit}", f"{value:.{_places(value)}f} {unit}{more}", value <= bound)


def at_least(what: str, value: float, bound: float, unit: str, more: str = "") -> Figure:
    """Make a figure that must not be below its budget."""
    return Figure(what, f"≥ {bound:g} {unit}", f"{value:.{_places(value)}f} {unit}{more}", value >= bound)


def _places(value: float) -> int:
    return 0 if abs(value) >= 20 else 1 if abs(value) >= 2 else 2


def rows(figures: Iterable[Figure]) -> list[str]:
    """Format the rows of the table in Markdown."""
    verdicts = {True: "", False: "**missed**", None: ""}
    table = [("what", "bound", "measured", "")]
    table += [(one.what, one.bound, one.measured, verdicts[one.within]) for one in figures]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in table]
    padded.insert(1, ["-" * width for width in widths])
    return ["| " + " | ".join(row) + " |" for row in padded]


def failed(figures: Iterable[Figure]) -> bool:
    """Return whether a vital figure missed its budget."""
    return any(one.vital and one.within is False for one in figures)
