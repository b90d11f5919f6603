"""The check of a room's feed that `check` asks for, and its answer in the room."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from bot import orders, rules, topics
from bot.check.element_call import judge_power
from bot.check.feed_check import check_feed
from bot.check.fetching import stranger_at
from bot.check.finding import Finding, Level
from bot.check.report import report, report_on_calls
from bot.event_types import SHOWN_IN_CALL
from bot.feeds.addresses import personal_shelf, public_shelf, token_for
from bot.language import _, speaking
from storage import heirs, jobs, rooms
from storage.records import CallProtocol, Job, RoomId, UserId, Visibility
from storage.store import Store

log = logging.getLogger(__name__)


class CheckingFeed:
    """The handler of CheckFeed orders. `base` is `web.public_url`, `us` the bot; `check_calls` checks whether calls can
    be recorded, and is called for rooms that want that."""

    def __init__(
        self,
        store: Store,
        base: str,
        clock: Callable[[], datetime],
        *,
        us: UserId,
        check_calls: Callable[[], Awaitable[Sequence[Finding]]],
    ) -> None:
        self._us = us
        self._store = store
        self._check_calls = check_calls
        self._base = base
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        """Test the public feed, or the asker's own personal one, and answer the command. No address is stored, logged
        or said."""
        order = orders.CheckFeed.of(job)
        address, private = await self._address(order)
        async with self._store.read() as db:
            language = await rooms.language(db, order.said_in)
        with speaking(language):
            body = _("The room's podcast has no address any more.")
            if address is not None:
                async with stranger_at(self._base) as stranger:
                    check = check_feed(stranger, self._base, address, self._clock, private=private)
                    findings = [finding async for finding in check]
                failed = sum(finding.level is Level.FAIL for finding in findings)
                log.info("feed checked: room=%s findings=%d failed=%d", order.room_id, len(findings), failed)
                body = report(findings)
            calls = await self._calls_of(order.room_id)
            body = body if calls is None else f"{body}\n{calls}"
        notice = orders.Notice(
            topics.answer(order.command), order.said_in, body, reply_to=order.command, thread=order.thread
        )
        async with self._store.write() as db:
            await jobs.add(db, notice.job(), self._clock())

    async def _calls_of(self, room_id: RoomId) -> str | None:
        """Return the report on the calls of a room; None where they are not recorded."""
        async with self._store.read() as db:
            room = await rooms.room(db, room_id)
            power = await rooms.power(db, room_id)
        if room is None or not room.calls_on:
            return None
        seen = rules.may_show_in_call(self._us, CallProtocol.MATRIXRTC, power)
        unseen = [] if seen else [judge_power(SHOWN_IN_CALL[CallProtocol.MATRIXRTC])]
        return report_on_calls([*unseen, *await self._check_calls()])

    async def _address(self, order: orders.CheckFeed) -> tuple[str | None, bool]:
        """Return the address of the feed, and whether it is private."""
        async with self._store.read() as db:
            line = await heirs.line(db, order.room_id)
            podcast = await heirs.podcast(db, line)
            if podcast.visibility is Visibility.PUBLIC:
                return public_shelf(self._base, podcast.key).feed, False
            listener = await rooms.listener(db, line[0], order.asker)
            if listener is None:
                return None, True
            secret = await self._store.secret.within(db)
        token = token_for(secret, line[0], order.asker, listener.generation)
        return personal_shelf(self._base, token).feed, True
