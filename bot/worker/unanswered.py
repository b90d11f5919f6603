"""Voice messages that may have been posted: nobody noted the answer to their request.

They are looked for in the room by the address of their file, which works also after the homeserver forgot a
transaction. Where one is not found, and is not to be posted any more, a notice takes its transaction and is redacted,
so that a request that is still under way posts nothing.
"""

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime

from bot import orders
from bot.dialects import voice
from bot.errors import GiveUp, TryLater
from bot.event_types import MESSAGE
from bot.intake import shown
from bot.intake.unsending import unsend
from bot.matrix.sending import Sending
from bot.recording.kinds import lay_out
from bot.recording.ledger import fingerprint
from bot.recording.session.transmissions import alone
from bot.worker.attempts import LONGEST_WISH_S
from bot.worker.room_history import RoomHistory
from storage import archive, handed_back, jobs, rooms
from storage.database import Connection
from storage.records import EventId, HandedBack, Json, Recording, RecordingState, RoomId, UserId
from storage.store import Store

Order = orders.HandBack | orders.HandBackPart
NOTHING: Json = {"msgtype": "m.notice", "body": "…", "m.mentions": {}}


class Unanswered:
    """A finder of the messages of a recording whose events are not known. `us` is the bot."""

    def __init__(
        self, store: Store, sending: Sending, history: RoomHistory, *, us: UserId, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._sending = sending
        self._history = history
        self._us = us
        self._clock = clock

    async def settle(self, order: Order) -> None:
        """Note the events of those that were posted, and see to it that those that are withdrawn, or have another
        sound, are not posted later. Raises TryLater, GiveUp."""
        async with self._store.read() as db:
            known = await handed_back.of(db, order.recording, part_of(order))
            messages = [one for one in known if one.source and not one.event_id]
            if not messages:
                return
            recording = await archive.recording(db, order.recording)
            room = await rooms.room(db, order.room_id)
            assert recording is not None
            sound = await sound_of(db, recording, part_of(order))
            began = await shown.in_room(db, part_of(order) or recording.event_id)
        if room is None or not room.joined:
            if any(one.withdrawn for one in messages):
                raise TryLater("the bot is not in the room", after_s=LONGEST_WISH_S, room=order.room_id)
            return
        wanted = {one.source.mxc for one in messages if one.source}
        found = await self._look_for(order.room_id, began, wanted) if began is not None else {}
        for message in messages:
            event_id = found.get(message.source.mxc) if message.source else None
            if event_id is not None:
                async with self._store.write() as db:
                    await note(db, message, event_id, self._clock())
            elif message.withdrawn or message.fingerprint != sound:
                await self._take_transaction(order, message)

    async def _look_for(self, room_id: RoomId, began: EventId, wanted: Collection[str]) -> dict[str, EventId]:
        """Return the events of the messages that refer to where their sound began, by the addresses of their files."""
        found: dict[str, EventId] = {}
        try:
            async for page in self._history.referring(room_id, began, self._us):
                for heard in page:
                    address = voice.handed_back(heard)
                    if address is not None and address in wanted:
                        found[address] = heard.event_id
                if len(found) == len(wanted):
                    break
        except GiveUp as refused:
            if refused.reason != "not_found":  # an old homeserver can't tell
                raise
        return found

    async def _take_transaction(self, order: Order, message: HandedBack) -> None:
        event_id = await self._sending.send(order.room_id, MESSAGE, NOTHING, txn_id=transaction(message))
        async with self._store.write() as db:
            await handed_back.drop(db, message.id)
            await jobs.add(db, orders.Unsend(event_id, order.room_id).job(), self._clock())


async def sound_of(db: Connection, recording: Recording, part: EventId | None = None) -> str | None:
    """Return the fingerprint of the sound of a recording, or of one of its transmissions, as it is now, which its
    episode may not have yet; None if it has none any more."""
    chunks = await archive.chunks(db, recording.id)
    if part is not None and recording.state is not RecordingState.DELETED:
        recording, chunks = alone(recording, part, chunks)
    if not recording.state.may_have_audio:
        return None
    return fingerprint(await asyncio.to_thread(lay_out, recording, chunks))


def part_of(order: Order) -> EventId | None:
    """Return the transmission that an order is about; None: the whole recording."""
    return order.event_id if isinstance(order, orders.HandBackPart) else None


def transaction(message: HandedBack) -> str:
    """Name the transaction of a message's event."""
    return f"handed-back-{message.id}"


async def note(db: Connection, message: HandedBack, event_id: EventId, now: datetime) -> None:
    """Note a message's event, and order its redaction where it was withdrawn meanwhile."""
    noted = await handed_back.posted(db, message.id, event_id)
    if not noted.withdrawn:
        return
    recording = await archive.recording(db, message.recording_id)
    assert recording is not None
    await unsend(db, recording, (noted,), now)
    if recording.state is RecordingState.DELETED:
        await handed_back.forget(db, recording.id, message.transmission)
