"""The secret of personal addresses: made once, private, and never replaced by itself when it is damaged."""

import stat
from pathlib import Path

import pytest

from storage.errors import StoreError
from storage.secret import BYTES, SecretFile


def test_it_is_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    """Each start reads the same bytes from a file of mode 0600, with nothing left beside it."""
    first = SecretFile(tmp_path)()
    assert len(first) == BYTES
    assert SecretFile(tmp_path)() == first
    assert stat.S_IMODE((tmp_path / "addresses.key").stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["addresses.key"]


@pytest.mark.parametrize("left", [b"", b"x" * 31, b"x" * 33])
def test_a_damaged_file_names_the_command_that_helps(tmp_path: Path, left: bytes) -> None:
    """A damaged file is neither used nor replaced; `renew` replaces it."""
    secret = SecretFile(tmp_path)
    secret.file.write_bytes(left)
    for use in (secret, secret.check):
        with pytest.raises(StoreError, match=r"addresses\.key is damaged: .* `aircheck addresses renew-all`$"):
            use()
    assert secret.file.read_bytes() == left
    assert secret.renew() == SecretFile(tmp_path)()


def test_a_new_one_replaces_what_a_killed_process_left(tmp_path: Path) -> None:
    """A part of a file left by a killed process does not hinder, and is removed."""
    secret = SecretFile(tmp_path)
    first = secret()
    (tmp_path / ".addresses.key.1.new").write_bytes(b"half")
    assert secret.renew() != first
    assert [file.name for file in tmp_path.iterdir()] == ["addresses.key"]


def test_what_can_not_be_written_is_told(tmp_path: Path) -> None:
    """A folder in the file's place is reported in one sentence."""
    (tmp_path / "addresses.key" / "in the way").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"addresses\.key can't be written: "):
        SecretFile(tmp_path).renew()
