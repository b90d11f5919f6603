"""A ledger as the rows of a page: short where nothing happened, cut where there is no end of it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice

from bot.recording import account
from bot.recording.ledger import Entry, Ledger
from bot.recording.lengths import player_clock, spoken_gap, spoken_length
from storage.records import DurationMs, Timing, to_ms

ROWS_ON_PAGE = 500
"""Of gaps, and of chunks: some 100 kB."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in the sound, for people and as `aircheck recordings --json` has it."""

    at_ms: DurationMs
    length_ms: DurationMs
    at: str
    length: str


@dataclass(frozen=True, slots=True)
class GapRow:
    place: Place
    why: str


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """Chunks that follow one another in number and sound, and of which the same is to be said."""

    numbers: str
    state: str
    why: str
    place: Place


@dataclass(frozen=True, slots=True)
class Rows:
    """`more_…`: so many are not shown."""

    gaps: tuple[GapRow, ...]
    more_gaps: int
    chunks: tuple[ChunkRow, ...]
    more_chunks: int
    count: int  # chunks in all


def rows_of(ledger: Ledger) -> Rows:
    told = islice(account.gaps(ledger), ROWS_ON_PAGE)
    gaps = tuple(GapRow(_place(gap.position, gap.length, spoken_gap(gap.length)), gap.why) for gap in told)
    groups = _groups(ledger.entries)
    shown = groups[:ROWS_ON_PAGE]
    return Rows(
        gaps=gaps,
        more_gaps=len(ledger.gaps) - len(gaps),
        chunks=tuple(map(_row, shown)),
        more_chunks=sum(group.count for group in groups[ROWS_ON_PAGE:]),
        count=len(ledger.entries),
    )


@dataclass(frozen=True, slots=True)
class _Group:
    first: Entry
    last: Entry
    why: str | None
    count: int
    samples: int


def _groups(entries: Iterable[Entry]) -> list[_Group]:
    groups: list[_Group] = []
    for entry in entries:
        why = account.why(entry) or account.note(entry)
        if groups and _goes_on(groups[-1], entry, why):
            before = groups[-1]
            groups[-1] = replace(before, last=entry, count=before.count + 1, samples=before.samples + entry.samples)
        else:
            groups.append(_Group(entry, entry, why, 1, entry.samples))
    return groups


def _goes_on(group: _Group, entry: Entry, why: str | None) -> bool:
    """A number out of its turn begins a row of its own: chunks stand in the order of the sound."""
    alike = (entry.state, entry.timing, why) == (group.last.state, group.last.timing, group.why)
    if entry.sequence is None or group.last.sequence is None:
        return alike and entry.sequence is group.last.sequence
    return alike and entry.sequence == group.last.sequence + 1


def _row(group: _Group) -> ChunkRow:
    position, length = to_ms(group.first.position), to_ms(group.samples)
    about = "about " if group.samples and group.first.timing is Timing.ESTIMATED else ""
    return ChunkRow(
        numbers=_numbers(group),
        state=str(group.first.state).replace("_", " "),
        why=group.why or "",
        place=_place(position, length, about + spoken_length(length)),
    )


def _numbers(group: _Group) -> str:
    """`1–60`, `7`; a chunk that can't be read has no number yet."""
    first, last = group.first.sequence, group.last.sequence
    if first is None:
        return "no number yet" if group.count == 1 else f"{group.count} without number yet"
    return str(first) if group.count == 1 else f"{first}–{last}"


def _place(at_ms: DurationMs, length_ms: DurationMs, length: str) -> Place:
    return Place(at_ms, length_ms, player_clock(at_ms), length)
