"""Files and folders that only their owner may read, and writes that survive a power cut."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def make_folder(folder: Path) -> None:
    """Make the folder with mode 0700, or narrow its mode to that. Raises OSError when it can't be made."""
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    narrow(folder, FOLDER_MODE)


def make_below(top: Path, folder: Path) -> None:
    """Make a folder below another one, and all between, each with mode 0700. Raises OSError."""
    for made in (*reversed(folder.relative_to(top).parents), folder.relative_to(top)):
        make_folder(top / made)


def narrow(path: Path, mode: int) -> None:
    """Set the mode. A path of another owner keeps its mode: Kubernetes gives volumes to root and lets a group write
    them (fsGroup), and `aircheck check` reports who can read them."""
    with suppress(PermissionError):
        path.chmod(mode)


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk. Raises OSError. Blocking."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def synced(file: Path) -> Iterator[BinaryIO]:
    """Open a file of mode 0600 for writing, from its beginning. Its bytes are on the disk when the context ends; its
    name need not be. Raises OSError. Blocking."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(file, flags, FILE_MODE), "wb") as out:
        yield out
        out.flush()
        os.fsync(out.fileno())


def write_whole(file: Path, data: bytes) -> None:
    """Write or replace a file of mode 0600: after a crash it holds the old bytes or the new ones, and the new ones
    once this has returned. Of two writers at once one fails. Raises OSError. Blocking."""
    for part in file.parent.iterdir():  # a killed process may have left a file
        if part.name.startswith(f".{file.name}.") and part.suffix == ".new":
            part.unlink(missing_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        with synced(part) as out:
            out.write(data)
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync(file.parent)
