"""A headless Chromium, driven by its debugging protocol."""

import asyncio
import base64
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
START_WITHIN_S = 60.0
QUIET = (  # without requests to any other host
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-quic",
)  # fmt: skip


def find() -> str | None:
    """Find a browser on this machine; None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class BrowserPage:
    """A page in the browser. `trouble`: errors on its console, and violations of its content security policy."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.trouble: list[str] = []
        self._socket = socket
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def listen(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                break
            said = message.json()
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            elif said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                entry = said["params"]["entry"]
                self.trouble.append(f"{entry['text']} {entry.get('url', '')}")
            elif said.get("method") == "Runtime.exceptionThrown":
                details = said["params"]["exceptionDetails"]
                self.trouble.append(details.get("exception", {}).get("description", details["text"]))

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        said = await answer
        if "error" in said:
            raise RuntimeError(said["error"]["message"])
        result: dict[str, Any] = said["result"]
        return result

    async def open(self, address: str) -> None:
        for domain in ("Page", "Runtime", "Log"):
            await self.ask(f"{domain}.enable")
        await self.ask("Page.navigate", url=address)

    async def evaluate(self, expression: str) -> Any:
        """Evaluate JavaScript and return the value; of a promise, the resolved one."""
        said = await self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in said:
            raise RuntimeError(str(said["exceptionDetails"]))
        return said["result"].get("value")

    async def until(self, condition: str, seconds: float = 30.0) -> None:
        """Wait until a JavaScript condition is true. Raises TimeoutError."""
        look = f"new Promise(done => {{ const look = () => ({condition}) ? done() : setTimeout(look, 100); look(); }})"
        async with asyncio.timeout(seconds):
            while not await self._survives(look):
                await self.ask("Page.getFrameTree")

    async def _survives(self, expression: str) -> bool:
        """Return whether an evaluation ends: navigation breaks it off."""
        try:
            await self.evaluate(expression)
        except RuntimeError:
            return False
        return True

    async def picture(self, file: Path) -> None:
        said = await self.ask("Page.captureScreenshot", format="png")
        await asyncio.to_thread(file.write_bytes, base64.b64decode(said["data"]))


@asynccontextmanager
async def page(program: str, *more: str) -> AsyncIterator[BrowserPage]:
    """Open an empty page in a new browser. `more`: options of its command line."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            program, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}", "--mute-audio",
            "--autoplay-policy=no-user-gesture-required", "--window-size=800,900", "--disable-gpu",
            *QUIET, *(["--no-sandbox"] if os.geteuid() == 0 else []), *more, "about:blank",
            stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stderr is not None
        draining: asyncio.Task[bytes] | None = None
        try:
            async with asyncio.timeout(START_WITHIN_S):
                while b"DevTools listening on ws://" not in (said := await process.stderr.readline()):
                    if not said:
                        raise RuntimeError("the browser did not start")
            draining = asyncio.create_task(process.stderr.read())
            host = said.decode().split("ws://")[1].split("/")[0]
            async with ClientSession() as http:
                async with http.get(f"http://{host}/json/list") as answer:
                    targets = await answer.json(content_type=None)
                target = next(one for one in targets if one["type"] == "page")
                async with http.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    browser_page = BrowserPage(socket)
                    listening = asyncio.create_task(browser_page.listen())
                    yield browser_page
                    listening.cancel()
                    await asyncio.gather(listening, return_exceptions=True)
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            if draining is not None:
                await draining
