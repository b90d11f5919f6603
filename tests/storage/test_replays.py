"""Each decrypted message counts once, and shows that earlier ones of its session are old."""

from datetime import timedelta

from storage import archive, replays
from storage.records import (
    EventId,
    HeardEvent,
    Message,
    RoomId,
    SessionId,
)
from storage.store import Store
from tests.clock import Clock
from tests.factories import a_chunk
from tests.storage.test_archive import recording

ROOM = RoomId("!r:hs")


def read(event_id: str, index: int, session: str = "session") -> HeardEvent:
    return HeardEvent(ROOM, EventId(event_id), {}, encrypted=True, message=Message(SessionId(session), index))


async def kept(store: Store, *events: HeardEvent, at: timedelta = timedelta()) -> list[str]:
    async with store.write() as db:
        return [heard.event_id for heard in await replays.originals(db, events, Clock()() + at)]


async def test_a_message_is_the_event_that_was_read_first(store: Store) -> None:
    """The same event again is no copy; another event id with the same session and index is one, in the same batch or
    later."""
    plain = HeardEvent(ROOM, EventId("$plain"), {})
    assert await kept(store, read("$a", 0), read("$copy", 0), plain) == ["$a", "$plain"]
    assert await kept(store, read("$copy", 0), read("$a", 0), read("$b", 1), read("$c", 0, "other")) == [
        "$a",
        "$b",
        "$c",
    ]


async def test_many_at_once(store: Store) -> None:
    """A batch may be larger than one statement allows."""
    many = [read(f"${number}", number) for number in range(1000)]
    assert len(await kept(store, *many)) == 1000
    assert await kept(store, *(read(f"$again{number}", number) for number in range(1000))) == []


async def test_an_id_that_can_not_be_written_is_no_way_around(store: Store) -> None:
    """An event id with a lone surrogate loses that event alone."""
    assert await kept(store, read("$\ud800", 1), read("$b", 1)) == ["$b"]


async def test_a_message_is_older_than_what_was_heard_of_its_session_after_it(store: Store) -> None:
    """A message is as old as the first later index of its session; other sessions and earlier indexes tell nothing."""
    hour = timedelta(hours=1)
    await kept(store, read("$late", 7))
    await kept(store, read("$later", 8), read("$other", 9, "other"), at=hour)
    await kept(store, read("$held back", 5), at=2 * hour)
    async with store.read() as db:
        assert await replays.later_heard_at(db, EventId("$held back")) == Clock()()
        assert await replays.later_heard_at(db, EventId("$late")) == Clock()() + hour
        assert await replays.later_heard_at(db, EventId("$later")) is None
        assert await replays.later_heard_at(db, EventId("$never heard")) is None


async def test_what_is_forgotten_opens_no_door(store: Store) -> None:
    """Pruning keeps the notes of chunks, and for each session a later message that shows a forgotten one to be old."""
    month = timedelta(days=31)
    await kept(store, read("$command", 1), read("$chunk", 2), read("$newest", 3))
    async with store.write() as db:
        saved = await archive.add_recording(db, recording("$start"))
        await archive.save_chunks(db, [a_chunk(recording_id=saved.id, event_id=EventId("$chunk"))])
        assert await replays.prune(db, Clock()() + month) == 1
    assert await kept(store, read("$chunk again", 2), read("$newest again", 3), at=month) == []
    assert await kept(store, read("$command again", 1), at=month) == ["$command again"]
    async with store.read() as db:
        assert await replays.later_heard_at(db, EventId("$command again")) == Clock()()
