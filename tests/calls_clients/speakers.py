"""Members of calls by MatrixRTC without a browser: a program of LiveKit's Go SDK speaks for many of them at once."""

import base64
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from storage.records import Json
from tests.calls_clients.callers import Callers, ordered

BINARY = Path(__file__).parents[2] / "build" / "speakers"
PACKET_S = 0.02


def sound(packets: Sequence[bytes], path: Path) -> Path:
    """Write the sound of a speaker: Opus packets of 20 ms, each after its length in two bytes."""
    path.write_bytes(b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets))
    return path


@dataclass(frozen=True, slots=True)
class MediaKey:
    """A key of a speaker's sound, as its to-device events carry it."""

    index: int
    key: str

    @classmethod
    def new(cls, index: int = 0) -> "MediaKey":
        return cls(index, base64.b64encode(secrets.token_bytes(16)).decode().rstrip("="))


@dataclass(frozen=True, slots=True)
class Spoken:
    """Sound that a speaker has sent until they left."""

    began: float
    """Time of the first packet, in seconds since 1970."""
    packets: int
    """Packets of 20 ms, without a gap."""


class Speakers:
    """A running program. Each speaker has a name, and says a sound again and again from the moment they join."""

    def __init__(self, program: Callers) -> None:
        self._program = program

    async def join(self, name: str, answer: Json, sound: Path | None, key: MediaKey | None = None) -> None:
        """Join with what the token service answered. Without a key the sound is not encrypted."""
        told = {"url": answer["url"], "token": answer["jwt"], "sound": str(sound) if sound else ""}
        await self._program.do(name, "join", **told, **({"key": key.key, "index": key.index} if key else {}))

    async def use(self, name: str, key: MediaKey) -> int:
        """Encrypt with another key from now on; return the first packet of it."""
        return int((await self._program.do(name, "key", key=key.key, index=key.index))["packet"])

    async def mute(self, name: str, *, muted: bool) -> None:
        await self._program.do(name, "mute", muted=muted)

    async def leave(self, name: str) -> Spoken:
        told = await self._program.do(name, "leave")
        return Spoken(told["began"], told["packets"])


@asynccontextmanager
async def speakers(directory: Path) -> AsyncIterator[Speakers]:
    """Run speakers; all that are left leave at the end."""
    async with ordered(str(BINARY), errors=directory / "speakers.log") as program:
        yield Speakers(program)


def is_built() -> bool:
    """Tell whether speakers can be started."""
    return os.access(BINARY, os.X_OK)
