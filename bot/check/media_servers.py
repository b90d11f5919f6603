"""The question to a media server whether it takes a token, by which nobody joins anything."""

import aiohttp
from yarl import URL

from bot.check.element_call import Answered
from bot.errors import GiveUp
from bot.matrix.media import PrivateAddress, strangers

TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=5)
MOST_BYTES = 1024
NO_ROOM = b"room does not exist"
"""Part of the answer to a token that is right, of a server on which the bot may open no room."""
HTTP_OF = {"ws": "http", "wss": "https"}


async def ask(sfu: str, token: str, *, private: bool) -> Answered:
    """Ask the media server at this address, `ws` or `wss`, whether it takes a token (LiveKit, /rtc/validate). Raises
    GiveUp if it is in a private network and is not `private`."""
    address = URL(sfu)
    where = address.with_scheme(HTTP_OF[address.scheme]) / "rtc" / "validate"
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with (
            aiohttp.ClientSession(connector=strangers(private=private), timeout=TIMEOUT) as http,
            http.get(where, headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status == 200 or NO_ROOM in await answer.content.read(MOST_BYTES):
                return Answered.JOINS
            return Answered.SFU_REFUSED if answer.status in (401, 403) else Answered.SFU_UNREACHABLE
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, PrivateAddress):
            raise GiveUp("the media server is in a private network", reason="refused") from None
        return Answered.SFU_UNREACHABLE
    except (aiohttp.ClientError, TimeoutError, OSError):
        return Answered.SFU_UNREACHABLE
