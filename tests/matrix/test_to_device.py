"""Messages between devices about calls: sealed and plain, attributed to the device that sealed them."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nio.responses import KeysClaimResponse, KeysQueryResponse

from bot.errors import GiveUp, TryLater
from bot.event_types import CALL_SIGNAL, RTC_KEYS
from bot.matrix.batch import RoomBatch, Signal
from bot.matrix.keys import MOST_OF_A_SENDER, MOST_SIGNALS, Keys
from bot.matrix.poll import signals_of
from bot.matrix.to_device import ToDevice
from bot.matrix.upkeep import Upkeep
from storage.records import EventId, HeardEvent, RoomId, UserId
from tests.matrix.conftest import Bots
from tests.matrix.running import WAIT_S, Running

INVITE = {"call_id": "leg", "seq": 0, "offer": {"type": "offer", "sdp": "v=0"}}
ANN, BOT = UserId("@ann:hs"), UserId("@bot:hs")


class Heard:
    """The messages that a listener was given."""

    def __init__(self, device: ToDevice) -> None:
        self.signals: list[Signal] = []
        self._news = asyncio.Event()
        device.listener = self._take
        device.heeds = self._heeds
        self.heeded = True

    async def _heeds(self, _: UserId) -> bool:
        return self.heeded

    def _take(self, signals: tuple[Signal, ...]) -> None:
        self.signals += signals
        self._news.set()

    async def next(self) -> Signal:
        async with asyncio.timeout(WAIT_S):
            while not self.signals:
                self._news.clear()
                await self._news.wait()
        return self.signals.pop(0)


async def send(sender: Running, to: Running, name: str, *, encrypted: bool | None) -> bool:
    content = {**INVITE, "call_id": name}
    session = to.session
    return await sender.session.to_device.send(
        session.user_id, str(session.creds.device_id), "m.call.invite", content, encrypted=encrypted, txn_id=name
    )


async def test_two_sessions_exchange_messages_about_calls(bots: Bots) -> None:
    """Two devices that share no encrypted room exchange sealed and plain messages, each heard with its sender's device;
    the same goes on once they share one."""
    ann, bob = await bots(), await bots()
    at_ann, at_bob = Heard(ann.session.to_device), Heard(bob.session.to_device)

    async def exchange(name: str) -> None:
        assert await send(ann, bob, f"{name}-1", encrypted=None)
        heard = await at_bob.next()
        assert (heard.sender, heard.type, heard.encrypted) == (ann.session.user_id, "m.call.invite", True)
        assert heard.device_id == ann.session.creds.device_id
        assert heard.content == {**INVITE, "call_id": f"{name}-1"}
        assert await send(bob, ann, f"{name}-2", encrypted=True)
        assert (await at_ann.next()).content["call_id"] == f"{name}-2"

    await exchange("apart")
    assert not await send(bob, ann, "plain", encrypted=False)
    heard = await at_ann.next()
    assert (heard.sender, heard.encrypted, heard.device_id) == (bob.session.user_id, False, None)
    assert heard.content["call_id"] == "plain"
    assert bob.session.user_id not in ann.session.keys.olm.tracked_users

    room_id = await ann.session.sending.create_direct(bob.session.user_id)
    await bob.sink.until(lambda: [one for one in bob.sink.invites() if one.room_id == room_id])
    await bob.session.sending.join(room_id)
    await ann.session.sending.send(room_id, "m.room.message", {"msgtype": "m.text", "body": "here"}, txn_id="t")
    await bob.sink.until_body(room_id, "here")
    await exchange("together")


async def test_a_message_of_a_failed_batch_is_heard_once(bots: Bots) -> None:
    """A sealed message, which can be opened only once, is heard when its batch is stored at last; a listener that fails
    ends nothing."""
    ann, bob = await bots(), await bots()
    heard = Heard(bob.session.to_device)
    bob.sink.failures = 1
    assert await send(ann, bob, "first", encrypted=True)
    assert (await heard.next()).content["call_id"] == "first"
    assert [[signal.content["call_id"] for signal in batch.signals] for batch in bob.sink.refused] == [["first"]]

    def fails(_: object) -> None:
        raise ValueError("of somebody's making")

    bob.session.to_device.listener = fails
    assert not await send(ann, bob, "second", encrypted=False)
    await bob.sink.until(lambda: [one for one in bob.sink.batches[-1].signals if one.content["call_id"] == "second"])
    bob.session.to_device.listener = heard._take
    assert await send(ann, bob, "third", encrypted=True)
    assert (await heard.next()).content["call_id"] == "third"
    assert heard.signals == []


# ---- without a homeserver


class Directory(Upkeep):
    """The devices that a homeserver would name, and the messages that it would pass on."""

    def __init__(self, keys: Keys) -> None:
        super().__init__(cast("Any", None), keys)
        self.mine = keys
        self.published: dict[str, dict[str, Any]] = {}
        self.one_time: dict[str, dict[str, Any]] = {}
        self.queries: list[list[str]] = []
        self.sent: list[tuple[str, Any]] = []
        self.away = False

    async def query(self, users: Any) -> None:
        self.queries.append(list(users))
        if self.away:
            raise TryLater("the homeserver can't be reached")
        self.mine.olm.handle_response(KeysQueryResponse({user: self.published.get(user, {}) for user in users}, {}))

    async def claim(self, devices: Any) -> None:
        for user, names in devices.items():
            self.mine.olm.handle_response(KeysClaimResponse({user: {name: self.one_time[name] for name in names}}, {}))

    async def send_to_device(self, kind: str, body: Any, *, txn_id: str | None = None) -> None:
        self.sent.append((kind, body["messages"]))


class Device:
    """A device with keys of its own, and the devices that it hears of."""

    def __init__(self, user_id: UserId, keys: Keys) -> None:
        self.user_id = user_id
        self.keys = keys
        self.directory = Directory(keys)
        self.device = ToDevice(keys, self.directory)

    def publish(self, to: "Device", *, one_time: bool = True) -> None:
        """Let another device find this one."""
        uploaded = self.keys.olm.share_keys()
        name = self.keys.olm.device_id
        to.directory.published[self.user_id] = {name: uploaded["device_keys"]}
        if one_time:
            to.directory.one_time[name] = dict([uploaded["one_time_keys"].popitem()])

    async def receive(self, sender: UserId, *sealed: Any) -> None:
        contents = [messages[self.user_id][self.keys.olm.device_id] for messages in sealed]
        event = {"type": "m.room.encrypted", "sender": sender}
        await self.keys.take_to_device([{**event, "content": content} for content in contents])
        await self.device.hand(self.keys.signals())
        self.keys.forget_signals()


async def make_device(user_id: UserId, directory: Path) -> Device:
    await asyncio.to_thread(directory.mkdir)
    keys = Keys(lambda: datetime.now(UTC))
    config = SimpleNamespace(pickle_key="secret", store_name="keys.db")
    name = user_id[1:4].upper() + "DEV"
    await keys.open(SimpleNamespace(user_id=user_id, device_id=name, store_path=str(directory), config=config))
    return Device(user_id, keys)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Device, Device]]:
    """Give a caller who knows the bot, and the bot, who has not heard of the caller."""
    ann, bot = await make_device(ANN, tmp_path / "ann"), await make_device(BOT, tmp_path / "bot")
    bot.publish(ann)
    yield ann, bot
    for device in (ann, bot):
        await device.device.close()
        device.keys.close()


async def call(ann: Device) -> Any:
    """Send an invite to the bot, and give the sealed messages."""
    sealed = await ann.device.send(BOT, "BOTDEV", "m.call.invite", INVITE, encrypted=True, txn_id="t")
    assert sealed
    (kind, messages) = ann.directory.sent[-1]
    assert kind == "m.room.encrypted"
    return messages


async def test_the_device_of_a_message_is_looked_up(pair: tuple[Device, Device]) -> None:
    """A message from a device that is not known waits until its user's devices are looked up, once for many."""
    ann, bot = pair
    ann.publish(bot)
    heard = Heard(bot.device)
    await bot.receive(ANN, await call(ann), await call(ann))
    assert heard.signals == []
    assert [(await heard.next()).device_id for _ in range(2)] == ["ANNDEV", "ANNDEV"]
    assert bot.directory.queries == [[ANN]]
    await bot.receive(ANN, await call(ann))
    assert (await heard.next()).content == INVITE
    assert bot.directory.queries == [[ANN]]


@pytest.mark.parametrize("why", ["unpublished", "other_fingerprint", "away"])
async def test_a_message_that_no_device_can_have_sealed_is_dropped(
    why: str, pair: tuple[Device, Device], caplog: pytest.LogCaptureFixture
) -> None:
    """A message is dropped whose keys no device of its sender has published, or claims to be another's key."""
    ann, bot = pair
    heard = Heard(bot.device)
    bot.directory.away = why == "away"
    if why == "other_fingerprint":
        ann.publish(bot)
        real = ann.keys.olm._olm_encrypt

        def seal(session: Any, device: Any, kind: str, content: Any) -> Any:
            identity = dict(ann.keys.olm.account.identity_keys)
            ann.keys.olm.account = SimpleNamespace(identity_keys={**identity, "ed25519": "x" * 43})
            return real(session, device, kind, content)

        ann.keys.olm._olm_encrypt = seal
    with caplog.at_level(logging.INFO, logger="bot"):
        await bot.receive(ANN, await call(ann))
        await asyncio.gather(*bot.device._tasks)
    assert heard.signals == []
    assert "messages about calls dropped" in caplog.text
    assert "v=0" not in caplog.text
    queries = len(bot.directory.queries)
    await bot.receive(ANN, await call(ann))
    await asyncio.gather(*bot.device._tasks)
    assert len(bot.directory.queries) == queries + (why == "away")


async def test_keys_of_calls_are_heard_if_they_are_sealed(pair: tuple[Device, Device]) -> None:
    """A key of a device's sound in a call is heard with the device that sealed it, and in clear not at all."""
    ann, bot = pair
    ann.publish(bot)
    heard = Heard(bot.device)
    await ann.device.send(BOT, "BOTDEV", RTC_KEYS, {"keys": {}}, encrypted=True, txn_id="t")
    await bot.receive(ANN, ann.directory.sent[-1][1])
    signal = await heard.next()
    assert (signal.type, signal.device_id, signal.content) == (RTC_KEYS, "ANNDEV", {"keys": {}})
    await bot.keys.take_to_device([{"type": RTC_KEYS, "sender": ANN, "content": {"keys": {}}}])
    assert bot.keys.signals() == ()


async def test_devices_of_strangers_are_not_looked_up(pair: tuple[Device, Device]) -> None:
    """A message from somebody who can't be in a call of the bot's costs no request, and is not handed on, whether their
    device is known or not."""
    ann, bot = pair
    ann.publish(bot)
    heard = Heard(bot.device)
    heard.heeded = False
    await bot.receive(ANN, await call(ann))
    await asyncio.gather(*bot.device._tasks)
    assert (heard.signals, bot.directory.queries) == ([], [])
    await bot.directory.query([ANN])
    await bot.receive(ANN, await call(ann))
    await asyncio.gather(*bot.device._tasks)
    assert heard.signals == []
    heard.heeded = True
    await bot.receive(ANN, await call(ann))
    assert (await heard.next()).device_id == "ANNDEV"


async def test_a_message_for_somebody_else_is_none(pair: tuple[Device, Device]) -> None:
    """A message that was sealed for another user, or under another sender's name, is not heard."""
    ann, bot = pair
    ann.publish(bot)
    heard = Heard(bot.device)
    messages = await call(ann)
    await bot.receive(UserId("@mallory:hs"), messages)
    assert heard.signals == []
    assert bot.device._tasks == set()


async def test_a_device_without_keys_is_asked_for_once(pair: tuple[Device, Device]) -> None:
    """To a device without keys a message goes plain where it may, and the device is looked up once."""
    ann, bot = pair
    for number in range(3):
        assert not await bot.device.send(ANN, "ANNDEV", "m.call.hangup", {}, encrypted=None, txn_id=str(number))
    assert bot.directory.sent == [("m.call.hangup", {ANN: {"ANNDEV": {}}})] * 3
    assert bot.directory.queries == [[ANN]]
    with pytest.raises(GiveUp) as refused:
        await bot.device.send(ANN, "ANNDEV", "m.call.hangup", {}, encrypted=True, txn_id="t")
    assert refused.value.reason == "no_keys"
    assert len(bot.directory.sent) == 3
    await ann.device.close()


async def test_messages_of_one_answer_are_bounded(pair: tuple[Device, Device]) -> None:
    """Messages of one answer are bounded for each sender, and in all."""
    _, bot = pair
    flood = [{"type": "m.call.candidates", "sender": ANN, "content": {"seq": n}} for n in range(1000)]
    others = [{"type": "m.call.hangup", "sender": f"@u{n}:hs", "content": {}} for n in range(1000)]
    await bot.keys.take_to_device([*flood, *others, {"type": "m.call.hangup", "content": {}}])
    signals = bot.keys.signals()
    assert len([signal for signal in signals if signal.sender == ANN]) == MOST_OF_A_SENDER
    assert len(signals) == MOST_SIGNALS


def test_messages_in_a_timeline_are_heard() -> None:
    """Messages of MXVC are heard out of the timelines of joined rooms, with their room and time."""

    def said(**event: Any) -> HeardEvent:
        shape = {"type": CALL_SIGNAL, "sender": ANN, "content": {"rtc_type": "offer"}, "origin_server_ts": 1000}
        return HeardEvent(RoomId("!a:hs"), EventId("$e"), {**shape, **event})

    timeline = (said(), said(type="m.room.message"), said(state_key=""), said(content=[]), said(origin_server_ts="x"))
    rooms = [RoomBatch(RoomId("!a:hs"), joined=True, timeline=timeline)]
    first, second = signals_of([*rooms, RoomBatch(RoomId("!b:hs"), joined=False, timeline=timeline)])
    assert (first.sender, first.room_id, first.content) == (ANN, "!a:hs", {"rtc_type": "offer"})
    assert first.sent_at == datetime.fromtimestamp(1, UTC)
    assert second.sent_at is None
