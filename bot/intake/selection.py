"""The selection of the heard events that are kept: those that recordings need, departures, and commands.

An event that can't be decrypted is kept as its wrapper, and only if it may belong to a broadcast.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from bot import dialects, facts, orders, topics, words
from bot.dialects import studio
from bot.dialects.events import Event, FloorRequested, MembershipChanged, Reacted, TextMessage
from bot.event_types import MEMBER
from bot.intake import chats, gapwalk, questions, studio_events, walkie, wishes
from bot.intake.claims import Claims
from bot.intake.shares import Share, Shares
from bot.intake.unheard import UnheardBroadcasts
from bot.language import _, speaking
from bot.recording.broadcast.speakers import NOT_RECORDED
from bot.recording.model import (
    BroadcastChanged,
    BroadcastStarted,
    ChunkSealed,
    ChunkSent,
    MessageSealed,
    Rejected,
    VoiceMessage,
)
from storage import archive, jobs, journal, orphans, rooms, sealed_messages
from storage.database import Connection
from storage.records import EventId, HeardEvent, Room, TimelineGap, UserId

log = logging.getLogger(__name__)

WISHES_AT_ONCE = 60
ONE_WISH_MORE_EACH = timedelta(seconds=1)
"""A member's share of reactions and requests to a walkie-talkie. Speaking once in ten seconds takes a few."""


class Grammar(Protocol):
    """The grammar of commands (`bot.commands.grammar`)."""

    def is_command(self, body: str, name: str | None) -> bool:
        """Return whether a message's body is a command. `name`: the bot's display name if the message mentions it."""

    def is_command_in_chat(self, body: str) -> bool:
        """Return whether a body without the prefix, said in a direct chat, is a command, or nearly one."""


class Selection:
    """The selection of events, batch after batch. A command counts against its sender's share of answers here, and
    an unknown broadcast that an event refers to is asked for."""

    def __init__(self, us: UserId, grammar: Grammar, clock: Callable[[], datetime]) -> None:
        self._us = us
        self._grammar = grammar
        self._clock = clock
        self._claims = Claims(clock())
        self._shares = Shares()
        self._wish_shares = Shares(WISHES_AT_ONCE, ONE_WISH_MORE_EACH)
        self._unheard = UnheardBroadcasts()

    def begin(self) -> None:
        """Begin a batch. A batch is one transaction, so look-ups stay true in it."""
        self._claims = Claims(self._clock())

    def end(self) -> None:
        """Log the events of the batch that were ignored."""
        self._claims.log()

    async def wants(
        self, db: Connection, heard: HeardEvent, event: Event | Rejected | None, gap: TimelineGap | None = None
    ) -> bool:
        """Return whether to keep an event, given a dialect's reading of it. With `gap` the event was found in that gap
        of the timeline, where the event that it refers to may lie too."""
        event = None if studio.is_ours(heard.event_id) else event  # no homeserver gives such a name
        match event:
            case None:
                return False
            case Rejected(dialect=dialect, rule=rule):
                log.info("rejected: dialect=%s rule=%s room=%s event=%s", dialect, rule, heard.room_id, heard.event_id)
                return False
            case TextMessage():
                return await self._asks(db, heard, event) and await self._has_share(
                    db, heard, event.sender, event.thread
                )
            case Reacted() | FloorRequested():
                return await self._wishes(db, heard, event)
            case MembershipChanged():
                return not event.joined
            case VoiceMessage() | MessageSealed():
                return event.sender != self._us and await self._is_recorded(db, heard, event)
            case BroadcastStarted() | BroadcastChanged() | ChunkSent() | ChunkSealed():
                return await self._is_of_a_broadcast(db, heard, event, gap)
        return True

    async def _is_of_a_broadcast(
        self,
        db: Connection,
        heard: HeardEvent,
        event: BroadcastStarted | BroadcastChanged | ChunkSent | ChunkSealed,
        gap: TimelineGap | None,
    ) -> bool:
        """Return whether an event belongs to a broadcast that is recorded, or may be. What the bot itself sent of a
        studio is recorded as it was made there."""
        if event.sender == self._us and await studio_events.is_own(db, self._us, heard):
            return False
        match event:
            case BroadcastStarted():
                return await self._claims.wanted(db, heard.room_id, event.sender)
            case ChunkSent() | ChunkSealed():
                return await self._holds(db, heard, event, gap)
            case BroadcastChanged() if not await _is_known(db, event.broadcast):
                await self._ask_for(db, heard, event, gap)
        return True

    async def _wishes(self, db: Connection, heard: HeardEvent, event: Reacted | FloorRequested) -> bool:
        """Return whether the event is a wish of its sender that is heeded in this room."""
        if event.sender == self._us:
            return False  # the buttons under a panel
        if await wishes.is_wish(db, heard.room_id, event):
            return self._wish_shares.take(event.sender, heard.event_id, self._clock()) is Share.LEFT
        if not isinstance(event, Reacted):
            return False
        answers = await questions.is_answered_by(db, heard.room_id, event)
        return answers and await self._has_share(db, heard, event.sender)

    async def _is_recorded(self, db: Connection, heard: HeardEvent, message: VoiceMessage | MessageSealed) -> bool:
        """Return whether voice messages are recorded, or this one may be a lost chunk of a broadcast that is. An event
        that can't be decrypted is kept in case that it is one."""
        if message.sender == self._us:
            return False
        talks = await walkie.is_on(db, heard.room_id)
        if talks and isinstance(message, VoiceMessage):
            return True  # it ends the turn of its sender, whether it is recorded or not
        room = await rooms.room(db, heard.room_id)
        recorded = talks or (room is not None and room.messages_on)
        if isinstance(message, MessageSealed):
            short = len(str(heard.event)) <= sealed_messages.LONGEST
            return recorded and short and await self._claims.wanted(db, heard.room_id, message.sender)
        lost = message.plain and await orphans.wanted(db, heard.room_id, message.sender, dialects.INFOS)
        return (recorded or lost) and await self._claims.wanted(db, heard.room_id, message.sender)

    async def _holds(
        self, db: Connection, heard: HeardEvent, chunk: ChunkSent | ChunkSealed, gap: TimelineGap | None
    ) -> bool:
        """Return whether the chunk may belong to the broadcast that it names."""
        rule = await self._claims.refusal(db, heard.room_id, chunk)
        if rule == NOT_RECORDED:
            around = gap or await gapwalk.holding(db, heard.room_id, self._clock())
            if around is not None and await gapwalk.claim(db, around, heard):
                return True
            await self._ask_for(db, heard, chunk, gap)
        if rule is not None:
            self._claims.leave_out(heard.room_id, rule)
        return rule is None

    async def _ask_for(
        self,
        db: Connection,
        heard: HeardEvent,
        event: BroadcastChanged | ChunkSent | ChunkSealed,
        gap: TimelineGap | None,
    ) -> None:
        now = self._clock()
        await self._unheard.ask_for(db, heard.room_id, event.broadcast, event.sender, now, soon=gap is None)

    async def _asks(self, db: Connection, heard: HeardEvent, message: TextMessage) -> bool:
        """Return whether the message is a command. In a direct chat it needs no prefix."""
        own = None
        if self._us in message.mentions:
            own = await rooms.state(db, heard.room_id, MEMBER, self._us)
        if self._grammar.is_command(message.body, facts.display_name(own)):
            return True
        room = await rooms.room(db, heard.room_id)
        if room is None or not await chats.are_alone(db, room, message.sender, self._us):
            return False
        if self._grammar.is_command_in_chat(message.body):
            return True
        if not heard.history:
            await self._give_hint(db, room, message)
        return False

    async def _give_hint(self, db: Connection, room: Room, message: TextMessage) -> None:
        """Tell once in a direct chat what can be said there."""
        with speaking(room.language):
            body = _(words.CHAT_HINT)
        notice = orders.Notice(topics.hint(room.room_id), room.room_id, body, thread=message.thread)
        await jobs.add(db, notice.job(), self._clock())

    async def _has_share(
        self, db: Connection, heard: HeardEvent, sender: UserId, thread: EventId | None = None
    ) -> bool:
        """Return whether a command or reaction is within its sender's share of answers. A sender who exceeds it is told
        so once."""
        now = self._clock()
        share = self._shares.take(sender, heard.event_id, now)
        if share is Share.EXCEEDED:
            with speaking(await rooms.language(db, heard.room_id)):
                body = _(words.ASKED_TOO_MUCH)
            notice = orders.Notice(
                topics.share_used_up(heard.event_id),
                heard.room_id,
                body,
                reply_to=heard.event_id,
                thread=thread,
                until=now + orders.ANSWERED_WITHIN,
            )
            await jobs.add(db, notice.job(), now)
        return share is Share.LEFT


async def _is_known(db: Connection, broadcast: EventId) -> bool:
    """Return whether the started event of a broadcast was heard."""
    if await archive.recording_of_broadcast(db, broadcast) is not None:
        return True
    return await journal.position_of(db, broadcast) is not None
