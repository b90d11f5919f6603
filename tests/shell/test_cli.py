"""The command line: exit codes, one plain sentence for each error, no traceback."""

import asyncio
import io
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from bot.demo.synapse import Homeserver
from bot.errors import ConfigError, StartError, TryLater
from bot.shell import cli
from bot.shell.exits import explain
from storage.errors import StoreLockedError
from tests.ports import free_port

MATRIX = {"homeserver": "http://127.0.0.1:1", "user_id": "@bot:hs.example", "password": "open sesame"}


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("AIRCHECK_")}


def aircheck(
    *arguments: str, cwd: Path, environment: dict[str, str] | None = None, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs `python -m bot` as a user would, without a terminal and without this machine's settings."""
    return subprocess.run(
        [sys.executable, "-m", "bot", *arguments],
        cwd=cwd,
        env={**clean_environment(), **(environment or {})},
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def settings_file(folder: Path, **sections: object) -> Path:
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({"matrix": MATRIX, "storage": {"directory": str(folder / "data")}} | sections))
    file.chmod(0o600)
    return file


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shell called in this process, in a folder of its own, without a terminal and this machine's settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    for name in [name for name in os.environ if name.startswith("AIRCHECK_")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "name a command: run, demo, init, check, "),
        (("backfil",), "'backfil'"),
        (("run", "--loudly"), "--loudly"),
        (("run", "now"), "now"),
        (("check", "-c"), "-c"),
        (("demo", "--port", "http"), "--port"),
        (("demo", "--port", "70000"), "--port"),
        (("run", "-c", "nowhere.yaml"), "nowhere.yaml does not exist"),
        (("run",), "matrix.homeserver"),
        (("check",), "matrix.homeserver"),
        (("rooms",), "matrix.homeserver"),
        (("recordings", "--json"), "matrix.homeserver"),
        (("rebuild",), "RECORDING"),
        (("rebuild", "last"), "matrix.homeserver"),
        (("init",), "--homeserver"),
        (("init", "--user-id", "bot"), "--user-id: must be a Matrix user id"),
        (("init", "--homeserver", "http://127.0.0.1:1"), "--user-id"),
        ((), ", keys ("),
        (("backfill", "!r", "--since", "yesterday"), "matrix.homeserver"),
    ],
)
def test_a_wrong_call_ends_with_one_sentence_and_2(
    arguments: tuple[str, ...], named: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong argument or setting: exit code 2, nothing on standard output, one line that names it."""
    assert cli.call(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert named in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [("soon", "unreadable"), ("tomorrow", "future"), ("1/2/2026", "ambiguous"), ("1.1.1990", "too early")],
)
def test_a_day_that_is_none_of_the_past_is_refused(
    text: str, why: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--since` takes days as people write them; any other text ends with 2 and examples."""
    settings_file(here)
    assert cli.call(("backfill", "!r", "--since", text)) == 2
    assert capsys.readouterr().err == (
        f"--since: write a day of the past (this one is {why}), such as 2026-01-31, 31.1.2026, yesterday or 2 weeks "
        "ago\n"
    )


@pytest.mark.parametrize("command", ["run", "check", "rooms", "recordings"])
def test_an_unknown_key_is_named_by_every_command(command: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command that reads the settings ends with 2 and names an unknown key."""
    settings_file(here, recording={"quiet_period": 3})
    assert cli.call([command]) == 2
    assert capsys.readouterr().err == "unknown setting recording.quiet_period\n"


def test_the_process_ends_with_the_code_and_the_sentence(tmp_path: Path) -> None:
    """`python -m bot` ends with 2, and standard error is one line."""
    done = aircheck("run", "--loudly", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "No such option: --loudly\n")


def test_a_wrong_variable_of_the_environment_is_named(tmp_path: Path) -> None:
    """An unknown setting in the environment is an error too."""
    settings_file(tmp_path)
    done = aircheck("run", cwd=tmp_path, environment={"AIRCHECK_WEB__PRT": "1"})
    assert done.returncode == 2
    assert done.stderr == "unknown setting web.prt (AIRCHECK_WEB__PRT in the environment)\n"


def test_version_and_help_are_answers(tmp_path: Path) -> None:
    """`--version` and `--help` print to standard output and end with 0; help names every command."""
    assert aircheck("--version", cwd=tmp_path).stdout == f"aircheck {version('matrix-aircheck')}\n"
    done = aircheck("--help", cwd=tmp_path)
    assert done.returncode == 0
    for command in ("run", "demo", "init", "check", "rooms", "recordings"):
        assert f"  {command} " in done.stdout


def test_help_needs_none_of_the_heavy_modules() -> None:
    """The shell itself imports neither nio, SQLAlchemy, aiohttp nor numpy."""
    probe = (
        "import sys, bot.shell.cli; "
        "print(sorted({'nio', 'sqlalchemy', 'aiohttp', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_terminal_that_is_not_utf_8(tmp_path: Path) -> None:
    """Letters that the terminal lacks are printed as question marks."""
    environment = {"PYTHONIOENCODING": "ascii"}
    done = aircheck("run", "-c", "für.yaml", cwd=tmp_path, environment=environment)
    assert (done.returncode, done.stderr) == (2, "f?r.yaml does not exist (`aircheck init` writes one)\n")
    settings_file(tmp_path, web={"port": free_port()}, feeds={"image": str(tmp_path / "bild für alle.png")})
    assert "bild f?r alle.png" in aircheck("check", cwd=tmp_path, environment=environment).stdout


def test_a_failure_at_run_time_ends_with_1(tmp_path: Path) -> None:
    """Without a database, listing recordings ends with 1 and one sentence."""
    settings_file(tmp_path)
    done = aircheck("recordings", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"there is no database in {tmp_path / 'data'}\n"


def test_debug_shows_the_traceback_and_the_sentence_last(tmp_path: Path) -> None:
    """With --debug, before or behind the command, the traceback is shown and the sentence is still the last line."""
    for arguments in (("--debug", "run"), ("run", "--debug")):
        done = aircheck(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert "Traceback" in done.stderr
        assert done.stderr.splitlines()[-1].startswith("the setting matrix.homeserver is missing")


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (ConfigError("matrix.password: wrong"), 2, "matrix.password: wrong"),
        (StartError("the database is in use"), 1, "the database is in use"),
        (StoreLockedError("another Aircheck is running"), 1, "another Aircheck is running"),
        (ExceptionGroup("tasks", [ValueError("x"), ConfigError("named")]), 2, "named"),
        (KeyboardInterrupt(), 130, "stopped"),
        (TryLater("later"), 1, "later"),
    ],
)
def test_every_error_of_ours_is_its_own_sentence(error: BaseException, code: int, sentence: str) -> None:
    """An error of Aircheck is printed as its own sentence, also out of a group of tasks."""
    assert explain(error) == (code, sentence)


def test_an_unexpected_error_tells_its_kind_and_nothing_more() -> None:
    """The text of another library's exception is not printed."""
    code, sentence = explain(RuntimeError("token syt_secret"))
    assert code == 1
    assert "syt_secret" not in sentence
    assert "RuntimeError" in sentence
    assert "--debug" in sentence


def test_init_writes_a_private_file_that_works(tmp_path: Path) -> None:
    """Without a terminal init takes options and environment; the file has mode 0600 and is accepted."""
    done = aircheck(
        "init",
        "--homeserver",
        "http://127.0.0.1:1",
        "--user-id",
        "@bot:hs.example",
        "--public-url",
        "https://radio.example",
        cwd=tmp_path,
        environment={"AIRCHECK_MATRIX__PASSWORD": "open: #sesame"},
    )
    file = tmp_path / "config.yaml"
    assert done.returncode == 0, done.stderr
    assert "sesame" not in done.stdout + done.stderr
    assert "can't be reached" in done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert yaml.safe_load(file.read_text()) == {
        "matrix": {"homeserver": "http://127.0.0.1:1", "user_id": "@bot:hs.example", "password": "open: #sesame"},
        "web": {"public_url": "https://radio.example"},
    }
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("program", [["-m", "bot"], [str(Path(sys.executable).with_name("aircheck"))]])
def test_init_ends_with_a_command_that_works(program: list[str], tmp_path: Path) -> None:
    """The commands that init names can be pasted: the program as it was called, and the file in quotes."""
    file = tmp_path / "my settings.yaml"
    arguments = ["init", "--homeserver", "http://127.0.0.1:1", "--user-id", "@bot:hs.example", "-c", str(file)]
    environment = clean_environment() | {"AIRCHECK_MATRIX__PASSWORD": "x", "AIRCHECK_WEB__PORT": str(free_port())}
    init = subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    command = init.stdout.split("`")[1]
    check = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S602
    assert check.returncode == 1, check.stderr
    assert str(file) in check.stdout


def test_init_does_not_overwrite_unasked(tmp_path: Path) -> None:
    """A file that is there stays as it is unless --overwrite is given."""
    file = settings_file(tmp_path)
    before = file.read_text()
    options = ("--homeserver", "http://127.0.0.1:1", "--user-id", "@new:hs.example", "--password-file", __file__)
    done = aircheck("init", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert "config.yaml exists already" in done.stderr
    assert file.read_text() == before
    assert aircheck("init", *options, "--overwrite", cwd=tmp_path).returncode == 0
    assert yaml.safe_load(file.read_text())["matrix"]["user_id"] == "@new:hs.example"


def test_check_without_a_homeserver_fails_with_1(tmp_path: Path) -> None:
    """With valid settings and no homeserver, check prints all its lines, a FAIL among them, and ends with 1."""
    settings_file(tmp_path, web={"host": "0.0.0.0", "port": free_port()})  # noqa: S104
    done = aircheck("check", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == ""
    lines = {line[6:].split("  ")[0]: line.split()[0] for line in done.stdout.splitlines()}
    assert lines == {
        "settings": "ok",
        "homeserver": "FAIL",
        "login": "FAIL",
        "device cross-signed": "warn",
        "ffmpeg": "ok",
        "database": "ok",
        "private files": "ok",
        "disk space": "ok",
        "web server": "ok",
        "public address": "warn",
    }
    assert "sesame" not in done.stdout
    assert not (tmp_path / "data").exists()


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`aircheck run`, from the line that says it runs; gone when the block is left."""
    command = [sys.executable, "-m", "bot", "run"]
    with subprocess.Popen(command, cwd=folder, env=clean_environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            assert any("bot.app: running" in line for line in process.stderr), f"it ended with {process.wait()}"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_ends_cleanly_when_told_to(number: signal.Signals, tmp_path: Path) -> None:
    """Without a homeserver too, run serves /healthz, and SIGTERM and SIGINT end it with 0 within 5 s."""
    port = free_port()
    settings_file(tmp_path, web={"port": port})
    with running(tmp_path) as process:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            assert answer.status == 200
        process.send_signal(number)
        _, said = process.communicate(timeout=5)
    assert process.returncode == 0
    assert "Traceback" not in said


def test_two_on_one_folder_are_one_too_many(tmp_path: Path) -> None:
    """A second run on the same data ends with 1 and a sentence without a time stamp as its last line."""
    settings_file(tmp_path, web={"port": free_port()})
    with running(tmp_path):
        done = aircheck("run", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"another Aircheck is running on {tmp_path / 'data'}"


@pytest.mark.parametrize(
    ("host", "named"), [("127.0.0.1", "web.port "), ("192.0.2.1", "web.host 192.0.2.1 "), ("a..b", "web.host a..b ")]
)
def test_an_address_that_can_not_be_listened_at(host: str, named: str, tmp_path: Path) -> None:
    """A port in use and a host of another machine: run ends with 2, check tells the same, both name the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings_file(tmp_path, web={"host": host, "port": taken.getsockname()[1]})
        done = aircheck("run", cwd=tmp_path)
        (told,) = [line for line in aircheck("check", cwd=tmp_path).stdout.splitlines() if "web server" in line]
    assert done.returncode == 2
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith(named)
    assert told.startswith("FAIL")
    assert told.endswith(sentence)


def test_a_wrong_server_in_the_user_id_ends_run_with_2(homeserver: Homeserver, tmp_path: Path) -> None:
    """The right password under a user id of another server: the sentence names matrix.user_id and the right id."""
    account = asyncio.run(homeserver.register(f"strayed-{os.getpid()}", "correct horse"))
    user_id = f"{account.split(':', 1)[0]}:elsewhere.example"
    matrix = {"homeserver": homeserver.address, "user_id": user_id, "password": "correct horse"}
    settings_file(tmp_path, matrix=matrix, web={"port": free_port()})
    done = aircheck("run", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("matrix.user_id: ")
    assert done.stderr.splitlines()[-1].endswith(account)


def test_a_wrong_password_ends_run_with_2(homeserver: Homeserver, tmp_path: Path) -> None:
    """A password that the homeserver refuses is a wrong setting: exit code 2, and the last line names the key."""
    account = asyncio.run(homeserver.register(f"shell-{os.getpid()}", "correct horse"))
    matrix = {"homeserver": homeserver.address, "user_id": account, "password": "open sesame"}
    settings_file(tmp_path, matrix=matrix, web={"port": free_port()})
    done = aircheck("run", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("matrix.password")
    assert "sesame" not in done.stderr
    assert "Traceback" not in done.stderr
