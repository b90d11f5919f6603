"""The WebSub hub as a client sees it (WebSub, section 7; the request is that of PubSubHubbub 0.4, section 7.1)."""

import re

import aiohttp

from bot.errors import GiveUp, TryLater

TIMEOUT_S = 30.0
ASKED_TO_WAIT = {408, 425, 429}
LONGEST_WAIT_S = 3600


class Hub:
    """A hub at an address of the settings."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def publish(self, feed: str) -> None:
        """Tell the hub that the feed at this address has changed. Raises TryLater, GiveUp. The answer is not read."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        form = {"hub.mode": "publish", "hub.url": feed}
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http,
                http.post(self._address, data=form, allow_redirects=False) as answer,
            ):
                status, wait = answer.status, answer.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TryLater(f"the hub can't be reached ({type(error).__name__})") from None
        if status >= 500 or status in ASKED_TO_WAIT:
            raise TryLater(f"the hub answered {status}", after_s=_seconds(wait))
        if not 200 <= status < 300:
            raise GiveUp(f"the hub answered {status}", reason="hub")


def _seconds(retry_after: str) -> float | None:
    """Read a Retry-After in seconds (RFC 9110, section 10.2.3); None for a date, which hubs do not send."""
    return float(min(int(retry_after), LONGEST_WAIT_S)) if re.fullmatch(r"[0-9]{1,9}", retry_after) else None
