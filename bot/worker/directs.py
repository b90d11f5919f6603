"""Messages to one user, in their direct chat: personal addresses, those of studios, and warnings to administrators."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from bot import facts, orders, words
from bot.errors import GiveUp
from bot.event_types import MEMBER, MESSAGE, ROOM_NAME
from bot.feeds.addresses import look_up_hash, studio_page
from bot.intake import greeting
from bot.language import speaking
from bot.matrix.sending import Sending
from bot.studio import life, rights
from bot.worker.chats import Chats
from bot.worker.notices import notice
from storage import heirs, rooms, studios
from storage.database import Connection
from storage.records import Job, JobId, Listener, RoomId, Studio, StudioId, StudioSource, StudioState, UserId
from storage.store import Store

PersonalAddresses = Callable[[Connection, RoomId, UserId, int], Awaitable[tuple[str, str]]]
"""The addresses (feed, page) of a room, a user and a generation."""
StudioToken = Callable[[Connection, Studio], Awaitable[str]]
"""The token of a studio, which its row does not hold."""


class Directs:
    """The handler of Direct orders."""

    def __init__(
        self,
        store: Store,
        sending: Sending,
        chats: Chats,
        *,
        addresses: PersonalAddresses,
        studio_token: StudioToken,
        web: str,
        sources: str,
        prefix: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._sending = sending
        self._chats = chats
        self._addresses = addresses
        self._studio_token = studio_token
        self._web = web
        self._sources = sources
        self._prefix = prefix
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        """Send the message once the user is in the chat. Raises TryLater, GiveUp."""
        order = orders.Direct.of(job)
        chat = await self._chats.private_with(order, job.id)
        if order.room_id is not None:
            await self._send_address(chat, order.user_id, order.room_id, job.id)
        elif order.studio is not None:
            await self._send_studio(chat, order.studio, job.id)
        elif order.body is not None:
            transaction = greeting.transaction(job.id)
            await self._sending.send(chat, MESSAGE, notice(order.body), txn_id=transaction)

    async def _send_address(self, chat: RoomId, user_id: UserId, room_id: RoomId, job_id: JobId) -> None:
        """Send the address of the newest generation; the address that it replaces ends after that."""
        listener = await self._listener(user_id, room_id)
        generation = listener.next_generation or listener.generation
        body = await self._address_text(listener, generation)
        # After a crash the address may be of another generation, and then needs another event.
        transaction = f"{greeting.transaction(job_id)}-{generation}"
        await self._sending.send(chat, MESSAGE, notice(body), txn_id=transaction)
        if generation == listener.next_generation:
            async with self._store.write() as db:
                for room in await heirs.line(db, room_id):
                    await rooms.end_old_address(db, room, user_id, self._clock())

    async def _send_studio(self, chat: RoomId, studio_id: StudioId, job_id: JobId) -> None:
        """Send the address of a studio, while it can be used. Raises GiveUp for any other."""
        async with self._store.read() as db:
            studio = await studios.get(db, studio_id)
            token = await self._studio_token(db, studio) if studio is not None else ""
            if (
                studio is None
                or not self._is_good(studio, token)
                or await rights.refusal(db, studio.room_id, studio.user_id)
            ):
                room = studio.room_id if studio else None
                raise GiveUp("the studio has ended before its address was sent", reason="ended", room=room)
            name = facts.room_name(await rooms.state(db, studio.room_id, ROOM_NAME))
            language = await rooms.language(db, studio.room_id)
        live = studio.state.is_on_air
        with speaking(language):
            if studio.source is StudioSource.CLIENT:
                body = words.studio_source(room_name=name, web=self._sources, token=token, live=live)
            else:
                body = words.studio_address(room_name=name, page=studio_page(self._web, token), live=live)
        await self._sending.send(chat, MESSAGE, notice(body), txn_id=greeting.transaction(job_id))

    def _is_good(self, studio: Studio, token: str) -> bool:
        """Return whether a studio is not over, and known by the token that it has now."""
        ended = studio.state is StudioState.OVER or life.is_closed(studio, self._clock())
        return not ended and studio.token_sha256 == look_up_hash(token)

    async def _listener(self, user_id: UserId, room_id: RoomId) -> Listener:
        """Read the row of a listener who is a member. Raises GiveUp for anybody else."""
        async with self._store.read() as db:
            listener = await rooms.listener(db, room_id, user_id)
            member = await rooms.state(db, await heirs.present(db, room_id), MEMBER, user_id)
        if listener is None or not facts.is_joined(member):
            raise GiveUp("the user is not in that room any more", reason="not_a_member", room=room_id)
        return listener

    async def _address_text(self, listener: Listener, generation: int) -> str:
        """Write the message with the address. It is written when it is sent, so that no table holds an address."""
        async with self._store.read() as db:
            present = await heirs.present(db, listener.room_id)
            name = await rooms.state(db, present, ROOM_NAME)
            language = await rooms.language(db, present)
            feed, page = await self._addresses(db, listener.room_id, listener.user_id, generation)
        with speaking(language):
            return words.direct_address(room_name=facts.room_name(name), feed=feed, page=page, prefix=self._prefix)
