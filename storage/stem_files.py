"""Files of the stems of running calls, which grow until they become blobs: `calls/<recording id>/<number>.ogg`.

Folders 0700, files 0600. The methods of an open file are blocking and may be called by any one thread at a time.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from storage.private import FILE_MODE, FOLDER_MODE, sync
from storage.records import BlobKey, RecordingId

SUFFIX = ".ogg"


class GrowingFile:
    """A file that is only added to, with the hash of its bytes so far."""

    def __init__(self, descriptor: int) -> None:
        self.size = 0
        self._descriptor = descriptor
        self._closed = False
        self._digest = hashlib.sha256()

    def add(self, data: bytes) -> None:
        """Add bytes; they are on the disk once this has returned. Raises OSError; then none were added, so that it can
        be tried again."""
        written = 0
        while written < len(data):
            written += os.pwrite(self._descriptor, memoryview(data)[written:], self.size + written)
        os.fdatasync(self._descriptor)
        self._digest.update(data)
        self.size += len(data)

    @property
    def key(self) -> BlobKey:
        """The key of a blob with these bytes."""
        return BlobKey(self._digest.hexdigest())

    def close(self) -> None:
        """Close the file, once or again."""
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)


class StemFiles:
    """The folder of these files. What lies in it when no call runs was left by a crash."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "calls"

    def path(self, recording_id: RecordingId, number: int) -> Path:
        return self._folder(recording_id) / f"{number}{SUFFIX}"

    def create(self, recording_id: RecordingId, number: int) -> GrowingFile:
        """Make the file of a stem. Raises OSError, FileExistsError among them. Blocking."""
        folder = self._folder(recording_id)
        for made in (self.directory, folder):
            if not made.exists():
                made.mkdir(mode=FOLDER_MODE, exist_ok=True)
                sync(made.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        path = self.path(recording_id, number)
        file = GrowingFile(os.open(path, flags, FILE_MODE))
        try:
            sync(folder)
        except OSError:
            file.close()
            path.unlink(missing_ok=True)
            raise
        return file

    def recordings(self) -> list[RecordingId]:
        """Return the recordings that have a folder. Blocking."""
        if not self.directory.exists():
            return []
        return sorted(RecordingId(int(folder.name)) for folder in self.directory.iterdir() if folder.name.isdecimal())

    def numbers(self, recording_id: RecordingId) -> list[int]:
        """Return the stems of a recording that have a file. Blocking."""
        return sorted(int(file.stem) for file in self._files(recording_id) if file.stem.isdecimal())

    def all(self) -> list[Path]:
        """Return the files of all recordings. Blocking."""
        return [file for each in self.recordings() for file in sorted(self._files(each))]

    def read(self, recording_id: RecordingId, number: int, offset: int, size: int) -> bytes:
        """Return bytes of a file. Raises OSError. Blocking."""
        with self.path(recording_id, number).open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def cut(self, recording_id: RecordingId, number: int, size: int, end: bytes) -> None:
        """Shorten a file to `size` bytes and put `end` behind them. Raises OSError. Blocking."""
        with self.path(recording_id, number).open("r+b") as file:
            file.truncate(size)
            file.seek(size)
            file.write(end)
            file.flush()
            os.fsync(file.fileno())

    def remove(self, recording_id: RecordingId, number: int) -> None:
        """Remove the file of a stem, and the folder with the last one. Blocking."""
        self.path(recording_id, number).unlink(missing_ok=True)
        folder = self._folder(recording_id)
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()

    def remove_all(self, recording_id: RecordingId) -> None:
        """Remove all files of a recording. Blocking."""
        for file in self._files(recording_id):
            file.unlink(missing_ok=True)
        if self._folder(recording_id).exists():
            self._folder(recording_id).rmdir()

    def _folder(self, recording_id: RecordingId) -> Path:
        return self.directory / str(recording_id)

    def _files(self, recording_id: RecordingId) -> Iterator[Path]:
        folder = self._folder(recording_id)
        return iter(list(folder.iterdir()) if folder.exists() else [])
