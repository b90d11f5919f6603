"""The networks into which calls may lead the bot: private ones only where the homeserver is in one too, and an SFU's
only where the homeserver stands for its token service."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Collection
from urllib.parse import urlsplit

from bot.addresses import is_local, is_public
from bot.errors import AircheckError, TryLater

ASKED_EVERY_S = 300.0
AGAIN_S = 30.0
"""The pause after the homeserver could not be asked."""

log = logging.getLogger(__name__)


async def is_private(homeserver: str) -> bool:
    """Return whether the homeserver is in a private network, or on this machine. Raises TryLater while its name is not
    known."""
    return not all(is_public(address) for address in await _addresses(_host(homeserver)))


class OwnServices:
    """The token services for which the homeserver stands: those on its own host, and those that it names to its users.
    Where it is in a private network they may lead into such; the others, which members name, never may.

    `named` asks the homeserver for the services that it names, in the form of `bot.dialects.rtc.service_address`; it
    may raise TryLater, GiveUp. `ticks`: monotonic, in seconds."""

    def __init__(
        self, homeserver: str, named: Callable[[], Awaitable[Collection[str]]], ticks: Callable[[], float]
    ) -> None:
        self._homeserver, self._ask, self._ticks = homeserver, named, ticks
        self._named: Collection[str] = ()
        self._until: float | None = None
        self._asking = asyncio.Lock()

    async def may_be_private(self, service_url: str) -> bool:
        """Return whether a service, the SFU that it leads to, and that one's relays may be in private networks. Raises
        TryLater while the homeserver's name is not known."""
        own = _host(self._homeserver)
        addresses = await _addresses(own)
        if all(is_public(address) for address in addresses):
            return False
        return _is_same(_host(service_url), own, addresses) or service_url in await self._known()

    async def _known(self) -> Collection[str]:
        """Return the services that the homeserver names; none while it can't be asked."""
        async with self._asking:
            if self._until is None or self._ticks() >= self._until:
                try:
                    self._named, pause_s = await self._ask(), ASKED_EVERY_S
                except AircheckError as error:
                    log.info("the homeserver does not say which SFUs are its own: %s", error.sentence)
                    self._named, pause_s = (), AGAIN_S
                self._until = self._ticks() + pause_s
            return self._named


def _is_same(host: str, own: str, addresses: Collection[str]) -> bool:
    """Tell whether a host is the homeserver's, by its name or one of its addresses. Other names are not looked up:
    where they lead is up to whoever holds them, and may be another place a moment later."""
    return host in (own, *addresses) or (is_local(host) and any(is_local(address) for address in addresses))


def _host(address: str) -> str:
    return urlsplit(address).hostname or ""


async def _addresses(host: str) -> tuple[str, ...]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TryLater("the homeserver's name can't be looked up") from error
    return tuple(str(address[0]) for *_, address in found)
