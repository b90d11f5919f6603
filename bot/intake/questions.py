"""Questions of the bot's in a timeline, and the reactions that confirm them (`storage.questions`).

A reaction may be heard before the homeserver's answer to the request gave the question's event id: the bot's own
message in the sync gives it too, by its transaction id.
"""

from datetime import datetime

from bot import orders
from bot.dialects.events import Reacted
from bot.dialects.fields import sent_at
from bot.intake.greeting import sent_by
from storage import questions
from storage.database import Connection
from storage.records import HeardEvent, RoomId

YES = "👍"
"""The reaction that confirms a question."""


async def heard(db: Connection, event: HeardEvent, now: datetime) -> None:
    """Note when a question was said if this message of the bot's own asks one."""
    job = await sent_by(db, event)
    command = orders.command_answered_by(job) if job else None
    if command is not None:
        await questions.said(db, command, event.event_id, min(now, sent_at(event.event) or now))


async def is_answered_by(db: Connection, room_id: RoomId, reaction: Reacted) -> bool:
    """Return whether a reaction is a yes of the asker to a question that is open in this room."""
    if reaction.key != YES:
        return False
    question = await questions.open_of(db, room_id, reaction.sender)
    return question is not None and question.event_id == reaction.to
