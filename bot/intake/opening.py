"""Encrypted events that were kept until their key came."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from bot import dialects
from bot.dialects.events import TextMessage
from bot.dialects.redaction import emptied
from bot.intake.isolation import Guard
from bot.recording.model import MessageSealed, VoiceMessage
from storage import journal, replays
from storage.database import Connection
from storage.records import HeardEvent

log = logging.getLogger(__name__)

TRIED_AT_ONCE = 50  # events handled before the event loop gets a turn

Decrypt = Callable[[HeardEvent], HeardEvent | None]
"""A function that decrypts a stored wrapper; it returns None while the key is missing."""


async def open_sealed(
    db: Connection, sealed: Sequence[HeardEvent], decrypt: Decrypt, now: datetime, guard: Guard
) -> None:
    """Queue the events that can be decrypted by now for handling, at their original positions."""
    for number, heard in enumerate(sealed):
        opened = decrypt(heard)
        if opened is not None:
            async with guard(db, heard.room_id, heard.event_id):
                original = await replays.originals(db, [opened], now)
                alone = isinstance(dialects.read(heard), MessageSealed)
                await journal.unseal(db, _without_words(opened, alone=alone, copy=not original))
            log.info("decrypted late: room=%s event=%s", heard.room_id, heard.event_id)
        elif number % TRIED_AT_ONCE == TRIED_AT_ONCE - 1:
            await asyncio.sleep(0)


def _without_words(opened: HeardEvent, *, alone: bool, copy: bool) -> HeardEvent:
    """Empty a decrypted event that is a copy, or has nothing to do with a recording: its content is private, and a
    command must not be carried out long after it was sent. One that stands `alone` refers to no broadcast, and can only
    be a voice message.
    """
    event = dialects.read(opened)
    unwanted = not isinstance(event, VoiceMessage) if alone else isinstance(event, TextMessage | None)
    return emptied(opened) if copy or unwanted else opened
