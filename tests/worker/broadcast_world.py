"""A world with a studio whose room wants events: a timeline that knows transactions, and what is sent into it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from bot import orders
from bot.dialects.studio import started_id
from bot.errors import GiveUp
from bot.event_types import MSC3888_INFO
from bot.matrix.sending import Sending
from bot.matrix.uploads import Uploads
from bot.recording.model import Change, Deleted
from bot.studio.writing import Writing, new_studio
from bot.worker.room_history import RoomHistory
from bot.worker.sending_broadcast import SendingBroadcast
from bot.worker.unsending import Unsending
from storage import archive, studio_events, studios
from storage.place import Place
from storage.private import synced
from storage.records import (
    BlobKey,
    EncryptedFile,
    EventId,
    HeardEvent,
    Json,
    MediaSource,
    MxcUri,
    Recording,
    RoomId,
    Studio,
    StudioId,
    StudioSource,
    UserId,
)
from tests.worker.mortal import BIG, MortalHomeserver, MortalTown
from tests.world import ALICE, BOT, ROOM, Mortal, batch, media_of, state

OURS = (orders.SendBroadcast.kind, orders.Unsend.kind)
CLIENT = "page"
POWER: Json = {"users": {ALICE: 100}, "events": {MSC3888_INFO: 0}}


class Homeserver(MortalHomeserver):
    """A homeserver with the timeline of one room, that dies at the n-th request: before it is taken, or before its
    answer is read. State has no transactions: each request makes another event."""

    def __init__(self) -> None:
        super().__init__()
        self.timeline: list[HeardEvent] = []
        self.transactions: dict[str, EventId] = {}
        self.redacted: list[str] = []
        self.uploaded: list[tuple[bytes, str, str]] = []
        self.largest = BIG
        self.encrypted = False
        self.refuses = False

    async def is_encrypted(self, room_id: RoomId) -> bool:
        return self.encrypted

    async def limit(self) -> int:
        return self.largest

    async def upload(self, file: Path, mimetype: str, *, name: str, sealed: bool) -> MediaSource:
        data = await asyncio.to_thread(file.read_bytes)
        async with self.request("upload"):
            self.uploaded.append((data, mimetype, name))
        file_key = EncryptedFile("k" * 43, "i" * 22, "h" * 43) if sealed else None
        return MediaSource(MxcUri(f"mxc://hs/{len(self.uploaded)}"), file_key)

    async def set_state(self, room_id: RoomId, kind: str, content: Json, *, key: str = "") -> EventId:
        self._refuse()
        async with self.request(str(content["state"])):
            return self._happens(kind, content, state_key=key)

    async def send(self, room_id: RoomId, kind: str, content: Json, *, txn_id: str) -> EventId:
        self._refuse()
        async with self.request("send"):
            if txn_id not in self.transactions:
                self.transactions[txn_id] = self._happens(kind, content)
        return self.transactions[txn_id]

    def _refuse(self) -> None:
        if self.refuses:
            raise GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")

    def _happens(self, kind: str, content: Json, **more: str) -> EventId:
        event_id = EventId(f"$room-{len(self.timeline) + 1}")
        event = {"type": kind, "sender": BOT, "event_id": event_id, "origin_server_ts": 1, "content": content, **more}
        sealed = self.encrypted and not more
        relation = content.get("m.relates_to") if sealed else None
        self.timeline.append(HeardEvent(ROOM, event_id, event, encrypted=sealed, clear_relation=relation))
        return event_id

    async def redact(self, room_id: RoomId, event_id: EventId, *, txn_id: str) -> None:
        async with self.request("redact"):
            self.redacted.append(event_id)

    async def referring(
        self, room_id: RoomId, event_id: EventId, sender: UserId
    ) -> AsyncIterator[tuple[HeardEvent, ...]]:
        for event in reversed(self.visible):
            if event.event["content"].get("m.relates_to", {}).get("event_id") == event_id:
                yield (event,)

    async def infos(self, room_id: RoomId, sender: UserId) -> AsyncIterator[tuple[HeardEvent, ...]]:
        yield tuple(event for event in reversed(self.visible) if event.event["type"] == MSC3888_INFO)

    def forget_transactions(self) -> None:
        """Take each request for a new one, as after a day."""
        self.transactions.clear()

    @property
    def visible(self) -> list[HeardEvent]:
        """The events that are not redacted."""
        return [event for event in self.timeline if event.event_id not in self.redacted]

    @property
    def said(self) -> list[str | int]:
        """The states and the numbers of the visible events, in their order."""
        contents = [event.event["content"] for event in self.visible]
        return [content.get("state") or content["sequence"] for content in contents]

    @property
    def contents(self) -> list[Json]:
        return [event.event["content"] for event in self.visible]


class Town(MortalTown):
    """A world that sends what is said in its studio, over a homeserver that outlives it."""

    homeserver: Homeserver
    ours = OURS

    def __init__(self, store: Mortal, homeserver: Homeserver) -> None:
        super().__init__(store, homeserver)

    def _begin(self) -> None:
        super()._begin()
        sending, uploads = cast("Sending", self.homeserver), cast("Uploads", self.homeserver)
        history = cast("RoomHistory", self.homeserver)
        self.writing = Writing(self.store, self.settings, self.clock)
        self.handlers |= {
            orders.SendBroadcast.kind: self._counted(
                SendingBroadcast(
                    self.store, sending, uploads, history, us=BOT, apply=self.recorder.apply, clock=self.clock
                )
            ),
            orders.Unsend.kind: self._counted(Unsending(self.store, sending)),
        }

    async def prepare(self) -> None:
        """Let the bot join Alice's room, which wants events, and let her have a studio there."""
        await self.join()
        await self.intake.take(batch(before=(state("m.room.power_levels", POWER, event_id="$power"),)))
        await self.policy(studio_events=True)
        async with self.store.write() as db:
            await studios.add(db, new_studio(ROOM, ALICE, StudioSource.PAGE, self.clock()))

    async def studio(self) -> Studio:
        """Return the studio, the only one."""
        async with self.store.read() as db:
            found = await studios.get(db, StudioId(1))
        assert found is not None
        return found

    async def recording(self) -> Recording:
        async with self.store.read() as db:
            found = await archive.recording_by_event(db, started_id(await self.studio()))
        assert found is not None
        return found

    # ---- what its client does

    async def start(self) -> None:
        await self.writing.start((await self.studio()).id, CLIENT)

    async def slice(self, number: int) -> None:
        """Upload a slice of one second."""
        data = media_of(MediaSource(MxcUri(f"mxc://studio/{number}")))
        blob = BlobKey(hashlib.sha256(data).hexdigest())
        file = self.store.blobs.part(f"slice-{number}")
        await asyncio.to_thread(_write, file, data)
        await self.writing.add((await self.studio()).id, CLIENT, number, file, blob, len(data), 1000)

    async def change(self, change: Change, last: int | None = None) -> None:
        await self.writing.change((await self.studio()).id, CLIENT, change, last)

    async def broadcast(self) -> None:
        """Make a broadcast of three slices with a pause behind the second, and work until all is done."""
        await self.start()
        for step in (1, 2, Change.PAUSED, Change.RESUMED, 3):
            await (self.change(step) if isinstance(step, Change) else self.slice(step))
        await self.change(Change.STOPPED, 3)
        await self.finish()

    async def finish(self) -> None:
        await self.work()
        self.clock.pass_by(61)
        await self.work()

    async def delete(self) -> None:
        recording = await self.recording()
        async with self.store.write() as db:
            await self.recorder.apply(db, recording.id, Deleted())

    async def echo(self) -> None:
        """Let what was sent come back with a sync."""
        await self.hear(*self.homeserver.timeline)

    async def rows(self) -> dict[str, EventId | None]:
        """Return the events of the studio that are known, by their names."""
        async with self.store.read() as db:
            return {row.name: row.event_id for row in await studio_events.of(db, (await self.studio()).key)}


def _write(file: Path, data: bytes) -> None:
    with synced(file) as out:
        out.write(data)


@asynccontextmanager
async def town(directory: Path, homeserver: Homeserver | None = None) -> AsyncIterator[Town]:
    store = await Mortal.own(Place(directory))
    assert isinstance(store, Mortal)
    try:
        yield Town(store, homeserver or Homeserver())
    finally:
        await store.close()
