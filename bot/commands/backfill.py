"""`backfill [since]`, `backfill messages [since]`: what was said before the bot recorded it."""

import asyncio
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import partial

from bot import dates, orders
from bot.commands.context import Action, Context, Verb, always
from bot.commands.parse import Words
from bot.commands.replies import backfill as replies
from bot.commands.replies import general
from bot.commands.replies.manual import Form, Group, Who
from bot.language import N_
from bot.words import NOT_TOLD
from storage import jobs
from storage.records import JobName, JobState

MESSAGES = "messages"
UNDER_WAY = {JobState.READY, JobState.RUNNING}


@dataclass(frozen=True, slots=True)
class _Back:
    """The day back to which a search goes, and the moment at which it begins. Without one it goes all the way."""

    day: date | None
    began: datetime | None


async def _broadcasts(context: Context, *, since: str | None) -> str:
    """Begin the search for broadcasts; one notice at its end says what it found. `since`: a day, as it was written."""
    back = await _may_begin(context, orders.Backfill.about(context.room.room_id), since, "backfill")
    if isinstance(back, str):
        return back
    order = orders.Backfill(context.room.room_id, since=back.began, asker=context.asker.user_id)
    await jobs.add(context.db, order.job(), context.now)
    await context.note("backfill", None, back.day.isoformat() if back.day else None)
    return replies.begins(back.began, context.settings.feeds.zone)


async def _messages(context: Context, *, since: str | None) -> str:
    """Begin the search for voice messages; one notice at its end says what it found. `since`: as of `_broadcasts`."""
    back = await _may_begin(context, orders.BackfillMessages.about(context.room.room_id), since, "backfill messages")
    if isinstance(back, str):
        return back
    if context.room.told_at is None:
        return NOT_TOLD
    room_id, said = context.room.room_id, context.said
    order = orders.BackfillMessages(
        room_id,
        since=back.began,
        asker=context.asker.user_id,
        command=context.command if said.room_id == room_id else None,
        at=context.position,
        asked_at=min(said.sent_at or said.received_at, said.received_at),
    )
    await jobs.add(context.db, order.job(), context.now)
    await context.note("backfill messages", None, back.day.isoformat() if back.day else None)
    return replies.messages_begin(back.began, context.settings.feeds.zone)


async def _may_begin(context: Context, search: JobName, since: str | None, command: str) -> _Back | str:
    """Return how far back a search goes, or the answer that refuses it."""
    if not context.asker.moderates:
        return general.ONLY_MODS
    earlier = await jobs.find(context.db, search)
    if earlier is not None and earlier.state in UNDER_WAY:
        return replies.BACKFILL_UNDER_WAY
    if since is None:
        return _Back(None, None)
    zone = context.settings.feeds.zone
    day = await asyncio.to_thread(dates.read_past_day, since, context.now, zone)
    if isinstance(day, dates.Misread):
        return replies.misread(day, f"{context.prefix} {command}")
    return _Back(day, datetime.combine(day, time(), zone))


def _read(words: Words) -> Action | None:
    if words and words[0].lower() == MESSAGES:
        return partial(_messages, since=" ".join(words[1:]) or None)
    return partial(_broadcasts, since=" ".join(words) or None)


async def _warm_up(words: Words) -> None:
    if words:
        await asyncio.to_thread(dates.warm_up)


VERBS = (
    Verb(
        "backfill",
        (
            Form(
                "backfill [since]",
                Who.MODERATORS,
                N_("finds past broadcasts; since is a day such as `31.1.2026`, `yesterday`, `2 weeks ago`"),
                "backfill 2026-01-31",
                Group.RECORDING,
            ),
            Form(
                "backfill messages [since]",
                Who.MODERATORS,
                N_("finds past voice messages and makes private episodes of them"),
                "backfill messages yesterday",
                Group.RECORDING,
            ),
        ),
        _read,
        changes=always,
        before=_warm_up,
    ),
)
