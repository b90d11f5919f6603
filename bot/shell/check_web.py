"""Findings of `aircheck check` on the web server and its public address."""

import json
from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp

from bot.addresses import is_local
from bot.check.finding import Finding, Level
from bot.errors import ConfigError
from bot.settings import WILDCARDS, Settings
from bot.web.binding import free_port
from storage.errors import StoreError
from storage.store import is_owned

HEALTH_TIMEOUT_S = 10
HEALTH_BYTES = 4096


async def runs(settings: Settings) -> bool:
    """Tell whether a bot runs; False where the database can't tell, which `check_database` reports."""
    try:
        return await is_owned(settings.storage.place)
    except StoreError:
        return False


async def check_web_server(settings: Settings) -> Finding:
    """Check that the web server can listen where the settings say."""
    subject, web = "web server", settings.web
    try:
        port = await free_port(web)
    except ConfigError as error:
        if await runs(settings):
            return Finding(Level.OK, subject, f"port {web.port}, in use by the running Aircheck")
        return Finding(Level.FAIL, subject, error.sentence)
    return Finding(Level.OK, subject, f"can listen at {web.host or 'all addresses'}, port {port}")


async def check_public_address(settings: Settings) -> Finding:
    """Check that the public address is encrypted on the way and leads here."""
    subject, web = "public address", settings.web
    if web.public_url is None and web.host in WILDCARDS:
        text = f"web.public_url is not set: feeds name {web.address}, which only this machine reaches"
        return Finding(Level.WARN, subject, text)
    parts = urlsplit(web.address)
    local = is_local(parts.hostname or "")
    if parts.scheme == "http" and not local:
        text = f"{web.address} is plain http: anybody on the way can read the listeners' private addresses"
        return Finding(Level.WARN, subject, text)
    if await runs(settings) and await health_of(web.address) is None:
        return Finding(Level.WARN, subject, f"{web.address} does not lead to the running Aircheck (asked for /healthz)")
    return Finding(Level.OK, subject, f"{web.address} (only this machine reaches it)" if local else web.address)


async def health_of(address: str) -> Mapping[str, object] | None:
    """Read the health report of a running Aircheck; None where none answers."""
    timeout = aiohttp.ClientTimeout(total=HEALTH_TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(f"{address}/healthz") as response:
            if response.status != 200:
                return None
            said = json.loads(await response.content.read(HEALTH_BYTES))
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
