"""The secret that personal addresses are made from: 32 random bytes in a file of mode 0600.

The addresses themselves are rows (`listeners`, by the hash of each token). So neither the loss of the file nor a new
secret ends an address: `bot.worker.renewing` replaces the secret and ends the addresses.
"""

import os
import secrets
from pathlib import Path

from storage.errors import StoreError
from storage.private import write_whole

NAME = "addresses.key"
BYTES = 32
RENEW = "`aircheck addresses renew-all`"


class Secret:
    """The secret's file in a store's folder. Methods block for one fsync at most."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / NAME
        self._value: bytes | None = None

    def __call__(self) -> bytes:
        """Return the secret; read, or made, at the first call. Raises StoreError."""
        if self._value is None:
            self._value = self._read() if os.path.lexists(self.file) else self.renew()
        return self._value

    def check(self) -> None:
        """Check an existing file; a missing one will be made. Raises StoreError."""
        if os.path.lexists(self.file):
            self._read()

    def renew(self) -> bytes:
        """Replace the secret, whatever is in the file. Raises StoreError; the old secret stays valid then."""
        fresh = secrets.token_bytes(BYTES)
        try:
            write_whole(self.file, fresh)
        except OSError as error:
            raise StoreError(f"{self.file} can't be written: {error.strerror}") from None
        self._value = fresh
        return fresh

    def _read(self) -> bytes:
        try:
            value = self.file.read_bytes()
        except OSError as error:
            raise StoreError(f"{self.file} can't be read: {error.strerror}") from None
        if len(value) != BYTES:
            raise StoreError(
                f"{self.file} is damaged: restore it from a backup, or end all personal addresses with {RENEW}"
            )
        return value
