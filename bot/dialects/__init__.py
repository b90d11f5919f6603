"""Dialects: from an event's JSON to a domain event, or to a named rejection. Pure.

Nothing behind them looks at raw JSON. A new dialect is a module with READERS, and a line in DIALECTS.
"""

from collections.abc import Mapping
from dataclasses import replace

from bot.dialects import element, members, msc3888, reactions, redaction, sealed, studio, text, voice, walkie
from bot.dialects.events import Event, Reader
from bot.dialects.fields import type_of
from bot.recording.model import Rejected
from storage.records import HeardEvent

INFOS = (element.INFO, *msc3888.INFOS)
"""Types of info events: state, never encrypted."""

DIALECTS: Mapping[str, Mapping[str, Reader]] = {
    "element": element.READERS,
    "msc3888": msc3888.READERS,
    "studio": studio.READERS,
    "voice": voice.READERS,
    "text": text.READERS,
    "reactions": reactions.READERS,
    "members": members.READERS,
    "walkie": walkie.READERS,
    "redaction": redaction.READERS,
    "sealed": sealed.READERS,
}
"""Each dialect's readers by event type. Where several read one type, they are asked in this order."""


def _by_type() -> Mapping[str, tuple[tuple[str, Reader], ...]]:
    readers: dict[str, tuple[tuple[str, Reader], ...]] = {}
    for dialect, of_dialect in DIALECTS.items():
        for kind, reader in of_dialect.items():
            readers[kind] = (*readers.get(kind, ()), (dialect, reader))
    return readers


READERS = _by_type()
"""Event type to the dialects that read it, each with its reader."""


def read(heard: HeardEvent) -> Event | Rejected | None:
    """Return the first dialect's reading of the event, or None where it concerns none or was redacted. Never raises."""
    for dialect, reader in READERS.get(type_of(heard.event), ()):
        event = reader(heard)
        if isinstance(event, Rejected):
            return replace(event, dialect=dialect)
        if event is not None:
            return event
    return None
