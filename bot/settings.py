"""The settings: frozen and checked, with the one place of their defaults. `bot.sources` reads them. Pure.

An unknown key is an error that names it. `config.yaml.example` holds every key; a test keeps the two together.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from bot.errors import ConfigError
from storage.place import Place

DATABASE_FILE = "aircheck.db"
WILDCARDS = {"0.0.0.0", "::", ""}  # noqa: S104  compared with, not bound to
MIB = 1024 * 1024
YEAR_S = 366 * 86_400
MOST_DAYS = 36_500
"""The longest retention in days: a hundred years."""


def web_address(value: str) -> str:
    """Return an http or https address in ASCII (punycode, percent escapes) and without a slash at its end.

    Raises ValueError that says which rule the address breaks.
    """
    if not value.startswith(("https://", "http://")):
        raise ValueError("must begin with https:// or http://")
    if re.search(r"[\s?#@\\]", value):
        raise ValueError("must be a plain address, without spaces, user name, ? or #")
    try:
        value = value if value.isascii() else _in_ascii(value)
        parts = urlsplit(value)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("is not a complete address, such as https://example.org")
    return value.rstrip("/")


def hub_address(value: str) -> str:
    """Return an address as `web_address` does, with the slash at its end where it has one: to a hub it matters."""
    return web_address(value) + "/" * value.endswith("/")


def _in_ascii(address: str) -> str:
    """Write an address as browsers send it. Raises ValueError for a host that no domain name can have."""
    from yarl import URL  # no command needs it before the settings are read

    return str(URL(address))


def network(value: str) -> str:
    """Check an IP address, or a network of them. Raises ValueError."""
    try:
        ip_network(value, strict=False)
    except ValueError:
        raise ValueError("must be an IP address or a network, such as 10.0.0.7 or 10.0.0.0/8") from None
    return value


Network = Annotated[str, AfterValidator(network)]
WebAddress = Annotated[str, AfterValidator(web_address)]
HubAddress = Annotated[str, AfterValidator(hub_address)]
Mxid = Annotated[str, Field(pattern=r"^@[^:\s]+:\S+$")]
"""A user id (Matrix spec, appendices, user identifiers), also one of the historical ones with odd characters."""
Seconds = Annotated[float, Field(ge=0, le=YEAR_S, allow_inf_nan=False)]
SomeSeconds = Annotated[float, Field(gt=0, le=YEAR_S, allow_inf_nan=False)]
Word = Annotated[str, Field(pattern=r"^\S+$")]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class MatrixSettings(Section):
    homeserver: WebAddress
    user_id: Mxid
    password: str | None = Field(default=None, repr=False)
    password_file: str | None = None
    device_name: Annotated[str, Field(min_length=1, max_length=100)] = "Aircheck"
    admins: Annotated[tuple[Mxid, ...], Field(strict=False)] = ()
    invites_from: Annotated[tuple[Word, ...] | None, Field(strict=False)] = None

    @property
    def server_name(self) -> str:
        """The bot's own server, as its user id says it."""
        return self.user_id.split(":", 1)[1]

    @property
    def invites(self) -> tuple[str, ...]:
        """Glob patterns of user ids whose invites are accepted."""
        return self.invites_from if self.invites_from is not None else (f"*:{self.server_name}",)


class StorageSettings(Section):
    directory: str = "./data"
    database_url: str | None = Field(default=None, repr=False)
    media_url: str | None = None
    min_free_bytes: Annotated[int, Field(ge=0)] = 1024 * MIB
    max_bytes_per_room: Annotated[int, Field(gt=0)] = 50 * 1024 * MIB

    @field_validator("database_url")
    @classmethod
    def _database_url(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        scheme, _, address = value.partition("://")
        if scheme in {"postgresql", "postgresql+asyncpg"} and address:
            return f"postgresql+asyncpg://{address}"
        path = Path(info.data.get("directory", "")).expanduser().absolute() / DATABASE_FILE
        if scheme in {"sqlite", "sqlite+aiosqlite"} and Path(address[1:]).absolute() == path:
            return value
        raise ValueError("must be postgresql+asyncpg://…; SQLite lies in storage.directory (leave it out then)")

    @field_validator("media_url")
    @classmethod
    def _media_url(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#]*)?(\?[^#]*)?", value):
            raise ValueError("must be s3://BUCKET/PREFIX?endpoint=…&region=…")
        return value

    @property
    def path(self) -> Path:
        return Path(self.directory).expanduser().absolute()

    @property
    def place(self) -> Place:
        """The place of the store."""
        postgresql = self.database_url is not None and self.database_url.startswith("postgresql")
        return Place(self.path, self.database_url if postgresql else None, self.media_url)


class WebSettings(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8040
    public_url: WebAddress | None = None
    source_url: WebAddress | None = None
    trusted_proxies: Annotated[tuple[Network, ...], Field(strict=False)] = ()
    websub_hub: HubAddress | None = None
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None

    @property
    def address(self) -> str:
        """The address with which feeds and replies begin, without a slash at its end."""
        return self.public_url or self.local_address

    @property
    def source_address(self) -> str:
        """The address to which source clients send, without a slash at its end."""
        return self.source_url or self.address

    @property
    def local_address(self) -> str:
        """The address at which this machine reaches the web server."""
        host = "127.0.0.1" if self.host in WILDCARDS else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


class RecordingSettings(Section):
    quiet_period_s: Seconds = 60
    abandoned_after_s: SomeSeconds = 1800
    paused_for_s: SomeSeconds = 14_400
    max_chunk_bytes: Annotated[int, Field(gt=0)] = 64 * MIB
    max_broadcast_s: SomeSeconds = 6 * 3600
    session_gap_s: SomeSeconds = 600


class WalkieSettings(Section):
    floor_s: SomeSeconds = 60
    guard_s: Seconds = 1


class CallsSettings(Section):
    empty_s: Seconds = 30
    silent_s: SomeSeconds = 60
    beep: bool = True


class RetentionSettings(Section):
    max_days: Annotated[int, Field(ge=1, le=MOST_DAYS)] | None = None
    warn_days: Annotated[int, Field(ge=0, le=365)] = 7


class AudioSettings(Section):
    ffmpeg: str | None = None
    mp3_bitrate_kbps: Literal[32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320] = 64
    loudness_lufs: Annotated[float, Field(ge=-40, le=-5)] | None = -16


class FeedsSettings(Section):
    public_by: Literal["mods", "admins", "nobody"] = "mods"
    hold_incomplete_s: Seconds = 3600
    timezone: str = "UTC"
    language: Annotated[str, Field(pattern=r"^[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*$")] = "en"
    author: str | None = None
    email: str | None = None
    category: str = "Society & Culture"
    explicit: bool = False
    image: str | None = None

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("is not the name of a time zone, such as Europe/Berlin") from None
        return value

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


class CommandsSettings(Section):
    prefix: Word = "!aircheck"


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Settings(Section):
    matrix: MatrixSettings
    storage: StorageSettings = StorageSettings()
    web: WebSettings = WebSettings()
    recording: RecordingSettings = RecordingSettings()
    calls: CallsSettings = CallsSettings()
    walkie: WalkieSettings = WalkieSettings()
    retention: RetentionSettings = RetentionSettings()
    audio: AudioSettings = AudioSettings()
    feeds: FeedsSettings = FeedsSettings()
    commands: CommandsSettings = CommandsSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, values: Any) -> Any:
        """Treat `web:` with nothing below it as an empty section, and a missing `matrix` as one without keys."""
        if isinstance(values, dict):
            return {"matrix": {}} | {str(key): {} if value is None else value for key, value in values.items()}
        return values

    def may_publish(self, user_id: str, *, mod: bool) -> bool:
        """Tell whether a user, a moderator of the room or not, may make its podcast public (`feeds.public_by`)."""
        admin = user_id in self.matrix.admins
        return {"mods": mod or admin, "admins": admin, "nobody": False}[self.feeds.public_by]

    def password(self) -> str | None:
        """Return the account's password, from whichever of the two keys is set.

        Raises ConfigError when the file can't be read.
        """
        if self.matrix.password_file is None:
            return self.matrix.password
        try:
            # Editors on Windows begin a text file with a byte order mark.
            return Path(self.matrix.password_file).expanduser().read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"matrix.password_file can't be read: {error}") from None


PLAIN_WORDS = {
    "missing": "the setting {key} is missing",
    "extra_forbidden": "unknown setting {key}",
    "invalid_key": "unknown setting {key}",
    "model_type": "{key}: must be a section with its keys below it",
    "tuple_type": "{key}: must be a list",
    "string_type": "{key}: must be a text (put it in quotes)",
    "int_type": "{key}: must be a whole number",
    "int_from_float": "{key}: must be a whole number",
    "float_type": "{key}: must be a number",
    "bool_type": "{key}: must be true or false",
    "finite_number": "{key}: must be a finite number",
    "string_too_short": "{key}: must not be empty",
}
PATTERNS = {
    "matrix.user_id": "must be a Matrix user id, such as @aircheck:example.org",
    "matrix.admins": "must be Matrix user ids, such as @you:example.org",
    "matrix.invites_from": "must be patterns of Matrix user ids, such as *:example.org",
    "commands.prefix": "must be one word",
    "feeds.language": "must be a language code, such as en or pt-BR",
}


def _sentence(problem: Mapping[str, Any]) -> str:
    """Say one of pydantic's errors in a plain sentence, without the value, which may be a password."""
    key = ".".join(str(part) for part in problem["loc"] if isinstance(part, str))
    if problem["type"] in PLAIN_WORDS:
        return PLAIN_WORDS[problem["type"]].format(key=key)
    if problem["type"] == "string_pattern_mismatch":
        return f"{key}: {PATTERNS.get(key, 'is not valid')}"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{key}: {message[0].lower()}{message[1:]}"


def validate(tree: Mapping[str, Any]) -> Settings:
    """Make settings of a tree. Raises ConfigError that names every wrong key: unknown keys first (a misspelt one is
    often why another is missing), then wrong values, then missing keys."""
    try:
        return Settings.model_validate(dict(tree))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        order = {"extra_forbidden": 0, "invalid_key": 0, "missing": 2}
        problems.sort(key=lambda problem: order.get(problem["type"], 1))
        raise ConfigError("; ".join(dict.fromkeys(map(_sentence, problems)))) from None
