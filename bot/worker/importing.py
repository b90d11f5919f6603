"""The import of room keys by the bot: it adds the keys that the shell has handed over, and reports on them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from bot import orders
from bot.errors import ConfigError, GiveUp, TryLater
from bot.matrix.session import Session
from bot.worker.key_handover import report_file
from storage.private import write_whole
from storage.records import Job


class ImportingKeys:
    """The handler of ImportKeys orders. `open_all` tries stored encrypted events with the new keys."""

    def __init__(self, session: Session, *, open_all: Callable[[], Awaitable[None]]) -> None:
        self._session = session
        self._open_all = open_all

    async def __call__(self, job: Job) -> None:
        order = orders.ImportKeys.of(job)
        file = order.file
        if not await asyncio.to_thread(file.exists):
            # A start of the bot clears the handover. Keys that are added twice do no harm; a false success would.
            raise GiveUp("the bot was restarted meanwhile: import the keys again", reason="interrupted")
        if not self._session.ready.is_set():  # only then is the key store open
            raise TryLater("waiting for the first sync", after_s=1)
        try:
            imported = await self._session.keys.import_keys(file, order.passphrase)
        except ConfigError:
            raise GiveUp("the handed-over file can't be read: import the keys again", reason="damaged") from None
        refused = [(refusal.number, refusal.session, refusal.reason) for refusal in imported.refused]
        report = json.dumps({"new": imported.new, "known": imported.known, "refused": refused})
        await asyncio.to_thread(_write_once, report_file(file), report)
        await self._open_all()
        await asyncio.to_thread(file.unlink, missing_ok=True)


def _write_once(file: Path, text: str) -> None:
    """Write the report of the first try: in a second one all keys would count as known."""
    if not file.exists():
        write_whole(file, text.encode())
