"""Files of stems that grow."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from storage.records import RecordingId
from storage.stem_files import StemFiles

CALL = RecordingId(7)


def test_a_file_grows_with_its_hash_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """Bytes are added at the end, and the key is that of all bytes; folders have mode 0700, files 0600."""
    files = StemFiles(tmp_path)
    assert files.recordings() == files.numbers(CALL) == []
    file = files.create(CALL, 2)
    file.add(b"one")
    file.add(b"two")
    file.close()
    file.close()
    path = files.path(CALL, 2)
    assert path == tmp_path / "calls/7/2.ogg"
    assert path.read_bytes() == b"onetwo"
    assert (file.key, file.size) == (hashlib.sha256(b"onetwo").hexdigest(), 6)
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent, path.parent.parent)]
    assert modes == [0o600, 0o700, 0o700]
    assert (files.recordings(), files.numbers(CALL)) == ([CALL], [2])
    with pytest.raises(FileExistsError):
        files.create(CALL, 2)
    files.remove(CALL, 2)
    assert files.recordings() == []


def test_a_write_that_fails_can_be_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed sync the same bytes are written to the same place."""
    file = StemFiles(tmp_path).create(CALL, 1)
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(OSError, match="Input"):
        file.add(b"one")
    monkeypatch.setattr(os, "fdatasync", sync)
    file.add(b"onetwo")
    assert StemFiles(tmp_path).path(CALL, 1).read_bytes() == b"onetwo"
    assert file.key == hashlib.sha256(b"onetwo").hexdigest()
    file.close()
