"""The driver of the browsers, which leaves none of them running."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from tests.browser import chromium
from tests.browser.chromium import Browser

pytestmark = pytest.mark.browser


@asynccontextmanager
async def running(*command: str, **how: Any) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(*command, **how)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_nothing_is_left_of_a_driver_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser that does not close is killed with its processes, and its driver after it."""
    monkeypatch.setattr(chromium, "END_S", 0.0)
    async with running("sleep", "600", start_new_session=True) as shown:
        ready = json.dumps({"done": "ready", "pid": shown.pid})
        stuck = ("sh", "-c", f"echo '{ready}'; exec sleep 600")
        async with running(*stuck, stdin=PIPE, stdout=PIPE) as driver, asyncio.timeout(60):
            browser = Browser(driver, tmp_path / "browser.log")
            await browser.ready()
            await browser.close()
            assert (await driver.wait(), await shown.wait()) == (-SIGKILL, -SIGKILL)
