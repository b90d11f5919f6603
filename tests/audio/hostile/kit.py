"""The targets of an attacker, and the collection of the files that attackers make.

Each file is made by a function of a `Kit`, which holds what the file wants to reach.
"""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.audio.sounds import Studio, signal

SECOND = 48_000
COVER = 50_000_000  # bytes


@dataclass(frozen=True)
class Kit:
    """The targets of an attacker: a file of ours (sound, so that it could be heard) and a port that listens."""

    studio: Studio
    canary: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/x.ts"

    def ffmpeg(self, name: str, *arguments: str) -> bytes:
        """Return what the real ffmpeg writes."""
        path = self.studio.folder / name
        subprocess.run([self.studio.exe, "-v", "error", *arguments, "-y", str(path)], check=True)
        return path.read_bytes()

    def sound(self, form: tuple[str, ...], *more: str) -> bytes:
        return self.studio.record("healthy", signal(SECOND), form, *more).read_bytes()


Make = Callable[[Kit], bytes]


@dataclass(frozen=True)
class Attack:
    """A hostile file. `outcomes`: the reasons that it may be refused with; empty: it must be decoded; "": it may be."""

    make: Make
    outcomes: frozenset[str] = frozenset()
    announced_ms: int | None = 120_000


ATTACKS: dict[str, Attack] = {}


def attack(*outcomes: str, announced_ms: int | None = 120_000) -> Callable[[Make], Make]:
    """Add a file to the collection under the name of its function."""

    def keep(make: Make) -> Make:
        ATTACKS[make.__name__] = Attack(make, frozenset(outcomes), announced_ms)
        return make

    return keep


def split_frames(data: bytes, magic: bytes) -> list[bytes]:
    """Split a file into frames; it must hold nothing else that looks like the beginning of one."""
    return [magic + rest for rest in data.split(magic)[1:]]
