"""`episode`: what was said from a voice message on becomes an episode after the fact."""

from bot import orders
from bot.commands.context import Action, Context, Verb, always
from bot.commands.parse import Words
from bot.commands.replies.manual import Form, Group, Who
from bot.language import N_
from bot.words import NOT_TOLD_FOR_EPISODE, REPLY_TO_A_VOICE_MESSAGE
from storage import jobs


async def _episode(context: Context) -> str | None:
    """Order the episode. Whether the message is one, and the asker's, only the homeserver can tell."""
    said, room = context.said, context.room
    if said.reply_to is None or said.room_id != room.room_id:
        return REPLY_TO_A_VOICE_MESSAGE
    if room.told_at is None:
        return NOT_TOLD_FOR_EPISODE
    order = orders.MakeEpisode(
        context.command,
        room.room_id,
        said.reply_to,
        context.asker.user_id,
        mod=context.asker.moderates,
        thread=said.thread,
    )
    await jobs.add(context.db, order.job(), context.now)
    return None


def _read(words: Words) -> Action | None:
    return None if words else _episode


VERBS = (
    Verb(
        "episode",
        (
            Form(
                "episode",
                Who.SENDER_OR_MODERATORS,
                N_("makes an episode of the voice messages, from the one that you reply to onwards"),
                "episode",
                Group.RECORDING,
            ),
        ),
        _read,
        changes=always,
    ),
)
