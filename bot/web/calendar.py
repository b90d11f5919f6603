"""The calendar of an archive: its years and months, with the number of episodes in each. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.language import month_names, spoken_month


@dataclass(frozen=True, slots=True)
class Month:
    """A month of a calendar; `address` is empty where it has no episodes."""

    name: str  # `November 2026`
    count: int
    address: str
    weight: int  # from 0 to 4: how many it has, compared with the fullest


@dataclass(frozen=True, slots=True)
class Calendar:
    """An archive by months, the newest year first."""

    names: tuple[tuple[str, str], ...]  # of the months: the letter, and the whole name
    years: tuple[tuple[int, tuple[Month, ...]], ...]


def calendar_of(months: Mapping[tuple[int, int], int]) -> Calendar:
    """Make the calendar of the counts of months."""
    fullest = max(months.values(), default=1)

    def month(year: int, number: int) -> Month:
        count = months.get((year, number), 0)
        address = f"./?month={year}-{number:02}" if count else ""
        return Month(spoken_month(year, number), count, address, -(-4 * count // fullest))

    years = sorted({year for year, _ in months}, reverse=True)
    rows = tuple((year, tuple(month(year, number) for number in range(1, 13))) for year in years)
    return Calendar(month_names(), rows)
