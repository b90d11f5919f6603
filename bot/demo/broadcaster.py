"""A voice broadcast in the dialect of Element Web (matrix-react-sdk 3.92), as a real one was captured.

`start`, `speak`, `pause`, `resume` and `stop` do what the client does. The single steps are public too, for broadcasts
that go wrong: chunks that are late, doubled, swapped, lost, or sent by somebody else.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from bot.demo.people import INFO_TYPE, Person, Uploaded
from bot.demo.slicing import Slice, Slicer
from bot.event_types import MESSAGE
from storage.records import Json, Samples

CHUNK_KEY = "io.element.voice_broadcast_chunk"
MIMETYPE = "audio/ogg"

# The client's clock starts with the microphone and its encoder 70-510 ms later, so the last chunk of a run announces
# more than it holds.
TAIL_OVERSTATED_MS = 130

Wait = Callable[[float], Awaitable[None]]  # seconds


class Info(StrEnum):
    """The `state` of an info event."""

    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    STOPPED = "stopped"


class Broadcaster:
    """A person's broadcasts in one room, one after the other; the attributes describe the current one."""

    def __init__(self, person: Person, room_id: str, *, chunk_seconds: int = 5) -> None:
        self.person = person
        self.room_id = room_id
        self.chunk_seconds = chunk_seconds
        self.broadcast_id = ""
        self.sequence = 0  # of the last chunk
        self.slicers: list[Slicer] = []
        self.chunks: dict[str, int] = {}  # event id: sequence, of all that were sent

    # ---- what the client does

    async def start(self) -> str:
        """Go live; give the broadcast's id."""
        content = {
            "device_id": self.person.device_id,
            "state": Info.STARTED,
            "chunk_length": self.chunk_seconds,
        }
        self.broadcast_id = await self._send_info(content)
        self.sequence = 0
        self.slicers, self.chunks = [], {}
        self.begin_run()
        return self.broadcast_id

    async def speak(self, packets: Sequence[bytes], *, wait: Wait | None = None) -> None:
        """Send every chunk that is full; `wait` is called before each with its seconds of sound."""
        for piece in self.cut(packets):
            if wait is not None:
                await wait(piece.duration_ms / 1000)
            await self.send_chunk(piece)

    async def pause(self) -> None:
        await self._send_tail()
        await self.tell(Info.PAUSED)

    async def resume(self) -> None:
        await self.tell(Info.RESUMED)
        self.begin_run()

    async def stop(self) -> None:
        await self._send_tail()
        await self.tell(Info.STOPPED)

    # ---- what was sent, for comparison

    def truth_ogg(self) -> list[bytes]:
        """Give one continuous Ogg file for each run, with everything that was cut."""
        return [run.ogg() for run in self.slicers]

    @property
    def samples(self) -> Samples:
        """The exact length of the whole decoded broadcast at 48 kHz."""
        return Samples(sum(run.audible for run in self.slicers))

    # ---- single steps

    def begin_run(self) -> None:
        """Start a new recorder without ending the one before, as a client does that lost its connection."""
        self.slicers.append(Slicer(secrets.randbits(32), self.chunk_seconds))

    def cut(self, packets: Sequence[bytes]) -> list[Slice]:
        """Give the slices that are full, without sending them."""
        return self.slicers[-1].feed(packets)

    def end_run(self) -> Slice:
        """Give the run's last slice, without sending it."""
        return self.slicers[-1].end()

    async def send_chunk(
        self,
        piece: Slice,
        *,
        sequence: int | None = None,
        sender: Person | None = None,
        media: Uploaded | None = None,
    ) -> str:
        """Upload a slice and send it as a chunk; give the chunk's event id.

        The defaults are the next sequence number, the broadcaster as sender, and a new upload.
        """
        if sequence is None:
            sequence = self.sequence + 1
        self.sequence = max(self.sequence, sequence)
        content = await self._voice_message(piece, sender or self.person, media)
        content |= {"m.relates_to": self._relation(), CHUNK_KEY: {"sequence": sequence}}
        event_id = await (sender or self.person).send(self.room_id, MESSAGE, content)
        self.chunks[event_id] = sequence
        return event_id

    async def send_voice_message(self, piece: Slice) -> str:
        """Send a slice as an ordinary voice message, without relation and marker, as iOS repeated failed chunks
        (https://github.com/element-hq/element-ios/issues/7261)."""
        content = await self._voice_message(piece, self.person, None)
        return await self.person.send(self.room_id, MESSAGE, content)

    async def tell(self, state: Info, changed: Json = MappingProxyType({})) -> str:
        """Send an info event of this broadcast; `changed` replaces values of its content, None leaves a key out."""
        content = {
            "device_id": self.person.device_id,
            "state": state,
            "last_chunk_sequence": self.sequence,
            "m.relates_to": self._relation(),
            **changed,
        }
        return await self._send_info({key: value for key, value in content.items() if value is not None})

    async def upload(self, piece: Slice, sender: Person | None = None) -> Uploaded:
        """Upload a slice without sending a chunk."""
        person = sender or self.person
        return await person.upload(piece.data, MIMETYPE, encrypted=await person.is_encrypted(self.room_id))

    async def _send_tail(self) -> None:
        if self.slicers and not self.slicers[-1].ended:
            await self.send_chunk(self.end_run())

    async def _send_info(self, content: dict[str, Any]) -> str:
        return await self.person.send_state(self.room_id, INFO_TYPE, content, self.person.user_id)

    def _relation(self) -> dict[str, str]:
        return {"rel_type": "m.reference", "event_id": self.broadcast_id}

    async def _voice_message(self, piece: Slice, sender: Person, media: Uploaded | None) -> dict[str, Any]:
        media = media or await self.upload(piece, sender)
        where: dict[str, Any] = {"url": media.mxc} if media.file is None else {"file": {**media.file, "url": media.mxc}}
        duration = piece.duration_ms + (TAIL_OVERSTATED_MS if piece.last else 0)
        size = len(piece.data)
        return {
            "body": "Voice message",
            "msgtype": "m.audio",
            **where,
            "info": {"duration": duration, "mimetype": MIMETYPE, "size": size},
            "org.matrix.msc1767.text": "Voice message",
            "org.matrix.msc1767.file": {**where, "name": "Voice message.ogg", "mimetype": MIMETYPE, "size": size},
            "org.matrix.msc1767.audio": {"duration": duration},
            "org.matrix.msc3245.voice": {},
        }
