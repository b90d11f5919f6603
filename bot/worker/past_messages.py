"""Past voice messages of a room: read from the homeserver, page by page, and recorded.

Progress is written down with each page, in the transaction that records its messages; so a search that was stopped
continues from there, and counts nothing twice. Only voice messages are read: commands of the past are not carried out.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from bot import dialects, orders, topics, words
from bot.dialects.fields import answers_for, sender_of, sent_at
from bot.dialects.voice import thread_of
from bot.errors import GiveUp, TryLater
from bot.intake import disclosing
from bot.intake.naming import name_of, names_of
from bot.language import _, speaking
from bot.orders import Gathered
from bot.recording.model import VoiceMessage
from bot.worker.backfilling import found_of
from bot.worker.room_history import Message, RoomHistory
from storage import archive, jobs, journal, rooms, sessions
from storage.database import Connection
from storage.records import (
    Change,
    EventId,
    HeardEvent,
    Job,
    Recording,
    RecordingId,
    RecordingState,
    Room,
    RoomId,
    UserId,
)
from storage.store import Store

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 1.0
MOST_NAMES = 20


class Gathering(Protocol):
    """The recorder's gatherer of past voice messages, in the caller's transaction."""

    async def into_one(
        self, db: Connection, events: Sequence[HeardEvent], thread: EventId | None, so_far: Gathered
    ) -> Gathered: ...

    async def into_sessions(
        self, db: Connection, events: Sequence[HeardEvent], since: datetime | None, so_far: Gathered
    ) -> Gathered: ...

    async def end(self, db: Connection, recording_id: RecordingId, *, announced: bool = False) -> Recording: ...


@dataclass(frozen=True, slots=True)
class Search:
    """The parts of a search. `us` is the bot, whose own messages are never recorded."""

    store: Store
    history: RoomHistory
    gathering: Gathering
    us: UserId
    prefix: str
    clock: Callable[[], datetime]

    async def may_go_on(self, room_id: RoomId) -> Room | None:
        """Return the room, if the bot is in it."""
        async with self.store.read() as db:
            room = await rooms.room(db, room_id)
        return room if room is not None and room.joined else None


class MakingEpisode(Search):
    """The handler of MakeEpisode orders."""

    async def __call__(self, job: Job) -> None:
        """Make the episode and tell the room, or say why there is none. Raises TryLater."""
        order = orders.MakeEpisode.of(job)
        room = await self.may_go_on(order.room_id)
        if room is None:
            return
        with speaking(room.language):
            await self._end(*await self._walk(job, order))

    async def _walk(self, job: Job, order: orders.MakeEpisode) -> tuple[orders.MakeEpisode, str]:
        """Record the messages, page by page, up to the command. Return the order with what came of it, and the sentence
        to say if that is nothing."""
        if order.walked:
            return order, words.NOTHING_TO_GATHER
        try:
            async for events, cursor in self.history.onwards(order.room_id, order.message, order.so_far.cursor):
                if order.so_far.cursor is None:
                    refusal = self._refusal(order, events)
                    if refusal is not None:
                        return order, refusal
                    order = replace(order, of_thread=thread_of(events[0]))
                order = await self._take(job, order, events, cursor)
                if order.walked:
                    break
        except GiveUp as error:  # what was read so far is the episode
            log.info("history not readable: room=%s reason=%s", order.room_id, error.reason)
            if order.so_far.cursor is None:
                return order, words.NO_SUCH_VOICE_MESSAGE
        return order, words.NOTHING_TO_GATHER

    async def _take(
        self, job: Job, order: orders.MakeEpisode, events: Sequence[HeardEvent], cursor: str | None
    ) -> orders.MakeEpisode:
        before, met = _up_to(order.event_id, events)
        theirs = _of_others(before, self.us)
        async with self.store.write() as db:
            so_far = await self.gathering.into_one(db, theirs, order.of_thread, order.so_far)
            order = replace(order, so_far=replace(so_far, cursor=cursor), walked=met or cursor is None)
            await jobs.note(db, job.id, order.job(), self.clock())
        return order

    def _refusal(self, order: orders.MakeEpisode, events: Sequence[HeardEvent]) -> str | None:
        """Return why no episode begins with the message that was replied to; None: one does."""
        first = events[0] if events and answers_for(events[0], order.room_id, order.message) else None
        if first is None:
            return words.NO_SUCH_VOICE_MESSAGE
        sender = sender_of(first.event)
        if first.session_id is not None:
            return words.NO_KEY_FOR_IT
        if sender == self.us or not isinstance(dialects.read(first), VoiceMessage):
            return words.NO_SUCH_VOICE_MESSAGE
        return None if order.mod or sender == order.asker else words.ONLY_ITS_SENDER_OR_MODS

    async def _end(self, order: orders.MakeEpisode, nothing: str) -> None:
        """End the recording, and answer the command: what was made, of whom, and what was left out; or `nothing`."""
        so_far = order.so_far
        async with self.store.write() as db:
            body, made = _(nothing), None
            for recording_id in so_far.recordings:
                recording = await self.gathering.end(db, recording_id, announced=True)
                if recording.state is not RecordingState.DELETED:
                    body, made = await self._announcement(db, order, recording), recording
            body = " ".join([body, *_left_out(so_far)])
            topic = topics.answer(order.event_id)
            notice = orders.Notice(topic, order.room_id, body, reply_to=order.event_id, thread=order.thread)
            if await jobs.add(db, notice.job(), self.clock()) and made is not None:
                await self._note(db, order, made)
        log.info("episode of past messages: room=%s event=%s", order.room_id, order.message)

    async def _announcement(self, db: Connection, order: orders.MakeEpisode, recording: Recording) -> str:
        who = await name_of(db, order.room_id, order.asker)
        names, messages = await _speakers(db, order.room_id, [recording.id])
        return words.episode_made(who=who, code=recording.code, names=names, messages=messages, prefix=self.prefix)

    async def _note(self, db: Connection, order: orders.MakeEpisode, recording: Recording) -> None:
        """Write into the log of changes who made the episode."""
        change = Change(
            id=0,
            at=self.clock(),
            room_id=order.room_id,
            by=order.asker,
            what="episode",
            subject=recording.code,
            event_id=order.event_id,
        )
        await disclosing.note(db, change)


class BackfillingMessages(Search):
    """The handler of BackfillMessages orders."""

    async def __call__(self, job: Job) -> None:
        """Record what there is, and report on it. Raises TryLater, and GiveUp where the history may not be read."""
        order = orders.BackfillMessages.of(job)
        room = await self.may_go_on(order.room_id)
        if room is None:
            return
        with speaking(room.language):
            try:
                order = await self._go_back(job, order)
                order = await self._go_onwards(job, order)
            except GiveUp:
                await self._ended((await self._so_far(job)).recordings)
                await self._tell(job, order.room_id, _(words.HISTORY_REFUSED))
                raise
            made = await self._ended(order.so_far.recordings)
            if any(recording.state.is_open for recording in made):
                raise TryLater("the last messages are still being fetched", after_s=LOOK_AGAIN_S)
            await self._report(job, order, made)

    async def _go_back(self, job: Job, order: orders.BackfillMessages) -> orders.BackfillMessages:
        """Find the oldest message that counts, back to the room's beginning or to `since`."""
        if order.reached:
            return order
        async for page in self.history.said_in(order.room_id, order.cursor):
            order, messages = _before_command(order, page.messages)
            counted = [name for name, at in messages if order.since is None or at is None or at >= order.since]
            too_old = bool(messages) and not counted
            order = replace(
                order,
                first=counted[-1] if counted else order.first,
                cursor=page.next_cursor,
                reached=too_old or page.next_cursor is None,
            )
            await self._note(job, order)
            if order.reached:
                return order
        order = replace(order, reached=True)
        await self._note(job, order)
        return order

    async def _go_onwards(self, job: Job, order: orders.BackfillMessages) -> orders.BackfillMessages:
        """Record the messages from the oldest to the newest, page by page."""
        if order.walked or order.first is None:
            return order
        async for events, cursor in self.history.onwards(order.room_id, order.first, order.so_far.cursor):
            before, met = _up_to(order.command, events)
            async with self.store.write() as db:
                theirs = _of_others(await _asked_for(db, order, before), self.us)
                so_far = await self.gathering.into_sessions(db, theirs, order.since, order.so_far)
                order = replace(order, so_far=replace(so_far, cursor=cursor), walked=met or cursor is None)
                await jobs.note(db, job.id, order.job(), self.clock())
            if order.walked:
                break
        return order

    async def _so_far(self, job: Job) -> Gathered:
        """Return the progress as it was written down."""
        async with self.store.read() as db:
            noted = await jobs.job(db, job.id)
        assert noted is not None, "it is running"
        return orders.BackfillMessages.of(noted).so_far

    async def _note(self, job: Job, order: orders.BackfillMessages) -> None:
        async with self.store.write() as db:
            await jobs.note(db, job.id, order.job(), self.clock())

    async def _ended(self, recordings: Sequence[RecordingId]) -> list[Recording]:
        """End the sessions that are still live; return all that were made, as they are now."""
        made = []
        for recording_id in recordings:
            async with self.store.read() as db:
                recording = await archive.recording(db, recording_id)
            assert recording is not None, "recordings stay as tombstones"
            if recording.state is RecordingState.LIVE and recording.past:
                async with self.store.write() as db:
                    recording = await self.gathering.end(db, recording_id)
            made.append(recording)
        return made

    async def _report(self, job: Job, order: orders.BackfillMessages, made: Sequence[Recording]) -> None:
        so_far = order.so_far
        async with self.store.read() as db:
            names, _messages = await _speakers(db, order.room_id, so_far.recordings)
        report = words.messages_backfilled(found_of(made, len(so_far.known)), names=names, prefix=self.prefix)
        log.info("messages backfilled: room=%s made=%d known=%d", order.room_id, len(made), len(so_far.known))
        await self._tell(job, order.room_id, " ".join([report, *_left_out(so_far)]))

    async def _tell(self, job: Job, room_id: RoomId, body: str) -> None:
        notice = orders.Notice(topics.backfilled(job.id), room_id, body)
        async with self.store.write() as db:
            await jobs.add(db, notice.job(), self.clock())
            await journal.put(db, journal.report_of(job.id), body)


def _up_to(command: EventId | None, events: Sequence[HeardEvent]) -> tuple[Sequence[HeardEvent], bool]:
    """Return the events before a command, and whether it is among them."""
    for number, heard in enumerate(events):
        if heard.event_id == command:
            return events[:number], True
    return events, False


def _before_command(
    order: orders.BackfillMessages, messages: Sequence[Message]
) -> tuple[orders.BackfillMessages, Sequence[Message]]:
    """Return those of a page's messages, newest first, that were sent before the command."""
    if order.command is None or order.passed:
        return order, messages
    for number, (name, _at) in enumerate(messages):
        if name == order.command:
            return replace(order, passed=True), messages[number + 1 :]
    return order, ()


async def _asked_for(
    db: Connection, order: orders.BackfillMessages, events: Sequence[HeardEvent]
) -> Sequence[HeardEvent]:
    """Return the events that came before a command said elsewhere: by the bot's timeline, or, for what it did not hear,
    by the time that the sender names."""
    if order.command is not None or order.at is None or order.asked_at is None:
        return events
    heard_at = await journal.positions_of(db, [heard.event_id for heard in events])
    came_before = []
    for heard in events:
        position, said_at = heard_at.get(heard.event_id), sent_at(heard.event)
        if position < order.at if position is not None else said_at is None or said_at < order.asked_at:
            came_before.append(heard)
    return came_before


def _of_others(events: Sequence[HeardEvent], us: UserId) -> list[HeardEvent]:
    return [heard for heard in events if sender_of(heard.event) != us]


async def _speakers(db: Connection, room_id: RoomId, recordings: Sequence[RecordingId]) -> tuple[str, int]:
    """Return the names of who speaks in these recordings, and the number of their messages."""
    speakers, messages = await sessions.speakers(db, recordings)
    return words.names_of(await names_of(db, room_id, speakers), MOST_NAMES), messages


def _left_out(so_far: Gathered) -> Sequence[str]:
    return words.left_out(
        elsewhere=so_far.elsewhere,
        refused=so_far.refused,
        sealed=so_far.sealed,
        beyond=so_far.beyond,
        narrower=so_far.narrower,
    )
