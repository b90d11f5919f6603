"""Private files, written whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from storage import private
from storage.private import synced, write_whole


def test_a_written_file_is_private_whole_and_alone(tmp_path: Path) -> None:
    """A file has mode 0600 and the last bytes written, and nothing is left beside it."""
    file = tmp_path / "x"
    write_whole(file, b"one")
    write_whole(file, b"two")
    assert file.read_bytes() == b"two"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full the old bytes stay, and no part of the new ones is left."""
    file = tmp_path / "x"
    write_whole(file, b"one")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, b"two")
    assert file.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [file]


def test_of_two_writers_at_once_one_fails_and_the_file_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that another one overtakes has an error; no half of a file ever has the name."""
    file, processes, writes = tmp_path / "x", iter((1, 2)), []
    monkeypatch.setattr(os, "getpid", lambda: next(processes))

    @contextmanager
    def overtaken(part: Path) -> Iterator[BinaryIO]:
        writes.append(part)
        with synced(part) as out:
            if len(writes) == 1:
                write_whole(file, b"second")
            yield out

    monkeypatch.setattr(private, "synced", overtaken)
    with pytest.raises(FileNotFoundError):
        write_whole(file, b"first")
    assert file.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [file]
