"""Wishes of members, as they are kept in the bot's account data: sealed with a key that only the store and its backups
hold, so that the homeserver learns when they change and hardly more. Read by the same bot after a restore (ADR 35).
"""

import base64
import binascii
import secrets
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import TypeAdapter, ValidationError

from storage.records import EventId, Json, RoomId, UserId

MOST_BYTES = 32 * 1024
"""The length of what is kept of a room. What has least weight goes first, and of it the oldest."""
PADDED_TO = 512
"""The length, in bytes, whose multiples are sealed: so the homeserver sees only roughly how much there is."""
NONCE_BYTES = 12
BY_WEIGHT = ("kept", "private", "deleted", "forgotten", "out")


@dataclass(frozen=True, slots=True)
class Objection:
    """A member's last `optout`, and the `optin` after it."""

    user_id: UserId
    out_at: datetime
    in_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A member's last `forget me`."""

    user_id: UserId
    at: datetime


@dataclass(frozen=True, slots=True)
class Wishes:
    """Wishes for one room, or for everywhere. Recordings are the events that began them. All lists: the newest first.
    `records`, `visibility` and `retention` are those of the room's state event; None: nothing is known of them."""

    out: tuple[Objection, ...] = ()
    forgotten: tuple[Forgotten, ...] = ()
    deleted: tuple[EventId, ...] = ()
    private: tuple[EventId, ...] = ()
    kept: tuple[EventId, ...] = ()
    records: tuple[str, ...] | None = None
    visibility: str | None = None
    retention: str | None = None
    review: bool = False
    speakers: tuple[UserId, ...] | None = None
    studio: bool = True


_written: TypeAdapter[Wishes] = TypeAdapter(Wishes)


def to_bytes(wishes: Wishes) -> bytes:
    """Write wishes, in the same bytes each time."""
    return _written.dump_json(wishes, exclude_defaults=True)


def of_bytes(written: bytes) -> Wishes | None:
    """Read wishes; None for anything else."""
    try:
        return _written.validate_json(written)
    except ValidationError:
        return None


def bounded(wishes: Wishes) -> Wishes:
    """Return as much of the wishes as is kept."""
    for name in BY_WEIGHT:
        while len(to_bytes(wishes)) > MOST_BYTES and (listed := getattr(wishes, name)):
            wishes = replace(wishes, **{name: listed[: len(listed) // 2]})
    return wishes


def seal(key: bytes, us: UserId, room_id: RoomId, wishes: Wishes) -> Json:
    """Return the content of the account data. It opens with this key and for this room alone."""
    written, nonce = to_bytes(wishes), secrets.token_bytes(NONCE_BYTES)
    padded = written + b" " * (-len(written) % PADDED_TO)
    sealed = AESGCM(key).encrypt(nonce, padded, _place(us, room_id))
    return {"version": 1, "sealed": base64.b64encode(nonce + sealed).decode()}


def unseal(key: bytes, us: UserId, room_id: RoomId, sealed_up: Json) -> Wishes | None:
    """Return what was sealed; None where it was with another key, for another room, or is anything else."""
    sealed: object = sealed_up.get("sealed")
    if sealed_up.get("version") != 1 or not isinstance(sealed, str):
        return None
    try:
        raw = base64.b64decode(sealed, validate=True)
        written = AESGCM(key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _place(us, room_id))
    except (binascii.Error, InvalidTag, ValueError):
        return None
    return of_bytes(written)


def _place(us: UserId, room_id: RoomId) -> bytes:
    return f"{us}\n{room_id}".encode()
