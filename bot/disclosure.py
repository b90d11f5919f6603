"""Disclosure: the facts of a room's recording that its members and their clients are shown. Pure."""

from datetime import datetime

from storage.records import Change, ConsentNotice, Json, Room, Visibility

RECORD = "record"
"""The command, and so the name in the log of changes, that switches recording on and off."""
PUBLISH = "publish"
"""The command that makes the podcast public or private."""


def recorded(room: Room) -> list[str]:
    """Return the kinds of what is recorded in a room, as the state event `org.aircheck.room` names them."""
    return ["broadcasts"] if room.records else []


def state_content(room: Room, visibility: Visibility, switched: Change | None, told: ConsentNotice | None) -> Json:
    """Return the content of the state event `org.aircheck.room`. `switched` is the newest change of what is recorded,
    `told` the notice with which recording began."""
    since = switched.at if switched else None
    if room.records and since and told:
        since = max(since, told.said_at)
    return {
        "records": recorded(room),
        "visibility": str(visibility),
        "retention": str(room.retention),
        "since": _ms(since) if since else None,
        "by": switched.by if switched else None,
    }


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)
