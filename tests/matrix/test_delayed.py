"""Delayed events on the real homeserver: put off, cancelled, and sent when the bot has died."""

from bot.event_types import CALL_MEMBER
from bot.matrix.batch import SyncBatch
from storage.records import Json, RoomId
from tests.matrix.conftest import Bots
from tests.matrix.running import Running

HERE: Json = {"m.calls": [{"m.call_id": "conf", "m.devices": []}]}
GONE: Json = {"m.calls": []}
LONG_MS = 600_000


def members(batches: list[SyncBatch], room_id: RoomId) -> list[Json]:
    """List the contents of the bot's member events of calls, in the order of the timeline."""
    heard = [one for batch in batches for room in batch.rooms if room.room_id == room_id for one in room.timeline]
    return [one.event["content"] for one in heard if one.event["type"] == CALL_MEMBER]


async def make_room(bot: Running) -> RoomId:
    answer = await bot.session.wire.call("POST", "/_matrix/client/v3/createRoom", body={"preset": "private_chat"})
    return RoomId(answer["room_id"])


async def test_the_homeserver_removes_a_dead_bot_from_a_call(bots: Bots) -> None:
    """A removal under the bot's own key can be put off, listed by its type and cancelled; one that is not put off any
    more is sent, also when the process that scheduled it is gone."""
    bot = await bots()
    delayed, sending, user = bot.session.delayed, bot.session.sending, bot.session.user_id
    room_id = await make_room(bot)
    assert await delayed.longest_ms() >= LONG_MS
    first = await delayed.schedule(room_id, CALL_MEMBER, GONE, LONG_MS, key=user)
    assert first is not None
    await sending.set_state(room_id, CALL_MEMBER, HERE, key=user)
    assert await delayed.restart(first)
    assert await delayed.scheduled(room_id, {CALL_MEMBER}) == [first]
    assert await delayed.scheduled(room_id, {"m.room.power_levels"}) == []
    assert await delayed.scheduled_at(room_id, CALL_MEMBER, user) == [first]
    assert await delayed.scheduled_at(room_id, CALL_MEMBER, f"_{user}_DEVICE_m.call") == []
    await delayed.cancel(first)
    assert not await delayed.restart(first)

    assert await delayed.schedule(room_id, CALL_MEMBER, GONE, 300, key=user) is not None
    bot.task.cancel()  # as a crash would
    again = await bots(again=bot)
    await again.sink.until(lambda: members(again.sink.batches, room_id) == [HERE, GONE] or None)
