"""Headless Chromium in a process of its own, driven through `browser.js`: `make test-browser` installs it."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ORDER_S = 90.0
WAIT_MS = 30_000
END_S = 20.0
PHONE, DESK, ZOOMED = 390, 1280, 320
"""Widths of windows; ZOOMED is that of a desk at 400 %, with a mouse."""
INSECURE = "studio.test"
"""A name of this machine which browsers hold for another one: without https they give its pages no microphone."""
HEIGHTS = {PHONE: 844, DESK: 800, ZOOMED: 256}
INSECURE_HERE = f"--host-resolver-rules=MAP {INSECURE} 127.0.0.1"


class Tab:
    """A tab with a width and a colour scheme of its own."""

    def __init__(self, browser: "Browser", name: str) -> None:
        self._browser = browser
        self.name = name
        self.is_open = True

    async def prepare(self, script: str) -> None:
        """Have a script run on each page before the page's own."""
        await self._do("prepare", script=script)

    async def visit(self, address: str) -> int:
        """Open an address and return its status."""
        status: int = await self._do("visit", address=address)
        return status

    async def faults(self) -> list[str]:
        """Return what the console said and what could not be loaded, since the last call."""
        said: list[str] = await self._do("faults")
        return said

    async def axe(self) -> list[str]:
        """Return the findings of axe-core."""
        findings: list[str] = await self._do("axe")
        return findings

    async def evaluate(self, expression: str) -> Any:
        return await self._do("evaluate", expression=expression)

    async def wait(self, expression: str, within_ms: int = WAIT_MS) -> None:
        """Wait until an expression is true on the page."""
        await self._do("wait", expression=expression, within=within_ms)

    async def press(self, key: str) -> None:
        await self._do("press", key=key)

    async def click(self, selector: str) -> None:
        """Click as a person does: what may only follow an action may follow this."""
        await self._do("click", selector=selector)

    async def click_at(self, x: float, y: float, nth: int = 1) -> None:
        """Click at a place. `nth`: which click in a row it is, 2 for the second of a double click."""
        await self._do("clickAt", x=x, y=y, nth=nth)

    async def type(self, text: str) -> None:
        await self._do("type", text=text)

    async def choose(self, selector: str, path: Path) -> None:
        """Choose a file."""
        await self._do("choose", selector=selector, path=str(path))

    async def reload(self) -> None:
        await self._do("reload")

    async def network(self, *, there: bool) -> None:
        """Take the page's connection away, or give it back."""
        await self._do("network", there=there)

    async def front(self) -> None:
        """Show this tab, in front of those beside it."""
        await self._do("front")

    async def picture(self, path: Path, *, full: bool = False) -> None:
        """Write a PNG of what is seen, or of the full page."""
        await self._do("picture", path=str(path), full=full)

    async def close(self) -> None:
        """Close it at once: its page is not asked."""
        self.is_open = False
        await self._do("close")

    async def _do(self, order: str, **told: Any) -> Any:
        return await self._browser.do(order, self.name, **told)


class Browser:
    """A running browser.js."""

    def __init__(self, process: asyncio.subprocess.Process, errors: Path) -> None:
        self._process = process
        self._errors = errors
        self._tabs = 0
        self._open: set[Tab] = set()
        self._pid = 0
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def tab(
        self,
        width: int = DESK,
        scheme: str = "light",
        *,
        scripts: bool = True,
        beside: Tab | None = None,
        gives: Mapping[str, Sequence[str]] | None = None,
    ) -> AsyncIterator[Tab]:
        """Open a tab. `beside`: one whose storage it shares; `gives`: the permissions that an origin's pages have,
        which are refused all others."""
        self._tabs += 1
        name = f"tab{self._tabs}"
        window = {"width": width, "height": HEIGHTS[width], "touch": width == PHONE}
        other = beside.name if beside is not None else None
        await self.do("open", name, **window, scheme=scheme, scripts=scripts, beside=other, gives=gives)
        tab = Tab(self, name)
        self._open.add(tab)
        try:
            yield tab
        finally:
            self._open.discard(tab)
            if tab.is_open:
                await tab.close()

    async def ready(self) -> None:
        """Wait until the browser has started."""
        told = await self.read()
        assert told["done"] == "ready"
        self._pid = told["pid"]

    async def kill(self) -> None:
        """End the browser at once, with all its processes: nothing of it is asked. Its tabs are gone, too. Its driver
        may clear up for a while."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)  # its driver gives it a group of its own
        for tab in self._open:
            tab.is_open = False
        assert self._process.stdin is not None
        self._process.stdin.close()
        if not await self._ends():
            self._process.kill()
            await self._process.wait()

    async def close(self) -> None:
        """Have the browser close, and kill it where it does not."""
        if self._process.returncode is not None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        if not await self._ends():
            await self.kill()

    async def _ends(self) -> bool:
        """Wait for the driver's end, for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._process.wait()
        return self._process.returncode is not None

    async def do(self, order: str, tab: str, **told: Any) -> Any:
        """Have something done. Raises AssertionError with the browser's words."""
        assert self._process.stdin is not None
        async with self._turn:
            self._process.stdin.write(json.dumps({"order": order, "tab": tab, **told}).encode() + b"\n")
            done = await self.read()
        assert done.pop("done") == order
        assert "error" not in done, f"{done['error']}\n{self._log()}"
        return done["value"]

    async def read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(ORDER_S):
            line = await self._process.stdout.readline()
        assert line, self._log()
        told: dict[str, Any] = json.loads(line)
        return told

    def _log(self) -> str:
        return self._errors.read_text()[-4000:]


@asynccontextmanager
async def chromium(directory: Path, *flags: str) -> AsyncIterator[Browser]:
    """Run a browser, with these flags beside the usual ones."""
    assert CHROMIUM is not None, "Chromium is not installed"
    async with driven(directory, {"program": CHROMIUM, "flags": [INSECURE_HERE, *flags]}) as browser:
        yield browser


@asynccontextmanager
async def driven(directory: Path, told: Mapping[str, Any]) -> AsyncIterator[Browser]:
    """Run browser.js, which is told what it drives."""
    errors = directory / "browser.log"
    with errors.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(FOLDER / "browser.js"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            limit=2**24,
        )
    browser = Browser(process, errors)
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(told).encode() + b"\n")
        await browser.ready()
        yield browser
    finally:
        await browser.close()
