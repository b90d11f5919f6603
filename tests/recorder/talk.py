"""A walkie-talkie in Alice's room: its floor, and transmissions of members."""

from datetime import timedelta

from bot.event_types import FLOOR, POWER_LEVELS
from bot.intake import walkie
from storage import archive, walkies
from storage.records import (
    Chunk,
    EventId,
    Floor,
    FloorPhase,
    HeardEvent,
    Json,
    Position,
    Recording,
    RecordingKind,
    UserId,
    Walkie,
)
from tests.recorder.voices import BEN, joined
from tests.world import ALICE, BOT, INFO, ROOM, World, heard

MODERATOR = ALICE  # of power 100
ANN = UserId("@ann:hs")


async def switch_on(world: World) -> None:
    """Lock the room for everybody but moderators, as `walkie on` does."""
    await world.hear(joined(BEN, "Ben"), joined(ANN, "Ann"))
    async with world.store.write() as db:
        await walkies.save(db, Walkie(ROOM, on=True, floor_s=60, guard_s=1))
        for user in (ANN, BEN, MODERATOR):
            await walkie.give_permit(db, ROOM, user, until=None, at=Position(1), now=world.clock())
    await world.hear(levels("lock"), floor("lock", None))


def levels(name: str, *raised: UserId) -> HeardEvent:
    """Return the power levels of the locked room, written by the bot, with these members raised."""
    users = {ALICE: 100, BOT: 100} | dict.fromkeys(raised, 10)
    locked = {"m.room.message": 10, "m.room.encrypted": 10}
    return heard(f"$pl-{name}", POWER_LEVELS, {"users": users, "events": locked}, state_key="", sender=BOT)


def floor(name: str, holder: UserId | None) -> HeardEvent:
    content: Json = {"holder": holder, "since": 1, "until": 2, "queue": []}
    return heard(f"$floor-{name}", FLOOR, content, state_key="", sender=BOT)


def grant(name: str, user: UserId) -> tuple[HeardEvent, ...]:
    raised = () if user == MODERATOR else (user,)
    return levels(f"{name}-up", *raised), floor(f"{name}-up", user)


def release(name: str) -> tuple[HeardEvent, ...]:
    return levels(f"{name}-down"), floor(f"{name}-down", None)


async def hold(world: World, user: UserId) -> None:
    """Give the floor to a member in the bot's own books."""
    async with world.store.write() as db:
        here = await walkies.get(db, ROOM)
        assert here is not None
        until = world.clock() + timedelta(minutes=1)
        held = Floor(FloorPhase.HELD, user, world.clock(), until, serial=here.floor.serial + 1)
        await walkies.save(db, Walkie(ROOM, on=True, floor_s=60, guard_s=1, floor=held))


async def holder(world: World) -> UserId | None:
    async with world.store.read() as db:
        here = await walkies.get(db, ROOM)
    assert here is not None
    return here.floor.holder


def started(name: str, sender: UserId, at: int) -> HeardEvent:
    content = {"state": "started", "device_id": f"D{sender}", "chunk_length": 5}
    return heard(name, INFO, content, state_key=sender, sender=sender, origin_server_ts=at)


def stopped(of: str, sender: UserId, last: int, at: int) -> HeardEvent:
    content = {"state": "stopped", "device_id": f"D{sender}", "last_chunk_sequence": last, **_part_of(of)}
    return heard(f"{of}-stop", INFO, content, state_key=sender, sender=sender, origin_server_ts=at)


def part(of: str, number: int, sender: UserId, at: int) -> HeardEvent:
    name = f"{of}-{number}"
    content = {
        "msgtype": "m.audio",
        "url": f"mxc://hs/{name[1:]}",
        "io.element.voice_broadcast_chunk": {"sequence": number},
        **_part_of(of),
    }
    return heard(name, "m.room.message", content, sender=sender, origin_server_ts=at)


def _part_of(broadcast: str) -> Json:
    return {"m.relates_to": {"rel_type": "m.reference", "event_id": broadcast}}


async def recorded(world: World) -> list[tuple[Recording, tuple[Chunk, ...]]]:
    """Return all recordings with their chunks, the oldest first."""
    async with world.store.read() as db:
        every = [(each, await archive.chunks(db, each.id)) for each in await archive.recordings(db)]
    return sorted(every, key=lambda pair: pair[0].position)


async def session(world: World) -> tuple[Recording, tuple[Chunk, ...]]:
    """Return the one recording that there is: a session of the walkie-talkie."""
    ((recording, chunks),) = await recorded(world)
    assert recording.kind is RecordingKind.WALKIE_TALKIE
    return recording, chunks


async def by_event(world: World) -> dict[EventId, tuple[str, str | None]]:
    """Return the state of each chunk of the session, and its reason."""
    _recording, chunks = await session(world)
    return {chunk.event_id: (str(chunk.state), chunk.reason) for chunk in chunks if chunk.event_id}
