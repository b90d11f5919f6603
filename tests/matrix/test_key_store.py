"""The key store's fence: what a former owner of the session can still do with its keys."""

import asyncio
import base64
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bot.errors import NotOwner, StartError
from bot.matrix import key_store
from bot.matrix.key_store import KeyStore
from bot.matrix.olm import CarefulOlm
from tests.matrix.ratchets import BOT, STEPS, UNFENCED


class Use(NamedTuple):
    """A state of a ratchet with which a message was sealed."""

    ratchet: str
    position: int


def raw(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))


def fields(message: bytes) -> dict[int, Any]:
    """Read the fields of an Olm or Megolm message (Olm: Message Format), which begins with its version."""
    found: dict[int, Any] = {}
    at = 1
    while at < len(message):
        tag, at = message[at], at + 1
        number, shift = 0, 0
        while True:
            byte, at = message[at], at + 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if tag & 7 == 2:
            found[tag], at = message[at : at + number], at + number
        else:
            found[tag] = number
        if tag in (0x22, 0x12) and tag & 7 == 2 and len(message) - at <= 8 + 64:  # the ciphertext is the last field
            break
    return found


def olm_use(sealed: dict[str, Any]) -> Use:
    message = raw(sealed["body"])
    if sealed["type"] == 0:
        message = fields(message)[0x22]
    inner = fields(message)
    return Use(inner[0x0A].hex(), inner[0x10])


def uses(sent: list[dict[str, Any]]) -> Iterator[Use]:
    """Name the states of ratchets that sealed what was sent."""
    for request in sent:
        body = request["body"]
        if "/sendToDevice/m.room.encrypted/" in request["path"]:
            for devices in body["messages"].values():
                for message in devices.values():
                    for sealed in message["ciphertext"].values():
                        yield olm_use(sealed)
        elif "/send/m.room.encrypted/" in request["path"]:
            yield Use(body["session_id"], fields(raw(body["ciphertext"]))[0x08])


def uploads(sent: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for request in sent:
        if request["path"].endswith("/keys/upload"):
            for name, key in request["body"].get("one_time_keys", {}).items():
                yield name, key["key"]


@pytest.fixture(scope="module")
def taken_over(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Take the keys over from a process that is stopped at each step."""
    folder = tmp_path_factory.mktemp("ratchets")

    async def run() -> None:
        child = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.matrix.ratchets", str(folder))
        assert await child.wait() == 0

    asyncio.run(run())
    return folder


def sent_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "sent").read_text().splitlines()]


@pytest.mark.parametrize("step", STEPS)
def test_no_ratchet_is_used_twice(taken_over: Path, step: str) -> None:
    """Wherever a process is stopped while another takes its keys over, no two messages were sealed with one state of a
    ratchet, no one-time key was uploaded with two contents, and the new owner could do everything."""
    sent = sent_in(taken_over / step)
    counts = Counter(uses(sent))
    assert len(counts) > 12
    assert max(counts.values()) == 1
    keys = set(uploads(sent))
    assert len(keys) == len({name for name, _ in keys})


@pytest.mark.parametrize("step", ["sealed", "generated"])
def test_nothing_is_sent_whose_ratchet_was_not_written(taken_over: Path, step: str) -> None:
    """A former owner that wakes sends no Olm message and uploads no keys."""
    sent = sent_in(taken_over / step)
    last = max(number for number, request in enumerate(sent) if request["who"] == "second")
    woken = sent[last + 1 :]
    assert not [use for use in uses(woken) if len(use.ratchet) == 64]
    assert not list(uploads(woken))


def test_without_the_fence_a_ratchet_is_used_twice(taken_over: Path) -> None:
    """The test sees a ratchet that is used twice: without an epoch there is one."""
    assert max(Counter(uses(sent_in(taken_over / UNFENCED))).values()) > 1


@pytest.mark.parametrize("is_local", [True, False])
def test_each_write_of_a_former_owner_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_local: bool
) -> None:
    """Once a newer epoch is in the file, no table takes a row, a change or a deletion from an older owner."""
    monkeypatch.setattr(key_store, "is_local", lambda _: is_local)
    device = (BOT, "BOT", str(tmp_path), "secret", "keys.db")
    old = KeyStore(*device, epoch=1)
    olm = CarefulOlm(BOT, "BOT", old)
    new = KeyStore(*device, epoch=2)
    newer = CarefulOlm(BOT, "BOT", new)
    with pytest.raises(NotOwner):
        olm.save_account()
    with pytest.raises(NotOwner):
        olm.create_outbound_group_session("!room:hs")
    with pytest.raises(NotOwner):
        old.save_encrypted_rooms(["!room:hs"])
    for table in (table._meta.table_name for table in old.models):
        with pytest.raises(NotOwner):
            old.database.execute_sql(f'INSERT OR REPLACE INTO "{table}" DEFAULT VALUES')
    with pytest.raises(NotOwner):
        old.database.execute_sql("UPDATE accounts SET shared = 1")
    with pytest.raises(NotOwner):
        old.database.execute_sql("DELETE FROM accounts")
    newer.save_account()
    old.database.close()
    with pytest.raises(NotOwner):  # with another connection too
        olm.save_account()
    with pytest.raises(StartError, match="newer database"):
        KeyStore(*device, epoch=1)
    for store in (old, new):
        store.database.close()
    with closing(sqlite3.connect(tmp_path / "keys.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal" if is_local else "delete",)
        assert database.execute("SELECT epoch FROM owner_epoch").fetchall() == [(2,)]


def test_keys_with_an_epoch_are_closed_to_a_bot_without(tmp_path: Path) -> None:
    """A bot with SQLite can't use keys that one with PostgreSQL has used, until the archive was moved back."""
    device = (BOT, "BOT", str(tmp_path), "secret", "keys.db")
    KeyStore(*device, epoch=5).database.close()
    with pytest.raises(StartError, match="move-store --to sqlite"):
        KeyStore(*device)
    key_store.let_go(tmp_path)
    CarefulOlm(BOT, "BOT", KeyStore(*device)).store.database.close()
