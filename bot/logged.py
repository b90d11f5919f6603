"""The policies of a room as the log of changes holds them: as their commands take them, and nothing that people wrote.
Pure."""

from collections.abc import Sequence
from dataclasses import fields

from storage.records import PodcastTexts, Room, UserId

GIVEN, DEFAULT = "given", "default"
NOT_LOGGED = frozenset({"title", "description", "author"})
"""The fields of a podcast that hold what people wrote."""
SWITCHES = frozenset({"stems"})
"""The fields of a podcast that are switched on and off."""


def policies(room: Room) -> dict[str, str | None]:
    """Return all policies of a room, by `what` the log calls them."""
    texts = {field.name: getattr(room.podcast, field.name) for field in fields(PodcastTexts)}
    return {
        "record": switch(room.recording_on),
        "record messages": switch(room.messages_on),
        "record calls": switch(room.calls_on),
        "publish": room.visibility,
        "announce": room.announce,
        "language": room.language,
        "retention": str(room.retention),
        "review": switch(room.review),
        "replay": switch(room.replay),
        "studio": switch(room.studio),
        "studio events": switch(room.studio_events),
        "speakers": speakers(room.speakers),
        **{f"podcast {name}": _text(name, value) for name, value in texts.items()},
        "podcast cover": cover(room),
    }


def switch(on: bool) -> str:
    return "on" if on else "off"


def speakers(users: Sequence[UserId] | None) -> str:
    return "all" if users is None else " ".join(users)


def cover(room: Room) -> str:
    return GIVEN if room.own_cover else DEFAULT


def written(field: str, value: str | bool) -> str:
    """Return a field of a podcast as the command takes it."""
    if isinstance(value, str):
        return value
    if field in SWITCHES:
        return switch(value)
    return "yes" if value else "no"


def _text(name: str, value: str | bool | None) -> str:
    if value is None:
        return DEFAULT
    return GIVEN if name in NOT_LOGGED else written(name, value)
