"""Records come back as they were stored, and in the promised order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from storage import archive, journal, rooms
from storage.database import apart
from storage.place import Place
from storage.records import (
    BlobKey,
    ChunkFacts,
    ChunkId,
    ChunkState,
    Container,
    DeviceId,
    DurationMs,
    EncryptedFile,
    Episode,
    EventId,
    HeardEvent,
    HistoryVisibility,
    Listener,
    Loss,
    Mark,
    MediaSource,
    MxcUri,
    OggFacts,
    Position,
    Recording,
    RecordingState,
    RoomId,
    Samples,
    SessionId,
    StateEvent,
    Timing,
    UserId,
)
from storage.store import Store
from tests.factories import a_chunk, a_recording

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
ROOM = RoomId("!r:hs")


def recording(event: str, at: datetime = NOW) -> Recording:
    return a_recording(
        at=at,
        room_id=ROOM,
        event_id=EventId(event),
        broadcaster=UserId("@a:hs"),
        device_id=DeviceId("DEV"),
        state=RecordingState.LIVE,
        history_visibility=HistoryVisibility.SHARED,
    )


async def test_a_recording_and_its_chunks_come_back_whole(store: Store) -> None:
    """Every field survives storage, nested facts and keys included."""
    async with store.write() as db:
        saved = await archive.add_recording(db, replace(recording("$1"), resumes=(Position(7), Position(9))))
        chunk = a_chunk(
            id=ChunkId("slice 1"),
            recording_id=saved.id,
            event_id=EventId("$c"),
            sender=UserId("@bob:hs"),
            position=Position(2),
            sequence=1,
            state=ChunkState.STORED,
            source=MediaSource(MxcUri("mxc://hs/x"), EncryptedFile("k", "iv", "hash")),
            session_id=SessionId("s"),
            sent_at=NOW,
            blob=BlobKey("ab"),
            bytes=5,
            facts=ChunkFacts(
                Container.OGG_OPUS,
                Timing.EXACT,
                Samples(10),
                48000,
                1,
                OggFacts(1, 2, 3, 0, 10, True, Samples(3840), Samples(10), True, "h"),
            ),
        )
        await archive.save_chunks(db, [chunk])
        await archive.save_chunks(db, [replace(chunk, reason="later")])
    async with store.read() as db:
        assert await archive.recording(db, saved.id) == saved
        assert await archive.recording_by_event(db, EventId("$1")) == saved
        assert await archive.recording_by_code(db, saved.code.upper()) == saved
        assert await archive.chunks(db, saved.id) == (replace(chunk, reason="later"),)
        by_id, by_event = await archive.chunk(db, chunk.id), await archive.chunk_of_event(db, EventId("$c"))
        assert by_id == by_event == replace(chunk, reason="later")
    assert len(saved.code) == 6


async def test_numbers_count_and_newest_come_first(store: Store) -> None:
    """A room's recordings are numbered from 1 and listed by their start, the newest first."""
    async with store.write() as db:
        one = await archive.add_recording(db, recording("$1"))
        two = await archive.add_recording(db, recording("$2", NOW - timedelta(days=1)))
        with pytest.raises(IntegrityError):
            async with apart(db):
                await archive.add_recording(db, recording("$2"))
    async with store.read() as db:
        assert [found.number for found in await archive.recordings(db, ROOM)] == [1, 2]
        assert await archive.recordings(db, ROOM, limit=1) == (one,)
    assert two.number == 2


async def test_what_is_live_or_ended_lately_is_found_in_all_rooms(store: Store) -> None:
    """Recordings that are live or ended since a time are found among the newest of each room, the newest first."""
    begun = {"a": (9, 2, 1), "b": (5, 4)}
    live = {("a", 9), ("a", 1)}
    async with store.write() as db:
        for name, hours in begun.items():
            await rooms.save_room(db, rooms.new_room(RoomId(f"!{name}:hs"), NOW))
            for hour in hours:
                one = replace(recording(f"${name}{hour}", NOW + timedelta(hours=hour)), room_id=RoomId(f"!{name}:hs"))
                if (name, hour) not in live:
                    one = replace(one, state=RecordingState.COMPLETE, ended_at=one.started_at + timedelta(hours=1))
                await archive.add_recording(db, one)
    async with store.read() as db:
        found = await archive.live_or_ended_since(db, NOW + timedelta(hours=6), 2)
    assert [each.event_id for each in found] == ["$a9", "$b5"]


async def test_a_recording_that_is_found_again_has_the_code_it_had(store: Store, tmp_path: Path) -> None:
    """Another store that finds the same broadcast gives it the same code; a code that is taken goes to nobody else."""
    other = await Store.own(Place(tmp_path / "restored"))
    async with store.write() as db, other.write() as restored:
        before = await archive.add_recording(db, recording("$1"))
        assert (await archive.add_recording(restored, recording("$1"))).code == before.code
        taken = replace(recording("$other"), code=(await archive.add_recording(restored, recording("$2"))).code)
        await archive.add_recording(db, taken)
        assert (await archive.add_recording(db, recording("$2"))).code != taken.code
    await other.close()


async def test_only_published_episodes_are_listed(store: Store) -> None:
    """An episode is listed when its file exists and it is not held back; a deleted one never is."""
    async with store.write() as db:
        made = [await archive.add_recording(db, recording(f"${n}")) for n in range(3)]
        for index, one in enumerate(made):
            published = None if index == 0 else NOW
            episode = Episode(one.id, f"guid-{index}", BlobKey(f"{index}"), 9, Samples(9), NOW, published)
            await archive.save_episode(db, episode)
        await archive.save_recording(db, replace(made[2], state=RecordingState.DELETED))
    async with store.read() as db:
        assert [one.id for one, _ in await archive.published(db, ROOM)] == [made[1].id]
        assert await archive.referenced(db, [BlobKey("1"), BlobKey("zz")]) == {BlobKey("1")}


async def test_an_episode_comes_back_with_what_it_lacks(store: Store) -> None:
    """An episode comes back with its loss, whether its end is missing, and its chapters."""
    loss = Loss(Samples(90), 4, ((Samples(10), Samples(20)), (Samples(50), Samples(30))), end=True)
    async with store.write() as db:
        one = await archive.add_recording(db, recording("$e"))
        lacking = Episode(one.id, "guid", BlobKey("1"), 9, Samples(900), NOW, loss=loss)
        marked = replace(
            lacking, loss=Loss(), chapters=(Mark(DurationMs(0), "A"), Mark(DurationMs(9), "B")), titled="A"
        )
        for made in (lacking, marked):
            await archive.save_episode(db, made)
            assert await archive.episode(db, one.id) == made


async def test_an_event_is_heard_once_and_its_words_go_when_it_is_handled(store: Store) -> None:
    """The journal keeps what recordings need and nothing else."""
    heard = HeardEvent(ROOM, EventId("$e"), {"content": {"body": "!aircheck help"}})
    async with store.write() as db:
        position = await journal.add(db, heard, NOW)
        assert await journal.add(db, heard, NOW) is None
        (waiting,) = await journal.unhandled(db, 10)
        assert waiting.position == position
        await journal.handled(db, waiting)
        assert await journal.unhandled(db, 10) == ()
        assert await journal.add(db, heard, NOW) is None
        assert await journal.prune(db, NOW + timedelta(days=1)) == 1


async def test_a_sealed_event_waits_for_its_key_in_its_place(store: Store) -> None:
    """An event that could not be decrypted is handled at its old position once its key has come."""
    sealed = HeardEvent(ROOM, EventId("$e"), {"type": "m.room.encrypted"}, session_id=SessionId("s"))
    async with store.write() as db:
        await journal.add(db, sealed, NOW)
        (waiting,) = await journal.unhandled(db, 10)
        await journal.handled(db, waiting, keep=True)
        assert await journal.sealed(db, [SessionId("other")]) == ()
        assert [one.event_id for one in await journal.sealed(db, [SessionId("s")])] == ["$e"]
        await journal.unseal(db, replace(waiting, event={"type": "m.room.message"}, encrypted=True))
        (opened,) = await journal.unhandled(db, 10)
    assert opened.position == waiting.position
    assert opened.session_id is None
    assert opened.event == {"type": "m.room.message"}


async def test_rooms_state_and_listeners_are_kept(store: Store) -> None:
    """A state event replaces the one before it; a listener is found by the token's hash alone."""
    room = rooms.new_room(ROOM, NOW)
    async with store.write() as db:
        await rooms.save_room(db, room)
        for name in ("old", "new"):
            event = StateEvent(ROOM, "m.room.name", "", UserId("@a:hs"), {"name": name}, Position(1))
            await rooms.save_state(db, event)
        await rooms.save_listener(db, Listener(ROOM, UserId("@b:hs"), 1, "hash"))
        await rooms.touch(db, ROOM, NOW + timedelta(seconds=1))
        await rooms.save_direct(db, UserId("@b:hs"), RoomId("!dm"), NOW)
    async with store.read() as db:
        named = await rooms.state(db, ROOM, "m.room.name")
        assert named is not None
        assert named.content == {"name": "new"}
        assert await rooms.listener_by_hash(db, "hash") == Listener(ROOM, UserId("@b:hs"), 1, "hash")
        found = await rooms.room_by_key(db, room.key)
        assert found is not None
        assert found.revision == 1
        assert await rooms.direct_room(db, UserId("@b:hs")) == (RoomId("!dm"), NOW)
        assert await rooms.direct_user(db, RoomId("!dm")) == "@b:hs"
