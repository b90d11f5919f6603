"""Files by the SHA-256 of their bytes: whole or not at all. Folder 0700, files 0600."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from storage.errors import DiskFullError
from storage.records import BlobKey

ENOSPC = 28


class Blobs:
    """One folder of blobs. Nothing here looks into them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "blobs"
        self.scratch = directory / "tmp"

    def prepare(self) -> None:
        """Makes the folders and clears what an earlier process left half done."""
        for folder in (self.directory, self.scratch):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in self.scratch.iterdir():
            _remove(leftover)

    def path(self, key: BlobKey) -> Path:
        return self.directory / key[:2] / key

    def relative(self, key: BlobKey) -> str:
        """The path below the storage directory."""
        return f"{self.directory.name}/{key[:2]}/{key}"

    def holds(self, key: BlobKey) -> bool:
        """Whether a blob is there, and is what its name says. Blocking: 1 s for a gigabyte."""
        try:
            with self.path(key).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == key
        except FileNotFoundError:
            return False

    def part(self, name: str) -> Path:
        """Where a file of this name may grow; the name must be ours, never a stranger's."""
        return self.scratch / name

    def take(self, part: Path, key: BlobKey) -> Path:
        """Moves a finished, synced file to its place; the same bytes twice are one blob. Blocking, short."""
        target = self.path(key)
        try:
            if not target.parent.exists():
                target.parent.mkdir(mode=0o700, exist_ok=True)
                _sync(self.directory)
            part.chmod(0o600)
            part.replace(target)
            _sync(target.parent)
        except OSError as error:
            if error.errno == ENOSPC:
                raise DiskFullError("the disk is full: a file could not be stored") from None
            raise
        return target

    def folders(self) -> Iterator[list[BlobKey]]:
        """All that lie here, folder by folder. Blocking, short each."""
        for folder in sorted(self.directory.iterdir()):
            yield [BlobKey(file.name) for file in folder.iterdir()] if folder.is_dir() else []

    def clear(self, part: Path) -> None:
        """Removes a scratch file or folder with all that is in it."""
        _remove(part)

    def remove(self, key: BlobKey) -> None:
        self.path(key).unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Names in it outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for below in path.iterdir():
            _remove(below)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
