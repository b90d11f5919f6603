"""Sticky events on the real homeserver: read from the sync, wherever it brings them, and sent later by itself."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.dialects import rtc
from bot.event_types import ENCRYPTED, RTC_MEMBER
from bot.process import utc_now
from storage.records import HeardEvent, Json, RoomId
from tests.lab import RtcHomeserver
from tests.matrix.conftest import Bots
from tests.matrix.running import Running

pytestmark = pytest.mark.calls

HOUR_MS = 3_600_000
_numbers = itertools.count(1)


@pytest.fixture
async def rtc_bots(rtc_homeserver: RtcHomeserver, tmp_path: Path) -> AsyncIterator[Bots]:
    made = Bots(rtc_homeserver, tmp_path / "bots")
    yield made
    await made.close()


async def meet(ann: Running, bot: Running, *, encrypted: bool) -> RoomId:
    """Create a room of Ann's that the bot has joined."""
    encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    body = {"preset": "private_chat", "invite": [bot.session.user_id], "initial_state": [encryption] * encrypted}
    room_id = RoomId((await ann.session.wire.call("POST", "/_matrix/client/v3/createRoom", body=body))["room_id"])
    await bot.sink.until(lambda: [one for one in bot.sink.invites() if one.room_id == room_id])
    await bot.session.sending.join(room_id)
    await bot.sink.until(lambda: [r for b in bot.sink.batches for r in b.rooms if r.room_id == room_id and r.joined])
    return room_id


def member(key: str, **content: str) -> Json:
    return {rtc.STICKY_KEY: key, **content}


async def send(of: Running, room_id: RoomId, content: Json, *, encrypted: bool = False) -> str:
    """Send a sticky event, as js-sdk does in an encrypted room with `encrypted`."""
    kind, body = RTC_MEMBER, content
    if encrypted:
        kind, body = ENCRYPTED, await of.session.sending._encrypt(room_id, RTC_MEMBER, dict(content))
    return await of.session.sticky.send(room_id, kind, body, HOUR_MS, txn_id=f"t{next(_numbers)}")


async def until_sticky(bot: Running, room_id: RoomId, event_id: str) -> HeardEvent:
    def find() -> HeardEvent | None:
        rooms = (room for batch in bot.sink.batches for room in batch.rooms if room.room_id == room_id)
        return next((one for room in rooms for one in room.sticky if one.event_id == event_id), None)

    return await bot.sink.until(find)


async def test_sticky_events_come_by_every_way(rtc_bots: Bots) -> None:
    """A sticky event comes in the timeline, decrypted where the key is there; one that a gap hides comes beside it."""
    ann, bot = await rtc_bots(), await rtc_bots()
    room_id = await meet(ann, bot, encrypted=True)
    assert await bot.session.sticky.are_known()
    for encrypted in (True, False):
        sent = await send(ann, room_id, member(f"k{encrypted}", slot_id="s"), encrypted=encrypted)
        heard = await until_sticky(bot, room_id, sent)
        assert (heard.event["type"], heard.encrypted) == (RTC_MEMBER, encrypted)
        assert heard.event["content"] == member(f"k{encrypted}", slot_id="s")
        until = rtc.sticky_until(heard, utc_now())
        assert until is not None
        assert timedelta(minutes=59) < until - utc_now() <= timedelta(hours=1)

    await bot.stop()
    hidden = await send(ann, room_id, member("hidden"), encrypted=True)
    where = f"/_matrix/client/v3/rooms/{room_id}/send/m.flood"
    await asyncio.gather(*(ann.session.wire.call("PUT", f"{where}/f{number}", body={}) for number in range(51)))
    again = await rtc_bots(again=bot)
    heard = await until_sticky(again, room_id, hidden)
    assert heard.event["content"] == member("hidden")
    assert hidden not in [one.event_id for one in again.sink.heard(room_id)]


async def test_the_homeserver_sends_a_sticky_event_later(rtc_bots: Bots) -> None:
    """The event by which a bot leaves a call can be put off, listed by its key and cancelled; one that is not put off
    any more is sent, and is sticky."""
    bot = await rtc_bots()
    answer = await bot.session.wire.call("POST", "/_matrix/client/v3/createRoom", body={"preset": "private_chat"})
    room_id, delayed = RoomId(answer["room_id"]), bot.session.delayed
    first = await delayed.schedule_sticky(room_id, RTC_MEMBER, member("key"), 600_000, HOUR_MS, txn_id="d1")
    assert first is not None
    assert await delayed.restart(first)
    assert await delayed.scheduled_at(room_id, RTC_MEMBER, "key", sticky=True) == [first]
    assert await delayed.scheduled_at(room_id, RTC_MEMBER, "other", sticky=True) == []
    await delayed.cancel(first)
    assert not await delayed.restart(first)
    assert await delayed.schedule_sticky(room_id, RTC_MEMBER, member("key"), 300, HOUR_MS, txn_id="d2") is not None

    def left() -> list[HeardEvent]:
        rooms = (room for batch in bot.sink.batches for room in batch.rooms if room.room_id == room_id)
        return [one for room in rooms for one in room.sticky]

    (heard,) = await bot.sink.until(left)
    assert heard.event["content"] == member("key")
