"""`aircheck init`: asks for the few values that have no default, and writes the settings (mode 0600)."""

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
import yaml

from bot.errors import ConfigError, GiveUp, TryLater
from bot.matrix.probe import probing, why_refused
from bot.matrix.wire import Refused
from bot.settings import Settings, validate
from bot.sources import DEFAULT_FILE, from_environment, merge
from storage.private import write_whole

HEADER = """\
# Aircheck's settings. Whatever is not here has its default; docs/configuration.md explains every key.
# This file may hold a password: keep it readable by its owner only.
"""
PLACEHOLDERS = {"homeserver": "https://example.org", "user_id": "@aircheck:example.org"}
"""Stand-ins for values not asked for yet, so that one answer can be validated by itself."""


@dataclass(frozen=True, slots=True)
class Options:
    """Values from the command line."""

    homeserver: str | None = None
    user_id: str | None = None
    password_file: str | None = None
    public_url: str | None = None

    def checked(self) -> "Options":
        """Complete a homeserver's name to an address and validate every value. Raises ConfigError with the option."""
        options = replace(self, homeserver=_with_scheme(self.homeserver)) if self.homeserver else self
        for key, section in (("homeserver", "matrix"), ("user_id", "matrix"), ("public_url", "web")):
            value = getattr(options, key)
            if value is not None and (problem := _problem(section, key, value)):
                raise ConfigError(problem.replace(f"{section}.{key}", f"--{key.replace('_', '-')}"))
        return options


def write_settings(file: Path | None, options: Options, *, overwrite: bool) -> None:
    """Ask at a terminal, else take options and environment; write the file. Raises ConfigError."""
    path = file or DEFAULT_FILE
    terminal = bool(sys.stdin) and sys.stdin.isatty()
    options = options.checked()
    _may_write(path, terminal=terminal, overwrite=overwrite)
    environment = from_environment(os.environ)
    tree = _answers(options) if terminal else _without_terminal(options, environment)
    validate(merge(tree, environment)).password()
    save(path, tree)
    where = "" if path == DEFAULT_FILE else f" -c {shlex.quote(str(path))}"
    program = _program()
    typer.echo(f"{path} is written. Next: `{program} check{where}`, then `{program} run{where}`.")


def _program() -> str:
    """Find the words that call this program again from the current folder."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m {called.parent.name}"
    on_path = shutil.which(called.name)
    same = on_path is not None and called.exists() and Path(on_path).samefile(called)
    return called.name if same else shlex.quote(str(called))


def _may_write(path: Path, *, terminal: bool, overwrite: bool) -> None:
    if not path.parent.is_dir():
        raise ConfigError(f"--config: there is no folder {path.parent}")
    if not path.exists() or overwrite:
        return
    if not terminal:
        raise ConfigError(f"{path} exists already (--overwrite replaces it)")
    if not typer.confirm(f"{path} exists already. Replace it?"):
        raise typer.Exit(1)


def _answers(options: Options) -> dict[str, dict[str, Any]]:
    """Ask for the values that the command line did not give, each until it is valid."""
    homeserver = _ask_homeserver(options.homeserver)
    matrix = {"homeserver": homeserver} | _ask_account(homeserver, options)
    if admins := _ask_admins():
        matrix["admins"] = admins
    public_url = options.public_url or _ask(
        "Where listeners will reach the feeds, such as https://radio.example.org (empty: only this machine)",
        "public_url",
        section="web",
    )
    return {"matrix": matrix} | ({"web": {"public_url": public_url}} if public_url else {})


def _ask_homeserver(first: str | None) -> str:
    """Ask for an address until a homeserver answers there or the same is given twice: it may be started later."""
    address, before = first, None
    while True:
        address = address or _ask("The homeserver's address, such as https://matrix.example.org", "homeserver")
        homeserver, wrong = asyncio.run(find_homeserver(address))
        if wrong is None:
            typer.echo(f"  The homeserver is {homeserver}.")
            return homeserver
        if address in (first, before):
            typer.echo(f"warning: {homeserver}: {wrong}", err=True)
            return homeserver
        typer.echo(f"  {homeserver}: {wrong}. Enter the same address again to keep it.")
        address, before = None, address


def _ask_account(homeserver: str, options: Options) -> dict[str, Any]:
    """Ask for account and password until the homeserver accepts them or the same are given twice."""
    user_id, before = options.user_id, None
    while True:
        user_id = user_id or _ask("The bot's account, such as @aircheck:example.org", "user_id")
        secret = {"password_file": options.password_file} if options.password_file else _ask_password()
        matrix = {"homeserver": homeserver, "user_id": user_id, **secret}
        wrong = asyncio.run(_wrong_with_login(validate({"matrix": matrix})))
        if wrong is None or matrix == before or options.password_file:
            if wrong is not None:
                typer.echo(f"warning: {wrong}", err=True)
            return matrix
        typer.echo(f"  {wrong}. Enter the same answers again to keep them.")
        before = matrix
        if wrong.startswith("matrix.user_id"):
            user_id = None


async def _wrong_with_login(settings: Settings) -> str | None:
    """Try to log in; give the reason for a refusal, None if the login works or the homeserver can't be reached."""
    user_id, password = settings.matrix.user_id, settings.password() or ""
    async with probing(settings.matrix.homeserver) as probe:
        try:
            await probe.try_password(user_id, password)
        except Refused as refused:
            if refused.errcode == "M_FORBIDDEN":
                return await why_refused(settings.matrix.homeserver, user_id, password)
            return f"matrix.user_id: {refused.sentence}"
        except TryLater:
            return None
    return None


def _ask_admins() -> list[str]:
    """Ask for any number of Matrix ids."""
    question = "Your own Matrix id, such as @you:example.org, which may do everything in every room (empty: nobody)"
    while True:
        answer = str(typer.prompt(question, default="", show_default=False)).replace(",", " ").split()
        problem = _problem("matrix", "admins", answer) if answer else None
        if problem is None:
            return answer
        typer.echo(f"  {problem}")


def _ask_password() -> dict[str, str]:
    question = "Its password (empty: name a file that holds it)"
    if password := str(typer.prompt(question, default="", hide_input=True, show_default=False)):
        return {"password": password}
    while True:
        file = str(typer.prompt("The file with the password"))
        try:
            validate({"matrix": PLACEHOLDERS | {"password_file": file}}).password()
        except ConfigError as error:
            typer.echo(f"  {error.sentence}")
        else:
            return {"password_file": file}


def _ask(question: str, key: str, *, section: str = "matrix") -> str:
    while True:
        answer = str(typer.prompt(question, default="" if section == "web" else None, show_default=False)).strip()
        answer = _with_scheme(answer) if key == "homeserver" else answer
        problem = _problem(section, key, answer) if answer else None
        if problem is None:
            return answer
        typer.echo(f"  {problem}")


def _with_scheme(homeserver: str) -> str:
    return homeserver if "://" in homeserver else f"https://{homeserver}"


def _problem(section: str, key: str, value: str | list[str]) -> str | None:
    """Validate one value by itself; give what is wrong with it, None if nothing is."""
    try:
        validate(merge({"matrix": PLACEHOLDERS}, {section: {key: value}}))
    except ConfigError as error:
        return error.sentence
    return None


def _without_terminal(options: Options, environment: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    matrix = dict(environment.get("matrix", {}))
    if options.password_file:
        matrix.pop("password", None)
    for key in ("homeserver", "user_id", "password_file"):
        if value := getattr(options, key):
            matrix[key] = value
    for key in ("homeserver", "user_id"):
        if key not in matrix:
            option = f"--{key.replace('_', '-')}"
            raise ConfigError(f"there is no terminal to ask at: give {option} or AIRCHECK_MATRIX__{key.upper()}")
    if not matrix.get("password") and not matrix.get("password_file"):
        raise ConfigError("there is no terminal to ask at: give --password-file or AIRCHECK_MATRIX__PASSWORD")
    matrix["homeserver"] = _find_or_warn(str(matrix["homeserver"]))
    web = dict(environment.get("web", {})) | ({"public_url": options.public_url} if options.public_url else {})
    return {"matrix": matrix} | ({"web": web} if web else {})


def _find_or_warn(address: str) -> str:
    """Find the homeserver's address; warn when nothing answers there."""
    homeserver, warning = asyncio.run(find_homeserver(address))
    if warning:
        typer.echo(f"warning: {homeserver}: {warning}", err=True)
    return homeserver


async def find_homeserver(address: str) -> tuple[str, str | None]:
    """Give the address if a homeserver answers there, else the one that it points to; and what is wrong there.

    An address that answers is kept: it may be an internal one that the homeserver does not publish.
    """
    wrong = await _wrong_with(address)
    if wrong is None:
        return address, None
    async with probing(address) as probe:
        base = await probe.base_address()
    if base is not None and await _wrong_with(base) is None:
        return base, None
    return address, wrong


async def _wrong_with(homeserver: str) -> str | None:
    try:
        async with probing(homeserver) as probe:
            await probe.versions()
    except (TryLater, GiveUp) as error:
        return error.sentence
    return None


def save(path: Path, tree: Mapping[str, Any]) -> None:
    """Write the settings whole or not at all, with mode 0600 from the first byte. Raises ConfigError."""
    text = HEADER + yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True)
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}") from None
