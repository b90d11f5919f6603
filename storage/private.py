"""Files and folders that only their owner may read."""

from contextlib import suppress
from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def make_folder(folder: Path) -> None:
    """Make the folder with mode 0700, or narrow its mode to that. Raises OSError when it can't be made."""
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    narrow(folder, FOLDER_MODE)


def narrow(path: Path, mode: int) -> None:
    """Set the mode. A path of another owner keeps its mode: Kubernetes gives volumes to root and lets a group write
    them (fsGroup), and `aircheck check` tells who can read them."""
    with suppress(PermissionError):
        path.chmod(mode)
