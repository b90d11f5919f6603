"""The bot's own files, and its login at a fake homeserver."""

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web

from bot.errors import ConfigError, StartError
from bot.matrix.login import (
    DATABASE_FILE,
    KEY_FILE,
    SESSION_FILE,
    StoredSession,
    read_session,
    store_key,
)
from bot.matrix.wire import path
from storage.records import DeviceId, UserId
from tests.lab import PASSWORD
from tests.matrix.running import MemorySink, Running, make_settings
from tests.matrix.stub import Stub

LOGIN = path("login")
SYNC = path("sync")
BOT = "@bot:hs"


def start(stub: Stub, directory: Path, password: str | None = PASSWORD) -> Running:
    return Running(make_settings(stub.address, BOT, password), directory, MemorySink())


def is_homeserver(stub: Stub) -> None:
    async def versions(_: web.Request) -> web.Response:
        return web.json_response({"versions": ["v1.11"]})

    stub.answers["/_matrix/client/versions"] = versions


def test_the_store_key_is_made_once(tmp_path: Path) -> None:
    """The store key is random and kept; if it is lost, the key store is not deleted."""
    key = store_key(tmp_path)
    assert len(key) >= 43
    assert store_key(tmp_path) == key
    (tmp_path / "matrix" / DATABASE_FILE).touch()
    (tmp_path / "matrix" / KEY_FILE).unlink()
    with pytest.raises(StartError):
        store_key(tmp_path)


def test_stored_sessions(tmp_path: Path) -> None:
    """A stored session is read as it was written; a broken file is an error and stays as it is."""
    assert read_session(tmp_path) is None
    (tmp_path / "matrix").mkdir()
    file = tmp_path / "matrix" / SESSION_FILE
    file.write_text(json.dumps({"user_id": BOT, "device_id": "D", "access_token": None}))
    assert read_session(tmp_path) == StoredSession(UserId(BOT), DeviceId("D"))
    file.write_text("junk")
    with pytest.raises(StartError):
        read_session(tmp_path)
    assert file.read_text() == "junk"


async def test_no_homeserver_at_the_address(stub: Stub, tmp_path: Path) -> None:
    """If something else answers at the address, the error names the setting."""
    with pytest.raises(ConfigError, match=r"matrix\.homeserver"):
        await start(stub, tmp_path).task


async def test_a_deactivated_account(stub: Stub, tmp_path: Path) -> None:
    """The error for a deactivated account says so."""
    is_homeserver(stub)
    stub.says(LOGIN, 403, "M_USER_DEACTIVATED")
    with pytest.raises(ConfigError, match="deactivated"):
        await start(stub, tmp_path).task


async def test_a_rate_limit_is_waited_for(stub: Stub, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After a 429 the login is tried again when the homeserver allows it."""
    is_homeserver(stub)
    tries = []

    async def login(_: web.Request) -> web.Response:
        tries.append(asyncio.get_running_loop().time())
        if len(tries) == 1:
            return web.json_response({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1200}, status=429)
        return web.json_response({"errcode": "M_FORBIDDEN"}, status=403)

    stub.answers[LOGIN] = login
    with pytest.raises(ConfigError, match=r"matrix\.password"):
        await start(stub, tmp_path).task
    assert tries[1] - tries[0] >= 1.2
    assert PASSWORD not in caplog.text


async def test_a_revoked_token_without_a_password(stub: Stub, tmp_path: Path) -> None:
    """A revoked session without a password ends with one sentence after a few requests."""
    is_homeserver(stub)
    running = start(stub, tmp_path, None)
    with pytest.raises(ConfigError):
        await running.task
    session = json.loads((tmp_path / "matrix" / SESSION_FILE).read_text())
    (tmp_path / "matrix" / SESSION_FILE).write_text(json.dumps({**session, "access_token": "old"}))
    for where in (SYNC, path("keys", "upload"), path("keys", "query")):
        stub.says(where, 401, "M_UNKNOWN_TOKEN")
    stub.asked.clear()
    with pytest.raises(ConfigError, match=r"ended the session.*matrix\.password"):
        await start(stub, tmp_path, None).task
    assert len(stub.asked) <= 3
    stored = read_session(tmp_path)
    assert stored is not None
    assert (stored.access_token, stored.device_id) == (None, session["device_id"])


async def test_a_stop_in_the_middle_of_the_login(stub: Stub, tmp_path: Path) -> None:
    """A homeserver that never answers the login does not hold up a stop."""
    asked = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    stub.answers["/_matrix/client/versions"] = hang
    running = start(stub, tmp_path)
    await asked.wait()
    await running.stop()
