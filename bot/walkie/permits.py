"""Permits to take part in a walkie-talkie, as state events hold them. Pure.

Only those who are willing to receive may send. Of a member's own event and the bot's the newer one counts, also when it
can't be read: junk permits nothing.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from storage.records import Json, Permit, PermitSource, Position, RoomId, UserId

OF_BOT = "_"
"""The beginning of the state key under which the bot writes a member's permit (a key that begins with @ is theirs)."""
MOST_DEVICES = 100
MAX_DEVICE_ID = 255
LATEST_MS = 253_402_300_799_000  # the last second of the year 9999


def counting(permits: Iterable[Permit]) -> Permit | None:
    """Return the permit that counts of a member's; None where there is none."""
    return max(permits, key=lambda permit: (permit.position, permit.source is PermitSource.MEMBER), default=None)


def counting_of_each(permits: Iterable[Permit]) -> dict[UserId, Permit]:
    """Return the permits that count, of a room's members by member."""
    of_each: dict[UserId, list[Permit]] = {}
    for permit in permits:
        of_each.setdefault(permit.user_id, []).append(permit)
    return {user: newest for user, theirs in of_each.items() if (newest := counting(theirs)) is not None}


def may_send(permit: Permit | None, now: datetime, device: str | None = None) -> bool:
    """Return whether a permit lets its member have the floor now. `device`: the one they ask from, where known."""
    if permit is None or not (permit.receive and permit.send) or has_expired(permit, now):
        return False
    return device is None or permit.devices is None or device in permit.devices


def has_expired(permit: Permit, now: datetime) -> bool:
    return permit.expires_at is not None and permit.expires_at <= now


def read(room_id: RoomId, user: UserId, content: object, position: Position) -> Permit:
    """Read the permit that a member's own event gives; one that can't be read permits nothing."""
    nothing = Permit(room_id, user, PermitSource.MEMBER, position, receive=False, send=False)
    if not isinstance(content, dict):
        return nothing
    expires, devices = content.get("expires_ts"), content.get("devices")
    if expires is not None and not _is_time(expires):
        return nothing
    if devices is not None and not _are_devices(devices):
        return nothing
    return Permit(
        room_id,
        user,
        PermitSource.MEMBER,
        position,
        receive=content.get("receive") is True,
        send=content.get("send") is True,
        expires_at=None if expires is None else datetime.fromtimestamp(expires / 1000, UTC),
        devices=None if devices is None else tuple(devices),
    )


def content(permit: Permit) -> Json:
    """Return the content of the state event that the bot writes for a permit."""
    written = {
        "receive": permit.receive,
        "send": permit.send,
        "expires_ts": None if permit.expires_at is None else round(permit.expires_at.timestamp() * 1000),
    }
    return written if permit.devices is None else {**written, "devices": list(permit.devices)}


def _is_time(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LATEST_MS


def _are_devices(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= MOST_DEVICES
        and all(isinstance(device, str) and len(device) <= MAX_DEVICE_ID for device in value)
    )
