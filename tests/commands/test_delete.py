"""`delete RECORDING`, as far as it differs from every deletion (`tests/test_deletion.py`)."""

import pytest

from bot import orders
from bot.commands.replies import confirm, general
from bot.recording.broadcast.words import WORDS as BROADCAST
from storage import archive, changes, heirs
from storage.records import RecordingState, RoomId
from tests.commands.test_places import CHAT, name, open_chat
from tests.commands.world import MOD, ROOM, SPEAKER, World


@pytest.mark.parametrize("state", [RecordingState.LIVE, RecordingState.FINISHING, RecordingState.EMPTY])
async def test_a_recording_in_any_state_can_be_deleted(world: World, state: RecordingState) -> None:
    """Also one that is still live; then the question says that its rest is not kept either."""
    recording = await world.recording(state=state, length_ms=None)
    question = await world.say(SPEAKER, f"!aircheck delete {recording.code}") or ""
    assert ("It is live now" in question) == (state is RecordingState.LIVE)
    assert "apps can't be called back" in (await world.say(SPEAKER, "!aircheck yes") or "")
    assert (await world.look(recording)).state is RecordingState.DELETED
    assert await world.say(SPEAKER, f"!aircheck delete {recording.code}") == general.NO_RECORDING


async def test_feeds_and_pages_lose_it_in_the_same_moment(world: World) -> None:
    """The transaction of the answer is that of the deletion."""
    await world.recording(public=True)
    revision = (await world.room()).revision
    await world.confirmed(MOD, "!aircheck delete last")
    async with world.store.read() as db:
        assert await archive.published(db, ROOM) == ()
    assert (await world.room()).revision > revision


async def test_the_log_of_changes_knows_the_code_and_who_deleted_it(world: World) -> None:
    """No title, no name of whoever spoke."""
    recording = await world.recording(title="Soup")
    await world.confirmed(MOD, "!aircheck delete last")
    async with world.store.read() as db:
        (change,) = await changes.of_rooms(db, [ROOM])
    assert (change.by, change.what, change.subject) == (MOD, "delete", recording.code)
    assert (change.before, change.after) == ("complete", "deleted")


async def test_what_an_upgraded_room_recorded_is_told_in_the_present_room(world: World) -> None:
    """The notice there is no reply, since what it is about is in the other room."""
    old = RoomId("!old:hs")
    await world.open(room_id=old)
    async with world.store.write() as db:
        assert await heirs.inherit(db, old, ROOM)
    await open_chat(world, SPEAKER)
    await name(world, ROOM, "Kitchen")
    recording = await world.recording(room_id=old)
    await world.say(SPEAKER, f"in Kitchen delete {recording.code}", room_id=CHAT)
    await world.handle(world.command(SPEAKER, "yes", room_id=CHAT))
    said = {notice.room_id: notice for notice in map(orders.Notice.of, await world.take(orders.Notice.kind))}
    assert said[ROOM].body == BROADCAST.told["deleted"]
    assert said[ROOM].reply_to is None


async def test_from_a_direct_chat_it_is_confirmed_there_and_told_in_the_room(world: World) -> None:
    """A yes in the room is no answer to a question in the chat; the room's members learn that the recording is gone."""
    await open_chat(world, SPEAKER)
    await name(world, ROOM, "Kitchen")
    recording = await world.recording()
    await world.say(SPEAKER, f"in Kitchen delete {recording.code}", room_id=CHAT)
    assert await world.say(SPEAKER, "!aircheck yes") == confirm.NOTHING_TO_CONFIRM
    await world.handle(world.command(SPEAKER, "yes", room_id=CHAT))
    said = {notice.room_id: notice for notice in map(orders.Notice.of, await world.take(orders.Notice.kind))}
    assert "is deleted" in said[CHAT].body
    assert said[ROOM].body == BROADCAST.told["deleted"]
    assert said[ROOM].reply_to == recording.event_id
    assert (await world.look(recording)).state is RecordingState.DELETED
