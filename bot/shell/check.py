"""What `aircheck check` asks: one finding for each thing that Aircheck needs, in plain words.

Nothing is changed by asking, and a running bot is not disturbed: its session is asked with its own token, read from
its file; its database is opened beside it. Only where no session is stored yet is the password tried, by logging in
and out again, which leaves no device behind.
"""

import asyncio
import json
import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from bot.audio.ffmpeg import Ffmpeg
from bot.errors import AircheckError, ConfigError, GiveUp, StartError, TryLater
from bot.feeds import categories
from bot.log import one_line
from bot.matrix.login import StoredSession, read_session
from bot.matrix.probe import Probe, Signing, probing, why_refused
from bot.matrix.wire import Refused, TokenRevoked
from bot.pictures.own import own_picture
from bot.settings import WILDCARDS, Settings
from bot.web.binding import free_port
from storage import migrate
from storage.database import FILE_NAME
from storage.errors import StoreError
from storage.rooms import all_rooms
from storage.store import Store, is_owned

GIB = 1024**3
HEALTH_TIMEOUT_S = 10
HEALTH_BYTES = 4096
SILENT_FOR = timedelta(minutes=3)  # several long polls
WIDTH = len("device cross-signed")
SHOWN = 3
"""Paths that one line names."""


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"  # it works, but not as it should
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.level:<4}  {self.subject:<{WIDTH}}  {self.text}"


async def findings(settings: Settings, config: Path) -> AsyncIterator[Finding]:
    """All findings, in the order of the contract."""
    yield await asyncio.to_thread(of_settings, settings, config)
    async with probing(settings.matrix.homeserver) as probe:
        homeserver = await of_homeserver(probe, settings)
        yield homeserver
        if homeserver.level is Level.OK:
            session, finding = await of_login(probe, settings)
            yield finding
            yield await of_signing(probe, session)
        else:
            yield Finding(Level.FAIL, "login", "can't be tried without the homeserver")
            yield Finding(Level.WARN, "device cross-signed", "can't be asked without the homeserver")
    yield await of_ffmpeg(settings)
    yield await of_database(settings)
    waiting = await of_rooms(settings)
    if waiting is not None:
        yield waiting
    yield await asyncio.to_thread(of_privacy, settings, config)
    yield of_disk(settings)
    yield await of_listening(settings)
    yield await of_address(settings)


def of_settings(settings: Settings, config: Path) -> Finding:
    """Tell of a picture that can't be opened, and of a category that podcast directories refuse. Blocking."""
    image, category = settings.feeds.image, settings.feeds.category
    if image is not None:
        try:
            own_picture(Path(image).expanduser())
        except ConfigError as error:
            return Finding(Level.FAIL, "settings", error.sentence)
    if categories.find(category) is None:
        return Finding(Level.WARN, "settings", f"feeds.category: Apple knows no category {category!r}")
    return Finding(Level.OK, "settings", str(config) if config.exists() else "from the environment")


def of_privacy(settings: Settings, config: Path) -> Finding:
    """Tell which files with passwords, keys or speech in them other users of the machine can read. Blocking."""
    subject, directory = "private files", settings.storage.path
    password_file = settings.matrix.password_file
    secret = [config] if settings.matrix.password and config.exists() else []
    secret += [Path(password_file).expanduser()] if password_file else []
    closed = _is_closed(directory)
    secret += [] if closed else [directory, *(path for path in _kept_secrets(directory) if path.is_file())]
    readable = [path for path in secret if not _is_closed(path)]
    if not readable:
        return Finding(Level.OK, subject, "nobody else can read them")
    named = shlex.join(map(str, readable[:SHOWN]))
    more = f" (and {len(readable) - SHOWN} more)" if len(readable) > SHOWN else ""
    return Finding(Level.WARN, subject, f"other users may read them{more}: chmod go-rwx {named}")


def _kept_secrets(directory: Path) -> Iterator[Path]:
    yield from sorted(directory.glob("aircheck.db*"))
    yield from sorted(directory.glob("*.key"))
    yield from sorted(directory.glob("matrix/*"))


def _is_closed(path: Path) -> bool:
    """Whether nobody but its owner has a right to it; also where it does not exist, or can't be looked at."""
    try:
        return stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    except OSError:
        return True


async def of_homeserver(probe: Probe, settings: Settings) -> Finding:
    """Does a Matrix homeserver answer at the address?"""
    try:
        versions = await probe.versions()
    except (TryLater, GiveUp) as error:
        return Finding(Level.FAIL, "homeserver", f"matrix.homeserver {settings.matrix.homeserver}: {error.sentence}")
    newest = versions[-1] if versions else "nothing"
    text = f"{settings.matrix.homeserver} speaks Matrix up to {newest}"
    if not await asyncio.to_thread(is_owned, settings.storage.path):
        return Finding(Level.OK, "homeserver", text)
    health = await _health(settings.web.local_address)
    if health is None:
        return Finding(Level.OK, "homeserver", text)
    return _of_hearing(health.get("homeserver_last_heard"), text)


def _of_hearing(said: object, text: str) -> Finding:
    """Does the running bot hear the homeserver?"""
    if not isinstance(said, str):
        return Finding(Level.WARN, "homeserver", f"{text}, but the running Aircheck has not heard it yet")
    silent_for = datetime.now(UTC) - datetime.fromisoformat(said)
    if silent_for > SILENT_FOR:
        return Finding(Level.WARN, "homeserver", f"{text}, but the running Aircheck last heard it at {said}")
    return Finding(Level.OK, "homeserver", f"{text}, last heard at {said}")


async def of_login(probe: Probe, settings: Settings) -> tuple[StoredSession | None, Finding]:
    """Is the stored session alive; if there is none, is the password right? Gives the session if it is alive."""
    try:
        session = await asyncio.to_thread(read_session, settings.storage.path)
        password = settings.password()
        if session and session.user_id != settings.matrix.user_id:
            text = f"matrix.user_id: the data in {settings.storage.path} belong to {session.user_id}"
            return None, Finding(Level.FAIL, "login", text)
        if session and session.access_token:
            return await _of_session(probe, session, session.access_token, password)
        return None, await _of_password(probe, settings, password)
    except (StartError, ConfigError, TryLater, GiveUp) as error:
        return None, Finding(Level.FAIL, "login", error.sentence)


async def _of_session(
    probe: Probe, session: StoredSession, token: str, password: str | None
) -> tuple[StoredSession | None, Finding]:
    try:
        who = await probe.whoami(token)
    except TokenRevoked:
        if password:
            text = "the stored session has ended; `aircheck run` will log in again by password"
            return None, Finding(Level.WARN, "login", text)
        text = "the stored session has ended and matrix.password is not set to log in again"
        return None, Finding(Level.FAIL, "login", text)
    if who.user_id != session.user_id:
        return None, Finding(Level.FAIL, "login", f"the stored session belongs to {who.user_id}")
    return session, Finding(Level.OK, "login", f"{who.user_id}, device {session.device_id}")


async def _of_password(probe: Probe, settings: Settings, password: str | None) -> Finding:
    if not password:
        return Finding(Level.FAIL, "login", "matrix.password is not set, and there is no session yet")
    try:
        await probe.try_password(settings.matrix.user_id, password)
    except Refused as error:
        sentence = f"matrix.user_id: {error.sentence}"
        if error.errcode == "M_FORBIDDEN":
            sentence = await why_refused(settings.matrix.homeserver, settings.matrix.user_id, password)
        return Finding(Level.FAIL, "login", sentence)
    return Finding(Level.OK, "login", f"the password of {settings.matrix.user_id} is right (logged in and out again)")


async def of_signing(probe: Probe, session: StoredSession | None) -> Finding:
    """Will strict clients give the bot their room keys?"""
    subject = "device cross-signed"
    if session is None or session.access_token is None:
        return Finding(Level.WARN, subject, "not known before the first `aircheck run`")
    try:
        signing = await probe.signing(session.access_token, session.user_id, session.device_id)
    except (TryLater, GiveUp) as error:
        return Finding(Level.WARN, subject, error.sentence)
    if signing is Signing.SIGNED:
        return Finding(Level.OK, subject, "by the account's own keys")
    if signing is Signing.NO_DEVICE:
        return Finding(Level.FAIL, subject, "the device has published no keys yet: start `aircheck run`")
    if signing is Signing.NO_KEYS:
        return Finding(Level.FAIL, subject, "the account has no cross-signing keys yet: `aircheck run` makes them")
    return Finding(
        Level.FAIL,
        subject,
        "the account's cross-signing keys were made elsewhere, so strict clients give the bot no keys: "
        "`aircheck init --reset-identity` replaces them",
    )


async def of_ffmpeg(settings: Settings) -> Finding:
    """Does ffmpeg run, and can it write MP3?"""
    try:
        found = await asyncio.to_thread(Ffmpeg.find, settings.audio.ffmpeg)
    except AircheckError as error:
        return Finding(Level.FAIL, "ffmpeg", error.sentence)
    version = " ".join(found.version.split()[:3]) or "runs"
    return Finding(
        Level.OK, "ffmpeg", f"{version} ({'the one that came along' if settings.audio.ffmpeg is None else found.exe})"
    )


async def of_database(settings: Settings) -> Finding:
    """Can the store be opened by this version?"""
    directory = settings.storage.path
    path = directory / FILE_NAME
    if not await asyncio.to_thread(_can_write, directory):
        return Finding(Level.FAIL, "database", f"storage.directory {directory} can't be written")
    if not path.exists():
        return Finding(Level.OK, "database", f"will be made in {directory} at the first start")
    try:
        revision = await asyncio.to_thread(migrate.revision_of, path)
        if revision is None or revision < migrate.HEAD:
            return Finding(Level.OK, "database", f"{path}, of an older version: `aircheck run` upgrades it")
        store = await Store.look(directory)
        try:
            await asyncio.to_thread(store.secret.check)
            async with store.read() as db:
                rooms = await all_rooms(db)
        finally:
            await store.close()
    except (StoreError, OSError) as error:
        return Finding(Level.FAIL, "database", str(error))
    running = ", in use by a running Aircheck" if is_owned(directory) else ""
    return Finding(Level.OK, "database", f"{path}, {len(rooms)} rooms{running}")


async def of_rooms(settings: Settings) -> Finding | None:
    """Tell of rooms where nothing is recorded because the bot could not say so yet; None where there are none, or the
    database can't be read, which `of_database` tells."""
    try:
        store = await Store.look(settings.storage.path)
        try:
            async with store.read() as db:
                waiting = [room.room_id for room in await all_rooms(db) if room.waits]
        finally:
            await store.close()
    except (StoreError, OSError):
        return None
    if not waiting:
        return None
    more = f" and {len(waiting) - SHOWN} more" if len(waiting) > SHOWN else ""
    text = "waiting for the bot's notice, so nothing is recorded there; it needs the power to send messages, or "
    return Finding(Level.WARN, "rooms", f"{text}`record on`: {', '.join(map(one_line, waiting[:SHOWN]))}{more}")


def _can_write(directory: Path) -> bool:
    """Write a file without a name into the folder; where it is not there yet, ask the one above it. Blocking."""
    there = _nearest(directory)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return False
    if there != directory:
        return True
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"x")
    except OSError:
        return False
    return True


def _nearest(directory: Path) -> Path:
    """The folder, or the one above it in which it would be made."""
    return next(there for there in (directory, *directory.parents) if there.exists())


def of_disk(settings: Settings) -> Finding:
    """Is there space for more?"""
    directory = settings.storage.path
    there = _nearest(directory)
    free = shutil.disk_usage(there).free
    text = f"{free / GIB:.1f} GiB free in {there}"
    least = settings.storage.min_free_bytes
    if free < least:
        return Finding(Level.FAIL, "disk space", f"{text}: below storage.min_free_bytes nothing new is fetched")
    if free < 2 * least:
        return Finding(Level.WARN, "disk space", f"{text}: not far above storage.min_free_bytes")
    return Finding(Level.OK, "disk space", text)


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def of_listening(settings: Settings) -> Finding:
    """Can the web server listen where the settings say?"""
    subject, web = "web server", settings.web
    if is_owned(settings.storage.path):
        return Finding(Level.OK, subject, f"port {web.port}, in use by the running Aircheck")
    try:
        port = await free_port(web)
    except ConfigError as error:
        return Finding(Level.FAIL, subject, error.sentence)
    return Finding(Level.OK, subject, f"can listen at {web.host or 'all addresses'}, port {port}")


async def of_address(settings: Settings) -> Finding:
    """Can listeners reach the feeds, and nobody on the way read their addresses?"""
    subject, web = "public address", settings.web
    if web.public_url is None and web.host in WILDCARDS:
        text = f"web.public_url is not set, so feeds say {web.address}, which only this machine reaches"
        return Finding(Level.WARN, subject, text)
    parts = urlsplit(web.address)
    local = is_loopback(parts.hostname or "")
    if parts.scheme == "http" and not local:
        text = f"{web.address} is plain http: everybody on the way can read the listeners' private addresses"
        return Finding(Level.WARN, subject, text)
    if is_owned(settings.storage.path) and not await _answers(web.address):
        return Finding(Level.WARN, subject, f"{web.address} does not lead to the running Aircheck (asked for /healthz)")
    return Finding(Level.OK, subject, f"{web.address} (only this machine reaches it)" if local else web.address)


async def _answers(address: str) -> bool:
    return await _health(address) is not None


async def _health(address: str) -> Mapping[str, object] | None:
    """What a running Aircheck says of itself; None where none answers."""
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
