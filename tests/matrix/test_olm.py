"""The key stores of several devices in one process."""

import asyncio
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from bot.matrix.keys import Keys
from tests.lab import People

OPENINGS = 20


@pytest.fixture
def often() -> Iterator[None]:
    """Let threads switch as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def accounts_in(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as database:
        return [user_id for (user_id,) in database.execute("SELECT user_id FROM accounts")]


@pytest.mark.usefixtures("often")
async def test_keys_are_opened_while_others_use_theirs(person: People, tmp_path: Path) -> None:
    """With several devices in one process each one's keys are in its own store and nowhere else."""
    alice = await person("alice")
    store, account = alice._client.store, alice._client.olm.account
    files = [tmp_path / str(number) / "keys.db" for number in range(OPENINGS)]

    async def open_all() -> None:
        for file in files:
            file.parent.mkdir()
            config = SimpleNamespace(pickle_key="secret", store_name=file.name)
            keys = Keys(lambda: datetime.now(UTC))
            await keys.open(
                SimpleNamespace(user_id="@bot:hs", device_id="BOT", store_path=str(file.parent), config=config)
            )
            keys.close()

    opening = asyncio.create_task(open_all())
    while not opening.done():
        store.save_account(account)
        store.load_sessions()
        await asyncio.sleep(0)
    await opening
    assert [accounts_in(file) for file in files] == [["@bot:hs"]] * OPENINGS
    assert accounts_in(Path(store.database_path)) == [alice.user_id]
