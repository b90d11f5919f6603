"""A store that grows out of a backup: a mark lies in its folder until it is whole, and no process runs on it before."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage import dialect
from storage.backup_folder import BLOB_LIST, DATABASE, BackupFile, BackupFolder, Manifest, copy_hashed
from storage.database import FILE_NAME
from storage.errors import BackupError, NotEmptyError
from storage.folder_lock import LOCK_NAME, take_lock
from storage.place import RESTORING, Place
from storage.private import FOLDER_MODE, sync, write_whole

ROWS = "restoring"
"""The folder in which the database gets ready."""
NOT_OURS = frozenset({LOCK_NAME, "lost+found"})


@contextmanager
def restoring(directory: Path, manifest: Manifest) -> Iterator[Path]:
    """Take an empty folder, or one in which a restore of the same backup was interrupted, and give the folder for its
    database. Raises StoreLockedError, and NotEmptyError for a folder with anything else in it. Blocking, short."""
    lock = take_lock(directory)
    try:
        mark, name = directory / RESTORING, f"{manifest.store}/{manifest.generation}"
        if mark.exists():
            if json.loads(mark.read_bytes()) != name:
                raise NotEmptyError(f"{directory} holds an unfinished restore of another backup: empty it first")
        elif others := sorted({path.name for path in directory.iterdir()} - NOT_OURS):
            raise NotEmptyError(f"storage.directory {directory} is not empty: it holds {others[0]}")
        else:
            write_whole(mark, json.dumps(name).encode())
        rows = directory / ROWS
        shutil.rmtree(rows, ignore_errors=True)
        rows.mkdir(mode=FOLDER_MODE)
        yield rows
    finally:
        os.close(lock)


def check_file(folder: BackupFolder, manifest: Manifest, file: BackupFile) -> None:
    """Compare a file of the generation with the manifest. Raises BackupError."""
    source = folder.generation(manifest) / file.name
    try:
        with source.open("rb") as content:
            whole = hashlib.file_digest(content, "sha256").hexdigest() == file.sha256
    except FileNotFoundError:
        whole = False
    if not whole:
        raise BackupError(f"{source} is missing or damaged: this backup can't be restored")


def copy_file(folder: BackupFolder, manifest: Manifest, file: BackupFile, target: Path) -> None:
    """Copy a file of the generation. Raises BackupError where its bytes are not those of the manifest."""
    check_file(folder, manifest, file)
    copied = copy_hashed(folder.generation(manifest) / file.name, target)
    if copied.sha256 != file.sha256:
        target.unlink()
        raise BackupError(f"{file.name} changed while it was copied: is a backup under way?")


def check_list(folder: BackupFolder, manifest: Manifest) -> None:
    """Compare the list of blobs with the manifest: by it everything is copied. Raises BackupError."""
    file = manifest.file(BLOB_LIST)
    if file is None:
        raise BackupError(f"the manifest in {folder.directory} names no list of files")
    check_file(folder, manifest, file)
    try:
        count = sum(1 for _ in folder.listed(manifest))
    except ValueError:
        count = -1
    if count != manifest.blobs:
        raise BackupError(f"{folder.generation(manifest) / BLOB_LIST} is not the list that the manifest tells of")


def copy_rows(folder: BackupFolder, manifest: Manifest, rows: Path) -> None:
    """Copy the database of the backup to where it gets ready. Raises BackupError."""
    file = manifest.file(DATABASE)
    if file is None:
        raise BackupError(f"the manifest in {folder.directory} names no database")
    copy_file(folder, manifest, file, rows / FILE_NAME)


def finish(place: Place) -> None:
    """Put the database, which nobody has open, in its place: from now on the folder is a store. Rows of a server are
    there already. Blocking, short."""
    directory = place.directory
    rows = directory / ROWS / FILE_NAME
    for side in dialect.side_files(rows):
        side.unlink(missing_ok=True)  # all of it is in the database once the last connection is closed
    if place.database_url is None:
        sync(rows)
        rows.replace(directory / FILE_NAME)
    shutil.rmtree(directory / ROWS)  # with a server a copy of all rows: it goes while the mark still tells of it
    sync(directory)
    (directory / RESTORING).unlink()
    sync(directory)
