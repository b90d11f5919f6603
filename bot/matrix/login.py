"""The bot's account, device and token, stored in a folder of files of mode 0600.

simplematrixbotlib would delete a session file that it can't read, log in as a new device, and pickle the keys with a
constant. Here a device gets its id before it exists, its key store has a random key, and nothing is deleted.
"""

import json
import logging
import secrets
import string
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bot.errors import ConfigError, StartError, TryLater
from bot.matrix.library import botlib
from bot.matrix.nio_names import AsyncClient, AsyncClientConfig
from bot.matrix.probe import why_refused
from bot.matrix.wire import NotMatrix, Refused, Wire, path
from bot.settings import Settings
from storage.private import make_folder, write_whole
from storage.records import DeviceId, UserId

log = logging.getLogger(__name__)

SESSION_FILE = "session.json"
KEY_FILE = "store.key"
DATABASE_FILE = "keys.db"


@dataclass(frozen=True, slots=True)
class StoredSession:
    """The stored device. `access_token` is None before the first login and after the token was revoked."""

    user_id: UserId
    device_id: DeviceId
    access_token: str | None = None


def matrix_folder(directory: Path) -> Path:
    """Give the folder of keys and session below the storage directory; made with mode 0700 if missing."""
    folder = directory / "matrix"
    make_folder(folder)
    return folder


def read_session(directory: Path) -> StoredSession | None:
    """Read the stored device; None before the first start. Raises StartError for a file that can't be read."""
    file = directory / "matrix" / SESSION_FILE
    try:
        entry = json.loads(file.read_bytes())
        token = entry["access_token"]
        return StoredSession(UserId(str(entry["user_id"])), DeviceId(str(entry["device_id"])), token and str(token))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise StartError(
            f"{file} can't be read: restore it, or move the folder away to begin as a new device"
        ) from None


def write_session(directory: Path, session: StoredSession) -> None:
    write_whole(matrix_folder(directory) / SESSION_FILE, json.dumps(asdict(session)).encode())


def new_device_id() -> DeviceId:
    """Choose a device id. It is stored before the login, so that an interrupted start leaves no second device."""
    return DeviceId("".join(secrets.choice(string.ascii_uppercase) for _ in range(10)))


class Credentials(botlib.Creds):
    """The bot's account and device. The library would encrypt the token with the password; here its file is private."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self.homeserver = settings.matrix.homeserver
        self.username = settings.matrix.user_id
        self.device_name = settings.matrix.device_name
        self.password = None  # read when it is needed, never stored
        self.login_token = None
        self.access_token: str | None = None
        self.device_id: str = ""
        self._directory = directory

    def session_read_file(self) -> None:
        """Read the session file. Raises ConfigError if it is of another account, StartError if it can't be read."""
        stored = read_session(self._directory)
        if stored is None:
            self.device_id = new_device_id()
            self.session_write_file()
            return
        if stored.user_id != self.username:
            raise ConfigError(
                f"matrix.user_id: the data in {self._directory} belong to {stored.user_id}, not to {self.username}"
            )
        self.device_id, self.access_token = stored.device_id, stored.access_token
        if stored.access_token is not None and not (matrix_folder(self._directory) / DATABASE_FILE).exists():
            log.warning("the end-to-end keys are missing: the bot logs in as a new device")
            self.device_id, self.access_token = new_device_id(), None
            self.session_write_file()

    def session_write_file(self) -> None:
        session = StoredSession(UserId(self.username), DeviceId(self.device_id), self.access_token)
        write_session(self._directory, session)


def store_key(directory: Path) -> str:
    """Read the random key that encrypts the end-to-end keys at rest; made at the first start."""
    folder = matrix_folder(directory)
    file = folder / KEY_FILE
    if file.exists():
        return file.read_text(encoding="ascii").strip()
    if (folder / DATABASE_FILE).exists():
        raise StartError(f"{file} is missing, and {DATABASE_FILE} can't be read without it: restore it from a backup")
    key = secrets.token_urlsafe(32)
    write_whole(file, key.encode())
    return key


class Api(botlib.Api):
    """The library's Api with another login: a random store key, the settings' device name, no prints or retries."""

    def __init__(self, creds: Credentials, config: botlib.Config, *, settings: Settings, directory: Path, wire: Wire):
        super().__init__(creds, config)
        self._settings = settings
        self._directory = directory
        self._wire = wire

    def make_client(self) -> AsyncClient:
        """Make a nio client for the device; it never connects, the wire makes all requests."""
        nio_config = AsyncClientConfig(
            max_limit_exceeded=0,
            max_timeouts=0,
            store_sync_tokens=False,
            encryption_enabled=True,
            store_name=DATABASE_FILE,
            pickle_key=store_key(self._directory),
        )
        self.async_client = AsyncClient(
            self.creds.homeserver,
            self.creds.username,
            device_id=self.creds.device_id,
            store_path=str(matrix_folder(self._directory)),
            config=nio_config,
        )
        self.async_client.user_id = self.creds.username
        return self.async_client

    async def login(self) -> bool:
        """Use the stored token, or log in by password; tell whether that made a new token.

        Raises ConfigError (wrong or no password, no homeserver at the address), TryLater.
        """
        if self.creds.access_token is not None:
            self._wire.token = self.creds.access_token
            return False
        password = self._settings.password()
        if not password:
            raise ConfigError("matrix.password is needed: the bot has no session yet, or its session has ended")
        await self._check_homeserver()
        answer = await self._request_token(password)
        user_id, token = answer.get("user_id"), answer.get("access_token")
        if not isinstance(token, str) or answer.get("device_id") != self.creds.device_id:
            raise TryLater("the homeserver's answer to the login is malformed")
        if user_id != self.creds.username:
            raise ConfigError(f"matrix.user_id: the homeserver logs in {self.creds.username} under another id")
        self.creds.access_token = self._wire.token = token
        self.creds.session_write_file()
        return True

    def forget_token(self) -> None:
        """Drop the token, so that the next login is by password, as the same device."""
        self.creds.access_token = self._wire.token = None
        self.creds.session_write_file()

    async def _check_homeserver(self) -> None:
        """Check that a homeserver is there. Raises ConfigError if something else answers."""
        try:
            answer = await self._wire.call("GET", "/_matrix/client/versions", auth=False, timeout_s=15)
        except (Refused, NotMatrix):
            answer = {}
        if not isinstance(answer.get("versions"), list):
            raise ConfigError(f"matrix.homeserver: no Matrix homeserver answers at {self.creds.homeserver}")

    async def _request_token(self, password: str) -> dict[str, Any]:
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.creds.username},
            "password": password,
            "device_id": self.creds.device_id,
            "initial_device_display_name": self.creds.device_name,
        }
        try:
            return await self._wire.call("POST", path("login"), body=body, auth=False)
        except Refused as refused:
            if refused.errcode == "M_USER_DEACTIVATED":
                raise ConfigError(f"matrix.user_id: the account {self.creds.username} is deactivated") from None
            if refused.status == 403:
                raise ConfigError(await why_refused(self.creds.homeserver, self.creds.username, password)) from None
            raise ConfigError(
                f"matrix.user_id: {self.creds.username} can't log in by password here: {refused}"
            ) from None
