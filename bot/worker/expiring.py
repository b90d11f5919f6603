"""Retention: recordings whose time is over are deleted, and their room is told, before and after.

Deletion comes some recordings at a time, each time with its rows in the log of changes and in the order itself, so that
a process that dies goes on where it was. The last transaction of a look orders the notices. A recording counts as told
once the homeserver has accepted the notice that names it.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from bot import orders, words
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
from bot.worker.fetching import Apply
from bot.worker.notices import notice
from storage import archive, changes, jobs
from storage.database import Connection
from storage.records import Change, Job, RecordingId, RetentionRule, RuleKind
from storage.store import Store

log = logging.getLogger(__name__)

AT_ONCE = 10
"""The number of recordings that one transaction deletes."""
LOGGED_AS = {RuleKind.DAYS: "retention", RuleKind.EPISODES: "retention", RuleKind.MAX_DAYS: "retention.max_days"}
"""The name of each rule in the log of changes."""


def _next(expiries: Sequence[Expiry]) -> datetime:
    """Return when the first of these recordings goes."""
    return min(each.goes_at for each in expiries)


class Expiring:
    """The handler of Expire orders. `apply` is the recorder's."""

    def __init__(self, store: Store, settings: Settings, *, apply: Apply, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._settings = settings
        self._apply = apply
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        begun = orders.Expire.of(job)
        async with self._store.read() as db:
            look = await expiry.look(db, begun.room_id, self._settings.retention, self._clock())
        if look is None or (look.plan == Plan() and not begun.gone):
            return  # as on most days: nothing to write
        order: orders.Expire | None = begun
        while order is not None:
            async with self._store.write() as db:
                order = await self._step(db, job, order)

    async def _step(self, db: Connection, job: Job, order: orders.Expire) -> orders.Expire | None:
        """Delete some recordings that have to go, and return the order with them. None: no more have to go, and the
        notices are ordered."""
        now = self._clock()
        look = await expiry.look(db, order.room_id, self._settings.retention, now)
        if look is None:
            return None
        if look.plan.go:
            batch = look.plan.go[:AT_ONCE]
            for each in batch:
                await self._delete(db, look, each, now)
            gone = tuple((each.recording.code, each.rule) for each in batch)
            order = replace(order, gone=order.gone + gone)
            await jobs.note(db, job.id, order.job(), now)
            return order
        await expiry.spare(db, look.plan.spared)
        await self._forewarn(db, job, look, now)
        if order.gone and look.room.joined:
            await jobs.add(db, self._farewell(job, look, order.gone).job(), now)
        if look.plan.told:
            await jobs.add(db, orders.Expire(look.room.room_id).job(_next(look.plan.told)), now)
        return None

    async def _delete(self, db: Connection, look: Look, each: Expiry, now: datetime) -> None:
        """Delete a recording, as the bot's own change."""
        recording, what = each.recording, LOGGED_AS[each.rule.kind]
        await self._apply(db, recording.id, Deleted())
        row = Change(0, now, look.room.room_id, None, what, recording.code, str(recording.state), "deleted")
        await changes.add(db, row)
        log.info("expired: recording=%s room=%s rule=%s %d", recording.code, recording.room_id, what, each.rule.most)

    async def _forewarn(self, db: Connection, job: Job, look: Look, now: datetime) -> None:
        """Note the recordings that the room has to be told of, and order the notice."""
        tried = [(each.recording.id, each.recording.expiry_tried_at) for each in look.plan.tell]
        await archive.expiry_tried(db, [number for number, at in tried if at is None or at > now], now)
        if look.plan.tell and look.room.joined:
            recordings = tuple(each.recording.id for each in look.plan.tell)
            await jobs.add(db, orders.Forewarn(orders.expired(job.id), look.room.room_id, recordings).job(), now)

    def _farewell(self, job: Job, look: Look, gone: Sequence[tuple[str, RetentionRule]]) -> orders.Notice:
        with speaking(look.room.language):
            return orders.Notice(orders.expired(job.id), look.room.room_id, words.expired(gone))


class Forewarning:
    """The handler of Forewarn orders."""

    def __init__(self, store: Store, settings: Settings, sending: Sending, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._settings = settings
        self._sending = sending
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        """Say what will go, then count it as told. Raises GiveUp where the bot may not speak: the next look tries
        again."""
        order = orders.Forewarn.of(job)
        async with self._store.write() as db:
            look, tell = await self._untold(db, order)
            if look is None or not tell:
                return  # told by an earlier order, kept, deleted, or spared by another rule
            order = replace(order, recordings=tuple(each.recording.id for each in tell))
            await jobs.note(db, job.id, order.job(), self._clock())
        if not look.room.joined:
            raise GiveUp("the bot is not in the room", reason="not_joined", room=order.room_id)
        content = notice(self._body(look, tell))
        await self._sending.send(look.room.room_id, MESSAGE, content, txn_id=greeting.transaction(job.id))
        async with self._store.write() as db:
            _, tell = await self._untold(db, order)
            now = self._clock()
            await archive.expiry_told(db, [each.recording.id for each in tell], now)
            if tell:  # look again when the first of them goes
                again = now + look.policy.notice
                await jobs.add(db, orders.Expire(order.room_id).job(again), now)
        log.info("told what will go: room=%s recordings=%d", order.room_id, len(tell))

    async def _untold(self, db: Connection, order: orders.Forewarn) -> tuple[Look | None, tuple[Expiry, ...]]:
        """Return those of the order's recordings that the room still has to be told of."""
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
                for each in tell
            ]
            return words.expires(lines, prefix=self._settings.commands.prefix)
