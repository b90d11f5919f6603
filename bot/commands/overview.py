"""`status` and `list [n]`: what there is, read only."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from functools import partial

from bot.commands import replies
from bot.commands.asked import Action, Asked, Verb
from bot.commands.find import ENDED, WITH_SOUND, newest
from bot.commands.parse import Words, number
from bot.commands.replies import Heard, Problem
from bot.recording.ledger import lay_out
from storage import archive, rooms
from storage.records import Chunk, ChunkState, Recording, RecordingState, to_ms
from storage.withheld import PREFIX

LIST_COUNT = 5
LIST_MOST = 50
LOOKED_AT = 5
"""So many of the newest recordings are looked into for problems; older ones are nobody's news."""
MOST_PROBLEMS = 8
KEPT = frozenset(RecordingState) - {RecordingState.DELETED}


async def _status(asked: Asked) -> str:
    room, zone = asked.room, asked.settings.feeds.zone
    lines = [
        replies.what_is_recorded(asked.prefix, on=room.recording_on, visibility=room.visibility, feed=asked.public.feed)
    ]
    open_ones = await archive.open_recordings(asked.db, room.room_id)
    running = [recording for recording in open_ones if recording.state is RecordingState.LIVE]
    lines += [replies.live(recording, asked.now, zone) for recording in running] or [replies.NOTHING_LIVE]
    last = next(iter(await newest(asked.db, room.room_id, 1, ENDED)), None)
    lines.append(replies.last_episode(await _looked_into(asked, last), zone) if last else replies.NO_EPISODE)
    problems = await _problems(asked)
    told = last is not None and last.state is RecordingState.INCOMPLETE
    return "\n".join(lines + (problems or ([] if told else [replies.NO_PROBLEMS])))


async def _looked_into(asked: Asked, recording: Recording) -> Heard:
    """With what is missing, from the ledger (a long one takes its time, so it is made beside the loop)."""
    heard = await _heard(asked, recording)
    if recording.state is not RecordingState.INCOMPLETE:
        return heard
    ledger = await asyncio.to_thread(lay_out, recording, await archive.chunks(asked.db, recording.id))
    return Heard(recording, heard.length, to_ms(sum(gap.samples for gap in ledger.gaps)))


async def _heard(asked: Asked, recording: Recording) -> Heard:
    episode = await archive.episode(asked.db, recording.id)
    return Heard(recording, to_ms(episode.samples) if episode else None)


async def _problems(asked: Asked) -> list[str]:
    """One plain sentence each."""
    found = []
    if await rooms.state(asked.db, asked.room.room_id, "m.room.create") is None:
        found.append(replies.STATE_UNKNOWN)
    for recording in await newest(asked.db, asked.room.room_id, LOOKED_AT, KEPT):
        if recording.state is not RecordingState.COMPLETE:
            chunks = await archive.chunks(asked.db, recording.id)
            found += [replies.problem(problem) for problem in _problems_of(recording, chunks)]
    return found[:MOST_PROBLEMS]


def _problems_of(recording: Recording, chunks: Iterable[Chunk]) -> list[Problem]:
    counted = Counter((chunk.state, _withheld(chunk)) for chunk in chunks if not _is_on_its_way(chunk))
    return [
        Problem(recording.code, state, number, withheld)
        for known in replies.PROBLEMS
        for (state, withheld), number in counted.items()
        if state is known
    ]


def _withheld(chunk: Chunk) -> str | None:
    """The code by which the speaker's client refuses the key."""
    waits = chunk.state is ChunkState.WAITING_FOR_KEY and chunk.reason is not None
    return chunk.reason.removeprefix(PREFIX) if waits and chunk.reason else None


def _is_on_its_way(chunk: Chunk) -> bool:
    """Being fetched for the first time is no problem; a reason is there once that failed."""
    return chunk.state is ChunkState.WAITING_FOR_MEDIA and chunk.reason is None


async def _list(asked: Asked, *, count: int) -> str:
    found = await newest(asked.db, asked.room.room_id, count, WITH_SOUND)
    if not found:
        return replies.NO_RECORDING_YET
    heard = [await _heard(asked, recording) for recording in found]
    return replies.listed(heard, asked.settings.feeds.zone, visibility=asked.room.visibility)


def _read_status(words: Words) -> Action | None:
    return None if words else _status


def _read_list(words: Words) -> Action | None:
    match words:
        case ():
            return partial(_list, count=LIST_COUNT)
        case (word,):
            count = number(word, LIST_MOST)
            return partial(_list, count=count) if count else None
        case _:
            return None


VERBS = (
    Verb(
        "status",
        (replies.Form("status", "everybody", "what is recorded, what is live, and what is wrong"),),
        _read_status,
        changes=False,
    ),
    Verb(
        "list",
        (replies.Form("list [n]", "everybody", f"the newest n recordings with their codes, at most {LIST_MOST}"),),
        _read_list,
        changes=False,
    ),
)
