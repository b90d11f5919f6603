"""A line of `aircheck check`: a level, a subject, a sentence."""

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
