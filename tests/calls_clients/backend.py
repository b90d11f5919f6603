"""Servers that a homeserver needs for calls by MatrixRTC: an SFU and its token service, both on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.calls_clients.sfu import LiveKitServer, livekit_server
from tests.lab import RtcHomeserver
from tests.livekit.token_service import TokenService


@dataclass(frozen=True, slots=True)
class Backend:
    """The SFU and the token service of a homeserver, at the address that its transports name."""

    homeserver: RtcHomeserver
    sfu: LiveKitServer
    tokens: TokenService


@asynccontextmanager
async def backend(homeserver: RtcHomeserver, directory: Path) -> AsyncIterator[Backend]:
    """Run the backend of a homeserver. Its users open rooms; users of other homeservers join those that are open."""
    async with livekit_server(directory) as sfu:
        tokens = TokenService(sfu.rooms, frozenset({homeserver.server_name}))
        async with tokens.serving(homeserver.rtc_port):
            yield Backend(homeserver, sfu, tokens)
