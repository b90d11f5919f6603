"""A real Matrix homeserver on loopback for the demo and the tests: Synapse in a process of its own."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiohttp

from bot.errors import StartError

START_S = 90.0  # a cold start on a busy small machine has taken 7 s
STOP_S = 15.0
POLL_S = 0.1

# Linux ends the child with its parent, also when that is killed: PR_SET_PDEATHSIG (1), which Python has no call for.
LAUNCH = (
    "import ctypes, runpy, signal, sys; "
    "ctypes.CDLL(None).prctl(1, signal.SIGTERM); "
    "runpy.run_module('synapse.app.homeserver', run_name='__main__', alter_sys=True)"
)

NO_LIMIT = {"per_second": 100_000, "burst_count": 100_000}
LIMITS = (
    "rc_message",
    "rc_registration",
    "rc_joins_per_room",
    "rc_room_creation",
    "rc_media_create",
    "rc_key_requests",
    "rc_admin_redaction",
    "rc_delayed_event_mgmt",
)


class Homeserver:
    """Synapse with SQLite, no federation and no rate limits. Everything lies in `directory`."""

    def __init__(self, directory: Path, port: int, server_name: str) -> None:
        self.directory = directory.absolute()
        self.port = port
        self.server_name = server_name
        self._secret = secrets.token_hex(16)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Base address of its client API, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @classmethod
    async def start(cls, directory: Path, *, port: int = 0, server_name: str = "localhost") -> "Homeserver":
        """Start a new homeserver and wait until it answers; port 0 takes a free one. Raises StartError."""
        if find_spec("synapse") is None:
            raise StartError('no homeserver: install the extra "demo" (pip install "matrix-aircheck[demo]")')
        homeserver = cls(directory, port or free_port(), server_name)
        homeserver._configure()
        await homeserver._launch()
        return homeserver

    async def stop(self) -> None:
        """Stop it and wait for its end; its data stay. Does nothing when it does not run."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """Kill it, as a crash would."""
        await self._end(signal.SIGKILL)

    async def restart(self) -> None:
        """Start it again with the same port and data; also after `stop` or `kill`."""
        await self.stop()
        await self._launch()

    async def register(self, localpart: str, password: str, admin: bool = False) -> str:
        """Register an account; give its user id (Synapse admin API, shared-secret registration)."""
        url = f"{self.address}/_synapse/admin/v1/register"
        async with aiohttp.ClientSession() as http:
            async with http.get(url) as answer:
                nonce = str((await answer.json())["nonce"])
            words = (nonce, localpart, password, "admin" if admin else "notadmin")
            # The API asks for SHA-1: https://element-hq.github.io/synapse/latest/admin_api/register_api.html
            mac = hmac.new(self._secret.encode(), "\0".join(words).encode(), hashlib.sha1).hexdigest()
            body = {"nonce": nonce, "username": localpart, "password": password, "admin": admin, "mac": mac}
            async with http.post(url, json=body) as answer:
                made: Mapping[str, Any] = await answer.json()
        if "user_id" not in made:
            raise StartError(f"the homeserver refused to register {localpart!r}: {made.get('errcode', answer.status)}")
        return str(made["user_id"])

    def _configure(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        key = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        (self.directory / "signing.key").write_text(f"ed25519 a_1 {key}\n")
        # Synapse reads JSON, because JSON is YAML.
        (self.directory / "log.yaml").write_text(json.dumps(self._log_settings(), indent=1))
        path = self.directory / "homeserver.yaml"
        path.touch(mode=0o600)
        path.write_text(json.dumps(self._settings(), indent=1))

    def _settings(self) -> dict[str, Any]:
        at = self.directory
        return {
            "server_name": self.server_name,
            "public_baseurl": f"{self.address}/",
            "pid_file": str(at / "homeserver.pid"),
            "listeners": [
                {
                    "port": self.port,
                    "bind_addresses": ["127.0.0.1"],
                    "type": "http",
                    "tls": False,
                    "resources": [{"names": ["client", "media", "openid"], "compress": False}],
                }
            ],
            "database": {"name": "sqlite3", "args": {"database": str(at / "homeserver.db")}},
            "log_config": str(at / "log.yaml"),
            "media_store_path": str(at / "media"),
            "signing_key_path": str(at / "signing.key"),
            "registration_shared_secret": self._secret,
            "macaroon_secret_key": secrets.token_hex(16),
            "form_secret": secrets.token_hex(16),
            "enable_registration": False,
            "report_stats": False,
            "stats": {"enabled": False},  # of rooms and users, which nobody reads
            "bcrypt_rounds": 4,  # the passwords here protect nothing
            "suppress_key_server_warning": True,
            "trusted_key_servers": [],
            "federation_domain_whitelist": [],
            "max_upload_size": "200M",
            "presence": {"enabled": False},
            "max_event_delay_duration": "24h",  # delayed events (MSC4140)
            "rc_login": {"address": NO_LIMIT, "account": NO_LIMIT, "failed_attempts": NO_LIMIT},
            "rc_joins": {"local": NO_LIMIT, "remote": NO_LIMIT},
            "rc_invites": {"per_room": NO_LIMIT, "per_user": NO_LIMIT, "per_issuer": NO_LIMIT},
            **dict.fromkeys(LIMITS, NO_LIMIT),
        }

    def _log_settings(self) -> dict[str, Any]:
        file = {"class": "logging.FileHandler", "filename": str(self.directory / "synapse.log"), "formatter": "line"}
        return {
            "version": 1,
            "formatters": {"line": {"format": "%(asctime)s %(name)s %(levelname)s %(message)s"}},
            "handlers": {"file": file},
            "root": {"level": "WARNING", "handlers": ["file"]},
            "disable_existing_loggers": False,
        }

    async def _launch(self) -> None:
        if not port_is_free(self.port):
            raise StartError(f"port {self.port} on 127.0.0.1 is in use, the homeserver can't listen there")
        self._child = self._spawn()
        try:
            async with asyncio.timeout(START_S):
                await self._ready(self._child)
        except TimeoutError:
            await self.kill()
            raise StartError(f"the homeserver did not answer within {START_S:.0f} s:\n{self._last_words()}") from None
        except BaseException:
            await self.kill()
            raise

    def _spawn(self) -> subprocess.Popen[bytes]:
        # Not by asyncio, whose processes belong to one event loop: this one outlives the loops of tests.
        with (self.directory / "stdout.log").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-c", LAUNCH, "-c", str(self.directory / "homeserver.yaml")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.directory,
                env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.directory)},
                start_new_session=True,  # Ctrl-C in a terminal is for this process, which stops it after the bot
            )

    async def _ready(self, child: subprocess.Popen[bytes]) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            while not await self._healthy(http):
                if await ended_within(child, POLL_S):
                    raise StartError(f"the homeserver ended while it started:\n{self._last_words()}")

    async def _healthy(self, http: aiohttp.ClientSession) -> bool:
        try:
            async with http.get(f"{self.address}/health") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _end(self, how: signal.Signals) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(how)
        if not await ended_within(child, STOP_S):
            child.kill()
            await ended_within(child, STOP_S)

    def _last_words(self) -> str:
        lines: list[str] = []
        for name in ("synapse.log", "stdout.log"):
            path = self.directory / name
            if path.exists():
                lines += path.read_text(errors="replace").splitlines()[-10:]
        return "\n".join(lines) or "(it said nothing)"


async def ended_within(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait this long at most for the child's end; tell whether it ended."""
    try:
        await asyncio.to_thread(child.wait, seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def free_port() -> int:
    """Find a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Tell whether a server could listen there; ports in TIME_WAIT count as free, as they do for servers."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
