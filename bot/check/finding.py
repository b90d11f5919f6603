"""A line of `aircheck check`, or of a check of a feed: a level, a subject, a sentence. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

WIDTH = len("device cross-signed")
"""Characters of the longest subject."""


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"  # works, but not as it should
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.level:<4}  {self.subject:<{WIDTH}}  {self.text}"


@dataclass(frozen=True, slots=True)
class Problem:
    """A rule that something breaks: `refused` by a directory or by apps, or only tripped over."""

    text: str
    refused: bool = True


def tripped(text: str) -> Problem:
    """Make a problem that apps live with."""
    return Problem(text, refused=False)


def judged(subject: str, problems: Sequence[Problem], fine: str) -> tuple[Finding, ...]:
    """Make a finding of each problem, the worst first; without one, a finding that says what is `fine`."""
    if not problems:
        return (Finding(Level.OK, subject, fine),)
    worst_first = sorted(problems, key=lambda problem: not problem.refused)
    return tuple(Finding(Level.FAIL if each.refused else Level.WARN, subject, each.text) for each in worst_first)
