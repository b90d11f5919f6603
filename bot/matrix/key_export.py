"""Files of exported room keys (Client-Server API, "Key exports"): read entry by entry, and written.

Exports come from many clients, old ones too, and may have been edited. An entry must hold what decrypts: algorithm,
room and key. The owner of a key (`sender_key`, `sender_claimed_keys`) is only a claim in an export; where the claim is
missing or malformed, the owner is unknown.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bot.errors import ConfigError
from bot.matrix.nio_names import InboundGroupSession
from storage.records import Json

HEADER = "-----BEGIN MEGOLM SESSION DATA-----"
FOOTER = "-----END MEGOLM SESSION DATA-----"
VERSION = b"\x01"
MEGOLM = "m.megolm.v1.aes-sha2"
MOST_BYTES = 64 * 1024 * 1024
MOST_ROUNDS = 10_000_000
"""The most rounds of PBKDF2, some seconds: Element uses 500,000, and a file could demand hours."""
DEVICE_KEY = re.compile(r"[A-Za-z0-9+/]{43}=?")
"""A Curve25519 or Ed25519 key."""


class RefusedError(Exception):
    """An entry that can't be imported; the text is the reason, as a sentence about the entry."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An entry that can't be imported: its number in the file from 1, the session that it names, and the reason."""

    number: int
    session: str
    reason: str

    def __str__(self) -> str:
        return f"entry {self.number}{f' ({self.session})' if self.session else ''}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Export:
    """The content of a file: nio's sessions by the number of their entry, and the refused entries."""

    sessions: dict[int, Any]
    refused: tuple[Refusal, ...]


def read(file: Path, passphrase: str) -> Export:
    """Read and decrypt an export. Raises ConfigError if this passphrase does not open it. Blocks for some seconds."""
    try:
        with file.open("rb") as source:
            text = source.read(MOST_BYTES + 1)
    except OSError as error:
        problem = "does not exist" if isinstance(error, FileNotFoundError) else f"can't be read: {error.strerror}"
        raise ConfigError(f"{file} {problem}") from None
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{file} is larger than {MOST_BYTES >> 20} MiB: export fewer room keys")
    try:
        entries = json.loads(_decrypt(_payload(text), passphrase))
    except RefusedError as error:
        raise ConfigError(f"{file} {error}") from None
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, list):
        raise ConfigError(f"{file} holds no list of room keys")
    return _sort_out(entries)


def entry_of(session: Any) -> Json:
    """Return nio's session as an entry of an export, from the first message on that it opens."""
    return {
        "algorithm": MEGOLM,
        "room_id": session.room_id,
        "session_id": session.id,
        "session_key": session.export_session(session.first_known_index),
        "sender_key": session.sender_key,
        "sender_claimed_keys": {"ed25519": session.ed25519},
        "forwarding_curve25519_key_chain": session.forwarding_chain,
    }


def write(file: Path, passphrase: str, sessions: Iterable[Any], *, rounds: int) -> None:
    """Write nio's sessions as an export, mode 0600."""
    entries = [entry_of(session) for session in sessions]
    salt, counter = os.urandom(16), bytearray(os.urandom(16))
    counter[8] &= 0x7F  # bit 63, as the specification wants
    aes, mac = _derived(passphrase, salt, rounds)
    sealed = VERSION + salt + bytes(counter) + rounds.to_bytes(4, "big")
    sealed += _ctr(aes, bytes(counter), json.dumps(entries).encode())
    sealed += hmac.digest(mac, sealed, "sha256")
    file.touch(mode=0o600)
    file.write_text(f"{HEADER}\n{base64.b64encode(sealed).decode()}\n{FOOTER}\n")


def _payload(text: bytes) -> bytes:
    """Decode what stands between the two marker lines. Raises RefusedError."""
    try:
        lines = text.decode("utf-8-sig")
    except UnicodeDecodeError:
        lines = ""
    before, begins, rest = lines.partition(HEADER)
    body, ends, _ = rest.partition(FOOTER)
    if not begins or not ends or before.strip():
        raise RefusedError(f"is not an export of room keys, which begins with the line {HEADER}")
    packed = "".join(body.split()).rstrip("=")
    try:
        payload = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        payload = b""
    if len(payload) < 1 + 16 + 16 + 4 + 32:
        raise RefusedError("is damaged: export the room keys again")
    if not payload.startswith(VERSION):
        raise RefusedError("is an export of an unknown version")
    return payload


def _decrypt(payload: bytes, passphrase: str) -> bytes:
    """Decrypt the payload. Raises RefusedError if the passphrase is another."""
    sealed, mac = payload[:-32], payload[-32:]
    rounds = int.from_bytes(sealed[33:37], "big")
    if not 1 <= rounds <= MOST_ROUNDS:
        raise RefusedError(f"asks for {rounds} rounds of key derivation: between 1 and {MOST_ROUNDS} are allowed")
    aes, mac_key = _derived(passphrase, sealed[1:17], rounds)
    if not hmac.compare_digest(hmac.digest(mac_key, sealed, "sha256"), mac):
        raise RefusedError("can't be read: the passphrase is wrong, or the file was changed")
    return _ctr(aes, sealed[17:33], sealed[37:])


def _derived(passphrase: str, salt: bytes, rounds: int) -> tuple[bytes, bytes]:
    """Derive the keys for AES and HMAC from the passphrase."""
    words = passphrase.encode("utf-8", "surrogateescape")
    both = hashlib.pbkdf2_hmac("sha512", words, salt, rounds, dklen=64)
    return both[:32], both[32:]


def _ctr(key: bytes, counter: bytes, data: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(data)


def _sort_out(entries: list[Any]) -> Export:
    sessions, refused = {}, []
    for number, entry in enumerate(entries, 1):
        try:
            sessions[number] = session_of(entry)
        except RefusedError as error:
            refused.append(Refusal(number, _named(entry), str(error)))
    return Export(sessions, tuple(refused))


def session_of(entry: Any) -> Any:
    """Make a session of an entry. Raises RefusedError with the reason."""
    if not isinstance(entry, dict):
        raise RefusedError("it is not a JSON object")
    algorithm, room_id, key = entry.get("algorithm"), entry.get("room_id"), entry.get("session_key")
    if algorithm != MEGOLM:
        raise RefusedError(f"its algorithm is not {MEGOLM}" if algorithm is not None else "it has no algorithm")
    if room_id is None:
        raise RefusedError("it has no room_id")
    if not isinstance(room_id, str) or not room_id.startswith("!") or len(room_id) > 255 or not room_id.isprintable():
        raise RefusedError("its room_id is malformed")
    if key is None:
        raise RefusedError("it has no session_key")
    claimed, chain = entry.get("sender_claimed_keys"), entry.get("forwarding_curve25519_key_chain")
    try:
        session = InboundGroupSession.import_session(
            key,
            _device_key(claimed.get("ed25519") if isinstance(claimed, dict) else None),
            _device_key(entry.get("sender_key")),
            room_id,
            [key for key in chain if _device_key(key)] if isinstance(chain, list) else [],
        )
    except Exception:  # vodozemac's errors have no common base, and its wrong types are TypeErrors
        raise RefusedError("its session_key can't be read") from None
    if entry.get("session_id", session.id) != session.id:
        raise RefusedError("its session_id is not that of its key")
    return session


def _device_key(value: Any) -> str:
    """Return a well-formed key of a device; empty for anything else."""
    return value if isinstance(value, str) and DEVICE_KEY.fullmatch(value) else ""


def _named(entry: Any) -> str:
    """Name the session and the room of an entry, short and safe on a terminal."""
    if not isinstance(entry, dict):
        return ""
    words = [(name, entry.get(key)) for name, key in (("session", "session_id"), ("room", "room_id"))]
    return ", ".join(f"{name} {word[:80]}" for name, word in words if isinstance(word, str) and word[:80].isprintable())
