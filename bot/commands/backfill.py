"""`backfill [since]`"""

import asyncio
from datetime import datetime, time
from functools import partial

from bot import dates, orders
from bot.commands.context import Action, Context, Verb, always
from bot.commands.parse import Words
from bot.commands.replies import backfill as replies
from bot.commands.replies import general
from bot.commands.replies.manual import Form, Group, Who
from bot.language import N_
from storage import jobs
from storage.records import JobState

UNDER_WAY = {JobState.READY, JobState.RUNNING}


async def _backfill(context: Context, *, since: str | None) -> str:
    """Begin the search; one notice at its end says what it found. `since`: a day, as it was written."""
    if not context.asker.moderates:
        return general.ONLY_MODS
    earlier = await jobs.find(context.db, orders.Backfill.about(context.room.room_id))
    if earlier is not None and earlier.state in UNDER_WAY:
        return replies.BACKFILL_UNDER_WAY
    day, zone = None, context.settings.feeds.zone
    if since is not None:
        day = await asyncio.to_thread(dates.read_past_day, since, context.now, zone)
    if isinstance(day, dates.Misread):
        return replies.misread(day, context.prefix)
    began = datetime.combine(day, time(), zone) if day else None
    backfill = orders.Backfill(context.room.room_id, since=began, asker=context.asker.user_id)
    await jobs.add(context.db, backfill.job(), context.now)
    await context.note("backfill", None, day.isoformat() if day else None)
    return replies.begins(began, zone)


def _read(words: Words) -> Action | None:
    return partial(_backfill, since=" ".join(words) or None)


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
        ),
        _read,
        changes=always,
        before=_warm_up,
    ),
)
