"""Invites: accepted by the settings, declined for spaces."""

from collections.abc import Sequence

import pytest

from bot import orders, words
from bot.matrix.batch import Invite, RoomBatch, SyncBatch
from storage import journal, rooms
from storage.records import RoomId, UserId
from tests.worker.post import Post, job
from tests.world import ALICE, room_state, state


@pytest.mark.parametrize(("inviter", "joined"), [("@alice:hs", ["!new:hs"]), ("@eve:elsewhere", [])])
async def test_invites_are_taken_by_the_settings(post: Post, inviter: str, joined: Sequence[str]) -> None:
    """Others are left alone."""
    await post.invites(job(orders.Invite.kind, {"room_id": "!new:hs", "inviter": inviter}, post.clock))
    assert post.homeserver.joined == joined


SPACE = state("m.room.create", {"type": "m.space", "room_version": "11"})


async def invites(post: Post) -> None:
    """Do the invite orders that are due."""
    post.world.handlers[orders.Invite.kind] = post.invites
    while await post.world.work_one([orders.Invite.kind]):
        pass


@pytest.mark.parametrize(("inviter", "declined"), [(ALICE, True), (UserId("@eve:elsewhere"), False)])
async def test_an_invite_to_a_space_is_declined_with_the_reason(post: Post, inviter: UserId, declined: bool) -> None:
    """The stripped state says that it is one; a stranger's invite is left alone as any other."""
    space = RoomId("!space:hs")
    invite = Invite(space, inviter, direct=False, encrypted=False, stripped_state=(SPACE,))
    await post.world.intake.take(SyncBatch("asked", invites=(invite,)))
    await invites(post)
    assert post.homeserver.joined == []
    assert post.homeserver.left == ([(space, words.NO_SPACES)] if declined else [])


@pytest.mark.parametrize("known", ["at once", "later"])
async def test_a_space_that_the_invite_did_not_tell_is_left_with_the_reason(post: Post, known: str) -> None:
    """Nothing is said or recorded there, whether its state comes with the join or is asked for."""
    space = RoomId("!space:hs")
    await post.world.intake.take(SyncBatch("asked", invites=(Invite(space, ALICE, direct=False, encrypted=False),)))
    await invites(post)
    assert post.homeserver.joined == [space]
    here = [event for event in room_state() if event["type"] != "m.room.create"]
    before = (*here, SPACE) if known == "at once" else ()
    await post.world.intake.take(SyncBatch("joined", (RoomBatch(space, True, before),)))
    if known == "later":
        async with post.world.store.read() as db:
            asked_at = await journal.position(db)
        await post.world.intake.refresh(space, [*here, SPACE], asked_at)
    await invites(post)
    assert post.homeserver.left == [(space, words.NO_SPACES)]
    async with post.world.store.read() as db:
        room = await rooms.room(db, space)
    assert room is not None
    assert not room.recording_on
    if known == "at once":
        said = await post.world.waiting(orders.Notice.kind)
        assert [payload for payload in said if payload["room_id"] == space] == []
