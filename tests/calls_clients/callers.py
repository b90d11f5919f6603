"""Callers in headless Chromium, in a process of their own: `make test-calls` installs it."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ORDER_S = 120.0
LINE_BYTES = 32 * 1024 * 1024  # what a caller heard comes as one line


class Callers:
    """A running caller.js. Each caller has a name and a browser of its own."""

    def __init__(self, process: asyncio.subprocess.Process, errors: Path) -> None:
        self._process = process
        self._errors = errors

    async def open(self, name: str, sound: Path, **told: Any) -> dict[str, Any]:
        """Open a browser whose microphone plays a WAV file, named by an absolute path, again and again."""
        return await self.do(name, "open", sound=str(sound), again=True, **told)

    async def do(self, name: str, order: str, **told: Any) -> dict[str, Any]:
        """Have a caller do something, and return what it tells. Raises AssertionError with its log."""
        await self.tell({"order": order, "name": name, **told})
        done = await self.read()
        assert done.pop("done") == order
        assert "error" not in done, f"{done['error']}\n{self.log()}"
        return done

    async def tell(self, line: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        await self._process.stdin.drain()

    async def read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(ORDER_S):
            line = await self._process.stdout.readline()
        assert line, self.log()
        told: dict[str, Any] = json.loads(line)
        return told

    def log(self) -> str:
        return self._errors.read_text()[-4000:]


@asynccontextmanager
async def ordered(*command: str, errors: Path) -> AsyncIterator[Callers]:
    """Run a program that takes orders as lines of JSON, and ends with its input. It writes its log to `errors`."""
    with errors.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, limit=LINE_BYTES
        )
    assert process.stdin is not None
    try:
        yield Callers(process, errors)
    finally:
        if process.returncode is None:
            process.stdin.close()
            try:
                async with asyncio.timeout(20):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


@asynccontextmanager
async def callers(page: str, directory: Path, *, sdk: str | None = None) -> AsyncIterator[Callers]:
    """Run callers that speak what `page` says, with the matrix-js-sdk of package.json that is named `sdk`."""
    assert CHROMIUM is not None, "Chromium is not installed"
    async with ordered("node", str(FOLDER / "caller.js"), errors=directory / "callers.log") as started:
        await started.tell({"page": page, "sdk": sdk, "chromium": CHROMIUM})
        assert await started.read() == {"done": "ready"}, started.log()
        yield started
