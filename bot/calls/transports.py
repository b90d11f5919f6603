"""Discovery of the SFUs that a homeserver names to its own users (MSC4143): by their token services.

The bot records what members send to the SFUs that their own entries name. It needs this for its check, and to know for
which of them its own homeserver stands.
"""

from collections.abc import Iterator

from bot.dialects import rtc
from bot.errors import GiveUp, TryLater
from bot.matrix.wire import Wire, path

API = "client/unstable/org.matrix.msc4143"
FOCI = "org.matrix.msc4143.rtc_foci"
TIMEOUT_S = 10.0
MOST_BYTES = 64 * 1024


async def services(wire: Wire, server_name: str) -> tuple[str, ...]:
    """Return the addresses of the token services that the homeserver names, each once: as its API does, else as the
    .well-known file of its name does. Raises TryLater."""
    try:
        told = await wire.call("GET", path("rtc", "transports", api=API), timeout_s=TIMEOUT_S, max_bytes=MOST_BYTES)
        named = tuple(dict.fromkeys(_addresses(told.get("rtc_transports"))))
    except GiveUp:  # homeservers without it
        named = ()
    except TryLater:  # also what a proxy answers that does not let it through
        if named := await _well_known(server_name):
            return named
        raise
    return named or await _well_known(server_name)


async def _well_known(server_name: str) -> tuple[str, ...]:
    """Read the file as clients do (Client-Server API, .well-known); empty where there is none."""
    wire = Wire(f"https://{server_name}")
    try:
        told = await wire.call(
            "GET", "/.well-known/matrix/client", auth=False, timeout_s=TIMEOUT_S, max_bytes=MOST_BYTES
        )
    except (TryLater, GiveUp):
        return ()
    finally:
        await wire.close()
    return tuple(dict.fromkeys(_addresses(told.get(FOCI))))


def _addresses(transports: object) -> Iterator[str]:
    for transport in transports if isinstance(transports, list) else ():
        if (address := rtc.service_url([transport])) is not None:
            yield address
