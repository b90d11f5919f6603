"""Room keys that another client exported (Client-Server API, key exports), on their way to the bot.

What the person gives is sealed anew with a passphrase of one use, so that theirs is written down nowhere.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from nio.crypto.key_export import decrypt_and_read, encrypt_and_save

from bot.errors import ConfigError, GiveUp, TryLater
from bot.matrix.session import Session
from storage.records import Job

ROUNDS = 1000  # the passphrase is random: it needs no stretching


@dataclass(frozen=True, slots=True)
class Sealed:
    file: Path
    passphrase: str


def reseal(export: Path, passphrase: str, folder: Path) -> Sealed:
    """A copy of the export in `folder`, under a passphrase of its own. Raises ConfigError. Blocks for some 100 ms."""
    try:
        data = decrypt_and_read(str(export), passphrase)
    except FileNotFoundError:
        raise ConfigError(f"{export} does not exist") from None
    except OSError as error:
        raise ConfigError(f"{export} can't be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{export} can't be read: it is no key export, or the passphrase is another") from None
    sealed = Sealed(folder / f"keys-{secrets.token_hex(8)}", secrets.token_urlsafe(32))
    encrypt_and_save(data, str(sealed.file), sealed.passphrase, count=ROUNDS)
    sealed.file.chmod(0o600)
    return sealed


class KeyImport:
    """Handles KEYS jobs: payload `file` and `passphrase`. `open_all` tries kept events with what came."""

    def __init__(self, session: Session, *, open_all: Callable[[], Awaitable[None]]) -> None:
        self._session = session
        self._open_all = open_all

    async def __call__(self, job: Job) -> None:
        file = Path(job.payload["file"])
        if not await asyncio.to_thread(file.exists):
            # A start clears what waits there. Keys that were taken in twice do no harm; a false success would.
            raise GiveUp("the bot was restarted meanwhile: import the keys again", reason="interrupted")
        if not self._session.ready.is_set():  # the key store is open from then on
            raise TryLater("the first sync is waited for", after_s=1)
        try:
            await self._session.keys.import_keys(file, job.payload["passphrase"])
        except ConfigError as error:
            raise GiveUp(error.sentence, reason="no_key_export") from None
        await self._open_all()
        await asyncio.to_thread(file.unlink, missing_ok=True)
