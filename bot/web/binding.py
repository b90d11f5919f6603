"""Whether the web server can listen where the settings say, and why not."""

import asyncio
import errno

from bot.errors import ConfigError
from bot.settings import WebSettings

CANNOT_LISTEN = (OSError, ValueError)
"""What asyncio raises for an address that can't be listened at; ValueError for a host that can be no name."""


async def listen_for_a_moment(web: WebSettings) -> int:
    """Listen where the settings say, stop again, and give the port, which is a free one where they say 0.

    Raises ConfigError as the start of the web server does.
    """
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(asyncio.Protocol, web.host or None, web.port)
    except CANNOT_LISTEN as error:
        raise why_not(error, web.host, web.port) from None
    port = int(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()
    return port


def why_not(error: OSError | ValueError, host: str, port: int) -> ConfigError:
    """The error that names the setting to change."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return ConfigError(f"web.port {port} is in use by another program")
    if number in (errno.EACCES, errno.EPERM):
        return ConfigError(f"web.port {port} may not be used by this user (ports below 1024 are the system's)")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no host name or address"
    return ConfigError(f"web.host {host} can't be listened at: {reason}")
