"""`forget me`: said in a room, it is about that room's podcast; in a direct chat, about all."""

from collections import Counter

from bot import orders, topics
from bot.commands.context import Action, Context, ToConfirm, Verb, always
from bot.commands.parse import Words
from bot.commands.replies import forget as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.intake import forgotten
from bot.intake.forgotten import Traces
from bot.language import N_, speaking
from storage import heirs, jobs, rooms
from storage.records import RoomId

ME = "me"


async def _forget(context: Context) -> str | ToConfirm:
    everywhere = await context.in_own_chat()
    line = None if everywhere else await heirs.line(context.db, context.room.room_id)
    traces = await forgotten.traces(context.db, context.asker.user_id, line)
    alone, shared = len(traces.alone), len(traces.shared)
    if not alone and not shared:
        await forgotten.remove_the_rest(context.db, traces, context.now)
        return replies.nothing(everywhere=everywhere)
    if not context.confirmed:
        return ToConfirm(replies.question(alone, shared, everywhere=everywhere), (ME,))
    await context.note("forget", None, str(alone + shared), everywhere=everywhere)
    await forgotten.remove_the_rest(context.db, traces, context.now)
    await _tell_other_rooms(context, traces)
    report = replies.forgotten(context.prefix, alone, shared, everywhere=everywhere)
    return replies.under_way(alone + shared) if await _remove(context, traces, report) else report


async def _remove(context: Context, traces: Traces, report: str) -> bool:
    """Delete the recordings, some of them now. Return whether a job deletes the others, and reports it."""
    user_id = traces.user_id
    alone, shared = (tuple(each.id for each in recordings) for recordings in (traces.alone, traces.shared))
    these, those = alone[: forgotten.AT_ONCE], shared[: forgotten.SHARED_AT_ONCE]
    await forgotten.remove(context.db, context.apply, user_id, these, those)
    if (these, those) == (alone, shared):
        return False
    rest = orders.ForgetMember(
        context.command,
        user_id,
        context.said.room_id,
        report,
        alone=alone[len(these) :],
        shared=shared[len(those) :],
    )
    await jobs.add(context.db, rest.job(), context.now)
    return True


async def _tell_other_rooms(context: Context, traces: Traces) -> None:
    """Tell the rooms whose members don't read the answer how many recordings are gone or changed."""
    counts = Counter[RoomId]()
    for room_id, count in Counter(recording.room_id for recording in (*traces.alone, *traces.shared)).items():
        counts[await heirs.present(context.db, room_id)] += count
    for room_id in sorted(counts.keys() - {context.said.room_id}):
        room = await rooms.room(context.db, room_id)
        if room is not None and room.joined:
            with speaking(room.language):
                body = replies.told(counts[room_id])
            notice = orders.Notice(topics.forgotten_in(context.command, room.room_id), room.room_id, body)
            await jobs.add(context.db, notice.job(), context.now)


def _read(words: Words) -> Action | None:
    return _forget if [word.lower() for word in words] == [ME] else None


VERBS = (
    Verb(
        "forget",
        (
            Form(
                "forget me",
                Who.EVERYBODY,
                N_(
                    "deletes what I recorded of you here, or everywhere when you say it in our direct chat; I ask once "
                    "more first"
                ),
                "forget me",
                Group.YOU,
            ),
        ),
        _read,
        changes=always,
        everywhere=True,
        of_chat=always,
    ),
)
