"""`aircheck init` at a terminal: it asks, asks again, and writes."""

import asyncio
import os
import pty
import select
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest
import yaml
from aiohttp import web

from bot.demo.synapse import Homeserver
from bot.errors import ConfigError
from bot.shell import init as configure

PATIENCE_S = 30


class Terminal:
    """A program at a terminal of its own; `answer` waits for a question and types."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        self._ours, theirs = pty.openpty()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRCHECK_")}
        command = [sys.executable, "-m", "bot", *arguments]
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs in the background ignores it
        self._process = subprocess.Popen(
            command, cwd=cwd, env=clean, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        signal.signal(signal.SIGINT, before)
        os.close(theirs)
        self.seen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def answer(self, question: str, text: str) -> None:
        asked = self._read_until(question)
        assert question in asked, asked
        os.write(self._ours, f"{text}\n".encode())

    def interrupt(self, question: str) -> None:
        """Send Ctrl-C once the program waits for the answer.

        Python looks for signals between its steps, and one that comes after the last step before the system's `read`
        is seen after that `read` only. A person who is that fast presses twice.
        """
        self._read_until(question)
        status = Path(f"/proc/{self._process.pid}/stat")
        until = time.monotonic() + PATIENCE_S
        while status.read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < until, self.seen
            time.sleep(0.01)  # nobody tells when a process begins to wait
        self._process.send_signal(signal.SIGINT)

    def end(self) -> int:
        self._read_until(None)
        return self._process.wait(timeout=PATIENCE_S)

    def _read_until(self, text: str | None) -> str:
        heard = ""
        while text is None or text not in heard:
            assert select.select([self._ours], [], [], PATIENCE_S)[0], heard
            try:
                piece = os.read(self._ours, 4096)
            except OSError:  # Linux's way of saying that the other side has closed the terminal
                break
            if not piece:
                break
            heard += piece.decode()
        self.seen += heard
        return heard


def test_questions_are_asked_again_until_the_answer_will_do(tmp_path: Path) -> None:
    """A wrong answer is told and asked again; the password is not shown; the file is private and holds the answers."""
    with Terminal("init", cwd=tmp_path) as terminal:
        terminal.answer("homeserver's address", "http://127.0.0.1:1")
        terminal.answer("homeserver's address", "http://127.0.0.1:1")
        terminal.answer("bot's account", "bot")
        terminal.answer("bot's account", "@bot:hs.example")
        terminal.answer("a file that holds it): ", "open sesame")  # the space comes once nothing is shown any more
        terminal.answer("Your own Matrix id", "you")
        terminal.answer("Your own Matrix id", "@you:hs.example, @other:hs.example")
        terminal.answer("Where listeners", "radio.example")
        terminal.answer("Where listeners", "https://radio.example")
        code = terminal.end()
    assert code == 0, terminal.seen
    assert "matrix.user_id: must be a Matrix user id" in terminal.seen
    assert "web.public_url: must begin with https://" in terminal.seen
    assert "warning: http://127.0.0.1:1: the homeserver can't be reached" in terminal.seen
    assert "sesame" not in terminal.seen
    file = tmp_path / "config.yaml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert yaml.safe_load(file.read_text()) == {
        "matrix": {
            "homeserver": "http://127.0.0.1:1",
            "user_id": "@bot:hs.example",
            "password": "open sesame",
            "admins": ["@you:hs.example", "@other:hs.example"],
        },
        "web": {"public_url": "https://radio.example"},
    }


def test_what_the_homeserver_refuses_is_asked_again(homeserver: Homeserver, tmp_path: Path) -> None:
    """A wrong address, a wrong server in the account and a wrong password are told and asked again."""
    account = asyncio.run(homeserver.register(f"configured-{os.getpid()}", "correct horse"))
    strayed = f"{account.split(':', 1)[0]}:elsewhere.example"
    with Terminal("init", cwd=tmp_path) as terminal:
        terminal.answer("homeserver's address", "http://127.0.0.1:1")
        terminal.answer("homeserver's address", homeserver.address)
        terminal.answer("bot's account", strayed)
        terminal.answer("a file that holds it): ", "correct horse")
        terminal.answer("bot's account", account)
        terminal.answer("a file that holds it): ", "wrong horse")
        terminal.answer("a file that holds it): ", "correct horse")
        terminal.answer("Your own Matrix id", "")
        terminal.answer("Where listeners", "")
        code = terminal.end()
    assert code == 0, terminal.seen
    assert f"it calls this account {account}" in terminal.seen
    assert "matrix.password: the homeserver does not accept it" in terminal.seen
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == {
        "matrix": {"homeserver": homeserver.address, "user_id": account, "password": "correct horse"}
    }


def test_a_file_that_is_there_is_kept_unless_one_says_yes(tmp_path: Path) -> None:
    """Asked whether to replace the file, no is the default: exit code 1, and the file is as it was."""
    file = tmp_path / "config.yaml"
    file.write_text("mine")
    with Terminal("init", cwd=tmp_path) as terminal:
        terminal.answer("Replace it?", "")
        assert terminal.end() == 1
    assert file.read_text() == "mine"


def test_leaving_at_a_question_writes_nothing(tmp_path: Path) -> None:
    """Ctrl-C at a question ends with 130 and one word, and no file is there."""
    with Terminal("init", cwd=tmp_path) as terminal:
        terminal.answer("homeserver's address", "http://127.0.0.1:1")
        terminal.answer("homeserver's address", "http://127.0.0.1:1")
        terminal.interrupt("bot's account")
        code = terminal.end()
    assert (code, "Traceback" in terminal.seen) == (130, False), terminal.seen
    assert list(tmp_path.iterdir()) == []


class Somewhere:
    """Serves one JSON answer for each path on loopback, 404 for all others."""

    def __init__(self, answers: dict[str, object]) -> None:
        self.answers = answers

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{rest:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        answer = self.answers.get(request.path)
        return web.json_response(answer, status=404 if answer is None else 200)


async def test_a_server_name_leads_to_its_homeserver() -> None:
    """If no homeserver answers at the address, the one that its .well-known names is used."""
    async with Somewhere({"/_matrix/client/versions": {"versions": ["v1.11"]}}) as homeserver:
        pointer = {"m.homeserver": {"base_url": f"{homeserver.address}/"}}
        async with Somewhere({"/.well-known/matrix/client": pointer}) as name:
            assert await configure.find_homeserver(name.address) == (homeserver.address, None)


async def test_an_address_that_answers_is_believed() -> None:
    """An address that answers is kept, whatever its .well-known says."""
    pointer = {"m.homeserver": {"base_url": "https://elsewhere.example"}}
    answers = {"/_matrix/client/versions": {"versions": ["v1.11"]}, "/.well-known/matrix/client": pointer}
    async with Somewhere(answers) as homeserver:
        assert await configure.find_homeserver(homeserver.address) == (homeserver.address, None)


@pytest.mark.parametrize("pointer", [None, [], {"m.homeserver": "x"}, {"m.homeserver": {"base_url": "file:///etc"}}])
async def test_what_is_no_homeserver_is_told(pointer: object) -> None:
    """If something else answers, the address is kept and a warning is printed."""
    async with Somewhere({"/_matrix/client/versions": {"hello": 1}, "/.well-known/matrix/client": pointer}) as web_site:
        address, wrong = await configure.find_homeserver(web_site.address)
    assert address == web_site.address
    assert wrong == "no Matrix homeserver answers there"


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """If the file can't be written, the error names it and nothing is left behind."""
    target = tmp_path / "config.yaml"
    target.mkdir()
    with pytest.raises(ConfigError, match=r"config\.yaml can't be written"):
        configure.save(target, {"matrix": {}})
    assert list(tmp_path.iterdir()) == [target]
