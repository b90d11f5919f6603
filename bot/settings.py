"""The settings: YAML, then the environment (`AIRCHECK_<SECTION>__<KEY>`, its value read as YAML). Frozen.

An unknown key is an error that names it. `config.yaml.example` holds every key; a test keeps the two together.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bot.errors import ConfigError

ENVIRONMENT_PREFIX = "AIRCHECK_"
NOT_SETTINGS = {"AIRCHECK_KEYS_PASSPHRASE"}
WILDCARDS = {"0.0.0.0", "::", ""}  # noqa: S104  compared with, not bound to
MIB = 1024 * 1024


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class MatrixSettings(Section):
    homeserver: str
    user_id: Annotated[str, Field(pattern=r"^@[^:\s]+:\S+$")]
    password: str | None = Field(default=None, repr=False)
    password_file: str | None = None
    device_name: str = "Aircheck"
    admins: tuple[str, ...] = Field(default=(), strict=False)
    invites_from: Annotated[tuple[str, ...] | None, Field(strict=False)] = None

    @field_validator("homeserver")
    @classmethod
    def _address(cls, value: str) -> str:
        if not value.startswith(("https://", "http://")):
            raise ValueError("must begin with https:// or http://")
        return value.rstrip("/")

    @property
    def server_name(self) -> str:
        """The bot's own server, as its MXID says it."""
        return self.user_id.split(":", 1)[1]

    @property
    def invites(self) -> tuple[str, ...]:
        """Glob patterns of MXIDs whose invites are taken."""
        return self.invites_from if self.invites_from is not None else (f"*:{self.server_name}",)


class StorageSettings(Section):
    directory: str = "./data"
    database_url: str | None = None
    min_free_bytes: Annotated[int, Field(ge=0)] = 1024 * MIB
    max_bytes_per_room: Annotated[int, Field(gt=0)] = 50 * 1024 * MIB

    @field_validator("database_url")
    @classmethod
    def _sqlite_only(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("sqlite"):
            raise ValueError("only SQLite is supported for now (leave it out)")
        return value

    @property
    def path(self) -> Path:
        return Path(self.directory).expanduser().absolute()


class WebSettings(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8040
    public_url: str | None = None

    @field_validator("public_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise ValueError("must begin with https:// or http://")
        return value.rstrip("/") if value else value

    @property
    def address(self) -> str:
        """The one address that feeds and replies are built from, without a slash at its end."""
        if self.public_url:
            return self.public_url
        host = "127.0.0.1" if self.host in WILDCARDS else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


class RecordingSettings(Section):
    quiet_period_s: Annotated[float, Field(ge=0, strict=False)] = 60
    abandoned_after_s: Annotated[float, Field(gt=0, strict=False)] = 1800
    paused_for_s: Annotated[float, Field(gt=0, strict=False)] = 14_400
    max_chunk_bytes: Annotated[int, Field(gt=0)] = 64 * MIB
    max_broadcast_s: Annotated[float, Field(gt=0, strict=False)] = 6 * 3600


class AudioSettings(Section):
    ffmpeg: str | None = None
    mp3_bitrate_kbps: Literal[32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320] = 64
    loudness_lufs: Annotated[float, Field(ge=-40, le=-5, strict=False)] | None = -16


class FeedsSettings(Section):
    public_by: Literal["mods", "admins", "nobody"] = "mods"
    hold_incomplete_s: Annotated[float, Field(ge=0, strict=False)] = 3600
    timezone: str = "UTC"
    language: Annotated[str, Field(pattern=r"^[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*$")] = "en"
    author: str | None = None
    email: str | None = None
    category: str = "Society & Culture"
    explicit: bool = False
    image: str | None = None

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("is not the name of a time zone, such as Europe/Berlin") from None
        return value

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


class CommandsSettings(Section):
    prefix: Annotated[str, Field(pattern=r"^\S+$")] = "!aircheck"


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Settings(Section):
    matrix: MatrixSettings
    storage: StorageSettings = StorageSettings()
    web: WebSettings = WebSettings()
    recording: RecordingSettings = RecordingSettings()
    audio: AudioSettings = AudioSettings()
    feeds: FeedsSettings = FeedsSettings()
    commands: CommandsSettings = CommandsSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, values: Any) -> Any:
        """`web:` with nothing below it is an empty section, not an error."""
        if isinstance(values, dict):
            return {key: {} if value is None else value for key, value in values.items()}
        return values

    def password(self) -> str | None:
        """The account's password, from whichever of the two keys is set.

        Raises ConfigError when the file can't be read.
        """
        if self.matrix.password_file is None:
            return self.matrix.password
        try:
            return Path(self.matrix.password_file).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"matrix.password_file can't be read: {error}") from None


def from_environment(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The settings among the environment's variables, as a tree. Raises ConfigError naming the variable."""
    tree: dict[str, dict[str, Any]] = {}
    for name, text in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in NOT_SETTINGS:
            continue
        section, separator, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if not separator:
            raise ConfigError(f"{name} is not a setting (they are named AIRCHECK_<SECTION>__<KEY>)")
        try:
            tree.setdefault(section, {})[key] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"{name} is not valid YAML") from None
    return tree


def read_file(path: Path) -> dict[str, Any]:
    """A YAML file as a tree. Raises ConfigError."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist (`aircheck init` writes one)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path} is not valid YAML{where}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold sections (matrix:, storage:, …)")
    return tree


def merge(tree: Mapping[str, Any], environment: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The environment's values win, key by key."""
    merged: dict[str, Any] = dict(tree)
    for section, values in environment.items():
        below = merged.get(section)
        merged[section] = {**(below if isinstance(below, dict) else {}), **values}
    return merged


def validate(tree: Mapping[str, Any]) -> Settings:
    """Settings from a tree. Raises ConfigError with one sentence that names the first key that is wrong."""
    try:
        return Settings.model_validate(dict(tree))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        key = ".".join(str(part) for part in first["loc"] if not isinstance(part, int))
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"unknown setting {key}") from None
        if first["type"] == "missing":
            raise ConfigError(f"the setting {key} is missing") from None
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{key}: {message[0].lower()}{message[1:]}") from None


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from a file (None: `config.yaml` if it is there) and the environment. Raises ConfigError."""
    variables = os.environ if environment is None else environment
    if path is None:
        default = Path("config.yaml")
        tree = read_file(default) if default.exists() else {}
    else:
        tree = read_file(path)
    return validate(merge(tree, from_environment(variables)))
