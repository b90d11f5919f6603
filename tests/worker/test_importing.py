"""`aircheck keys import`: handed over to the bot, told entry by entry, and ended with the right code."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bot import orders
from bot.matrix.keys import Keys
from bot.matrix.session import Session
from bot.settings import Settings
from bot.shell import cli, handover
from bot.worker.importing import ImportingKeys
from bot.worker.lanes import Worker
from storage.store import Store
from tests.matrix.test_key_export import PASSPHRASE, entry, exported


@asynccontextmanager
async def at_work(settings: Settings) -> AsyncIterator[Store]:
    """Open a bot with a key store and nothing else."""
    store = await Store.own(settings.storage.place)
    keys = Keys(lambda: datetime.now(UTC))
    config = SimpleNamespace(pickle_key="pickle", store_name="keys.db")
    await keys.open(SimpleNamespace(user_id="@bot:hs", device_id="BOT", store_path=str(store.directory), config=config))
    session = SimpleNamespace(ready=SimpleNamespace(is_set=lambda: True), keys=keys)

    async def open_all() -> None:
        pass

    handler = ImportingKeys(cast("Session", session), open_all=open_all)
    worker = Worker(store, {orders.ImportKeys.kind: handler}, lambda: datetime.now(UTC))
    await worker.start()
    try:
        yield store
    finally:
        await worker.stop(1)
        keys.close()
        await store.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with settings, in which the command is called."""
    monkeypatch.setattr(handover, "at_work", at_work)
    monkeypatch.setattr(handover, "LOOK_EVERY_S", 0.02)
    monkeypatch.setenv("AIRCHECK_KEYS_PASSPHRASE", PASSPHRASE)
    monkeypatch.chdir(tmp_path)
    matrix = {"homeserver": "http://hs", "user_id": "@bot:hs", "password": "x"}
    quiet = "log: {level: warning}\n"  # the log shares standard error with the sentence
    (tmp_path / "config.yaml").write_text(f"matrix: {matrix}\nstorage: {{directory: {tmp_path / 'data'}}}\n{quiet}")
    return tmp_path


def called(capsys: pytest.CaptureFixture[str], file: Path) -> tuple[int, list[str], str]:
    """Call the command; return its exit code, the lines of its answer, and the sentence on standard error."""
    code = cli.call(["keys", "import", str(file)])
    told = capsys.readouterr()
    return code, told.out.splitlines(), told.err


def test_each_entry_that_can_not_be_taken_is_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its place in the file, also where only the bot could say; exit code 0, for others were taken."""
    known = entry()
    entries: list[Any] = [entry(), entry(algorithm="x"), 7, known, known | {"room_id": "!other:hs"}, known]
    code, lines, err = called(capsys, exported(folder / "keys.txt", entries))
    assert (code, err) == (0, "")
    assert [line.split(":")[0].split(" (")[0] for line in lines[:-1]] == ["entry 2", "entry 3", "entry 5"]
    assert "its algorithm is not m.megolm.v1.aes-sha2" in lines[0]
    assert "it is not a JSON object" in lines[1]
    assert "the known key of this session is of another room" in lines[2]
    assert lines[-1] == "2 room keys taken, 1 room key known before, 3 room keys not taken."
    assert not list((folder / "data" / "tmp").iterdir())


def test_the_same_file_again_is_no_failure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything is known then."""
    file = exported(folder / "keys.txt", [entry()])
    assert called(capsys, file) == (0, ["1 room key taken."], "")
    assert called(capsys, file) == (0, ["0 room keys taken, 1 room key known before."], "")


@pytest.mark.parametrize("entries", [[], [entry(session_key="x"), None]])
def test_where_nothing_can_be_taken_the_code_is_1(
    folder: Path, capsys: pytest.CaptureFixture[str], entries: list[Any]
) -> None:
    """Each entry has its line, and the sentence names the file that was given."""
    code, lines, err = called(capsys, exported(folder / "keys.txt", entries))
    assert (code, len(lines)) == (1, len(entries))
    assert err == f"{folder / 'keys.txt'}: no room key in it could be taken\n"


@pytest.mark.parametrize("passphrase", ["another", PASSPHRASE])
def test_a_file_that_can_not_be_read_is_an_error_of_the_argument(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, passphrase: str
) -> None:
    """Exit code 2, one sentence with the name of the file that was given, and no other file's."""
    monkeypatch.setenv("AIRCHECK_KEYS_PASSPHRASE", passphrase)
    file = exported(folder / "keys.txt", [entry()])
    if passphrase == PASSPHRASE:
        file.write_text("no export")
    code, lines, err = called(capsys, file)
    assert (code, lines) == (2, [])
    assert err.startswith(f"{file} ")
    assert err.count("\n") == 1
    assert "tmp/keys-" not in err
