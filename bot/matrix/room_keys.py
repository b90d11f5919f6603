"""Inbound room keys apart from their device: what a backup holds of the session, and what a new device begins with.

A room key decrypts, and can encrypt nothing. Olm account, Olm sessions and outbound Megolm sessions stay where they
are: each of their states may be used once only, and a copy of them would be used again.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from bot.errors import StartError
from bot.matrix.identity import SEEDS_FILE
from bot.matrix.key_export import RefusedError, entry_of, session_of
from bot.matrix.key_store import KeyStore
from bot.matrix.login import (
    DATABASE_FILE,
    SESSION_FILE,
    StoredSession,
    matrix_folder,
    new_device_id,
    read_session,
    store_key,
    write_session,
)
from bot.matrix.nio_names import InboundGroupSession
from bot.matrix.olm import CarefulOlm
from storage.records import Json, UserId

STORED = """
    SELECT session, fp_key, megolminboundsessions.sender_key, room_id,
        (SELECT json_group_array(sender_key) FROM forwardedchains AS chain
         WHERE chain.session_id = megolminboundsessions.session_id)
    FROM megolminboundsessions JOIN accounts ON accounts.id = account_id
    WHERE user_id = ? AND device_id = ?
"""
"""A statement for the room keys of a device in nio's store: one statement, one snapshot."""

__all__ = ["SEEDS_FILE", "matrix_folder", "read_lines", "read_session", "stored_lines", "write_device"]


def stored_lines(directory: Path) -> Iterator[str]:
    """Yield each stored room key as a line of JSON, in the form of a key export, also beside a running bot. Raises
    StartError. Blocking."""
    stored = read_session(directory)
    file = directory / "matrix" / DATABASE_FILE
    if stored is None or not file.exists():
        return
    pickle_key = store_key(directory)
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            for pickle, ed25519, sender_key, room_id, chain in connection.execute(
                STORED, (stored.user_id, stored.device_id)
            ):
                forwarded = json.loads(chain)
                session = InboundGroupSession.from_pickle(pickle, ed25519, sender_key, room_id, pickle_key, forwarded)
                yield json.dumps(entry_of(session)) + "\n"
    except Exception as error:  # sqlite3's and vodozemac's errors have no common base
        raise StartError(f"the end-to-end keys in {file} can't be read ({type(error).__name__})") from None


def read_lines(lines: Iterable[str]) -> Iterator[Any]:
    """Yield the sessions of such lines. Raises StartError."""
    for number, line in enumerate(lines, 1):
        try:
            entry: Json = json.loads(line)
            yield session_of(entry)
        except (ValueError, RecursionError, RefusedError):
            raise StartError(f"line {number} of the room keys can't be read") from None


def write_device(directory: Path, user_id: UserId, sessions: Iterable[Any]) -> int:
    """Make a device that has not logged in yet, with these room keys; return how many they are. What an attempt before
    left is replaced. Blocking."""
    folder = matrix_folder(directory)
    for file in [*folder.glob(f"{DATABASE_FILE}*"), folder / SESSION_FILE]:
        file.unlink(missing_ok=True)
    device = StoredSession(user_id, new_device_id())
    write_session(directory, device)
    key = store_key(directory)
    (folder / DATABASE_FILE).touch(mode=0o600)
    store = KeyStore(device.user_id, device.device_id, str(folder), key, DATABASE_FILE)
    count = 0
    try:
        olm = CarefulOlm(device.user_id, device.device_id, store)
        with store.database.atomic():
            for session in sessions:
                olm.keep(session)
                count += 1
    finally:
        store.database.close()
    return count
