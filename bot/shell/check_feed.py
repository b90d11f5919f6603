"""`aircheck check --feed`: a room's feed as strangers, directories and apps get it through the public address."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from bot import facts
from bot.check.feed_check import check_feed
from bot.check.fetching import stranger_at
from bot.check.finding import Finding, Level
from bot.errors import ConfigError
from bot.feeds.addresses import look_up_hash, personal_shelf, public_shelf, token_for
from bot.language import speaking
from bot.settings import Settings
from bot.shell.handover import closing_store
from storage import heirs, listener_uses, rooms
from storage.errors import StoreError
from storage.records import RoomId, Visibility
from storage.store import Store, is_owned


async def feed_findings(settings: Settings, room_id: str) -> AsyncIterator[Finding]:
    """Yield the findings about a room's feed. Raises ConfigError for a room that Aircheck does not know.

    A private podcast is tested by the address of one of its listeners, an administrator where one has an address. The
    check is not noted as a use of it.
    """
    base = settings.web.address
    async with closing_store(await Store.look(settings.storage.place)) as store:
        address, private = await _address(store, settings, RoomId(room_id))
        if not await is_owned(settings.storage.place):
            yield Finding(Level.WARN, "running", "Aircheck does not run here: nobody serves the feed")
        if address is None:
            text = "the podcast is private, and no member has an address yet: say `feed` in the room, then try again"
            yield Finding(Level.WARN, "feed", text)
            return
        with speaking("en"):  # as the rest of `aircheck check`
            async with stranger_at(base) as stranger:
                clock = lambda: datetime.now(UTC)  # noqa: E731
                async for finding in check_feed(stranger, base, address, clock, private=private):
                    yield finding


async def _address(store: Store, settings: Settings, room_id: RoomId) -> tuple[str | None, bool]:
    """Return the address of the room's feed, None where a private one has no listener; and whether it is private."""
    base = settings.web.address
    async with store.read() as db:
        if await rooms.room(db, room_id) is None:
            raise ConfigError(f"ROOM: {room_id} is not a room that Aircheck knows (`aircheck rooms` lists them)")
        line = await heirs.line(db, room_id)
        podcast = await heirs.podcast(db, line)
        if podcast.visibility is Visibility.PUBLIC:
            return public_shelf(base, podcast.key).feed, False
        users = await listener_uses.of_room(db, line[0])
        members = await rooms.member_states(db, line[-1], users)
        joined = [user for user in users if facts.is_joined(members.get(user))]
        for user in sorted(joined, key=lambda user: (user not in settings.matrix.admins, user)):
            listener = await rooms.listener(db, line[0], user)
            if listener is None:
                continue
            token = token_for(await _secret(store), line[0], user, listener.generation)
            if look_up_hash(token) == listener.token_sha256:
                return personal_shelf(base, token).feed, True
    return None, True


async def _secret(store: Store) -> bytes:
    """Read the key of personal addresses. Raises ConfigError where it is lost: only the running bot makes a new one."""
    if not await asyncio.to_thread(store.secret.exists):
        raise ConfigError(f"{store.secret.where} is missing: personal addresses can't be computed")
    try:
        return await store.secret.fresh()
    except StoreError as error:
        raise ConfigError(str(error)) from None
