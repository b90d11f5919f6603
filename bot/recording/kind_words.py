"""The words that a kind of recording needs of its own. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from storage.records import EndedBy, Recording


@dataclass(frozen=True, slots=True)
class Words:
    """Words for the recordings of one kind, marked for the catalogue: whoever says them looks them up."""

    name: str  # of the kind
    begun: str  # the notice that one is recorded now; {who}
    told: Mapping[str, str]  # notices about one recording
    no_end: Mapping[EndedBy, str]  # why the end of an incomplete one may be missing
    trouble: Callable[[str, str, int], str]  # a problem of so many of its parts: code, problem, count
    gone: str  # in the place of a player whose recording was removed
    waiting: str  # at the live edge
    part: str  # names the first column of the table of its parts
    parts: str  # above that table; {n}
    live: Callable[[Recording], str] | None = None  # a line on one that is recorded now, where {who} does not fit:
    # {time}, {length}, {code}
    name_of: Callable[[Recording], str] | None = None  # of a kind that has several, for one recording
