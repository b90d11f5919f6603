"""The file system that a path lies on."""

from pathlib import Path

import pytest

from bot.matrix.file_systems import is_local

MOUNTS = r"""/dev/vda1 / ext4 rw 0 0
nas:/export /srv/air\040check nfs4 rw 0 0
tmpfs /srv/air\040check/tmp tmpfs rw 0 0
ceph-fuse /volumes fuse.ceph-fuse rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "local"),
    [("/home/data", True), ("/srv/air check/data", False), ("/srv/air check/tmp/x", True), ("/volumes", False)],
)
def test_the_nearest_mount_decides(tmp_path: Path, path: str, local: bool) -> None:
    """A path is on the file system that is mounted nearest above it; one of several machines is not local."""
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert is_local(Path(path), mounts) is local


def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    """A file system may be shared if the kernel lists no mounts."""
    assert not is_local(tmp_path, tmp_path / "missing")
