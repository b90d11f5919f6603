"""The file system that a path lies on, as the kernel tells it."""

from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
LOCAL = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"})
"""File systems of which only one machine has each at a time. All others may be shared: NFS, Ceph, SMB, FUSE, …"""


def is_local(path: Path, mounts: Path = MOUNTS) -> bool:
    """Tell whether only this machine uses the file system of a path; False where that is not known. Blocking."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    kinds = {}
    for line in lines:  # of two on one place the later counts
        _, place, kind, *_ = line.split(" ")
        kinds[place.encode("ascii", "surrogateescape").decode("unicode_escape")] = kind  # a blank is written as \040
    where = path.resolve()
    return next((kinds[str(folder)] in LOCAL for folder in (where, *where.parents) if str(folder) in kinds), False)
