"""A room's state that is read from the homeserver."""

from typing import Any, cast

from bot import orders
from storage import rooms
from storage.records import Json, RoomId
from tests.worker.post import Post, job
from tests.world import ROOM, batch, heard, state


async def test_state_that_was_heard_during_the_request_is_newer_than_its_answer(post: Post) -> None:
    """The place in the journal is taken before the homeserver is asked."""
    post.homeserver.state = [state("m.room.name", {"name": "old"}, event_id="$old")]

    async def answer_late(_: RoomId) -> list[Json]:
        await post.world.intake.take(batch(heard("$new", "m.room.name", {"name": "new"}, state_key="")))
        return post.homeserver.state

    cast("Any", post.homeserver).room_state = answer_late
    await post.refreshing(job(orders.Refresh.kind, {}, post.clock))
    async with post.world.store.read() as db:
        name = await rooms.state(db, ROOM, "m.room.name")
    assert name is not None
    assert name.content == {"name": "new"}
