"""A ledger as the tables of an episode's page: like chunks in one row, long tables cut. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice

from bot.language import _, plural
from bot.recording import account
from bot.recording.ledger import Entry, Ledger
from bot.recording.lengths import player_clock, spoken_gap, spoken_length
from storage.records import ChunkState, DurationMs, Timing, to_ms

ROWS_ON_PAGE = 500
"""Most rows of gaps, and of chunks: some 100 kB."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A stretch of the audio: in milliseconds, as `aircheck recordings --json` has it, and in words."""

    at_ms: DurationMs
    length_ms: DurationMs
    at: str
    length: str


@dataclass(frozen=True, slots=True)
class GapRow:
    """A gap with its reason."""

    range: TimeRange
    reason: str


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """Chunks in a row, by number and in the audio, that are alike; `reason`: why they are not in the audio, or what is
    wrong with them. `part`: their numbers, or whose message it is where several people speak."""

    part: str
    state: str
    reason: str
    range: TimeRange


@dataclass(frozen=True, slots=True)
class LedgerTable:
    """The rows of a page. `more_gaps` and `more_chunks` are how many are not shown."""

    gaps: tuple[GapRow, ...]
    more_gaps: int
    chunks: tuple[ChunkRow, ...]
    more_chunks: int
    count: int  # of all chunks


def table_of(ledger: Ledger, named: Callable[[Entry], str] | None = None) -> LedgerTable:
    """Return the tables of a ledger. `named`: the name to show for the sender of an entry where several people speak;
    each is then a row of its own. The windows of a call are no chunks, and its times away are gaps."""
    shown_gaps = islice(account.gaps(ledger), ROWS_ON_PAGE)
    gaps = tuple(GapRow(_range(gap.position, gap.length, spoken_gap(gap.length)), gap.why) for gap in shown_gaps)
    listed = [entry for entry in ledger.entries if not entry.parts and entry.state is not ChunkState.AWAY]
    groups = _groups(listed, apart=named is not None)
    return LedgerTable(
        gaps=gaps,
        more_gaps=len(ledger.gaps) - len(gaps),
        chunks=tuple(_row(group, named) for group in groups[:ROWS_ON_PAGE]),
        more_chunks=sum(group.count for group in groups[ROWS_ON_PAGE:]),
        count=len(listed),
    )


@dataclass(frozen=True, slots=True)
class _Group:
    first: Entry
    last: Entry
    reason: str | None
    count: int
    samples: int


def _groups(entries: Iterable[Entry], *, apart: bool) -> list[_Group]:
    groups: list[_Group] = []
    for entry in entries:
        reason = account.why(entry) or account.note(entry)
        if groups and not apart and _is_alike(groups[-1], entry, reason):
            last = groups[-1]
            groups[-1] = replace(last, last=entry, count=last.count + 1, samples=last.samples + entry.samples)
        else:
            groups.append(_Group(entry, entry, reason, 1, entry.samples))
    return groups


def _is_alike(group: _Group, entry: Entry, reason: str | None) -> bool:
    """Return whether an entry goes into the row before it. A number out of its turn begins a row of its own, for
    chunks stand in the order of the audio."""
    alike = (entry.state, entry.timing, reason) == (group.last.state, group.last.timing, group.reason)
    if entry.sequence is None or group.last.sequence is None:
        return alike and entry.sequence is group.last.sequence
    return alike and entry.sequence == group.last.sequence + 1


def _row(group: _Group, named: Callable[[Entry], str] | None) -> ChunkRow:
    position, length = to_ms(group.first.position), to_ms(group.samples)
    told = spoken_length(length)
    if group.samples and group.first.timing is Timing.ESTIMATED:
        told = _("about {length}").format(length=told)
    return ChunkRow(
        part=_numbers(group) if named is None else named(group.first),
        state=_(account.CHUNK_STATES[group.first.state]),
        reason=group.reason or "",
        range=_range(position, length, told),
    )


def _numbers(group: _Group) -> str:
    """Name the numbers: `1–60`, `7`. A chunk that can't be decrypted has no number yet."""
    first, last = group.first.sequence, group.last.sequence
    if first is None:
        return plural("no number yet", "{count} without a number yet", group.count)
    return str(first) if group.count == 1 else f"{first}–{last}"


def _range(at_ms: DurationMs, length_ms: DurationMs, length: str) -> TimeRange:
    return TimeRange(at_ms, length_ms, player_clock(at_ms), length)
