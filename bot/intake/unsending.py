"""The order that redacts messages of the bot's own, such as a recording that was handed back."""

from collections.abc import Sequence
from datetime import datetime

from bot import orders
from storage import jobs
from storage.database import Connection
from storage.records import HandedBack, Recording


async def unsend(db: Connection, recording: Recording, messages: Sequence[HandedBack], now: datetime) -> None:
    """Order the redaction of messages whose events are known."""
    for message in messages:
        assert message.event_id is not None
        await jobs.add(db, orders.Unsend(message.event_id, recording.room_id).job(), now)
