"""Where the settings come from: a YAML file, then the environment (`AIRCHECK_<SECTION>__<KEY>`, read as YAML)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bot.errors import ConfigError
from bot.settings import Settings, WebAddress, validate

DEFAULT_FILE = Path("config.yaml")
ENVIRONMENT_PREFIX = "AIRCHECK_"
NOT_SETTINGS = {"AIRCHECK_KEYS_PASSPHRASE"}


def from_environment(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The settings among the environment's variables, as a tree. Raises ConfigError naming the variable."""
    tree: dict[str, dict[str, Any]] = {}
    for name, text in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in NOT_SETTINGS:
            continue
        section, separator, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if not separator:
            raise ConfigError(f"{name} is not a setting (they are named AIRCHECK_<SECTION>__<KEY>)")
        if key not in _fields(section):
            raise ConfigError(f"unknown setting {section}.{key} ({name} in the environment)")
        try:
            tree.setdefault(section, {})[key] = _plain_text(text) if _is_text(section, key) else yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"{name} is not valid YAML") from None
    return tree


def _fields(section: str) -> Mapping[str, Any]:
    found = Settings.model_fields.get(section)
    kind: Any = found.annotation if found else None
    return kind.model_fields if kind else {}


def _is_text(section: str, key: str) -> bool:
    return _fields(section)[key].annotation in (str, str | None, WebAddress | None)


def _plain_text(text: str) -> str | None:
    """A text as YAML, except that it needs no quotes: `@bot:example.org` and `007` are what they look like."""
    stripped = text.strip()
    if stripped in {"", "~", "null"}:
        return None
    return str(yaml.safe_load(stripped)) if stripped[0] in "'\"" else stripped


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


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from a file (None: `config.yaml` if it is there) and the environment. Raises ConfigError."""
    variables = os.environ if environment is None else environment
    file = path or DEFAULT_FILE
    there = path is not None or file.exists()
    tree = read_file(file) if there else {}
    try:
        return validate(merge(tree, from_environment(variables)))
    except ConfigError as error:
        if there or not error.sentence.endswith("is missing"):
            raise
        raise ConfigError(f"{error.sentence} and there is no {file} here (`aircheck init` writes one)") from None
