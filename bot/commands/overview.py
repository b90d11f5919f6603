"""`status` and `list [n]`: what is recorded. They change nothing."""

import asyncio
from dataclasses import replace
from functools import partial

from bot.commands.context import Action, Context, Verb, never
from bot.commands.find import newest
from bot.commands.paging import Page, page_of
from bot.commands.parse import Words
from bot.commands.replies import general
from bot.commands.replies import overview as replies
from bot.commands.replies.manual import Form, Group, Who
from bot.commands.replies.overview import Heard
from bot.event_types import CREATE
from bot.intake import calls
from bot.language import N_, _
from bot.recording import account, wrong_lengths
from bot.recording.call import words as call_words
from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger
from bot.recording.wording import words_of
from storage import archive, heirs, orphans, rooms, tracks
from storage import calls as call_rows
from storage.records import Loss, Recorded, Recording, RecordingState, to_ms

LIST_COUNT = 5
LIST_MOST = 50
LOOKED_AT = 5
"""The number of newest recordings that `status` looks into for problems; older ones are no news."""
MOST_PROBLEMS = 8


async def _status(context: Context) -> str:
    room, zone = context.room, context.settings.feeds.zone
    lines = [
        replies.what_is_recorded(
            context.prefix,
            recorded=room.recorded,
            waiting=room.awaits_notice,
            visibility=room.visibility,
            closed=not room.publishes,
            feed=context.public.feed,
        )
    ]
    open_ones = await archive.open_recordings(context.db, await heirs.line(context.db, room.room_id))
    running = [recording for recording in open_ones if recording.state is RecordingState.LIVE]
    lines += replies.all_live(running, context.now, zone)
    last = next(iter(await newest(context.db, room.room_id, 1, _has_ended)), None)
    lines.append(replies.last_episode(await _looked_into(context, last), zone) if last else _(replies.NO_EPISODE))
    problems = await _problems(context)
    incomplete = last is not None and last.state is RecordingState.INCOMPLETE
    return "\n".join(lines + (problems or ([] if incomplete else [_(replies.NO_PROBLEMS)])))


def _has_ended(state: RecordingState) -> bool:
    return state.may_have_audio and state is not RecordingState.LIVE


async def _looked_into(context: Context, recording: Recording) -> Heard:
    """Summarize a recording with what is missing as of now; its episode only knows what the file was made without."""
    heard = await _heard(context, recording)
    if recording.state is not RecordingState.INCOMPLETE:
        return heard
    return replace(heard, loss=account.loss_of(await _ledger(context, recording)))


async def _heard(context: Context, recording: Recording) -> Heard:
    episode = await archive.episode(context.db, recording.id)
    if episode is None:
        return Heard(recording, None, Loss())
    return Heard(recording, to_ms(episode.samples), episode.loss)


async def _ledger(context: Context, recording: Recording) -> Ledger:
    """Lay the recording out beside the event loop: a long one takes its time."""
    return await asyncio.to_thread(lay_out, recording, await archive.chunks(context.db, recording.id))


async def _problems(context: Context) -> list[str]:
    """Return the room's problems, one plain sentence each."""
    problems = []
    if await rooms.state(context.db, context.room.room_id, CREATE) is None:
        problems.append(_(replies.STATE_UNKNOWN))
    problems += await _hindrances(context)
    lost = await archive.lost(context.db, await heirs.line(context.db, context.room.room_id))
    if lost:
        problems.append(replies.audio_lost(lost))
    for recording in await newest(
        context.db, context.room.room_id, LOOKED_AT, lambda state: state is not RecordingState.DELETED
    ):
        ledger = await _ledger(context, recording)
        troubles = (
            *wrong_lengths.off_lengths(await tracks.off_by(context.db, recording.id)),
            *wrong_lengths.off_announced(ledger),
            *wrong_lengths.off_told(ledger),
            *(account.troubles(ledger) if recording.state is not RecordingState.COMPLETE else ()),
        )
        problems += [words_of(recording).trouble(recording.code, told, chunks) for told, chunks in troubles]
        unheard = await call_rows.unheard(context.db, recording.id)
        problems += [f"{recording.code}: {reason}" for reason in call_words.unheard(unheard)]
        if recording.state is not RecordingState.COMPLETE:
            problems += await _candidates(context, recording)
    return problems[:MOST_PROBLEMS]


async def _hindrances(context: Context) -> list[str]:
    """Tell what keeps the bot out of the calls that go on, where it is to record them."""
    if Recorded.CALLS not in context.room.switched_on:
        return []
    going_on = await context.calls_in(context.db, context.room.room_id)
    told = [
        await calls.hindrance(context.db, context.room, protocol, context.us, sticky=sticky)
        for protocol, sticky in going_on.items()
    ]
    return list(dict.fromkeys(hindrance for hindrance in told if hindrance is not None))


async def _candidates(context: Context, recording: Recording) -> list[str]:
    """Tell of voice messages that are left out because nothing proves that they belong to the recording."""
    voice_messages = [chunk for chunk in await orphans.of(context.db, recording.id) if chunk.facts or chunk.reason]
    times = [min(max(chunk.sent_at, recording.started_at), context.now) for chunk in voice_messages if chunk.sent_at]
    zone = context.settings.feeds.zone
    return [replies.candidates(recording.code, len(voice_messages), times, zone)] if voice_messages else []


async def _list(context: Context, *, page: Page) -> str:
    line = await heirs.line(context.db, context.room.room_id)
    recordings = await archive.with_sound(context.db, line, page.lines + 1, page.offset)
    if not recordings:
        return general.NO_RECORDING_YET if page.number == 1 else general.NO_SUCH_PAGE
    heard = [await _heard(context, recording) for recording in recordings[: page.lines]]
    lines = replies.listed(heard, context.settings.feeds.zone, visibility=context.room.visibility)
    more = [general.older(context.prefix, "list", page.next)] if len(recordings) > page.lines else []
    return "\n".join([*lines, *more])


def _read_status(words: Words) -> Action | None:
    return None if words else _status


def _read_list(words: Words) -> Action | None:
    page = page_of(words, LIST_COUNT, LIST_MOST)
    return partial(_list, page=page) if page else None


VERBS = (
    Verb(
        "status",
        (
            Form(
                "status",
                Who.EVERYBODY,
                N_("tells what is recorded, what is live, and what is wrong"),
                "status",
                Group.LISTENING,
            ),
        ),
        _read_status,
        changes=never,
    ),
    Verb(
        "list",
        (
            Form(
                "list [n]",
                Who.EVERYBODY,
                N_("lists the newest recordings with their codes"),
                "list 10",
                Group.LISTENING,
            ),
            Form("list N PAGE", Who.EVERYBODY, N_("lists older ones"), "list 20 2", Group.LISTENING),
        ),
        _read_list,
        changes=never,
    ),
)
