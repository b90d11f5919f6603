"""Media over WebRTC that are loaded when the first call is joined.

aiortc and PyAV take some 30 MiB and a fifth of a second to load, which a bot whose rooms have no calls need not spend.
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module

from bot.calls.media.door import IceServer, Leg, Listener, Media, Sfu, SfuListener, Unfit
from storage.records import Samples

RTC = "bot.calls.media.rtc"


async def check() -> None:
    """Raise Unfit if what is installed for calls doesn't do."""

    async def is_private() -> bool:
        return False

    await LateMedia(is_private).ready()


class LateMedia:
    """The maker of legs. `is_private` tells whether these may lead into private networks, as the homeserver is in one;
    it may raise TryLater."""

    def __init__(self, is_private: Callable[[], Awaitable[bool]]) -> None:
        self._is_private = is_private
        self._media: Media | None = None
        self._loading = asyncio.Lock()

    async def ready(self) -> None:
        """Load what legs are made of. Raises Unfit if what is installed doesn't do, TryLater."""
        async with self._loading:
            if self._media is None:
                try:
                    rtc = await asyncio.to_thread(import_module, RTC)
                except ImportError as error:
                    raise Unfit(f"what calls need can't be loaded: {error}") from error
                gc.freeze()  # as at the start: to look through all that was loaded would block the loop for 0.1 s
                self._media = rtc.RtcMedia(await self._is_private())

    def leg(self, listener: Listener, clock: Callable[[], Samples], servers: Sequence[IceServer]) -> Leg:
        """Make a leg, once the media are ready."""
        assert self._media is not None
        return self._media.leg(listener, clock, servers)

    def sfu(self, listener: SfuListener, clock: Callable[[], Samples], *, encrypted: bool, private: bool) -> Sfu:
        """Make a connection to an SFU, once the media are ready."""
        assert self._media is not None
        return self._media.sfu(listener, clock, encrypted=encrypted, private=private)

    async def close(self) -> None:
        """End everything that is left."""
        if self._media is not None:
            await self._media.close()
