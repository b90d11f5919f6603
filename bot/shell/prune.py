"""`aircheck prune`: the daily look at retention, now; or only a list of what it would do."""

import asyncio
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from bot import orders, words
from bot.intake import expiry
from bot.language import ENGLISH, speaking, spoken_moment
from bot.log import one_line
from bot.recording.retention import Expiry
from bot.settings import Settings
from bot.shell.handover import LOOK_EVERY_S, at_work, closing_store, first_try
from storage import archive, jobs
from storage.records import RecordingState, RoomId
from storage.store import Store


@dataclass(frozen=True, slots=True)
class Work:
    """The work that retention has: recordings to delete, and recordings of which their rooms are told."""

    podcasts: tuple[RoomId, ...]  # that need a look, by their present rooms
    go: tuple[Expiry, ...]
    tell: tuple[Expiry, ...]


async def prune(settings: Settings, *, dry_run: bool) -> None:
    """Do what the keeper does once a day, and print a line for each recording. With `dry_run` only print.

    Deleted files are gone when it returns. Raises AircheckError, StoreError.
    """
    async with closing_store(await Store.look(settings.storage.place)) as store:
        work = await _work(store, settings)
    if not dry_run:
        async with at_work(settings) as store:
            for podcast in work.podcasts:
                await first_try(store, orders.Expire(podcast), "looking at retention")
            await _forgotten(store)
            work = Work(work.podcasts, await _deleted(store, work.go), work.tell)
    with speaking(ENGLISH):  # the shell's language, also once a bot that ran here has set another
        _print([(each, words.rule_of(each.rule)) for each in work.go])
        _print([(each, _told(each, settings)) for each in work.tell])
    if not (work.go or work.tell):
        sys.stderr.write("nothing has to go\n")


async def _work(store: Store, settings: Settings) -> Work:
    now = datetime.now(UTC)
    async with store.read() as db:
        podcasts = await expiry.podcasts(db, settings.retention)
        looks = [await expiry.look(db, room_id, settings.retention, now) for room_id in podcasts]
    plans = [look.plan for look in looks if look]
    return Work(podcasts, tuple(each for plan in plans for each in plan.go), tuple(e for p in plans for e in p.tell))


async def _deleted(store: Store, expiries: Iterable[Expiry]) -> tuple[Expiry, ...]:
    """Return those whose recordings are deleted by now: one may have been kept at the last moment."""
    found = []
    async with store.read() as db:
        for each in expiries:
            recording = await archive.recording(db, each.recording.id)
            if recording is not None and recording.state is RecordingState.DELETED:
                found.append(each)
    return tuple(found)


async def _forgotten(store: Store) -> None:
    """Wait until no removal of files is due."""
    while True:
        async with store.read() as db:
            waiting = await jobs.unfinished(db, orders.Forget.kind)
        if all(job.run_at > datetime.now(UTC) for job in waiting):
            return
        await asyncio.sleep(LOOK_EVERY_S)


def _told(each: Expiry, settings: Settings) -> str:
    goes = spoken_moment(each.goes_at, settings.feeds.zone)
    return f"{words.rule_of(each.rule)}: the room is told first, and it goes on {goes}"


def _print(lines: Iterable[tuple[Expiry, str]]) -> None:
    """Print code, room and reason of each, with tabs between them."""
    for each, reason in lines:
        sys.stdout.write("\t".join(map(one_line, (each.recording.code, each.recording.room_id, reason))) + "\n")
