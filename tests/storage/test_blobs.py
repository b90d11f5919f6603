"""Folder: whole or not there, and reached by their keys alone."""

import errno
import hashlib
import stat
from pathlib import Path

import pytest

from storage.blobs.folder import Folder
from storage.records import BlobKey

DATA = b"some sound"
KEY = BlobKey(hashlib.sha256(DATA).hexdigest())


@pytest.fixture
def blobs(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    made.prepare()
    return made


def add(blobs: Folder, key: BlobKey = KEY) -> Path:
    """Add a blob; return its file."""
    part = blobs.part("one")
    part.write_bytes(DATA)
    blobs.add(part, key)
    return blobs.directory.parent / blobs.relative(key)


def test_a_blob_is_whole_or_absent_and_leftovers_go(blobs: Folder) -> None:
    """A blob appears under its hash; leftovers of a killed process are removed from the scratch folder."""
    file = add(blobs)
    assert file.read_bytes() == DATA
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    leftover = blobs.part("folder")
    leftover.mkdir()
    (leftover / "half").write_bytes(b"x")
    blobs.prepare()
    assert not leftover.exists()
    blobs.remove(KEY)
    blobs.remove(KEY)
    assert not file.exists()


async def test_a_blob_is_read_in_every_way(blobs: Folder) -> None:
    """The same bytes are read at once, as a range, from an open file, and from a local file."""
    add(blobs)
    assert blobs.exists(KEY)
    assert blobs.read(KEY) == DATA
    assert blobs.read(KEY, 2, 3) == DATA[2:5]
    assert blobs.read(KEY, 8, 100) == DATA[8:]
    with blobs.open(KEY) as file:
        assert file.read() == DATA
    assert [key for batch in blobs.key_batches() for key in batch] == [KEY]


def test_a_missing_blob_is_an_error_of_the_system(blobs: Folder) -> None:
    """A blob that is not there can be told from one that can't be read."""
    assert not blobs.exists(KEY)
    assert not blobs.is_whole(KEY)
    for read in (blobs.read, blobs.open):
        with pytest.raises(FileNotFoundError):
            read(KEY)


def test_a_changed_blob_is_not_whole(blobs: Folder) -> None:
    """A bit that flips on the disk is found by the hash."""
    file = add(blobs)
    assert blobs.is_whole(KEY)
    file.write_bytes(b"x" + DATA[1:])
    assert not blobs.is_whole(KEY)


def test_copies_of_files_become_blobs(blobs: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is stored once, and stays where it is, also where it can have no second name."""
    grown = tmp_path / "grown"
    grown.write_bytes(DATA)
    for links in (True, False):
        if not links:
            monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
        blobs.remove(KEY)
        blobs.add_copy(grown, KEY)
        blobs.add_copy(grown, KEY)
        assert blobs.is_whole(KEY)
        assert grown.read_bytes() == DATA
        blobs.remove(KEY)
        assert grown.exists()
        assert not list(blobs.scratch.iterdir())
