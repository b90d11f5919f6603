"""A homeserver that remembers what was sent, and the handlers that send to it."""

from dataclasses import dataclass, field, replace

from bot import orders
from bot.matrix.batch import Invite, SyncBatch
from bot.worker.directs import Directs
from bot.worker.invites import Invites
from bot.worker.notices import Notices
from bot.worker.refreshing import Refreshing
from storage import jobs, rooms
from storage.records import Job, JobId, JobKind, JobState, Json, Listener, RoomId, UserId
from tests.clock import Clock
from tests.world import ALICE, BOT, ROOM, World, batch, room_state, state

CHAT = RoomId("!theirs:hs")


@dataclass
class Homeserver:
    """A homeserver that remembers its requests."""

    sent: list[tuple[RoomId, str, Json]] = field(default_factory=list)  # room, transaction, content
    joined: list[RoomId] = field(default_factory=list)
    left: list[tuple[RoomId, str | None]] = field(default_factory=list)  # with the reason
    invited: list[UserId] = field(default_factory=list)
    state: list[Json] = field(default_factory=list)
    chats: dict[RoomId, list[Json]] = field(default_factory=dict)  # their states

    async def send(self, room_id: RoomId, kind: str, content: Json, *, txn_id: str) -> None:
        self.sent.append((room_id, txn_id, content))

    async def join(self, room_id: RoomId) -> None:
        self.joined.append(room_id)

    async def leave(self, room_id: RoomId, reason: str | None = None) -> None:
        self.left.append((room_id, reason))

    async def create_direct(self, user_id: UserId) -> RoomId:
        self.invited.append(user_id)
        return RoomId(f"!chat{len(self.invited)}:hs")

    async def room_state(self, room_id: RoomId) -> list[Json]:
        return self.chats.get(room_id, self.state)


@dataclass
class Post:
    """The handlers that speak to the homeserver, over a store and a homeserver that remembers."""

    world: World
    homeserver: Homeserver
    notices: Notices
    directs: Directs
    invites: Invites
    refreshing: Refreshing

    @property
    def clock(self) -> Clock:
        return self.world.clock

    async def chat_says(self, membership: str, chat: str = "!chat1:hs", *more: Json) -> None:
        """Sync the direct chat, with Alice's membership in it."""
        member = state("m.room.member", {"membership": membership}, ALICE, event_id=f"${membership}{chat}")
        await self.brings(RoomId(chat), *room_state(creator=BOT), member, *more)

    async def brings(self, room_id: RoomId, *block: Json) -> None:
        """Give the homeserver a room with this state."""
        current = {(event["type"], event["state_key"]): event for event in block}
        self.homeserver.chats[room_id] = list(current.values())
        brought = batch(before=block)
        (room,) = brought.rooms
        await self.world.intake.take(replace(brought, rooms=(replace(room, room_id=room_id),)))

    async def opened(self, *more: Json, inviter: UserId = ALICE) -> None:
        """Somebody opens a chat with the bot, which comes in."""
        invite = Invite(CHAT, inviter, direct=True, encrypted=False)
        await self.world.intake.take(SyncBatch("invited", invites=(invite,)))
        await self.brings(CHAT, *room_state(), *more)

    async def ask(self, *, body: str | None = None) -> None:
        """Alice asks for her address, or the bot has something to say to her."""
        order = orders.Direct.address(ALICE, ROOM)
        if body is not None:
            order = orders.Direct(f"{ALICE}|{body}", ALICE, body=body)
        async with self.world.store.write() as db:
            if await rooms.listener(db, ROOM, ALICE) is None:
                await rooms.save_listener(db, Listener(ROOM, ALICE, 1, "hash1"))
            await jobs.add(db, order.job(), self.clock())

    async def renew(self) -> None:
        async with self.world.store.write() as db:
            await rooms.save_listener(db, Listener(ROOM, ALICE, 1, "hash1", 2, "hash2"))
        await self.ask()

    async def work(self) -> None:
        """Do the direct orders that are due."""
        while await self.world.work_one([orders.Direct.kind]):
            pass

    async def job(self) -> Job:
        async with self.world.store.read() as db:
            found = await jobs.find(db, orders.Direct.address(ALICE, ROOM).job().name)
        assert found is not None
        return found

    def told(self) -> list[tuple[RoomId, str]]:
        """Chats, and the feeds that were said there."""
        return [(room, str(content["body"]).split("\n")[1]) for room, _, content in self.homeserver.sent]

    async def works(self, *hashes: str) -> list[bool]:
        async with self.world.store.read() as db:
            return [await rooms.listener_by_hash(db, one) is not None for one in hashes]


def job(kind: JobKind, payload: Json, clock: Clock, *, attempts: int = 0, error: str | None = None) -> Job:
    subject = str(payload.get("room_id", ROOM))
    return Job(JobId(7), kind, subject, payload, JobState.RUNNING, clock(), attempts, error)
