"""The check that the web server can listen at the host and port of the settings, and the error where it can't."""

import asyncio
import errno

from bot.errors import ConfigError
from bot.settings import WebSettings

BIND_ERRORS = (OSError, ValueError)
"""Exceptions of asyncio for an address that can't be listened at; ValueError: the host can't be a host name."""


async def free_port(web: WebSettings) -> int:
    """Listen for a moment at the address of the settings and return the port: a free one where they say 0.

    Raises ConfigError as the start of the web server does.
    """
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(asyncio.Protocol, web.host or None, web.port)
    except BIND_ERRORS as error:
        raise bind_error(error, web.host, web.port) from None
    port = int(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()
    return port


def bind_error(error: OSError | ValueError, host: str, port: int) -> ConfigError:
    """Return the error that names the setting to change."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return ConfigError(f"web.port {port} is in use by another program")
    if number in (errno.EACCES, errno.EPERM):
        return ConfigError(f"web.port {port} may not be used by this user (ports below 1024 are the system's)")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a host name or address"
    return ConfigError(f"web.host {host} can't be listened at: {reason}")
