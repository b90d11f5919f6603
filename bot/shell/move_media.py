"""`aircheck move-store --media-to`: the files of sound and pictures to a bucket, or back, with no bot running."""

import sys
from dataclasses import replace
from functools import partial

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bot.errors import AircheckError, ConfigError
from bot.log import one_line
from bot.settings import Settings, StorageSettings
from storage.blobs.moving import move
from storage.place import Place
from storage.store import Store

FOLDER = "folder"
"""The name of the folder in the storage directory."""


async def move_media(settings: Settings, to: str) -> str:
    """Copy all files, show the progress on a terminal, and return the result as a sentence. Raises AircheckError,
    StoreError."""
    place = settings.storage.place
    target = _target(settings, to)
    if target.media_url == place.media_url:
        raise ConfigError("--media-to: the media are there already")
    store = await Store.own(place)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
            moved = await move(store, target, partial(_show, progress, progress.add_task("files")))
        for key in moved.wrong:
            sys.stderr.write(f"not there as stored, so not moved: {one_line(store.blobs.relative(key))}\n")
    finally:
        await store.close()
    if moved.torn:
        sys.stderr.write(f"{moved.torn} rows name no file any more, so none is moved for them: see `aircheck verify`\n")
    if moved.wrong or moved.torn:
        raise AircheckError(f"{moved.blobs} files are moved, and {len(moved.wrong) + moved.torn} could not be")
    then = "remove storage.media_url from the settings" if to == FOLDER else f"set storage.media_url to {to}"
    return f"moved {moved.blobs} files of {moved.bytes} bytes, and compared them: done, now {then}"


def _show(progress: Progress, task: TaskID, moved: int, every: int) -> None:
    progress.update(task, completed=moved, total=every)


def _target(settings: Settings, to: str) -> Place:
    """Read the address. Raises ConfigError."""
    if to == FOLDER:
        return replace(settings.storage.place, media_url=None)
    try:
        StorageSettings(media_url=to)
    except ValidationError:
        raise ConfigError("--media-to: write s3://BUCKET/PREFIX?endpoint=…&region=…, or folder") from None
    return replace(settings.storage.place, media_url=to)
