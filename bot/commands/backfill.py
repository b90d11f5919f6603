"""`backfill [since]`"""

from datetime import date, datetime, time
from functools import partial

from bot import orders
from bot.commands.context import Action, Context, Verb
from bot.commands.parse import Words
from bot.commands.replies import backfill as replies
from bot.commands.replies import general
from bot.commands.replies.manual import Form, Group, Who
from bot.language import N_
from storage import jobs
from storage.records import JobState

UNDER_WAY = {JobState.READY, JobState.RUNNING}


async def _backfill(context: Context, *, since: date | None) -> str:
    """Begin the search; one notice at its end says what it found."""
    if not context.asker.moderates:
        return general.ONLY_MODS
    earlier = await jobs.find(context.db, orders.Backfill.about(context.room.room_id))
    if earlier is not None and earlier.state in UNDER_WAY:
        return replies.BACKFILL_UNDER_WAY
    began = datetime.combine(since, time(), context.settings.feeds.zone) if since else None
    backfill = orders.Backfill(context.room.room_id, since=began, asker=context.asker.user_id)
    await jobs.add(context.db, backfill.job(), context.now)
    await context.note("backfill", None, since.isoformat() if since else None)
    return replies.BACKFILL_BEGINS


def _read(words: Words) -> Action | None:
    match words:
        case []:
            return partial(_backfill, since=None)
        case [word]:
            try:
                return partial(_backfill, since=date.fromisoformat(word))
            except ValueError:
                return None
        case _:
            return None


VERBS = (
    Verb(
        "backfill",
        (
            Form(
                "backfill [since]",
                Who.MODERATORS,
                N_("finds past broadcasts; since is a date such as 2026-01-31"),
                "backfill 2026-01-31",
                Group.RECORDING,
            ),
        ),
        _read,
        changes=True,
    ),
)
