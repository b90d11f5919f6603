"""Retention: recordings whose time is over are deleted, and their room is told, before and after.

A look only reads. What it decided is written some recordings at a time, after a second look at those alone: if one of
them, or a rule, has changed meanwhile, the podcast is looked at again. Each deletion comes with its rows in the log of
changes and in the order itself, so that a process that dies goes on where it was. The last transaction orders the
notices. A recording counts as told once the homeserver has accepted the notice that names it.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from bot import orders, topics, words
from bot.errors import GiveUp
from bot.event_types import MESSAGE
from bot.feeds.shown import title_of
from bot.intake import expiry, greeting
from bot.intake.expiry import Look
from bot.language import speaking, spoken_moment
from bot.matrix.sending import Sending
from bot.recording.model import Deleted
from bot.recording.retention import Expiry, Plan
from bot.settings import Settings
from bot.worker.given import Apply
from bot.worker.notices import notice
from storage import archive, changes, jobs
from storage.database import Connection
from storage.records import Change, Job, Recording, RecordingId, RuleKind
from storage.store import Store

log = logging.getLogger(__name__)

AT_ONCE = 10
"""The number of recordings that one transaction deletes."""
LOGGED_AS = {RuleKind.DAYS: "retention", RuleKind.EPISODES: "retention", RuleKind.MAX_DAYS: "retention.max_days"}
"""The name of each rule in the log of changes."""


def _next(expiries: Sequence[Expiry]) -> datetime:
    """Return when the first of these recordings goes."""
    return min(each.goes_at for each in expiries)


def _tried(recording: Recording, now: datetime) -> bool:
    """Return whether the bot has begun to tell of this recording's end, by a clock that was right."""
    return recording.expiry_tried_at is not None and recording.expiry_tried_at <= now


class Expiring:
    """The handler of Expire orders. `apply` is the recorder's."""

    def __init__(self, store: Store, settings: Settings, *, apply: Apply, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._settings = settings
        self._apply = apply
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        order = orders.Expire.of(job)
        finished = False
        while not finished:
            async with self._store.read() as db:
                look = await expiry.look(db, order.room_id, self._settings.retention, self._clock())
            if look is None or (look.plan == Plan() and not order.gone):
                return  # as on most days: nothing to write
            if look.room.joined and look.room.behind is not None:
                return  # restored, and not caught up: it is looked at then
            if look.plan.go:
                order = await self._delete(job, order, look)
            else:
                finished = await self._finish(job, order, look)

    async def _delete(self, job: Job, order: orders.Expire, look: Look) -> orders.Expire:
        """Delete what has to go, as long as nothing of it changes; return the order with what is gone."""
        for start in range(0, len(look.plan.go), AT_ONCE):
            some = look.plan.go[start : start + AT_ONCE]
            async with self._store.write() as db:
                now = self._clock()
                same = await self._unchanged(db, look, [each.recording for each in some])
                going = [each for each in some if each.recording.id in same]
                for each in going:
                    await self._delete_one(db, look, each, now)
                order = order.with_more([(each.recording.code, each.rule) for each in going], words.MOST_LISTED)
                await jobs.note(db, job.id, order.job(), now)
            if len(going) < len(some):
                break
        return order

    async def _finish(self, job: Job, order: orders.Expire, look: Look) -> bool:
        """Order the notices; False, and nothing is written, where a new look is needed."""
        async with self._store.write() as db:
            now = self._clock()
            new = [each.recording for each in look.plan.tell if not _tried(each.recording, now)]
            noted = [*look.plan.spared, *new]
            if len(await self._unchanged(db, look, noted)) < len(noted):
                return False
            await expiry.spare(db, look.plan.spared)
            await archive.expiry_tried(db, [recording.id for recording in new], now)
            if look.plan.tell and look.room.joined:
                recordings = tuple(each.recording.id for each in look.plan.tell)
                await jobs.add(db, orders.Forewarn(topics.expired(job.id), look.room.room_id, recordings).job(), now)
            if order.gone and look.room.joined:
                await jobs.add(db, self._farewell(job, look, order).job(), now)
            if look.plan.told:
                await jobs.add(db, orders.Expire(look.room.room_id).job(_next(look.plan.told)), now)
        return True

    async def _unchanged(self, db: Connection, look: Look, recordings: Sequence[Recording]) -> frozenset[RecordingId]:
        return await expiry.unchanged(db, look, self._settings.retention, recordings)

    async def _delete_one(self, db: Connection, look: Look, each: Expiry, now: datetime) -> None:
        """Delete a recording, as the bot's own change."""
        recording, what = each.recording, LOGGED_AS[each.rule.kind]
        await self._apply(db, recording.id, Deleted())
        row = Change(0, now, look.room.room_id, None, what, recording.code, str(recording.state), "deleted")
        await changes.add(db, row)
        log.info("expired: recording=%s room=%s rule=%s %d", recording.code, recording.room_id, what, each.rule.most)

    def _farewell(self, job: Job, look: Look, order: orders.Expire) -> orders.Notice:
        with speaking(look.room.language):
            return orders.Notice(topics.expired(job.id), look.room.room_id, words.expired(order.gone, order.unlisted))


class Forewarning:
    """The handler of Forewarn orders."""

    def __init__(self, store: Store, settings: Settings, sending: Sending, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._settings = settings
        self._sending = sending
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        """Say what will go, then count it as told. Raises GiveUp where the bot may not speak: the next look tries
        again, at the latest when the room's power levels change."""
        order = orders.Forewarn.of(job)
        look, tell = await self._untold(order)
        if look is None or not tell:
            return  # told by an earlier order, kept, deleted, or spared by another rule
        order = replace(order, recordings=tuple(each.recording.id for each in tell))
        async with self._store.write() as db:
            await jobs.note(db, job.id, order.job(), self._clock())
        if not look.room.joined:
            raise GiveUp("the bot is not in the room", reason="not_joined", room=order.room_id)
        content = notice(self._body(look, tell))
        await self._sending.send(look.room.room_id, MESSAGE, content, txn_id=greeting.transaction(job.id))
        look, tell = await self._untold(order)
        told = await self._note(look, [each.recording for each in tell]) if look else 0
        log.info("told what will go: room=%s recordings=%d", order.room_id, told)

    async def _note(self, look: Look, recordings: Sequence[Recording]) -> int:
        """Count these recordings as told, but for those that have changed since the look; return how many are."""
        async with self._store.write() as db:
            told = await expiry.unchanged(db, look, self._settings.retention, recordings)
            now = self._clock()
            await archive.expiry_told(db, sorted(told), now)
            if told:  # look again when the first of them goes
                await jobs.add(db, orders.Expire(look.room.room_id).job(now + look.policy.notice), now)
        return len(told)

    async def _untold(self, order: orders.Forewarn) -> tuple[Look | None, tuple[Expiry, ...]]:
        """Return those of the order's recordings that the room still has to be told of."""
        async with self._store.read() as db:
            look = await expiry.look(db, order.room_id, self._settings.retention, self._clock())
        if look is None or look.room.room_id != order.room_id:
            return None, ()  # the podcast has moved on, and its present room is told
        wanted = frozenset[RecordingId](order.recordings)
        return look, tuple(each for each in look.plan.tell if each.recording.id in wanted)

    def _body(self, look: Look, tell: Sequence[Expiry]) -> str:
        zone = self._settings.feeds.zone
        with speaking(look.room.language):
            lines = [
                words.expiring(
                    each.recording.code, title_of(each.recording, zone), spoken_moment(each.goes_at, zone), each.rule
                )
                for each in tell[: words.MOST_LISTED]
            ]
            unlisted = len(tell) - len(lines)
            return words.expires(lines, unlisted=unlisted, prefix=self._settings.commands.prefix)
