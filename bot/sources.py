"""Sources of the settings: a YAML file, then the environment (`AIRCHECK_<SECTION>__<KEY>`, read as YAML)."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bot.errors import ConfigError
from bot.settings import Settings, WebAddress, validate

DEFAULT_FILE = Path("config.yaml")
ENVIRONMENT_PREFIX = "AIRCHECK_"
NOT_SETTINGS = {"AIRCHECK_KEYS_PASSPHRASE", "AIRCHECK_MOVE_TO"}
SERVICE_LINK = re.compile(r"AIRCHECK_(SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?)?)")
"""Variables that Kubernetes (and Docker's old links) set in every container beside a service called `aircheck`."""
SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+")


def from_environment(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the settings in the environment as a tree. Raises ConfigError that names all wrong variables."""
    tree: dict[str, dict[str, Any]] = {}
    problems = []
    for name, text in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in NOT_SETTINGS or _is_service_link(name, text):
            continue
        section, separator, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if not separator:
            problems.append(f"{name} is not a setting (they are named AIRCHECK_<SECTION>__<KEY>)")
        elif key not in _fields(section):
            problems.append(f"unknown setting {section}.{key} ({name} in the environment)")
        else:
            try:
                value = _plain_text(text) if _is_text(section, key) else yaml.safe_load(text)
            except yaml.YAMLError:
                problems.append(f"{name} is not valid YAML")
            else:
                tree.setdefault(section, {})[key] = value
    if problems:
        raise ConfigError("; ".join(problems))
    return tree


def _is_service_link(name: str, text: str) -> bool:
    """Tell whether a variable is one of Kubernetes', and not a setting that is misspelt as a port."""
    if SERVICE_LINK.fullmatch(name) is None:
        return False
    return name != "AIRCHECK_PORT" or SERVICE_ADDRESS.fullmatch(text) is not None


def _fields(section: str) -> Mapping[str, Any]:
    found = Settings.model_fields.get(section)
    kind: Any = found.annotation if found else None
    return kind.model_fields if kind else {}


def _is_text(section: str, key: str) -> bool:
    return _fields(section)[key].annotation in (str, str | None, WebAddress | None)


def _plain_text(text: str) -> str | None:
    """Read a text as YAML, but without the need for quotes: `@bot:example.org` and `007` are texts."""
    stripped = text.strip()
    if stripped in {"", "~", "null"}:
        return None
    return str(yaml.safe_load(stripped)) if stripped[0] in "'\"" else stripped


def read_file(path: Path) -> dict[str, Any]:
    """Read a YAML file as a tree. Raises ConfigError."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
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
    """Return the tree with the environment's values in it, which win key by key."""
    merged: dict[str, Any] = dict(tree)
    for section, values in environment.items():
        below = merged.get(section)
        merged[section] = {**(below if isinstance(below, dict) else {}), **values}
    return merged


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Load the settings from a file (None: `config.yaml` if it exists) and the environment. Raises ConfigError."""
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
