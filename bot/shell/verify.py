"""`aircheck verify`: one line for each fault of the archive, and with `--repair` what can be done about it."""

import asyncio
import sys
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from bot import orders
from bot.errors import AircheckError
from bot.keeper import are_too_many, keeps_all
from bot.log import one_line
from bot.settings import Settings
from bot.shell.handover import LOOK_EVERY_S, at_work, closing_store, first_try, shown
from bot.shell.verifying import Cure, Fault, Verifying
from storage import archive, jobs
from storage.records import BlobKey, JobKind, JobState
from storage.store import Store

AFTER: Collection[JobKind] = frozenset(
    order.kind
    for order in (
        *(orders.Finish, orders.Encode, orders.KeepOriginal, orders.Forget, orders.Fetch),
        *(orders.Cover, orders.MakePortrait, orders.Mend, orders.MendRoom),
    )
)
"""Kinds of jobs by which files are made again."""
REMOVED_AT_ONCE = 500


async def verify(settings: Settings, *, repair: bool) -> int:
    """Print a line for each fault; with `repair` mend first, and print what is left. Return how many are left.

    Raises AircheckError, StoreError.
    """
    async with closing_store(await Store.look(settings.storage.place)) as store:
        faults, named = await _look(store)
    if repair and faults:
        sys.stderr.writelines(f"found: {one_line(fault.sentence)}\n" for fault in faults)
        async with at_work(settings) as store:
            await _mend(store, faults, named)
            faults, _ = await _look(store)
    sys.stdout.writelines(f"{one_line(fault.sentence)}\n" for fault in faults)
    return len(faults)


async def _look(store: Store) -> tuple[list[Fault], int]:
    """Return the faults, and how many files rows name."""
    verifying, found = Verifying(store), list[Fault]()
    with shown() as progress:
        task = progress.add_task("verifying")
        async for fault in verifying.faults():
            found.append(fault)
            progress.update(task, description=f"verifying: {verifying.seen} files, {len(found)} faults")
    return list(dict.fromkeys(found)), verifying.named


async def _mend(store: Store, faults: Sequence[Fault], named: int) -> None:
    """Do what can be done about each fault, and say what failed."""
    for order in dict.fromkeys(filter(None, map(_order_for, faults))):
        try:
            await first_try(store, order, f"mending: {order.kind} {order.subject}")
        except AircheckError as error:
            sys.stderr.write(f"not mended: {error.sentence}\n")
    unnamed = [fault.blob for fault in faults if fault.cure is Cure.FORGET and fault.blob is not None]
    if unnamed and (torn := await _torn_names(store)):
        sys.stderr.write(f"not mended: {keeps_all(len(unnamed), torn)}\n")
    elif are_too_many(len(unnamed), named):
        said = f"{len(unnamed)} files are in no row, {named} are: is this the right database? None is removed"
        sys.stderr.write(f"not mended: {said}\n")
    elif unnamed:
        await store.hold_media()
        await _remove(store, unnamed)
    await _settled(store)


def _order_for(fault: Fault) -> orders.Order | None:
    if fault.recording is not None:
        match fault.cure:
            case Cure.MEND:
                return orders.Mend(fault.recording)
            case Cure.MEND_TRACK:
                return orders.Mend(fault.recording, track=True)
            case Cure.FINISH:
                return orders.Finish(fault.recording, anew=True)
            case _:
                return None
    return orders.MendRoom(fault.room) if fault.cure is Cure.MEND_ROOM and fault.room is not None else None


async def _torn_names(store: Store) -> int:
    """Count the rows that name no file by what should be one, once what can be made again is made."""
    async with store.read() as db:
        torn = await archive.torn_names(db)
    if torn:
        await _settled(store)
        async with store.read() as db:
            torn = await archive.torn_names(db)
    return torn


async def _remove(store: Store, blobs: Sequence[BlobKey]) -> None:
    """Have files removed that no row names; each order looks again before it does."""
    async with store.write() as db:
        for start in range(0, len(blobs), REMOVED_AT_ONCE):
            await jobs.add(db, orders.Forget(tuple(blobs[start : start + REMOVED_AT_ONCE])).job(), datetime.now(UTC))


async def _settled(store: Store) -> None:
    """Wait until nothing is made again any more, but for what is tried again later."""
    while True:
        async with store.read() as db:
            waiting = await jobs.unfinished_of(db, AFTER)
        now = datetime.now(UTC)
        if not any(job.state is JobState.RUNNING or (not job.attempts and job.run_at <= now) for job in waiting):
            return
        await asyncio.sleep(LOOK_EVERY_S)
