"""`aircheck check`: one finding for each thing that Aircheck needs.

Nothing is changed, and a running bot is not disturbed: the homeserver is asked with the token from the bot's session
file, and the database is opened beside it. The password is tried only while no session is stored, by logging in and
out again, which leaves no device behind.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from bot.audio.ffmpeg import Ffmpeg
from bot.check.finding import Finding, Level
from bot.errors import AircheckError, ConfigError
from bot.feeds import categories
from bot.matrix.probe import probing
from bot.pictures.own import own_picture
from bot.settings import Settings
from bot.shell.check_homeserver import check_calls, check_element_call, check_homeserver, check_login, check_signing
from bot.shell.check_media import check_media
from bot.shell.check_storage import check_database, check_disk_space, check_private_files, check_rooms
from bot.shell.check_web import check_public_address, check_web_server


async def findings(settings: Settings, config: Path) -> AsyncIterator[Finding]:
    """Yield all findings in the order in which they are printed."""
    yield await asyncio.to_thread(check_settings, settings, config)
    async with probing(settings.matrix.homeserver) as probe:
        homeserver = await check_homeserver(probe, settings)
        yield homeserver
        if homeserver.level is Level.OK:
            session, finding = await check_login(probe, settings)
            yield finding
            yield await check_signing(probe, session)
            yield await check_calls(probe, session)
            for finding in await check_element_call(settings, session):
                yield finding
        else:
            yield Finding(Level.FAIL, "login", "can't be checked without the homeserver")
            yield Finding(Level.WARN, "device cross-signed", "can't be checked without the homeserver")
    yield await check_ffmpeg(settings)
    yield await check_database(settings)
    waiting = await check_rooms(settings)
    if waiting is not None:
        yield waiting
    yield await asyncio.to_thread(check_private_files, settings, config)
    media = await check_media(settings)
    if media is not None:
        yield media
    yield check_disk_space(settings)
    yield await check_web_server(settings)
    yield await check_public_address(settings)


def check_settings(settings: Settings, config: Path) -> Finding:
    """Check that the picture can be opened and that podcast directories know the category. Blocks."""
    image, category = settings.feeds.image, settings.feeds.category
    if image is not None:
        try:
            own_picture(Path(image).expanduser())
        except ConfigError as error:
            return Finding(Level.FAIL, "settings", error.sentence)
    if categories.find(category) is None:
        return Finding(Level.WARN, "settings", f"feeds.category: Apple knows no category {category!r}")
    return Finding(Level.OK, "settings", str(config) if config.exists() else "from the environment")


async def check_ffmpeg(settings: Settings) -> Finding:
    """Check that ffmpeg runs and can write MP3."""
    try:
        ffmpeg = await asyncio.to_thread(Ffmpeg.find, settings.audio.ffmpeg)
    except AircheckError as error:
        return Finding(Level.FAIL, "ffmpeg", error.sentence)
    version = " ".join(ffmpeg.version.split()[:3]) or "runs"
    source = "the bundled one" if settings.audio.ffmpeg is None else ffmpeg.exe
    return Finding(Level.OK, "ffmpeg", f"{version} ({source})")
