"""`check`: tests the room's own feed as Apple, Spotify and podcast apps would."""

from bot import orders
from bot.commands.context import Action, Context, Verb, always
from bot.commands.feed import keep_address
from bot.commands.parse import Words
from bot.commands.replies import check as replies
from bot.commands.replies import general
from bot.commands.replies.manual import Form, Group, Who
from bot.language import N_
from storage import jobs
from storage.records import JobState, Visibility

UNDER_WAY = {JobState.READY, JobState.RUNNING}


async def _check(context: Context) -> str | None:
    """Order the check, which gives the answer. Of a private podcast the asker's own feed is tested."""
    if not context.asker.moderates:
        return general.ONLY_MODS
    order = orders.CheckFeed(
        context.room.room_id,
        command=context.command,
        said_in=context.said.room_id,
        asker=context.asker.user_id,
        thread=context.said.thread,
    )
    earlier = await jobs.find(context.db, orders.CheckFeed.about(context.room.room_id))
    if earlier is not None and earlier.state in UNDER_WAY:
        # The process may have died between this order and the end of its command.
        return None if orders.CheckFeed.of(earlier).command == context.command else replies.UNDER_WAY
    if context.podcast.visibility is Visibility.PRIVATE:
        await keep_address(context, context.room.room_id)
    await jobs.add(context.db, order.job(), context.now)
    return None


def _read(words: Words) -> Action | None:
    return None if words else _check


VERBS = (
    Verb(
        "check",
        (
            Form(
                "check",
                Who.MODERATORS,
                N_("tests the podcast's feed as Apple, Spotify and podcast apps would"),
                "check",
                Group.LISTENING,
            ),
        ),
        _read,
        changes=always,
    ),
)
