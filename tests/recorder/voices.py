"""People who send voice messages in Alice's room, and the sessions that become of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger
from storage import archive, journal, rooms
from storage.records import Chunk, Episode, EventId, HeardEvent, Position, Recording, RecordingState, SessionId, UserId
from tests.world import ALICE, ROOM, World, batch, heard, state

BEN = UserId("@ben:hs")
SECOND = 48_000
KEY = frozenset({SessionId("megolm")})


def voice(name: str, at: datetime, *, who: UserId = ALICE, **relation: Any) -> HeardEvent:
    """Return a voice message of one second, whose media and sound depend on its name."""
    content = {
        "msgtype": "m.audio",
        "url": f"mxc://hs/{name[1:]}",
        "info": {"duration": 1000},
        "org.matrix.msc3245.voice": {},
        **({"m.relates_to": relation} if relation else {}),
    }
    return heard(name, "m.room.message", content, sender=who, origin_server_ts=round(at.timestamp() * 1000))


def in_thread(root: str) -> dict[str, Any]:
    return {"rel_type": "m.thread", "event_id": root, "is_falling_back": True, "m.in_reply_to": {"event_id": root}}


def reply_to(event_id: str) -> dict[str, Any]:
    return {"m.in_reply_to": {"event_id": event_id}}


def sealed_voice(clear: HeardEvent, session: str = "megolm") -> HeardEvent:
    """Return a message as a device without its key has it."""
    relation = clear.event["content"].get("m.relates_to")
    content = {"ciphertext": "…", "session_id": session} | ({"m.relates_to": relation} if relation else {})
    event = {**clear.event, "type": "m.room.encrypted", "content": content}
    return replace(clear, event=event, encrypted=True, clear_relation=relation, session_id=SessionId(session))


def encrypted(clear: HeardEvent) -> HeardEvent:
    """Return a message as its key shows it."""
    return replace(clear, encrypted=True, clear_relation=clear.event["content"].get("m.relates_to"))


async def key_comes(world: World, *clear: HeardEvent) -> None:
    by_id = {one.event_id: encrypted(one) for one in clear}
    world.opens = lambda wrapper: (
        None if wrapper.event_id not in by_id else replace(by_id[wrapper.event_id], position=wrapper.position)
    )
    await world.intake.take(batch(new_keys=KEY))
    await world.settle()


def redaction(name: str, of: str, who: UserId = ALICE) -> HeardEvent:
    return heard(name, "m.room.redaction", {}, redacts=of, sender=who)


def joined(who: UserId, name: str) -> HeardEvent:
    event = state("m.room.member", {"membership": "join", "displayname": name}, who, who, f"$join{who}")
    return heard(event["event_id"], event["type"], event["content"], sender=who, state_key=who)


@dataclass(frozen=True)
class Session:
    """A recording, all of it."""

    recording: Recording
    chunks: Sequence[Chunk]
    episode: Episode | None

    @property
    def messages(self) -> list[str]:
        return [str(chunk.event_id) for chunk in self.chunks]

    @property
    def ledger(self) -> Ledger:
        return lay_out(self.recording, self.chunks)


async def record_messages(world: World, since: Position | None = None) -> None:
    """Record messages from now on, or behind this position."""
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        at = await journal.position(db) if since is None else since
        await rooms.save_room(db, replace(room, messages_since=at))


async def sessions(world: World) -> list[Session]:
    """Return all recordings of the room that are not deleted, in the order of the timeline."""
    async with world.store.read() as db:
        found = [one for one in await archive.recordings(db) if one.state is not RecordingState.DELETED]
        return [
            Session(one, await archive.chunks(db, one.id), await archive.episode(db, one.id))
            for one in sorted(found, key=lambda one: one.position)
        ]


async def messages(world: World) -> list[list[str]]:
    """Return the messages of each session."""
    return [session.messages for session in await sessions(world)]


async def session_of(world: World, name: str) -> Session:
    """Return the session that is named after a message."""
    return next(one for one in await sessions(world) if one.recording.event_id == EventId(name))
