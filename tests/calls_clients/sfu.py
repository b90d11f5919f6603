"""LiveKit's server in a process of its own: `make test-calls` builds it where Go is installed."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from bot.demo.synapse import ended_within
from tests.livekit.access import Keys, RoomService
from tests.ports import free_port

BINARY = Path(__file__).parents[2] / "build" / "livekit-server"
MISSING = "LiveKit's server is not built: install Go (https://go.dev/doc/install) and run `make test-calls` again"
START_S = 30.0
STOP_S = 1.0
KILLED_S = 30.0  # the end of a killed process, on a busy machine
POLL_S = 0.05

# Linux ends the child with its parent, also when that is killed (see bot/demo/synapse.py).
LAUNCH = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"


class LiveKitServer:
    """An SFU on loopback, of one node. It keeps its address and its keys when it is started again, and no rooms."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._log = directory / "livekit.log"
        self._settings_path = directory / "livekit.yaml"
        self._child: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.keys = Keys("aircheck", secrets.token_hex(20))
        self._settings_path.touch(mode=0o600)
        self._settings_path.write_text(json.dumps(self._settings()))  # JSON is YAML

    @property
    def address(self) -> str:
        """Address for clients, without a slash at its end."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def rooms(self) -> RoomService:
        return RoomService(self.address, self.keys)

    async def start(self) -> None:
        """Start it and wait until it answers. Raises AssertionError with its log."""
        child = self._spawn()
        self._child = child
        try:
            async with asyncio.timeout(START_S):
                while not await self._healthy():
                    assert not await ended_within(child, POLL_S), f"the SFU ended:\n{self.log()}"
        except TimeoutError:
            await self.kill()
            raise AssertionError(f"the SFU did not answer:\n{self.log()}") from None

    async def stop(self) -> None:
        """End it as an operator does who does not wait until its rooms are empty: it tells its participants."""
        # The first signal has it wait for its participants to go, the second puts them out.
        await self._end(signal.SIGTERM, signal.SIGTERM, signal.SIGKILL)

    async def kill(self) -> None:
        """End it as a crash does."""
        await self._end(signal.SIGKILL)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", LAUNCH, str(BINARY), "--config", str(self._settings_path)]
        with self._log.open("ab") as output:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    async def _healthy(self) -> bool:
        where = f"http://127.0.0.1:{self.port}/"
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with aiohttp.ClientSession() as http, http.get(where) as answer:
                return answer.status == 200
        return False

    async def _end(self, *ways: signal.Signals) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        for way in ways:
            child.send_signal(way)
            if await ended_within(child, KILLED_S if way is signal.SIGKILL else STOP_S):
                return
        raise AssertionError(f"the SFU does not end:\n{self.log()}")

    def _settings(self) -> dict[str, object]:
        udp = _free_udp_port()
        return {
            "port": self.port,
            "bind_addresses": ["127.0.0.1"],
            "keys": {self.keys.key: self.keys.secret},
            "logging": {"level": "info"},
            "room": {"auto_create": False},  # the token service opens rooms
            "rtc": {
                "udp_port": udp,
                "tcp_port": free_port(),
                "use_external_ip": False,
                "node_ip": "127.0.0.1",
                "enable_loopback_candidate": True,
                "ips": {"includes": ["127.0.0.0/8"]},
                "stun_servers": [f"127.0.0.1:{udp}"],  # else clients ask one on the internet
            },
        }


@asynccontextmanager
async def livekit_server(directory: Path) -> AsyncIterator[LiveKitServer]:
    """Run an SFU. Everything of it lies in `directory`."""
    server = LiveKitServer(directory)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()  # participants that a test left there would be waited for


def _free_udp_port() -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_built() -> bool:
    """Tell whether the server can be started."""
    return os.access(BINARY, os.X_OK)
