"""Notices in rooms. The job's id is the transaction id, so a notice sent again after a crash is the same event."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from bot import orders, words
from bot.errors import GiveUp, TryLater
from bot.event_types import MESSAGE
from bot.intake import announcements, calls, greeting, panels, shown
from bot.intake.consent import Apply
from bot.matrix.sending import Sending
from bot.recording.model import NoticeSent
from bot.settings import Settings
from bot.worker.formatting import formatted
from storage import archive, jobs, questions, rooms
from storage.database import Connection
from storage.records import EventId, Job, Json, RecordingState, Room, UserId
from storage.store import Store

log = logging.getLogger(__name__)

GREET_AGAIN_S = 60.0
REFUSED_S = 6 * 3600.0  # a change of the room's power levels hastens the job
LONGEST_CONTENT = 44_000
"""Bytes of JSON that an event of 65,536 bytes holds, encrypted and in base64."""


class Notices:
    """The handler of Notice orders."""

    def __init__(
        self, store: Store, sending: Sending, settings: Settings, *, apply: Apply, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._sending = sending
        self._settings = settings
        self._apply = apply
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        order = orders.Notice.of(job)
        async with self._store.read() as db:
            room = await rooms.room(db, order.room_id)
            is_untrue = await self._is_untrue(db, job, order)
        if room is None or not room.joined:
            raise GiveUp("the bot is not in the room", reason="not_joined", room=order.room_id)
        if is_untrue:
            return
        if order.greets:
            await self._greet(job, room)
            return
        prefix = self._settings.commands.prefix
        body = order.body.format(prefix=prefix) if order.prefixed else order.body
        async with self._store.read() as db:
            body = await announcements.with_place(db, order, body, self._settings)
            reply_to = await shown.in_room(db, order.reply_to) if order.reply_to is not None else None
        content = notice(body, reply_to=reply_to, thread=order.thread, mentions=order.mentions)
        if order.replaces is not None:
            content = edit(content, order.replaces)
        event_id = await self._send(job, order, content)
        if order.asks is not None or order.announces is not None or order.panel or order.opens:
            async with self._store.write() as db:
                await self._note(db, order, event_id)
        if job.attempts:
            # Newer notices of the room may have overtaken it.
            log.info("notice sent late: room=%s attempt=%d", room.room_id, job.attempts + 1)

    async def _is_untrue(self, db: Connection, job: Job, order: orders.Notice) -> bool:
        """Return whether it is too late to say the notice. What an earlier attempt may have said is said again, unless
        the homeserver refused it."""
        if order.panel and await panels.is_untrue(db, job, order.room_id):
            return True
        first = order.refused or not job.attempts
        if order.announces is not None and first and await announcements.is_untrue(db, order):
            return True
        during = order.during or (order.begins if job.attempts else None)
        if during is not None:
            recording = await archive.recording(db, during)
            return recording is None or recording.state is not RecordingState.LIVE
        return order.refused and order.until is not None and order.until < self._clock()

    async def _send(self, job: Job, order: orders.Notice, content: Json) -> EventId:
        """Send the notice. Raises TryLater where the bot may not speak."""
        try:
            return await self._sending.send(order.room_id, MESSAGE, content, txn_id=greeting.transaction(job.id))
        except GiveUp as refused:
            if refused.reason != "forbidden":
                raise
        async with self._store.write() as db:
            await jobs.note(db, job.id, replace(order, refused=True).job(), self._clock())
        raise TryLater("the bot may not speak in the room", after_s=REFUSED_S, room=order.room_id)

    async def _note(self, db: Connection, order: orders.Notice, event_id: EventId) -> None:
        """Note as which event a question, a panel, or the notice of a recording is in the room."""
        now = self._clock()
        if order.asks is not None:
            await questions.said(db, order.asks, event_id, now)
        if order.announces is not None:
            await announcements.said(db, order, event_id, now)
        if order.panel:
            await panels.said(db, order.room_id, event_id, now)
        if order.opens and order.during is not None:
            await self._apply(db, order.during, NoticeSent(event_id))
            await calls.order(db, order.room_id, now)

    async def _greet(self, job: Job, room: Room) -> None:
        """Send the greeting with the room's present settings. Raises TryLater while the bot may not speak in the
        room."""
        async with self._store.read() as db:
            if await greeting.is_superseded(db, job, room.room_id):
                return
            body = await greeting.greeting(db, room, self._settings)
        try:
            transaction = greeting.transaction(job.id)
            event_id = await self._sending.send(room.room_id, MESSAGE, notice(body), txn_id=transaction)
        except GiveUp as refused:
            log.info("greeting refused, trying again: room=%s reason=%s", room.room_id, refused.reason)
            raise TryLater("the bot may not speak in the room", at_most_s=GREET_AGAIN_S, room=room.room_id) from None
        async with self._store.write() as db:
            await greeting.said(db, room.room_id, event_id, body, self._clock())


def notice(
    body: str, *, reply_to: str | None = None, thread: str | None = None, mentions: Sequence[UserId] = ()
) -> Json:
    """Build an m.notice that mentions these users alone, in a thread or as a reply (Client-Server API, user mentions,
    rich replies and threading). A body so long that one event can't hold it twice has no formatted form."""
    body = words.without_ping(body)
    mentioned = {"user_ids": list(mentions)} if mentions else {}
    content: dict[str, Any] = {"msgtype": "m.notice", "body": body, "m.mentions": mentioned}
    html = formatted(body)
    if len(json.dumps([body, html])) <= LONGEST_CONTENT:
        content |= {"format": "org.matrix.custom.html", "formatted_body": html}
    if reply_to is not None:
        content["m.relates_to"] = {"m.in_reply_to": {"event_id": reply_to}}
    if thread is not None:
        relation = content.setdefault("m.relates_to", {})
        relation |= {"rel_type": "m.thread", "event_id": thread, "is_falling_back": reply_to is None}
    return content


def edit(content: Json, of: EventId) -> Json:
    """Build the event that puts a message in the place of an earlier one (Client-Server API, event replacements). What
    clients that know no edits show begins with an asterisk."""
    fallback = {key: f"* {content[key]}" for key in ("body", "formatted_body") if key in content}
    relation = {"rel_type": "m.replace", "event_id": of}
    return {**content, **fallback, "m.new_content": dict(content), "m.relates_to": relation}
