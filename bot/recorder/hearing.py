"""The handling of the journal's events: each goes to its recording, ends one, or becomes a command."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from bot import dialects, orders
from bot.dialects import studio
from bot.dialects.events import Event, FloorRequested, MembershipChanged, Reacted, TextMessage
from bot.intake import consent, own_cover, redacting, shown, studio_events, wishes
from bot.recorder import uploads
from bot.recorder.applying import Applying
from bot.recorder.erasing import forget
from bot.recorder.joining import Joining
from bot.recorder.starting import Starting
from bot.recorder.transmitting import Transmitting
from bot.recording.broadcast.speakers import NOT_RECORDED, speaker_of
from bot.recording.chunks import NOT_WANTED
from bot.recording.model import (
    BroadcastChanged,
    BroadcastStarted,
    ChunkSealed,
    ChunkSent,
    Ended,
    MessageSealed,
    Opened,
    Redacted,
    Rejected,
    VoiceMessage,
)
from bot.recording.session.transmissions import part
from storage import archive, early_redactions, jobs, journal, replays, rooms, sealed_messages, withheld_keys
from storage.database import Connection
from storage.records import ChunkState, EndedBy, HeardEvent, RecordingState, UserId

log = logging.getLogger(__name__)


class Hearing:
    """A handler of the journal's events, one at a time, in the caller's transaction."""

    def __init__(
        self,
        applying: Applying,
        starting: Starting,
        joining: Joining,
        transmitting: Transmitting,
        clock: Callable[[], datetime],
    ) -> None:
        self._apply = applying.apply
        self._transmitting = transmitting
        self._start = starting.start
        self._join = joining.take
        self._clock = clock

    async def hear(self, db: Connection, heard: HeardEvent) -> None:
        """Handle an event, and mark it as handled."""
        event = dialects.read(heard)
        if await self._has_no_beginning(db, heard, event):
            log.warning("kept until its broadcast can begin: room=%s event=%s", heard.room_id, heard.event_id)
            await journal.handled(db, heard, keep=True)
            return
        await self._take(db, heard, event)
        await self._done(db, heard, event)

    async def _take(self, db: Connection, heard: HeardEvent, event: Event | Rejected | None) -> None:
        if not isinstance(event, ChunkSent | ChunkSealed):
            await self._not_a_chunk(db, heard, event)
        match event:
            case Rejected(rule=rule, dialect=dialect):
                said = "rejected: dialect=%s rule=%s room=%s event=%s"
                log.info(said, dialect, rule, heard.room_id, heard.event_id)
            case BroadcastStarted():
                await self._begin(db, heard, event)
            case BroadcastChanged():
                await self._to_recording(db, heard, event)
            case ChunkSent() | ChunkSealed() | VoiceMessage():
                await self._sound(db, heard, event)
            case Redacted():
                await self._redact(db, heard, event)
            case MembershipChanged(user=user, joined=False):
                await self._departed(db, heard, user)
            case TextMessage():
                await self._command(db, heard, event)
            case Reacted() | FloorRequested():
                await self._wish(db, heard, event)

    async def _has_no_beginning(self, db: Connection, heard: HeardEvent, event: Event | Rejected | None) -> bool:
        """Return whether the handling of a studio's first event failed because of a bug of ours. What follows it is
        tried again with it: nobody else has this sound, as a homeserver has that of its events."""
        if not studio.is_ours(heard.event_id) or not isinstance(event, BroadcastChanged | ChunkSent):
            return False
        return await journal.failed(db, [event.broadcast])

    async def _done(self, db: Connection, heard: HeardEvent, event: Event | Rejected | None) -> None:
        """Mark an event as handled. One whose key has not come may wait for it."""
        waits = await self._waits(db, heard, event)
        if heard.encrypted and not waits:
            await sealed_messages.opened(db, heard.event_id)
        await journal.handled(db, heard, keep=waits)

    async def _not_a_chunk(self, db: Connection, heard: HeardEvent, event: Event | Rejected | None) -> None:
        """Handle a stored encrypted event that turned out not to be a chunk once it was decrypted."""
        chunk = await archive.chunk_of_event(db, heard.event_id) if heard.encrypted else None
        if chunk is not None and chunk.state is ChunkState.WAITING_FOR_KEY:
            rule = event.rule if isinstance(event, Rejected) else None
            await self._apply(db, chunk.recording_id, Opened(heard.event_id, rule), event_id=heard.event_id)

    async def _waits(self, db: Connection, heard: HeardEvent, event: Event | Rejected | None) -> bool:
        """Return whether an encrypted event is still needed, since its key has not come."""
        if isinstance(event, MessageSealed):
            return await self._may_be_a_message(db, heard, event)
        if not isinstance(event, ChunkSealed):
            return False
        chunk = await archive.chunk_of_event(db, heard.event_id)
        return chunk is not None and chunk.state is ChunkState.WAITING_FOR_KEY

    async def _may_be_a_message(self, db: Connection, heard: HeardEvent, event: MessageSealed) -> bool:
        """Note that an event waits for its key, if its sender's voice messages, or transmissions, are recorded here."""
        if not await self._transmitting.records(db, heard, event.sender):
            return False
        if not await consent.may_record(db, heard.room_id, event.sender, began=heard.position):
            return False
        if await redacting.redacted_by(db, heard.room_id, heard.event_id, event.sender) is not None:
            return False
        await sealed_messages.note(db, heard, event.sender, self._clock())
        return True

    async def _begin(self, db: Connection, heard: HeardEvent, event: BroadcastStarted) -> None:
        if await redacting.redacted_by(db, heard.room_id, heard.event_id, event.sender) is not None:
            log.info("broadcast not recorded: it is redacted: room=%s event=%s", heard.room_id, heard.event_id)
        elif not await self._transmitting.start(db, heard, event):
            await self._start(db, heard, event)

    async def _sound(self, db: Connection, heard: HeardEvent, event: ChunkSent | ChunkSealed | VoiceMessage) -> None:
        redactor = await redacting.redacted_by(db, heard.room_id, heard.event_id, event.sender)
        if isinstance(event, VoiceMessage):
            if redactor is None:
                await self._message(db, heard, event)
            return
        await self._to_recording(db, heard, event)
        await forget(db, await uploads.ignored(db, heard.event_id), self._clock())
        if redactor is not None:  # listed in the ledger, without sound
            await self._redact(db, heard, Redacted(heard.event_id, redactor, may=True))

    async def _to_recording(
        self, db: Connection, heard: HeardEvent, event: BroadcastChanged | ChunkSent | ChunkSealed
    ) -> None:
        recording = await archive.recording_of_broadcast(db, event.broadcast)
        broadcast = part(recording, event.broadcast) if recording else None
        # The machine checks this rule too, but only after all chunks were read.
        rule = speaker_of(broadcast).refusal(event.sender, heard.room_id) if broadcast else NOT_RECORDED
        event = await self._transmitting.part(db, heard, event, recording)
        if recording is None or broadcast is None or rule is not None:
            log.info("ignored: rule=%s room=%s event=%s", rule, heard.room_id, heard.event_id)
            return
        if not isinstance(event, BroadcastChanged) and not await consent.may_go_on(db, broadcast):
            log.info("ignored: rule=%s room=%s event=%s", NOT_WANTED, heard.room_id, heard.event_id)
            return
        await self._apply(db, recording.id, event, event_id=heard.event_id, position=heard.position)
        if isinstance(event, ChunkSealed):
            await withheld_keys.mark(db, event.session_id, event.sender)

    async def _message(self, db: Connection, heard: HeardEvent, event: VoiceMessage) -> None:
        """Keep a voice message as a candidate of its speaker's newest open broadcast, where the others find it too. One
        that can't be a lost chunk is a part of a session."""
        if await self._transmitting.message(db, heard, event):
            return
        open_ones = await archive.open_broadcasts(db, heard.room_id, event.sender) if event.plain else ()
        running = [recording for recording in open_ones if recording.via is None]  # a studio loses none into the room
        if running and await consent.may_go_on(db, running[-1]):
            await self._apply(db, running[-1].id, event, event_id=heard.event_id, position=heard.position)
        await self._join(db, heard, event)  # unless it is a candidate now

    async def _redact(self, db: Connection, heard: HeardEvent, event: Redacted) -> None:
        await wishes.redacted(db, heard, event, self._clock())
        said, event = event, replace(event, redacts=await shown.named_here(db, event.redacts))
        recording = await archive.recording_of_broadcast(db, event.redacts)
        chunk = await archive.chunk_of_event(db, event.redacts)
        if recording is None and chunk is not None:
            recording = await archive.recording(db, chunk.recording_id)
        if recording is None:
            await early_redactions.note(db, heard.room_id, event.redacts, event.sender, self._clock(), may=event.may)
            await self._uncover(db, heard, event)
            sender = await sealed_messages.sender_of(db, heard.room_id, event.redacts)
            if sender is not None and await redacting.counts(db, heard.room_id, event, sender):
                await sealed_messages.forget(db, event.redacts)
        elif recording.room_id != heard.room_id:
            return
        elif await self._counts(db, heard, said, chunk.sender if chunk else part(recording, event.redacts).broadcaster):
            if said != event:
                await studio_events.redacted(db, said.redacts)
            await self._apply(db, recording.id, event, event_id=heard.event_id, position=heard.position)
            await journal.forget(db, [event.redacts])  # a redacted event need not wait for its key
            if chunk is not None:
                await jobs.cancel(db, [orders.Fetch.about(chunk.id)])

    async def _uncover(self, db: Connection, heard: HeardEvent, event: Redacted) -> None:
        """Take the redacted picture from the podcasts whose cover it is."""
        for room in await rooms.covered_by(db, heard.room_id, event.redacts):
            assert room.own_cover_sender is not None, "it is saved with the event"
            if await self._counts(db, heard, event, room.own_cover_sender):
                bare = room.without_own_cover()
                await own_cover.change(db, room, bare, self._clock(), by=None, said=heard.event_id)
                log.info("cover redacted: room=%s event=%s", room.room_id, heard.event_id)

    async def _counts(self, db: Connection, heard: HeardEvent, event: Redacted, sender: UserId) -> bool:
        """Return whether a redaction counts for an event of `sender`; where that is not known, the homeserver is
        asked."""
        if await redacting.counts(db, heard.room_id, event, sender):
            return True
        log.info("redaction ignored, sender lacks the power level: room=%s event=%s", heard.room_id, heard.event_id)
        if event.may is None:
            await jobs.add(db, orders.Redaction(event.redacts, heard.room_id).job(), self._clock())
        return False

    async def _departed(self, db: Connection, heard: HeardEvent, user: UserId) -> None:
        for recording in await archive.open_broadcasts(db, heard.room_id, user):
            # A later broadcast may have been heard before this event, if a gap was read late.
            if recording.state is RecordingState.LIVE and recording.position < heard.position:
                await self._apply(db, recording.id, Ended(EndedBy.LEFT), position=heard.position)

    async def _command(self, db: Connection, heard: HeardEvent, message: TextMessage) -> None:
        # The homeserver could give an old command a new time. A message that was encrypted after it bounds the time.
        times = [time for time in (message.sent_at, await replays.later_heard_at(db, heard.event_id)) if time]
        command = orders.Command(
            heard.event_id,
            heard.room_id,
            message.sender,
            message.body,
            heard.position,
            sent_at=min(times) if message.sent_at else None,
            history=heard.history,
            encrypted=heard.encrypted,
            thread=message.thread,
            mentions=message.mentions,
            reply_to=message.reply_to,
            received_at=heard.received_at,
        )
        await jobs.add(db, command.job(), self._clock())

    async def _wish(self, db: Connection, heard: HeardEvent, event: Reacted | FloorRequested) -> None:
        """Handle a wish to a walkie-talkie; any other reaction confirms a question."""
        if isinstance(event, FloorRequested):
            await wishes.requested(db, heard, event, self._clock())
        elif not await wishes.reacted(db, heard, event, self._clock()):
            await self._confirm(db, heard, event)

    async def _confirm(self, db: Connection, heard: HeardEvent, reaction: Reacted) -> None:
        now = self._clock()
        confirm = orders.Confirm(
            heard.event_id,
            heard.room_id,
            reaction.sender,
            reaction.to,
            heard.position,
            received_at=heard.received_at or now,
            sent_at=reaction.sent_at,
            history=heard.history,
        )
        await jobs.add(db, confirm.job(), now)
