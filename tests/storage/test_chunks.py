"""Chunks are read once while a broadcast runs, and the cache holds what is stored, whoever wrote."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import archive, orphans, withheld_keys
from storage.cache import EditionCache, new_edition
from storage.chunks import Chunks, appended
from storage.database import Connection
from storage.records import (
    Chunk,
    ChunkId,
    ChunkState,
    Recording,
    RecordingId,
    RecordingState,
    SessionId,
    UserId,
    Withheld,
)
from storage.store import Store
from tests.factories import a_chunk
from tests.storage.test_archive import NOW, recording

SESSION = SessionId("s")
SPEAKER = UserId("@a:hs")


class Undone(Exception):
    """The end of a transaction without a commit."""


def chunk(recording_id: RecordingId, number: int, state: ChunkState = ChunkState.WAITING_FOR_KEY) -> Chunk:
    return a_chunk(recording_id=recording_id, sender=SPEAKER, sequence=number, state=state, session_id=SESSION)


@pytest.fixture
async def two(store: Store) -> tuple[Recording, Recording]:
    """Begin two broadcasts of one speaker; the first has a chunk and a candidate."""
    async with store.write() as db:
        first, second = [await archive.add_recording(db, recording(f"${n}")) for n in (1, 2)]
        await archive.save_chunks(db, [chunk(first.id, 1), chunk(first.id, 2, ChunkState.CANDIDATE)])
    return first, second


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[RecordingId]:
    """Collect the recordings of which all chunks are read from the database."""
    seen: list[RecordingId] = []
    read = archive.chunks

    async def counted(db: Connection, recording_id: RecordingId) -> tuple[Chunk, ...]:
        seen.append(recording_id)
        return await read(db, recording_id)

    monkeypatch.setattr(archive, "chunks", counted)
    return seen


async def kept(store: Store, recording_id: RecordingId, chunks: Chunks | None = None) -> tuple[Chunk, ...]:
    async with store.read() as db:
        return await (chunks or store.chunks).of(db, recording_id)


async def test_they_are_read_once(store: Store, two: tuple[Recording, Recording], reads: list[RecordingId]) -> None:
    """The cache is filled by its own writes; the chunks of a forgotten recording are read again."""
    here, _ = two
    for number in range(3, 9):
        before = await kept(store, here.id)
        async with store.write() as db:
            await store.chunks.change(db, here.id, before, (*before[1:], chunk(here.id, number)))
    assert [one.sequence for one in await kept(store, here.id)] == [7, 8]
    assert reads == [here.id]
    store.chunks.forget(here.id)
    assert [one.sequence for one in await kept(store, here.id)] == [7, 8]
    assert reads == [here.id, here.id]


Write = Callable[[Connection, Recording, Recording], Awaitable[None]]


async def saved(db: Connection, here: Recording, there: Recording) -> None:
    await archive.save_chunks(db, [chunk(here.id, 3)])


async def changed(db: Connection, here: Recording, there: Recording) -> None:
    await archive.save_chunks(db, [chunk(here.id, 1, ChunkState.REDACTED)])


async def moved_away(db: Connection, here: Recording, there: Recording) -> None:
    await archive.save_chunks(db, [chunk(there.id, 2)])


async def deleted(db: Connection, here: Recording, there: Recording) -> None:
    await archive.delete_chunks(db, here.id, [ChunkId("$c1")])


async def erased(db: Connection, here: Recording, there: Recording) -> None:
    await archive.delete_chunks(db, here.id)


async def key_withheld(db: Connection, here: Recording, there: Recording) -> None:
    await withheld_keys.note(db, [Withheld(SESSION, SPEAKER, "m.unverified")], NOW)


async def candidates_settled(db: Connection, here: Recording, there: Recording) -> None:
    for one in (here, there):
        await archive.save_recording(db, replace(one, state=RecordingState.COMPLETE))
    await orphans.settle(db, here)


async def candidates_pruned(db: Connection, here: Recording, there: Recording) -> None:
    await archive.save_recording(db, replace(here, ended_at=NOW))
    await orphans.prune(db, NOW + timedelta(days=1))


WRITES = (saved, changed, moved_away, deleted, erased, key_withheld, candidates_settled, candidates_pruned)


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
async def test_what_another_wrote_is_seen(store: Store, two: tuple[Recording, Recording], write: Write) -> None:
    """Chunks that were written past the cache, in whichever way, are read as they are."""
    before = [await kept(store, one.id) for one in two]
    async with store.write() as db:
        await write(db, *two)
        assert [await store.chunks.of(db, one.id) for one in two] == [await archive.chunks(db, one.id) for one in two]
    async with store.read() as db:
        stored = [await archive.chunks(db, one.id) for one in two]
    assert [await kept(store, one.id) for one in two] == stored != before


async def test_what_was_undone_was_never_there(
    store: Store, two: tuple[Recording, Recording], reads: list[RecordingId]
) -> None:
    """While a transaction is open others see the chunks from before it, and after its rollback all do; neither reads
    them again."""
    here, _ = two
    before = await kept(store, here.id)
    with suppress(Undone):
        async with store.write() as db:
            await store.chunks.change(db, here.id, before, (*before, chunk(here.id, 3)))
            assert len(await store.chunks.of(db, here.id)) == 3
            assert await kept(store, here.id) == before
            raise Undone
    assert await kept(store, here.id) == before
    assert reads == [here.id]


async def test_a_new_process_begins_with_what_is_stored(
    tmp_path: Path, store: Store, two: tuple[Recording, Recording]
) -> None:
    """Two processes see each other's writes."""
    here, _ = two
    before = await kept(store, here.id)
    other = await Store.look(store.place)
    try:
        assert await kept(other, here.id) == before
        async with other.write() as db:
            await other.chunks.change(db, here.id, before, before[:1])
        assert await kept(store, here.id) == before[:1]
    finally:
        await other.close()


Step = tuple[int, int, ChunkState | None, bool, bool]
STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),  # which recording
        st.integers(1, 4),  # which chunk
        st.sampled_from([ChunkState.STORED, ChunkState.CANDIDATE, None]),  # what becomes of it
        st.booleans(),  # by the keeper
        st.booleans(),  # undone
    ),
    max_size=12,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(STEPS)
async def test_after_any_writes_what_is_kept_is_what_is_stored(store: Store, steps: list[Step]) -> None:
    """After any writes to two recordings, some rolled back, some past the cache, it holds what is stored."""
    chunks = Chunks(3)
    async with store.write() as db:
        for n in (1, 2):
            await archive.delete_chunks(db, RecordingId(n))
            if await archive.recording(db, RecordingId(n)) is None:
                await archive.add_recording(db, recording(f"${n}"))
    for which, number, state, by_keeper, undone in steps:
        mine = RecordingId(which + 1)
        with suppress(Undone):
            async with store.write() as db:
                before = (*await chunks.of(db, mine), *await archive.chunks(db, RecordingId(2 - which)))
                others = tuple(one for one in before if one.sequence != number)
                new = (chunk(mine, number, state),) if state else ()
                if by_keeper:
                    await chunks.change(db, mine, before, (*others, *new))
                elif new:
                    await archive.save_chunks(db, new)
                else:
                    await archive.delete_chunks(db, mine, [chunk(mine, number).id])
                if undone:
                    raise Undone
        async with store.read() as db:
            for n in (1, 2):
                assert await chunks.of(db, RecordingId(n)) == await archive.chunks(db, RecordingId(n))


async def test_chunks_behind_the_others_are_added_without_a_look_at_those(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the new chunks of a long recording are written; the list itself is cached as it came."""
    mine, chunks, saved = RecordingId(1), Chunks(), list[int]()
    save = archive.save_chunks

    async def counted(db: Connection, values: Sequence[Chunk]) -> None:
        saved.append(len(values))
        await save(db, values)

    monkeypatch.setattr(archive, "save_chunks", counted)
    async with store.write() as db:
        await archive.add_recording(db, recording("$1"))
        before = tuple(chunk(mine, number, ChunkState.STORED) for number in range(1, 4))
        await chunks.change(db, mine, (), before)
        after = (*before, chunk(mine, 4, ChunkState.STORED))
        assert appended(before, after) == after[3:]
        assert appended(before, (replace(before[0]), *after[1:])) is None
        assert appended(after, before) is None
        await chunks.change(db, mine, before, after)
        assert await chunks.of(db, mine) is after
        assert await archive.chunks(db, mine) == after
    assert saved == [3, 1]


def test_no_more_is_kept_than_may_be() -> None:
    """The value used last stays; a value that is too large alone is not cached at all."""
    keeper: EditionCache[str] = EditionCache(10)
    first, second, third = RecordingId(1), RecordingId(2), RecordingId(3)
    editions = {one: new_edition() for one in (first, second, third)}
    keeper.put(first, editions[first], "a", 4)
    keeper.put(second, editions[second], "b", 4)
    assert keeper.get(first, editions[first]) == "a"
    keeper.put(third, editions[third], "c", 4)
    assert [keeper.get(one, editions[one]) for one in (first, second, third)] == ["a", None, "c"]
    keeper.put(third, new_edition(), "d", 6)
    assert keeper.get(first, editions[first]) == "a"
    keeper.put(second, editions[second], "e", 11)
    assert [keeper.get(one, editions[one]) for one in (first, second, third)] == [None, None, None]
