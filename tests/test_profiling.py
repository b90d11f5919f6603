"""The profile of a running process."""

import asyncio
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from bot import profiling
from bot.profiling import FILE_NAME, Profile, profiled
from storage import journal
from storage.place import Place
from storage.store import Store


@pytest.fixture(autouse=True)
def _signal_as_before() -> Iterator[None]:
    """Give SIGUSR1 back what it does to other tests."""
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


SECRET = "value that nobody may read"
WITHIN_S = 30


def block(until: threading.Event) -> None:
    time.sleep(0.08)  # what is to be found: it blocks the event loop
    assert until.wait(WITHIN_S)


def seen_blocking(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return an event that is set when the profile has seen `block`."""
    seen, stack_of = threading.Event(), profiling.stack_of

    def looked(frame: FrameType | None) -> list[str]:
        stack = list(stack_of(frame))
        if any(entry.endswith(":block") for entry in stack):
            seen.set()
        return stack

    monkeypatch.setattr(profiling, "stack_of", looked)
    return seen


async def test_what_blocks_the_loop_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long turn of the event loop is named by function, file and line, and its stack is in the file; statements are
    listed without their values."""
    caplog.set_level(logging.INFO, "bot.profiling")
    seen = seen_blocking(monkeypatch)
    store = await Store.own(Place(tmp_path))
    async with profiled(tmp_path / FILE_NAME):
        await asyncio.sleep(0)
        block(seen)
        await asyncio.sleep(0)
        async with store.write() as db:
            await journal.put(db, "key", SECRET)
    await store.close()
    longest = re.search(r"the longest turn took (\d+) ms", caplog.text)
    assert longest is not None
    assert int(longest[1]) >= 80
    assert re.search(r"SQL: 1 in \d\.\d\d s, the longest \d+ ms: INSERT INTO meta ", caplog.text)
    assert re.search(r"writes: 1 in", caplog.text)
    written = (tmp_path / FILE_NAME).read_text()
    assert re.search(r"^.*test_profiling\.py:\d+:block \d+$", written, re.MULTILINE)
    assert all(re.fullmatch(r".+ \d+", line) for line in written.splitlines())
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert SECRET not in written + caplog.text


async def test_the_file_on_request(tmp_path: Path) -> None:
    """SIGUSR1 writes the stacks so far, and the loop is as it was when the profile ends."""
    run = asyncio.Handle._run
    async with profiled(tmp_path / FILE_NAME):
        assert asyncio.Handle._run is not run
        assert not (tmp_path / FILE_NAME).exists()
        os.kill(os.getpid(), signal.SIGUSR1)
        async with asyncio.timeout(WITHIN_S):
            while not (tmp_path / FILE_NAME).exists():  # noqa: ASYNC110  the file system tells nobody
                await asyncio.sleep(0.01)
    assert asyncio.Handle._run is run


async def test_a_request_in_the_last_moment_kills_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the end of the block on SIGUSR1 is ignored, so that the process lives to write its profile."""
    stop = Profile.stop

    def asked_while_stopping(profile: Profile) -> None:
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGUSR1)
        stop(profile)

    monkeypatch.setattr(Profile, "stop", asked_while_stopping)
    async with profiled(tmp_path / FILE_NAME):
        pass
    assert (tmp_path / FILE_NAME).exists()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    os.kill(os.getpid(), signal.SIGUSR1)


async def test_a_line_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has a summary each minute; without a folder nothing is profiled."""
    monkeypatch.setattr(profiling, "TELL_EVERY_S", 0.01)
    tells, tell = asyncio.Semaphore(0), profiling._log

    def told(profile: Profile) -> None:
        tell(profile)
        tells.release()

    monkeypatch.setattr(profiling, "_log", told)
    caplog.set_level(logging.INFO, "bot.profiling")
    async with profiled(None):
        await asyncio.sleep(0.03)
    assert caplog.text == ""
    async with profiled(tmp_path / FILE_NAME):
        async with asyncio.timeout(WITHIN_S):
            for _ in range(2):
                await tells.acquire()
        assert caplog.text.count("CPU so far") > 1
