"""`aircheck check` against a real homeserver: what it finds, and that it leaves nothing behind."""

import itertools
import os
import re
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from bot.calls.media import late
from bot.check.finding import Finding, Level
from bot.demo.synapse import Homeserver
from bot.matrix.login import SESSION_FILE, StoredSession, read_session
from bot.matrix.probe import Probe
from bot.matrix.wire import Wire
from bot.settings import Settings, validate
from bot.shell import check_homeserver, reset
from bot.shell.check import check_ffmpeg, check_settings, findings
from bot.shell.check_homeserver import judge_hearing
from bot.shell.check_storage import check_database, check_disk_space, check_private_files, records_calls
from bot.shell.check_web import check_public_address, check_web_server
from storage import rooms
from storage.place import Place
from storage.records import DeviceId, UserId
from storage.store import Store
from tests.factories import a_room
from tests.postgresql import Server, of_the_file

PASSWORD = "correct horse"
_numbers = itertools.count(1)


@pytest.fixture
async def account(homeserver: Homeserver) -> UserId:
    return UserId(await homeserver.register(f"checked{next(_numbers)}-{os.getpid()}", PASSWORD))


def settings_for(homeserver: Homeserver, account: str, directory: Path, **matrix: Any) -> Settings:
    keys = {"homeserver": homeserver.address, "user_id": account, "password": PASSWORD} | matrix
    return validate({"matrix": keys, "storage": {"directory": str(directory)}})


async def found(settings: Settings) -> dict[str, Finding]:
    return {one.subject: one async for one in findings(settings, Path("no such file"))}


async def devices(homeserver: Homeserver, account: str) -> list[str]:
    """List the account's devices other than the one that asks."""
    wire = Wire(homeserver.address)
    identifier = {"type": "m.id.user", "user": account}
    login = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
    answer = await wire.call("POST", "/_matrix/client/v3/login", body=login, auth=False)
    wire.token = answer["access_token"]
    listed = await wire.call("GET", "/_matrix/client/v3/devices")
    await wire.call("POST", "/_matrix/client/v3/logout", body={})
    await wire.close()
    return [device["device_id"] for device in listed["devices"] if device["device_id"] != answer["device_id"]]


async def test_a_right_password_leaves_no_device(homeserver: Homeserver, account: UserId, tmp_path: Path) -> None:
    """Before the first start the password is tried, and afterwards the account has no device more than before."""
    before = await devices(homeserver, account)
    findings = await found(settings_for(homeserver, account, tmp_path / "data"))
    assert findings["homeserver"].level is Level.OK
    assert findings["login"].level is Level.OK
    assert findings["device cross-signed"].level is Level.WARN
    assert await devices(homeserver, account) == before
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("matrix", "key"),
    [({"password": "wrong"}, "matrix.password"), ({"password": None}, "matrix.password is not set")],
)
async def test_a_wrong_password_names_its_key(
    homeserver: Homeserver, account: UserId, tmp_path: Path, matrix: dict[str, Any], key: str
) -> None:
    """A password that is wrong or missing is a FAIL that names the key and not the value."""
    login = (await found(settings_for(homeserver, account, tmp_path, **matrix)))["login"]
    assert login.level is Level.FAIL
    assert key in login.text
    assert "wrong" not in login.text


async def test_a_wrong_server_in_the_user_id(homeserver: Homeserver, account: UserId, tmp_path: Path) -> None:
    """The right password under a user id of another server names the right id, and no device stays."""
    before = await devices(homeserver, account)
    strayed = f"{account.split(':', 1)[0]}:elsewhere.example"
    login = (await found(settings_for(homeserver, strayed, tmp_path)))["login"]
    assert login.level is Level.FAIL
    assert login.text.startswith("matrix.user_id: ")
    assert login.text.endswith(account)
    assert await devices(homeserver, account) == before


async def test_the_stored_session_is_asked_and_lives_on(
    homeserver: Homeserver, account: UserId, tmp_path: Path
) -> None:
    """With a session stored, check asks with its token, needs no password, makes no device, and finds it signed."""
    await _first_start(settings_for(homeserver, account, tmp_path))
    before = await devices(homeserver, account)
    findings = await found(settings_for(homeserver, account, tmp_path, password=None))
    assert findings["login"].level is Level.OK
    assert findings["device cross-signed"].level is Level.OK
    assert (findings["calls"].level, "offers no TURN server" in findings["calls"].text) == (Level.WARN, True)
    assert findings["Element Call"].level is Level.OK
    assert "names no media server" in findings["Element Call"].text
    assert await devices(homeserver, account) == before


class WithRelays:
    async def offers_relays(self, _token: str) -> bool:
        return True


@pytest.mark.parametrize(
    ("is_installed", "told"), [(True, "the homeserver offers TURN servers"), (False, "`calls` is not installed")]
)
async def test_calls_need_what_is_installed_and_relays(
    is_installed: bool, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A homeserver with TURN servers is fine, and so is an Aircheck that was installed without the extra."""
    monkeypatch.setattr(check_homeserver, "installed", lambda: is_installed)
    session = StoredSession(UserId("@bot:hs"), DeviceId("DEV"), "token")
    finding = await check_homeserver.check_calls(cast("Probe", WithRelays()), session)
    assert (finding.level, told in finding.text) == (Level.OK, True)


async def test_broken_libraries_of_calls_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls can't be recorded where what they need is installed, but can't be loaded: it is said which library."""
    monkeypatch.setattr(late, "RTC", "a_library_that_is_not_there")
    finding = await check_homeserver.check_calls(cast("Probe", WithRelays()), None)
    assert (finding.level, "a_library_that_is_not_there" in finding.text) == (Level.WARN, True)


async def test_a_session_ended_from_outside(homeserver: Homeserver, account: UserId, tmp_path: Path) -> None:
    """A revoked session is a warning while the password is there to log in again, else a FAIL."""
    await _first_start(settings_for(homeserver, account, tmp_path))
    session = read_session(tmp_path)
    assert session is not None
    wire = Wire(homeserver.address)
    wire.token = session.access_token
    await wire.call("POST", "/_matrix/client/v3/logout", body={})
    await wire.close()
    assert (await found(settings_for(homeserver, account, tmp_path)))["login"].level is Level.WARN
    assert (await found(settings_for(homeserver, account, tmp_path, password=None)))["login"].level is Level.FAIL


async def test_foreign_keys_fail_until_they_are_reset(homeserver: Homeserver, account: UserId, tmp_path: Path) -> None:
    """Cross-signing keys made elsewhere are a FAIL that names the way out, and `init --reset-identity` is it."""
    await _first_start(settings_for(homeserver, account, tmp_path / "elsewhere"))
    settings = settings_for(homeserver, account, tmp_path / "here")
    await _first_start(settings)
    signed = (await found(settings))["device cross-signed"]
    assert signed.level is Level.FAIL
    assert "init --reset-identity" in signed.text
    await reset.reset_identity(settings)
    assert (await found(settings))["device cross-signed"].level is Level.OK


async def test_data_of_another_account(homeserver: Homeserver, account: UserId, tmp_path: Path) -> None:
    """A folder that belongs to another account is a FAIL that names the setting."""
    await _first_start(settings_for(homeserver, account, tmp_path))
    login = (await found(settings_for(homeserver, "@other:example.org", tmp_path)))["login"]
    assert login.level is Level.FAIL
    assert "matrix.user_id" in login.text


async def test_a_session_file_that_is_junk(homeserver: Homeserver, account: UserId, tmp_path: Path) -> None:
    """A damaged session file is a FAIL that names the file, and the file stays."""
    file = tmp_path / "matrix" / SESSION_FILE
    file.parent.mkdir()
    file.write_text("{")
    login = (await found(settings_for(homeserver, account, tmp_path)))["login"]
    assert login.level is Level.FAIL
    assert SESSION_FILE in login.text
    assert file.read_text() == "{"


async def _first_start(settings: Settings) -> None:
    """Log in as `aircheck run` does at its first start, without a sync."""
    async with reset.connected(settings):
        pass


WEB = [
    ({}, Level.OK, "only this machine"),
    ({"host": "0.0.0.0"}, Level.WARN, "web.public_url is not set"),  # noqa: S104
    ({"host": "::"}, Level.WARN, "web.public_url is not set"),
    ({"host": "192.0.2.1"}, Level.WARN, "plain http"),
    ({"public_url": "http://radio.example"}, Level.WARN, "plain http"),
    ({"public_url": "http://[::1]:8040"}, Level.OK, "only this machine"),
    ({"public_url": "https://radio.example"}, Level.OK, "https://radio.example"),
]


def local_settings(directory: Path, **sections: Any) -> Settings:
    matrix = {"homeserver": "http://127.0.0.1:1", "user_id": "@bot:hs.example"}
    return validate({"matrix": matrix, "storage": {"directory": str(directory)}} | sections)


@pytest.mark.parametrize(("web", "level", "text"), WEB)
async def test_the_public_address(web: dict[str, Any], level: Level, text: str, tmp_path: Path) -> None:
    """Plain http that is not loopback, and a wildcard host without public_url, are warnings."""
    finding = await check_public_address(local_settings(tmp_path, web=web))
    assert (finding.level, text in finding.text) == (level, True), finding


async def test_a_public_address_that_leads_elsewhere(tmp_path: Path) -> None:
    """While Aircheck runs, its public address is asked, and a warning says when it leads elsewhere."""
    store = await Store.own(Place(tmp_path / "data"))
    try:
        web = {"public_url": "http://127.0.0.1:1"}
        finding = await check_public_address(local_settings(tmp_path / "data", web=web))
    finally:
        await store.close()
    assert finding.level is Level.WARN
    assert "does not lead to the running Aircheck" in finding.text


async def test_the_database_beside_a_running_bot(tmp_path: Path) -> None:
    """The database is opened beside the process that owns it."""
    store = await Store.own(Place(tmp_path / "data"))
    try:
        finding = await check_database(local_settings(tmp_path / "data"))
    finally:
        await store.close()
    assert finding.level is Level.OK
    assert "running" in finding.text


@of_the_file
async def test_junk_in_place_of_the_database_fails(tmp_path: Path) -> None:
    """A file that is no database is a FAIL."""
    (tmp_path / "aircheck.db").write_bytes(b"no database at all" * 100)
    assert (await check_database(local_settings(tmp_path))).level is Level.FAIL


async def test_a_database_by_address_says_what_it_is(tmp_path: Path, postgresql: Server) -> None:
    """Its version and size, and whether `run` has something to make in it; one that does not answer fails."""
    directory = str(tmp_path / "data")
    for empty, text in ((True, "empty: `aircheck run` fills it"), (False, "0 rooms")):
        address = await postgresql.new(empty=empty)
        settings = local_settings(tmp_path, storage={"directory": directory, "database_url": address})
        finding = await check_database(settings)
        assert finding.level is Level.OK
        assert re.search(rf"^PostgreSQL \d+\.\d+.*, \d+ MiB, {text}$", finding.text)
        await postgresql.drop(address)
    finding = await check_database(settings)
    assert (finding.level, finding.text) == (
        Level.FAIL,
        "the database that storage.database_url names does not exist",
    )


async def test_calls_are_to_be_recorded_where_a_room_says_so(tmp_path: Path) -> None:
    """Only then is it a fault that they can't be; before the first start nobody has said anything."""
    assert not await records_calls(local_settings(tmp_path / "data"))
    store = await Store.own(Place(tmp_path / "data"))
    try:
        assert not await records_calls(local_settings(tmp_path / "data"))
        async with store.write() as db:
            await rooms.save_room(db, a_room(calls_on=True))
        assert await records_calls(local_settings(tmp_path / "data"))
    finally:
        await store.close()


async def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    """A data folder that is a file, or would have to be made below one, is a FAIL that names the setting."""
    (tmp_path / "file").touch()
    for directory in (tmp_path / "file", tmp_path / "file" / "data"):
        finding = await check_database(local_settings(directory))
        assert finding.level is Level.FAIL
        assert "storage.directory" in finding.text


def test_the_disk(tmp_path: Path) -> None:
    """Free space below storage.min_free_bytes is a FAIL that names it; the folder need not be there yet."""
    plenty = local_settings(tmp_path / "not" / "yet", storage={"directory": str(tmp_path / "x"), "min_free_bytes": 0})
    assert check_disk_space(plenty).level is Level.OK
    full = local_settings(tmp_path, storage={"directory": str(tmp_path), "min_free_bytes": 1 << 60})
    assert check_disk_space(full).level is Level.FAIL
    assert "storage.min_free_bytes" in check_disk_space(full).text


async def test_ffmpeg_that_is_not_there(tmp_path: Path) -> None:
    """A configured ffmpeg that doesn't exist is a FAIL that names the key."""
    finding = await check_ffmpeg(local_settings(tmp_path, audio={"ffmpeg": str(tmp_path / "ffmpeg")}))
    assert finding.level is Level.FAIL
    assert "audio.ffmpeg" in finding.text


def test_files_that_others_can_read(tmp_path: Path) -> None:
    """A settings file with a password, a password file and the bot's secrets are named when their mode is open."""
    file, secret = tmp_path / "config.yaml", tmp_path / "password"
    file.touch(mode=0o600)
    secret.touch(mode=0o600)
    directory = tmp_path / "data"
    (directory / "matrix").mkdir(parents=True)
    (directory / "matrix" / SESSION_FILE).touch(mode=0o644)
    directory.chmod(0o700)
    account = {"homeserver": "https://h.example", "user_id": "@b:h.example", "password": "x"}
    settings = validate({"matrix": account | {"password_file": str(secret)}, "storage": {"directory": str(directory)}})
    assert check_private_files(settings, file).level is Level.OK
    for path, mode in ((file, 0o644), (secret, 0o640), (directory, 0o755)):
        before = path.stat().st_mode
        path.chmod(mode)
        finding = check_private_files(settings, file)
        assert finding.level is Level.WARN
        assert str(path) in finding.text
        path.chmod(before)
    directory.chmod(0o755)
    assert SESSION_FILE in check_private_files(settings, file).text


def test_a_picture_that_can_not_be_opened(tmp_path: Path) -> None:
    """A `feeds.image` that would end `run` is a FAIL that names it."""
    settings = local_settings(tmp_path, feeds={"image": str(tmp_path / "none.png")})
    finding = check_settings(settings, tmp_path / "none.yaml")
    assert finding.level is Level.FAIL
    assert finding.text.startswith("feeds.image ")


async def test_a_folder_on_a_full_or_read_only_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose mode allows writing and that can't be written all the same is a FAIL."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    finding = await check_database(local_settings(tmp_path))
    assert finding.level is Level.FAIL
    assert "storage.directory" in finding.text


async def test_the_port_of_a_running_aircheck(tmp_path: Path) -> None:
    """While Aircheck runs on the folder, its port is in use by itself, which is no fault."""
    store = await Store.own(Place(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = local_settings(tmp_path, web={"port": taken.getsockname()[1]})
        assert (await check_web_server(settings)).level is Level.OK
        await store.close()
        assert (await check_web_server(settings)).level is Level.FAIL


def test_a_category_that_directories_refuse(tmp_path: Path) -> None:
    """A category that Apple doesn't have is a warning that names the key and the category."""
    settings = local_settings(tmp_path, feeds={"category": "Gossip"})
    finding = check_settings(settings, tmp_path / "none.yaml")
    assert finding.level is Level.WARN
    assert finding.text == "feeds.category: Apple knows no category 'Gossip'"


@pytest.mark.parametrize(
    ("ago", "level", "words"),
    [
        (None, Level.WARN, "has not heard it yet"),
        (timedelta(days=2000), Level.WARN, "last heard it at 20"),
        (timedelta(), Level.OK, "last heard at"),
    ],
)
def test_a_running_bot_that_hears_nothing_is_told(ago: timedelta | None, level: Level, words: str) -> None:
    """A homeserver that answers is a warning if the running bot has not heard it lately."""
    said = None if ago is None else (datetime.now(UTC) - ago).isoformat()
    finding = judge_hearing(said, "http://hs speaks Matrix up to v1.11")
    assert finding.level is level
    assert words in finding.text
