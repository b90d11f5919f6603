"""Blobs in a folder: files named by the SHA-256 of their bytes, each whole or absent. Folder 0700, files 0600."""

import asyncio
import errno
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from io import BufferedReader, FileIO
from pathlib import Path
from typing import BinaryIO, Protocol

from storage import archive
from storage.database import Connection
from storage.errors import DiskFullError
from storage.private import FILE_MODE, FOLDER_MODE, sync, synced
from storage.records import BlobKey

NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.EMLINK)
"""The errors of file systems on which a file can't have a second name."""


LONGEST_NAME = 64
NOWHERE = "torn-name"
"""The name in the folder of blobs that no file has."""


class Rows(Protocol):
    """The rows of a store."""

    def read(self) -> AbstractAsyncContextManager[Connection]:
        """Begin a read transaction."""

    def write(self) -> AbstractAsyncContextManager[Connection]:
        """Begin a write transaction."""


class Folder:
    """The folder of the blobs, and the scratch folder in which files grow before they become blobs. Blocking."""

    def __init__(self, directory: Path, scratch: Path | None = None) -> None:
        self.directory = directory / "blobs"
        self.scratch = scratch or directory / "tmp"

    def prepare(self) -> None:
        """Make the folders, and empty the scratch folder, where an earlier process may have left files."""
        self.directory.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        empty_folder(self.scratch)

    def exists(self, key: BlobKey) -> bool:
        return self.path(key).exists()

    def size(self, key: BlobKey) -> int | None:
        """Return the length of a blob in bytes; None when it is gone. Blocking, short."""
        try:
            return self.path(key).stat().st_size
        except FileNotFoundError:
            return None

    def open(self, key: BlobKey) -> FileIO:
        """Open a blob for reading; its descriptor serves pread and sendfile. Raises FileNotFoundError. Blocking."""
        descriptor = os.open(self.path(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        return FileIO(descriptor, "rb")

    def read(self, key: BlobKey, start: int = 0, count: int = -1) -> bytes:
        """Return `count` bytes from `start` on, fewer at the end; -1: all. Raises FileNotFoundError. Blocking."""
        with self.path(key).open("rb") as file:
            file.seek(start)
            return file.read(count)

    def is_whole(self, key: BlobKey) -> bool:
        """Tell whether a blob exists and its bytes have the hash in its key. Blocking: 1 s for a gigabyte."""
        try:
            with self.path(key).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == key
        except FileNotFoundError:
            return False

    def wrong(self, key: BlobKey) -> os.stat_result | None:
        """Return which file has other bytes than those of its key; None if it has these, or is gone. Blocking: 1 s for
        a gigabyte."""
        try:
            before = self.path(key).stat()
        except FileNotFoundError:
            return None
        return None if self.is_whole(key) else before

    def relative(self, key: BlobKey) -> str:
        """Return the path below the storage directory."""
        return f"{self.directory.name}/{key[:2]}/{key}"

    def path(self, key: BlobKey) -> Path:
        """Return the place of a blob. A torn name in a row can be anything, also a way out of the folder: there is no
        file where it leads."""
        is_name = key.isascii() and key.isalnum() and len(key) <= LONGEST_NAME
        return self.directory / key[:2] / key if is_name else self.directory / NOWHERE

    def part(self, name: str) -> Path:
        return self.scratch / name

    def add(self, part: Path, key: BlobKey) -> None:
        """Move a finished, synced file from the scratch folder to its place. The same bytes twice are one blob. Raises
        DiskFullError. Blocking, short."""
        target = self.path(key)
        try:
            if not target.parent.exists():
                target.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
                sync(self.directory)
            part.chmod(FILE_MODE)
            part.replace(target)
            sync(target.parent)
        except OSError as error:
            raise _full(error) from None

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
        self.path(key).unlink(missing_ok=True)

    def remove_this(self, key: BlobKey, file: os.stat_result) -> None:
        """Remove a blob if it is still the same file. Blocking, short."""
        try:
            is_same = os.path.samestat(self.path(key).stat(), file)
        except FileNotFoundError:
            return
        if is_same:
            self.remove(key)


class FolderArrival:
    """Files that become blobs of a folder."""

    def __init__(self, folder: Folder, files: Sequence[tuple[Path, BlobKey]], *, stay: bool) -> None:
        self._add = folder.add_copy if stay else folder.add
        self._files = files

    def add(self) -> None:
        for file, key in self._files:
            self._add(file, key)

    async def keep(self, _: Connection) -> None:
        if self._files:
            await asyncio.to_thread(self.add)


class FolderBlobs:
    """The door to a folder of blobs. `rows`: those of the store; `scratch`: the folder in which the files of this
    process grow, where it is not the only one."""

    remote = None

    def __init__(self, directory: Path, rows: Rows, scratch: Path | None = None) -> None:
        self.folder = Folder(directory, scratch)
        self.scratch = self.folder.scratch
        self._rows = rows

    def prepare(self) -> None:
        self.folder.prepare()

    async def close(self) -> None:
        """Do nothing: there are no copies."""

    def part(self, name: str) -> Path:
        return self.folder.part(name)

    def relative(self, key: BlobKey) -> str:
        return self.folder.relative(key)

    async def exists(self, key: BlobKey) -> bool:
        return await asyncio.to_thread(self.folder.exists, key)

    async def size(self, key: BlobKey) -> int | None:
        return await asyncio.to_thread(self.folder.size, key)

    async def unlike(self, sizes: Mapping[BlobKey, int]) -> frozenset[BlobKey]:
        folder = self.folder
        return await asyncio.to_thread(lambda: frozenset(key for key in sizes if folder.size(key) != sizes[key]))

    async def read(self, key: BlobKey, start: int = 0, count: int = -1) -> bytes:
        return await asyncio.to_thread(self.folder.read, key, start, count)

    async def is_whole(self, key: BlobKey) -> bool:
        return await asyncio.to_thread(self.folder.is_whole, key)

    def open(self, key: BlobKey, buffer: int = 0) -> BinaryIO:
        file = self.folder.open(key)
        return BufferedReader(file, buffer) if buffer else file

    @asynccontextmanager
    async def local(self, key: BlobKey) -> AsyncIterator[Path]:
        yield self.folder.path(key)

    @asynccontextmanager
    async def arriving(self, *files: tuple[Path, BlobKey], stays: bool = False) -> AsyncIterator[FolderArrival]:
        """Move the files in `keep`. Those that stay are copied before, and again in `keep` where a Forget order removed
        them."""
        arrival = FolderArrival(self.folder, files, stay=stays)
        if stays and files:
            await asyncio.to_thread(arrival.add)
        yield arrival

    async def discard(self, key: BlobKey) -> None:
        if (wrong := await asyncio.to_thread(self.folder.wrong, key)) is not None:
            async with self._rows.write():  # no blob arrives meanwhile
                await asyncio.to_thread(self.folder.remove_this, key, wrong)

    async def forget(self, keys: Sequence[BlobKey]) -> list[BlobKey]:
        # Inside a write transaction no new reference can appear while the files go.
        async with self._rows.write() as db:
            needed = await archive.referenced(db, keys)
            gone = [key for key in keys if key not in needed]
            for key in gone:
                await asyncio.to_thread(self.folder.remove, key)
        return gone

    async def pages(self) -> AsyncIterator[list[BlobKey]]:
        batches = self.folder.key_batches()
        while (keys := await asyncio.to_thread(next, batches, None)) is not None:
            yield keys


def _full(error: OSError) -> OSError | DiskFullError:
    """Return the error to raise for one of the file system."""
    return DiskFullError("the disk is full: a file could not be stored") if error.errno == errno.ENOSPC else error


def empty_folder(folder: Path) -> None:
    """Make a folder of mode 0700, or empty it. Blocking."""
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    for leftover in folder.iterdir():
        _remove(leftover)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for below in path.iterdir():
            _remove(below)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
