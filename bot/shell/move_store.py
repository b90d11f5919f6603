"""`aircheck move-store`: the rows of the archive to another database, with no bot running."""

import sys
from dataclasses import replace
from functools import partial

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bot.errors import ConfigError
from bot.matrix import key_store
from bot.matrix.login import matrix_folder
from bot.settings import Settings, StorageSettings
from storage.errors import NotEmptyError
from storage.moving import move
from storage.place import Place

SQLITE = "sqlite"
"""The name of the file in the folder, of which nobody needs to write the address."""


async def move_store(settings: Settings, to: str) -> str:
    """Move all rows, show the progress on a terminal, and return the result as a sentence. Raises ConfigError,
    StoreError."""
    target = _target(settings, to)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        try:
            show = partial(_show, progress, progress.add_task(""))
            rows = await move(settings.storage.place, target, show, partial(_let_go, target))
        except NotEmptyError as error:
            raise ConfigError(f"--to: {error}; give an empty one, or move {_shown(target)} away") from None
    then = "remove storage.database_url from the settings" if target.database_url is None else _shown(target)
    if target.database_url is not None:
        then = f"set storage.database_url to {then}"
    return f"moved {rows} rows, and compared them: done, now {then}"


def _let_go(target: Place) -> None:
    key_store.let_go(matrix_folder(target.directory))


def _show(progress: Progress, task: TaskID, table: str, rows: int, all_rows: int) -> None:
    progress.update(task, description=table, completed=rows, total=all_rows)


def _target(settings: Settings, to: str) -> Place:
    """Read the address. Raises ConfigError."""
    place = settings.storage.place
    if to == SQLITE:
        return replace(place, database_url=None)
    try:
        return StorageSettings(directory=settings.storage.directory, database_url=to).place
    except ValidationError:
        raise ConfigError(
            "--to: write postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE, or sqlite for the file in storage.directory"
        ) from None


def _shown(target: Place) -> str:
    """Return an address without its password."""
    if target.database_url is None:
        return f"the file in {target.directory}"
    scheme, _, rest = target.database_url.partition("://")
    who, at, where = rest.rpartition("@")
    user, colon, _ = who.partition(":")
    return f"{scheme}://{user}{':…' if colon else ''}{at}{where}"
