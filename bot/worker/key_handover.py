"""Room keys that another client exported, on their way from the shell to the running bot.

The shell reads the file. Usable keys are encrypted again with a random passphrase for this import only, so that the
person's passphrase is never stored; the bot's report comes back in a file beside it.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.matrix import key_export
from bot.matrix.key_export import Refusal

ROUNDS = 1  # the passphrase is random: it needs no stretching


@dataclass(frozen=True, slots=True)
class Sealed:
    file: Path
    passphrase: str


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of an import: entries that were new, known before, refused."""

    new: int
    known: int
    refused: tuple[Refusal, ...]

    @property
    def summary(self) -> str:
        parts = [f"{_entries(self.new)} taken"]
        parts += [f"{_entries(self.known)} known before"] if self.known else []
        parts += [f"{_entries(len(self.refused))} not taken"] if self.refused else []
        return f"{', '.join(parts)}."


def seal(sessions: Mapping[int, Any], folder: Path) -> Sealed:
    """Write keys into a file in `folder`, encrypted with a passphrase of its own."""
    sealed = Sealed(folder / f"keys-{secrets.token_hex(8)}", secrets.token_urlsafe(32))
    key_export.write(sealed.file, sealed.passphrase, sessions.values(), rounds=ROUNDS)
    return sealed


def report_of(sealed: Sealed, export: key_export.Export) -> Report:
    """Read the bot's report on `sealed`, its entries numbered as in the export. Raises OSError when there is none."""
    said = json.loads(report_file(sealed.file).read_text())
    places = list(export.sessions)
    refused = [Refusal(places[number - 1], session, reason) for number, session, reason in said["refused"]]
    every = sorted([*export.refused, *refused], key=lambda refusal: refusal.number)
    return Report(said["new"], said["known"], tuple(every))


def clear(sealed: Sealed) -> None:
    """Remove the file and its report."""
    for file in (sealed.file, report_file(sealed.file)):
        file.unlink(missing_ok=True)


def report_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.report")


def _entries(count: int) -> str:
    return f"{count} room key" if count == 1 else f"{count} room keys"
