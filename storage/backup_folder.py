"""The folder of a backup: blobs by their keys, a generation of everything else, and a manifest that names both.

    aircheck-backup.json        the manifest, replaced last and at once
    blobs/ab/ab12…              as in the store; only what is new is copied
    generations/<name>/         database, list of blobs, room keys, secrets, stems of running calls

A backup that was interrupted leaves the manifest before it, and everything that this names. Folders 0700, files 0600.
Functions and methods are blocking.
"""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from storage.errors import BackupError
from storage.private import FILE_MODE, FOLDER_MODE, make_folder, sync, synced, write_whole
from storage.records import BlobKey

FORMAT = 1
MANIFEST = "aircheck-backup.json"
LOCK, UNFINISHED = ".lock", ".unfinished"
DATABASE, BLOB_LIST = "aircheck.db", "blobs.txt"
PREFIXES = tuple(f"{number:02x}" for number in range(256))
"""The folders of blobs, by the first two letters of their keys."""
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class BackupFile:
    """A file of a generation; its name is a path in it."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of a finished backup. `store` names the store that it is of, `revision` the database's version;
    `lost` are blobs that were not in the store."""

    store: str
    user_id: str
    made_at: datetime
    revision: str
    generation: str
    files: tuple[BackupFile, ...]
    blobs: int
    blob_bytes: int
    lost: tuple[BlobKey, ...] = ()

    def file(self, name: str) -> BackupFile | None:
        return next((file for file in self.files if file.name == name), None)


class BackupFolder:
    """A folder that is, or becomes, a backup."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.blobs = directory / "blobs"
        self._generations = directory / "generations"

    def manifest(self) -> Manifest | None:
        """Read the manifest; None where no backup was finished. Raises BackupError."""
        file = self.directory / MANIFEST
        try:
            tree = json.loads(file.read_bytes())
            if tree.pop("format") != FORMAT:
                raise BackupError(f"{file} was written by another version of Aircheck: update the program")
            tree["made_at"] = datetime.fromisoformat(tree["made_at"])
            tree["files"] = tuple(BackupFile(**each) for each in tree["files"])
            tree["lost"] = tuple(map(BlobKey, tree["lost"]))
            return Manifest(**tree)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise BackupError(f"{file} can't be read, so this folder is no usable backup") from None

    # ---- writing

    @contextmanager
    def locked(self, store: str) -> Iterator[Manifest | None]:
        """Make or take the folder for a backup of this store, and give the manifest of the one before. Raises
        BackupError for a folder with anything else in it, which stays as it is, and while another backup is under
        way."""
        try:
            self._before(store)
            make_folder(self.directory)
            lock = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        except OSError as error:
            raise BackupError(f"{self.directory} can't be written: {error.strerror}") from None
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupError(f"another backup to {self.directory} is under way") from None
            before = self._before(store)
            if before is None:
                write_whole(self.directory / UNFINISHED, store.encode("ascii"))
            yield before
        finally:
            os.close(lock)

    def _before(self, store: str) -> Manifest | None:
        """Return the manifest of this store's backup; None for a folder that is empty or absent, or holds the rest of a
        first backup. Raises BackupError for any other. Changes nothing."""
        before = self.manifest()
        if before is not None and before.store != store:
            raise BackupError(f"{self.directory} holds the backup of another store")
        if before is None and not self._is_ours(store):
            raise BackupError(f"{self.directory} is neither empty nor a backup")
        return before

    def _is_ours(self, store: str) -> bool:
        """Tell whether the folder is empty or absent, or holds the rest of a first backup of this store."""
        if not os.path.lexists(self.directory):
            return True
        names = {path.name for path in self.directory.iterdir()} - {LOCK, "lost+found"}
        names = {name for name in names if not name.startswith(f".{UNFINISHED}.")}  # a kill while the mark was written
        mark = self.directory / UNFINISHED
        return not names or (mark.exists() and mark.read_bytes() == store.encode("ascii"))

    def begin(self, now: datetime) -> Path:
        """Make the folder of a new generation."""
        folder = self._generations / f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        for made in (self.blobs, self._generations, folder):
            made.mkdir(mode=FOLDER_MODE, exist_ok=True)
        return folder

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the files of a folder of blobs, with their sizes."""
        try:
            with os.scandir(self.blobs / prefix) as files:
                return {file.name: file.stat(follow_symlinks=False).st_size for file in files}
        except FileNotFoundError:
            return {}

    def path(self, key: BlobKey) -> Path:
        return self.blobs / key[:2] / key

    def add(self, source: Path, key: BlobKey) -> int | None:
        """Copy a blob; return its length, or None where the source's bytes are not those of the key. Raises
        OSError."""
        target = self.path(key)
        target.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
        part = target.with_name(f"{key}.part")
        copied = copy_hashed(source, part)
        if copied.sha256 != key:
            part.unlink()
            return None
        part.replace(target)
        return copied.bytes

    def describe(self, generation: Path) -> tuple[BackupFile, ...]:
        """Return the files of a generation, and see to it that they and all folders are on the disk."""
        files = []
        for path in sorted(generation.rglob("*")):
            if path.is_dir():
                sync(path)
            else:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                path.chmod(FILE_MODE)
                sync(path)
                files.append(BackupFile(str(path.relative_to(generation)), path.stat().st_size, digest))
        folders = [self.blobs / prefix for prefix in PREFIXES]
        for folder in (*(each for each in folders if each.exists()), self.blobs, generation, self._generations):
            sync(folder)
        return tuple(files)

    def finish(self, manifest: Manifest) -> None:
        """Replace the manifest: from now on the new generation is the backup."""
        tree = asdict(manifest) | {"format": FORMAT, "made_at": manifest.made_at.isoformat()}
        write_whole(self.directory / MANIFEST, json.dumps(tree, indent=1).encode())
        (self.directory / UNFINISHED).unlink(missing_ok=True)

    def clean_generations(self, manifest: Manifest | None) -> None:
        """Remove the generations that the manifest does not name."""
        if self._generations.exists():
            for folder in self._generations.iterdir():
                if manifest is None or folder.name != manifest.generation:
                    shutil.rmtree(folder)

    def clean_blobs(self, prefix: str, keep: Collection[str]) -> int:
        """Remove the other files of a folder of blobs; return how many."""
        gone = [name for name in self.sizes(prefix) if name not in keep]
        for name in gone:
            (self.blobs / prefix / name).unlink()
        return len(gone)

    # ---- reading

    def generation(self, manifest: Manifest) -> Path:
        return self._generations / manifest.generation

    def listed(self, manifest: Manifest) -> Iterator[tuple[BlobKey, int]]:
        """Yield the blobs of the backup and their sizes, in the order of their keys."""
        with (self.generation(manifest) / BLOB_LIST).open(encoding="ascii") as lines:
            for line in lines:
                key, _, size = line.rstrip("\n").partition(" ")
                yield BlobKey(key), int(size)

    def copy_out(self, key: BlobKey, target: Path) -> bool:
        """Copy a blob of the backup to a new file; return whether its bytes are those of the key. Raises OSError."""
        try:
            return copy_hashed(self.path(key), target).sha256 == key
        except FileNotFoundError:
            return False


def copy_hashed(source: Path, target: Path) -> BackupFile:
    """Copy a file to a new one of mode 0600 that is on the disk then, in constant memory; return its size and hash.
    Raises OSError."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as file, synced(target) as out:
        while piece := file.read(PIECE):
            digest.update(piece)
            out.write(piece)
            size += len(piece)
    return BackupFile(target.name, size, digest.hexdigest())
