"""The rows of calls: the files of stems, events, who was told, and who speaks."""

from dataclasses import replace
from typing import Any

import pytest

from storage import archive, calls, rooms, spoken
from storage.database import Connection
from storage.records import (
    BlobKey,
    CallEvent,
    CallEventKind,
    CallProtocol,
    ChunkId,
    Credit,
    EventId,
    Position,
    Recording,
    RecordingKind,
    RecordingState,
    Samples,
    Stem,
    UserId,
)
from storage.store import Store
from tests.factories import ALICE, ROOM, a_chunk, a_recording, a_room

BOB, CAROL = UserId("@bob:hs"), UserId("@carol:hs")
FILE, OTHER = BlobKey("ab" * 32), BlobKey("cd" * 32)


def stem(number: int, user: UserId = ALICE, **changes: Any) -> Stem:
    return replace(Stem(number, user, "DEV", "Name", Samples(0), Position(1), serial=number), **changes)


async def call(db: Connection, *stems: Stem, **changes: Any) -> Recording:
    """Store the recording of a call with these stems, and a slice of each that has a file."""
    wanted = {"kind": RecordingKind.CALL, "protocol": CallProtocol.MXVC, "call_id": "", "stems": stems}
    made = await archive.add_recording(db, a_recording(**(wanted | changes)))
    await archive.save_recording(db, made)
    for each in stems:
        if each.blob is not None:
            slice_ = a_chunk(id=ChunkId(f"{made.id}-{each.number}"), event_id=None, recording_id=made.id,
                             sender=each.user_id, stem=each.number, sequence=None, position=Position(1))  # fmt: skip
            await archive.save_chunks(db, [slice_])
    return made


async def test_a_stems_file_is_needed_until_its_stem_needs_it_no_more(store: Store) -> None:
    """A file that two stems share is needed until neither does."""
    async with store.write() as db:
        stems = (stem(1, blob=FILE, bytes=10), stem(2, blob=FILE, bytes=10), stem(3, blob=OTHER, bytes=5))
        made = await call(db, *stems)
        after = (stem(1), stem(2, blob=FILE, bytes=10), stem(3))
        await archive.save_recording(db, replace(made, stems=after))
        assert await archive.referenced(db, [FILE, OTHER]) == {FILE}
        assert await calls.stem_files(db, made.id) == (FILE,)
        assert await archive.bytes_of_room(db, ROOM) == 10
        await calls.erase(db, made.id)
        assert await archive.referenced(db, [FILE, OTHER]) == frozenset()


async def test_events_stand_in_their_order_and_members_are_told_once(store: Store) -> None:
    """Nothing of either stays after a deletion."""
    async with store.write() as db:
        made = await call(db)
        late, early = (CallEvent(Samples(at), BOB, CallEventKind.JOINED, "DEV") for at in (9, 3))
        await calls.note(db, made.id, [late])
        await calls.note(db, made.id, [early])
        await calls.note_told(db, made.id, [BOB])
        await calls.note_told(db, made.id, [BOB, ALICE])
        assert await calls.events(db, made.id) == (early, late)
        assert await calls.told(db, made.id) == {ALICE, BOB}
        await calls.erase(db, made.id)
        assert await calls.events(db, made.id) == ()
        assert await calls.told(db, made.id) == frozenset()


async def test_who_only_listens_is_no_speaker(store: Store) -> None:
    """Everybody in a call sends sound; those who speak may approve it."""
    async with store.write() as db:
        made = await call(
            db, stem(1, ALICE, blob=FILE), stem(2, BOB, blob=FILE), broadcaster=CAROL, unreviewed=True,
            speakers=(Credit(ALICE, "Alice"),),
        )  # fmt: skip
        spoke = [await archive.spoke_in(db, user, made.id) for user in (ALICE, BOB, CAROL)]
        waits = [len(await archive.unreviewed(db, ROOM, user)) for user in (ALICE, BOB, CAROL)]
        every = len(await archive.unreviewed(db, ROOM))
    assert (spoke, waits, every) == ([True, False, True], [1, 0, 1], 1)


LIVE = RecordingState.LIVE


@pytest.mark.parametrize(
    ("stems", "changes", "found"),
    [
        ((stem(1, ALICE, blob=FILE),), {}, "alone"),
        ((stem(1, ALICE, blob=FILE), stem(2, BOB, blob=FILE)), {"broadcaster": BOB}, "shared"),
        ((stem(1, ALICE, blob=FILE), stem(2, BOB)), {"state": LIVE}, "shared"),
        ((stem(1, BOB, blob=FILE), stem(2, ALICE)), {"broadcaster": BOB, "state": LIVE}, "shared"),
        ((stem(1, ALICE),), {"broadcaster": BOB, "state": LIVE}, "alone"),
        ((stem(1, BOB, blob=FILE), stem(2, ALICE)), {"broadcaster": BOB}, "shared"),
        ((stem(1, ALICE),), {"broadcaster": BOB}, "alone"),
        ((stem(1, ALICE, removed=True),), {"broadcaster": BOB}, None),
        ((stem(1, BOB, blob=FILE),), {"broadcaster": BOB, "state": LIVE}, None),
        ((stem(1, BOB),), {"broadcaster": BOB, "state": LIVE}, None),
        ((stem(1, BOB, blob=FILE),), {"broadcaster_name": "Alice"}, "shared"),
        ((stem(1, BOB, blob=FILE),), {"broadcaster_name": None}, None),
        ((stem(1, ALICE, removed=True), stem(2, BOB, blob=FILE)), {"broadcaster": BOB}, None),
        ((), {}, "alone"),
    ],
)
async def test_calls_are_found_by_who_is_in_them(
    store: Store, stems: tuple[Stem, ...], changes: dict[str, Any], found: str | None
) -> None:
    """Whoever has a stem is in a call, also where no slice of it is kept; who was taken out is not."""
    async with store.write() as db:
        await rooms.save_room(db, a_room())
        await call(db, *stems, event_id=EventId("$call"), **changes)
        alone, shared = await spoken.by(db, ALICE, None, ())
    assert (len(alone), len(shared)) == (int(found == "alone"), int(found == "shared"))


async def test_the_consent_of_calls_is_listed_by_room(store: Store) -> None:
    """Each call has its notice and who was told; nothing is listed of one that was deleted."""
    async with store.write() as db:
        made = await call(db, notice=EventId("$notice"))
        await calls.note_told(db, made.id, [BOB, ALICE])
        await call(db, event_id=EventId("$gone"), state=RecordingState.DELETED)
        await archive.add_recording(db, a_recording(event_id=EventId("$broadcast")))
        (listed,) = await calls.consents(db, [ROOM])
        assert await calls.consents(db) == (listed,)
        assert await calls.consents(db, []) == ()
    assert (listed.code, listed.event_id, listed.notice, listed.told) == (
        made.code,
        "$started",
        "$notice",
        (ALICE, BOB),
    )


async def test_a_call_lists_only_so_many_events(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Muting again and again fills no disk."""
    monkeypatch.setattr(calls, "MOST_EVENTS", 3)
    async with store.write() as db:
        made = await call(db)
        for _ in range(3):
            muted = [CallEvent(Samples(at), BOB, CallEventKind.MUTED, "DEV") for at in (1, 2)]
            await calls.note(db, made.id, muted)
        assert [event.at for event in await calls.events(db, made.id)] == [1, 1, 2]


async def test_one_user_leaves_room_for_the_events_of_others(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever mutes themselves again and again hides no coming and going."""
    monkeypatch.setattr(calls, "MOST_EVENTS_OF_ONE", 2)
    async with store.write() as db:
        made = await call(db)
        for at in (1, 2):
            muted = [CallEvent(Samples(at), BOB, CallEventKind.MUTED, "DEV")] * 3
            await calls.note(db, made.id, [*muted, CallEvent(Samples(at), CAROL, CallEventKind.JOINED, "DEV")])
        assert [event.user_id for event in await calls.events(db, made.id)] == [BOB, BOB, CAROL, CAROL]


async def test_members_who_were_not_heard_are_counted_once_for_each_reason(store: Store) -> None:
    """The counts are of one recording, and of sound that was wanted alone."""
    unreadable, unreachable = CallEventKind.UNREADABLE, CallEventKind.UNREACHABLE
    of_bob = [(BOB, unreadable), (BOB, unreachable), (BOB, CallEventKind.LEFT)]
    told = [(ALICE, unreadable), (ALICE, unreadable), *of_bob]
    async with store.write() as db:
        made, other = await call(db), await call(db, event_id=EventId("$other"))
        await calls.note(db, made.id, [CallEvent(Samples(at), user, what) for at, (user, what) in enumerate(told)])
        assert await calls.unheard(db, made.id) == {unreadable: 2, unreachable: 1}
        assert await calls.unheard(db, other.id) == {}
