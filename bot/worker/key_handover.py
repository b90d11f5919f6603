"""Room keys that another client exported, on their way from the shell to the bot that runs.

The shell reads the file. What can be taken is sealed anew with a passphrase of one use, so that the person's is
written down nowhere; what became of it comes back in a file beside it.
"""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot import orders
from bot.errors import ConfigError, GiveUp, TryLater
from bot.matrix import key_export
from bot.matrix.key_export import Refusal
from bot.matrix.session import Session
from storage.private import write_whole
from storage.records import Job

ROUNDS = 1  # the passphrase is random: it needs no stretching


@dataclass(frozen=True, slots=True)
class Sealed:
    file: Path
    passphrase: str


@dataclass(frozen=True, slots=True)
class Report:
    """What became of an export: entries that opened something new, that were known before, that can't be taken."""

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
    """Writes what can be taken of an export into `folder`, under a passphrase of its own."""
    sealed = Sealed(folder / f"keys-{secrets.token_hex(8)}", secrets.token_urlsafe(32))
    key_export.write(sealed.file, sealed.passphrase, sessions.values(), rounds=ROUNDS)
    return sealed


def report_of(sealed: Sealed, export: key_export.Export) -> Report:
    """What the bot said of `sealed`, with the entries counted as in the export. Raises OSError when it said nothing."""
    said = json.loads(_report_file(sealed.file).read_text())
    places = list(export.sessions)
    refused = [Refusal(places[number - 1], session, reason) for number, session, reason in said["refused"]]
    every = sorted([*export.refused, *refused], key=lambda one: one.number)
    return Report(said["new"], said["known"], tuple(every))


def clear(sealed: Sealed) -> None:
    """Removes what was handed over."""
    for file in (sealed.file, _report_file(sealed.file)):
        file.unlink(missing_ok=True)


def _report_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.report")


def _entries(count: int) -> str:
    return f"{count} room key" if count == 1 else f"{count} room keys"


class KeyImport:
    """Handles ImportKeys orders. `open_all` tries kept events with what came."""

    def __init__(self, session: Session, *, open_all: Callable[[], Awaitable[None]]) -> None:
        self._session = session
        self._open_all = open_all

    async def __call__(self, job: Job) -> None:
        order = orders.ImportKeys.of(job)
        file = order.file
        if not await asyncio.to_thread(file.exists):
            # A start clears what waits there. Keys that were taken in twice do no harm; a false success would.
            raise GiveUp("the bot was restarted meanwhile: import the keys again", reason="interrupted")
        if not self._session.ready.is_set():  # the key store is open from then on
            raise TryLater("the first sync is waited for", after_s=1)
        try:
            imported = await self._session.keys.import_keys(file, order.passphrase)
        except ConfigError:
            raise GiveUp("what was handed over can't be read: import the keys again", reason="damaged") from None
        refused = [(one.number, one.session, one.reason) for one in imported.refused]
        report = json.dumps({"new": imported.new, "known": imported.known, "refused": refused})
        await asyncio.to_thread(_write_once, _report_file(file), report)
        await self._open_all()
        await asyncio.to_thread(file.unlink, missing_ok=True)


def _write_once(file: Path, text: str) -> None:
    """A second try of a job knows all keys: what the first one said counts."""
    if not file.exists():
        write_whole(file, text.encode())
