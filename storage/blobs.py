"""Blobs: files named by the SHA-256 of their bytes, each whole or absent. Folder 0700, files 0600.

Callers know a blob's key and no path: they read it, open it, or get a local file for as long as they need it.
"""

import errno
import hashlib
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path

from storage.errors import DiskFullError
from storage.private import FILE_MODE, FOLDER_MODE, sync, synced
from storage.records import BlobKey

NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.EMLINK)
"""The errors of file systems on which a file can't have a second name."""


class Blobs:
    """The blobs of a store, and the scratch folder in which files grow before they become blobs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "blobs"
        self.scratch = directory / "tmp"

    def prepare(self) -> None:
        """Make the folders, and empty the scratch folder, where an earlier process may have left files."""
        for folder in (self.directory, self.scratch):
            folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        for leftover in self.scratch.iterdir():
            _remove(leftover)

    def exists(self, key: BlobKey) -> bool:
        return self._path(key).exists()

    def open(self, key: BlobKey) -> FileIO:
        """Open a blob for reading; its descriptor serves pread and sendfile. Raises FileNotFoundError. Blocking."""
        descriptor = os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        return FileIO(descriptor, "rb")

    def read(self, key: BlobKey, start: int = 0, count: int = -1) -> bytes:
        """Return `count` bytes from `start` on, fewer at the end; -1: all. Raises FileNotFoundError. Blocking."""
        with self._path(key).open("rb") as file:
            file.seek(start)
            return file.read(count)

    @asynccontextmanager
    async def local(self, key: BlobKey) -> AsyncIterator[Path]:
        """Provide a blob as a local file, for reading only, as long as the context lasts. The file may be missing."""
        yield self._path(key)

    def is_whole(self, key: BlobKey) -> bool:
        """Tell whether a blob exists and its bytes have the hash in its key. Blocking: 1 s for a gigabyte."""
        try:
            with self._path(key).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == key
        except FileNotFoundError:
            return False

    def relative(self, key: BlobKey) -> str:
        """Return the path below the storage directory, to be shown to an operator."""
        return f"{self.directory.name}/{key[:2]}/{key}"

    def _path(self, key: BlobKey) -> Path:
        return self.directory / key[:2] / key

    def part(self, name: str) -> Path:
        """Return the scratch path of this name. The name must be ours, never part of an event."""
        return self.scratch / name

    def add(self, part: Path, key: BlobKey) -> None:
        """Move a finished, synced file from the scratch folder to its place. The same bytes twice are one blob. Raises
        DiskFullError. Blocking, short."""
        target = self._path(key)
        try:
            if not target.parent.exists():
                target.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
                sync(self.directory)
            part.chmod(FILE_MODE)
            part.replace(target)
            sync(target.parent)
        except OSError as error:
            raise _full(error) from None

    def add_bytes(self, data: bytes, key: BlobKey) -> None:
        """Store bytes that have this key, unless they are stored. Raises DiskFullError. Blocking."""
        if self.exists(key):
            return
        part = self.part(f"bytes-{key}-{threading.get_ident()}")
        try:
            with synced(part) as out:
                out.write(data)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise _full(error) from None
        self.add(part, key)

    def add_copy(self, file: Path, key: BlobKey) -> None:
        """Store a finished, synced file that has this key and stays where it is, unless it is stored. It shares its
        bytes with the blob where the file system can do that. Raises DiskFullError. Blocking."""
        if self.exists(key):
            return
        part = self.part(f"copy-{key}")
        part.unlink(missing_ok=True)
        try:
            os.link(file, part)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise _full(error) from None
            try:
                with synced(part) as out, file.open("rb") as source:
                    shutil.copyfileobj(source, out)
            except OSError as full:
                part.unlink(missing_ok=True)
                raise _full(full) from None
        self.add(part, key)

    def key_batches(self) -> Iterator[list[BlobKey]]:
        """Yield all keys, folder by folder. Blocking, short each."""
        for folder in sorted(self.directory.iterdir()):
            yield [BlobKey(file.name) for file in folder.iterdir()] if folder.is_dir() else []

    def remove(self, key: BlobKey) -> None:
        self._path(key).unlink(missing_ok=True)


def _full(error: OSError) -> OSError | DiskFullError:
    """Return the error to raise for one of the file system."""
    return DiskFullError("the disk is full: a file could not be stored") if error.errno == errno.ENOSPC else error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for below in path.iterdir():
            _remove(below)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
