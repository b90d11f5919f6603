"""Pings of the WebSub hub: it is told that a public podcast changed, so that apps learn it at once (WebSub, section 7).

`FeedChanges` orders a ping in the transaction that takes note of a room's new revision, so that no change is missed
when the process dies. The ping names the public feed only: a hub never learns a personal address.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta

from bot import orders
from bot.errors import GiveUp, TryLater
from bot.feeds.addresses import public_shelf
from storage import heirs, hub_notes, jobs
from storage.errors import StoreError
from storage.records import Job, RoomId, Visibility
from storage.store import Store

log = logging.getLogger(__name__)

GATHERED = timedelta(seconds=2)
"""The time for which changes are gathered into one ping."""
GIVEN_UP_AFTER = timedelta(days=1)
TAKEN_AT_ONCE = 200
STORE_TROUBLE_PAUSE_S = 60.0

Publish = Callable[[str], Awaitable[None]]
"""Tells the hub that the feed at this address has changed. Raises TryLater, GiveUp."""


class FeedChanges:
    """The look-out for changes of public podcasts. Runs only where a hub is set."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Order pings until `stop`; what changed before the start is found too."""
        seen, trouble = -1, ""
        with self._store.changes.subscribe() as changed:
            while not self._stopping.is_set():
                changed.clear()
                try:
                    now = self._store.changes.of("rooms")
                    if now != seen:
                        while await self.order():
                            pass
                        seen = now
                    trouble = ""
                    await changed.wait()
                except StoreError as error:
                    if str(error) != trouble:
                        log.error("pings of the hub wait for the store: %s", error)
                    trouble = str(error)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), STORE_TROUBLE_PAUSE_S)

    def stop(self) -> None:
        self._stopping.set()
        self._store.changes.notify(())

    async def order(self) -> bool:
        """Order the pings of what changed; return whether more may have."""
        async with self._store.read() as db:
            if not await hub_notes.any_changed(db):
                return False
        async with self._store.write() as db:
            changed = await hub_notes.take(db, TAKEN_AT_ONCE)
            now = self._clock()
            for room_id in dict.fromkeys([await heirs.present(db, room_id) for room_id in changed]):
                podcast = await heirs.podcast(db, await heirs.line(db, room_id))
                if podcast.visibility is Visibility.PUBLIC:
                    await jobs.add(db, orders.PingHub(room_id, since=now).job(now + GATHERED), now)
        return len(changed) == TAKEN_AT_ONCE


class PingingHub:
    """The handler of PingHub orders. `publish` is None where no hub is set any more."""

    def __init__(self, store: Store, publish: Publish | None, base: str, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._publish = publish
        self._base = base
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        """Tell the hub, unless the podcast is private by now. Raises TryLater, and GiveUp after a day."""
        order = orders.PingHub.of(job)
        feed = await self._feed(order.room_id)
        if feed is None or self._publish is None:
            return
        try:
            await self._publish(feed)
        except TryLater as error:
            if self._clock() - order.since >= GIVEN_UP_AFTER:
                raise GiveUp(error.sentence, reason="hub", room=order.room_id) from None
            raise
        log.info("hub pinged: room=%s", order.room_id)

    async def _feed(self, room_id: RoomId) -> str | None:
        """Return the address of the public feed; None where the podcast is private."""
        async with self._store.read() as db:
            podcast = await heirs.podcast(db, await heirs.line(db, room_id))
        return public_shelf(self._base, podcast.key).feed if podcast.visibility is Visibility.PUBLIC else None
