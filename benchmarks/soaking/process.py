"""The real bot as a process that is killed and started again, and what all its runs together have used."""

import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from benchmarks import usage

START_S = 120.0
LOOK_S = 0.1
LAST_WORDS = 2000


class BotProcess:
    """The process of `python -m bot run`. Logs go to one file; figures are read right before each end."""

    def __init__(self, settings: Mapping[str, Any], directory: Path) -> None:
        self.log = directory / "bot.log"
        self.starts = 0
        self.peak_mib = 0.0  # of the process alone, the highest of all runs
        self.last_mib = 0.0
        self.cpu_s = 0.0  # with children that have ended
        self._config = directory / "config.yaml"
        self._config.write_text(yaml.safe_dump(dict(settings)))
        self._health = f"http://{settings['web']['host']}:{settings['web']['port']}/healthz"
        self._child: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start and wait until `/healthz` answers."""
        with self.log.open("ab") as log:
            child = await asyncio.create_subprocess_exec(*self._command("run"), stdout=log, stderr=log)
        self._child = child
        self.starts += 1
        async with asyncio.timeout(START_S), aiohttp.ClientSession() as http:
            while not await self._healthy(http):
                self._look()
                await asyncio.sleep(LOOK_S)

    def cpu(self) -> tuple[float, float]:
        """Return the CPU seconds of the present run, and those of its children that have ended."""
        pid = self._look().pid
        return usage.all_cpu_of(pid), usage.children_cpu_of(pid)

    async def end(self, how: signal.Signals) -> int:
        """End the process by a signal and return the exit code."""
        child = self._look()
        self.last_mib = usage.memory_of(child.pid, "VmRSS")
        self.peak_mib = max(self.peak_mib, usage.memory_of(child.pid, "VmHWM"))
        self.cpu_s += usage.all_cpu_of(child.pid)
        child.send_signal(how)
        return await child.wait()

    async def close(self) -> None:
        """Kill the process if it still runs."""
        if self._child is not None and self._child.returncode is None:
            await self.end(signal.SIGKILL)

    async def recordings(self) -> list[dict[str, Any]]:
        """Run `aircheck recordings --json` beside the bot."""
        child = await asyncio.create_subprocess_exec(
            *self._command("recordings"), "--json", stdout=asyncio.subprocess.PIPE
        )
        out, _ = await child.communicate()
        if child.returncode != 0:
            raise RuntimeError(f"`aircheck recordings` ended with {child.returncode}")
        found: list[dict[str, Any]] = json.loads(out)
        return found

    def mistakes(self) -> int:
        """Count tracebacks in the log."""
        return self.log.read_text(errors="replace").count("Traceback (most recent call last)")

    def _command(self, name: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "bot", name, "-c", str(self._config))

    def _look(self) -> asyncio.subprocess.Process:
        """Return the running process. Raises RuntimeError when it has ended by itself."""
        child = self._child
        if child is None or child.returncode is not None:
            raise RuntimeError(f"the bot ended by itself:\n{self.log.read_text(errors='replace')[-LAST_WORDS:]}")
        return child

    async def _healthy(self, http: aiohttp.ClientSession) -> bool:
        try:
            async with http.get(self._health) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False
