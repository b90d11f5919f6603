"""A client in a group call of MSC3401 on a real homeserver: it signals as matrix-js-sdk does, with media of aiortc."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from typing import Any

import nio

from bot.calls.model import Answered, AnswerSelected, Device, HungUp, LegId, Message, Offered, Send
from bot.calls.session.rules import order
from bot.calls.wire import msc3401, msc3401_state
from bot.demo.client_api import CLIENT, part
from bot.demo.people import Person
from bot.event_types import CALL, CALL_MEMBER, CALL_MESSAGES, CALL_SIGNAL, CALL_STATE, ENCRYPTED, POWER_LEVELS
from storage.records import Json, UserId
from tests.calls.peers import Peer


async def open_to_calls(host: Person, room: str) -> None:
    """Let everybody in a room begin calls, and enter them."""
    levels = await host.state(room, POWER_LEVELS)
    events = {**levels.get("events", {}), CALL: 0, CALL_MEMBER: 0, CALL_STATE: 0}
    await host.send_state(room, POWER_LEVELS, {**levels, "events": events})


async def begin_call(host: Person, room: str, *, terminated: str | None = None, call_id: str = "") -> str:
    """Begin a call, or terminate it; give its id."""
    call_id = call_id or secrets.token_hex(8)
    content = {"m.intent": "m.room", "m.type": "m.voice"} | ({"m.terminated": terminated} if terminated else {})
    await host.send_state(room, CALL, content, call_id)
    return call_id


async def send_to_device(person: Person, user: str, device_id: str, kind: str, content: Json) -> None:
    path = f"{CLIENT}/sendToDevice/{part(kind)}/{secrets.token_hex(8)}"
    await person.api.call("PUT", path, {"messages": {user: {device_id: content}}})


async def send_sealed(person: Person, user: str, device_id: str, kind: str, content: Json) -> None:
    """Send a to-device event encrypted with Olm."""
    client: Any = person._client
    olm = client.olm
    if user not in olm.device_store.users or device_id not in olm.device_store[user]:
        olm.users_for_key_query.add(user)
        await client.keys_query()
    device = olm.device_store[user][device_id]
    if olm.session_store.get(device.curve25519) is None:
        await client.keys_claim({user: [device_id]})
    session = olm.session_store.get(device.curve25519)
    await send_to_device(person, user, device_id, ENCRYPTED, olm._olm_encrypt(session, device, kind, content))


class Caller:
    """A person's client in a call with the bot. `sealed`: it signals by Olm."""

    def __init__(self, person: Person, room: str, call_id: str, bot: str, *, sealed: bool, packets: Sequence[bytes]):
        self.person = person
        self.room = room
        self.call_id = call_id
        self.bot = bot
        self.sealed = sealed
        self.peer = Peer(packets)
        self.device = Device(UserId(person.user_id), person.device_id, secrets.token_hex(8))
        self.connected = asyncio.Event()
        self.hung_up = asyncio.Event()
        self._client: Any = person._client
        self._leg: LegId | None = None
        self._bot: Device | None = None
        self._seq = count()
        self._messages: list[tuple[str, Json]] = []
        self._client.add_to_device_callback(self._plain, nio.UnknownToDeviceEvent)
        self._olm_event = self._client.olm._handle_olm_event
        self._client.olm._handle_olm_event = self._opened

    # ---- the state

    async def enter(self) -> None:
        now = datetime.now(UTC)
        content = msc3401_state.entered(None, self.device, self.call_id, now)
        await self.person.send_state(self.room, CALL_MEMBER, content, self.person.user_id)

    async def leave(self) -> None:
        await self.send(HungUp("user_hangup"))
        await self.gone()

    async def gone(self) -> None:
        await self.person.send_state(self.room, CALL_MEMBER, {"m.calls": []}, self.person.user_id)

    def _sees(self) -> Device | None:
        """Return the bot's device in the call, as the room's state shows it last."""
        states = [e for e in self.person.received if (e.room_id, e.type) == (self.room, CALL_MEMBER)]
        shown = [e for e in states if e.sender == self.bot]
        for call in shown[-1].content.get("m.calls", []) if shown else []:
            for device in call["m.devices"]:
                return Device(UserId(self.bot), device["device_id"], device["session_id"])
        return None

    # ---- messages

    def _plain(self, event: nio.UnknownToDeviceEvent) -> None:
        self._messages.append((event.type, event.source["content"]))

    def _opened(self, sender: str, sender_key: str, payload: dict[str, Any]) -> Any:
        if not payload["type"].startswith(CALL_MESSAGES):
            return self._olm_event(sender, sender_key, payload)
        self._messages.append((payload["type"], payload["content"]))
        return None

    async def send(self, message: Message) -> None:
        assert self._bot is not None
        assert self._leg is not None
        send = Send(self._bot, self._leg, next(self._seq), message)
        kind, content = msc3401.write(send, self.device, self.call_id, secrets.token_hex(8))
        if self.sealed:
            await send_sealed(self.person, self._bot.user_id, self._bot.device_id, kind, content)
        else:
            await send_to_device(self.person, self._bot.user_id, self._bot.device_id, kind, content)

    # ---- the client

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Caller"]:
        """Enter the call, and act as a client until the block ends, which leaves the state as it is."""
        await self.enter()
        acting = asyncio.create_task(self._act())
        try:
            yield self
        finally:
            acting.cancel()
            with suppress(asyncio.CancelledError):
                await acting
            await self.peer.close()

    async def _act(self) -> None:
        while True:
            await self.person.sync_once(1000)
            bot = self._sees()
            if bot is not None and bot != self._bot and self._calls_first():
                await self._call(bot)
            while self._messages:
                await self._heed(*self._messages.pop(0))

    def _calls_first(self) -> bool:
        return order(self.person.user_id) < order(self.bot)

    async def _renew(self) -> None:
        """Take a new connection, if one was used."""
        if self._leg is not None:
            packets = self.peer.talker.packets
            await self.peer.close()
            self.peer = Peer(())
            self.peer.talker.packets = packets
        self._seq = count()

    async def _call(self, bot: Device) -> None:
        await self._renew()
        self._bot, self._leg = bot, LegId(secrets.token_hex(8))
        await self.send(Offered(await self.peer.offer(), muted=False))

    async def _heed(self, kind: str, content: Json) -> None:
        leg = LegId(content["call_id"])
        if content["conf_id"] != self.call_id or content["dest_session_id"] != self.device.session_id:
            return
        match kind:
            case "m.call.invite":
                await self._renew()
                self._leg = leg
                self._bot = Device(UserId(self.bot), content["device_id"], content["sender_session_id"])
                await self.send(Answered(await self.peer.answer(content["offer"]["sdp"]), muted=False))
                self.connected.set()
            case "m.call.answer" if leg == self._leg:
                await self.peer.accept(content["answer"]["sdp"])
                await self.send(AnswerSelected(content["party_id"]))
                self.connected.set()
            case "m.call.hangup" | "m.call.reject" if leg == self._leg:
                self.hung_up.set()


class Page:
    """A device in an MXVC channel, as the page of its authors acts: it is there first, and answers."""

    def __init__(self, person: Person, room: str, name: str, packets: Sequence[bytes]) -> None:
        self.person = person
        self.room = room
        self.name = name
        self.peer = Peer(packets)
        self.connected = asyncio.Event()
        self.bots: set[str] = set()  # names of recording devices that were seen

    async def set_state(self, join_state: str) -> None:
        stamp = round(datetime.now(UTC).timestamp() * 1000)
        await self.person.send_state(self.room, CALL_STATE, {"join_state": join_state, "timestamp": stamp}, self.name)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Page"]:
        await self.set_state("JOINED")
        acting = asyncio.create_task(self._act())
        try:
            yield self
        finally:
            acting.cancel()
            with suppress(asyncio.CancelledError):
                await acting
            await self.peer.close()

    async def _act(self) -> None:
        heard = 0
        while True:
            await self.person.sync_once(1000)
            for event in self.person.received[heard:]:
                heard += 1
                if event.type == CALL_STATE and event.content.get("join_state") == "JOINED":
                    self.bots |= {str(event.event["state_key"])} - {self.name}
                if event.type == CALL_SIGNAL and event.content.get("receiver") == self.name:
                    await self._heed(event.content)

    async def _heed(self, content: Json) -> None:
        if content["rtc_type"] != "offer":
            return
        answer = {"type": "answer", "sdp": await self.peer.answer(json.loads(content["body"])["sdp"])}
        said = {"rtc_type": "answer", "sender": self.name, "receiver": content["sender"], "body": json.dumps(answer)}
        await self.person.send(self.room, CALL_SIGNAL, said)
        self.connected.set()
