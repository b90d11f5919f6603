"""A voice broadcast in the dialect of Element Web (matrix-react-sdk 3.92), as a real one was captured.

`start`, `speak`, `pause`, `resume` and `stop` do what the client does. The steps below them stand open, for the
ways in which real broadcasts go wrong: chunks that are late, doubled, swapped, lost, or sent by somebody else.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from bot.demo.people import INFO_TYPE, Person, Uploaded
from bot.demo.slicing import Run, Slice
from storage.records import Json, Samples

CHUNK_KEY = "io.element.voice_broadcast_chunk"
MIMETYPE = "audio/ogg"

# The client's clock starts with the microphone, its encoder some 70-510 ms later: the last chunk of a run says that
# it is longer than it is.
TAIL_OVERSTATED_MS = 130

Wait = Callable[[float], Awaitable[None]]  # seconds


class Info(StrEnum):
    """The `state` of an info event."""

    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    STOPPED = "stopped"


class Broadcaster:
    """One broadcast after the other of one person in one room; what is said here is of the current one."""

    def __init__(self, person: Person, room_id: str, *, chunk_seconds: int = 5) -> None:
        self.person = person
        self.room_id = room_id
        self.chunk_seconds = chunk_seconds
        self.broadcast_id = ""
        self.sequence = 0  # of the last chunk
        self.runs: list[Run] = []
        self.chunks: dict[str, int] = {}  # event id: sequence, of all that were sent

    # ---- what the client does

    async def start(self) -> str:
        """Go live; the broadcast's id."""
        content = {
            "device_id": self.person.device_id,
            "state": Info.STARTED,
            "chunk_length": self.chunk_seconds,
        }
        self.broadcast_id = await self._send_info(content)
        self.sequence = 0
        self.runs, self.chunks = [], {}
        self.begin_run()
        return self.broadcast_id

    async def speak(self, packets: Sequence[bytes], *, wait: Wait | None = None) -> None:
        """Send every chunk that is filled; `wait` is given the seconds of sound in each before it is sent."""
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

    # ---- what it sent, to be compared with

    def truth_ogg(self) -> list[bytes]:
        """One continuous Ogg file for each run, of everything that was cut."""
        return [run.ogg() for run in self.runs]

    @property
    def samples(self) -> Samples:
        """The exact length of the whole broadcast at 48 kHz, decoded."""
        return Samples(sum(run.audible for run in self.runs))

    # ---- its steps

    def begin_run(self) -> None:
        """A fresh recorder; the end of the one before is not asked for (a client that lost its connection)."""
        self.runs.append(Run(secrets.randbits(32), self.chunk_seconds))

    def cut(self, packets: Sequence[bytes]) -> list[Slice]:
        """Slices that are filled, not sent yet."""
        return self.runs[-1].feed(packets)

    def end_run(self) -> Slice:
        """The run's last slice, not sent yet."""
        return self.runs[-1].end()

    async def send_chunk(
        self,
        piece: Slice,
        *,
        sequence: int | None = None,
        sender: Person | None = None,
        media: Uploaded | None = None,
    ) -> str:
        """Upload and send a slice: with the next number or this one, by the speaker or somebody else, with the
        slice's media or what was uploaded before. The chunk's event id."""
        if sequence is None:
            sequence = self.sequence + 1
        self.sequence = max(self.sequence, sequence)
        content = await self._voice_message(piece, sender or self.person, media)
        content |= {"m.relates_to": self._relation(), CHUNK_KEY: {"sequence": sequence}}
        event_id = await (sender or self.person).send(self.room_id, "m.room.message", content)
        self.chunks[event_id] = sequence
        return event_id

    async def send_voice_message(self, piece: Slice) -> str:
        """The slice as an ordinary voice message, without relation and marker, as iOS repeated failed chunks
        (https://github.com/element-hq/element-ios/issues/7261)."""
        content = await self._voice_message(piece, self.person, None)
        return await self.person.send(self.room_id, "m.room.message", content)

    async def tell(self, state: Info, changed: Json = MappingProxyType({})) -> str:
        """An info event of this broadcast; `changed` gives keys other values, None leaves a key out."""
        content = {
            "device_id": self.person.device_id,
            "state": state,
            "last_chunk_sequence": self.sequence,
            "m.relates_to": self._relation(),
            **changed,
        }
        return await self._send_info({key: value for key, value in content.items() if value is not None})

    async def upload(self, piece: Slice, sender: Person | None = None) -> Uploaded:
        """A slice's media alone."""
        person = sender or self.person
        return await person.upload(piece.data, MIMETYPE, encrypted=await person.is_encrypted(self.room_id))

    async def _send_tail(self) -> None:
        if self.runs and not self.runs[-1].ended:
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
