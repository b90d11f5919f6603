"""A room in which calls happen, with the engine over a real store; media, homeserver and time are the test's."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from bot import orders
from bot.calls.engine import Engine
from bot.calls.legs import Legs
from bot.calls.live import LiveCall
from bot.calls.media.door import IceServer, Listener, Offer, Refused, SfuListener
from bot.calls.model import (
    Answered,
    Call,
    Candidate,
    Device,
    KeyTold,
    LegId,
    Member,
    Offered,
    Received,
    Send,
    TimePassed,
    Transport,
)
from bot.calls.parts import Carrier, Key, Parts
from bot.calls.reception import Reception
from bot.calls.session.own_keys import ShareKey
from bot.calls.session.state import Setup
from bot.calls.stems.stems import Stems
from bot.calls.tokens import Grant
from bot.calls.wire import matrixrtc
from bot.event_types import CALL, CALL_MEMBER, CALL_STATE, POWER_LEVELS, RTC_MEMBER
from bot.matrix.batch import RoomBatch, Signal, SyncBatch
from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger
from bot.recording.model import NoticeSent, RecordingEvent
from storage import archive, calls, jobs, rooms
from storage.database import Connection
from storage.records import (
    CallEventKind,
    CallProtocol,
    EventId,
    HeardEvent,
    Json,
    Recording,
    RoomId,
    Samples,
    UserId,
)
from tests.calls.stems import packet
from tests.calls.wire.test_matrixrtc import sticky_content
from tests.world import ALICE, BOT, ROOM, Killed, World, batch, state

ZOE, YAN = UserId("@zoe:hs"), UserId("@yan:hs")
"""Members whose user ids are higher than the bot's: it calls them."""
KEY = (ROOM, CallProtocol.MSC3401)
CALL_EVENT = EventId("$call")


class FakeLeg:
    """A leg that does what it is told, and notes it. An offer is made once it may gather addresses (`gathers`)."""

    def __init__(self, listener: Listener, clock: Callable[[], Samples], gathers: asyncio.Event) -> None:
        self.listener = listener
        self.gathers = gathers
        self.clock = clock
        self.done: list[str] = []
        self.is_closed = self.is_gathering = False
        self.at = 0
        self.last_words: Callable[[], None] = lambda: None

    async def offer(self) -> Offer:
        self.is_gathering = True
        await self.gathers.wait()
        self.is_gathering = False
        self.done.append("offer")
        return Offer("our offer", "stream")

    async def answer(self, offer: str) -> Offer:
        self.done.append("answer")
        if offer == "bad":
            raise Refused("bad_sdp")
        if offer == "worse":
            raise RuntimeError("a mistake of the library")
        return Offer("our answer", "stream")

    async def accept(self, answer: str) -> None:
        self.done.append("accept")

    async def renegotiate(self, offer: str) -> Offer:
        self.done.append("renegotiate")
        return Offer("our new answer", "stream")

    async def add_candidates(self, candidates: Sequence[Candidate]) -> None:
        self.done.append("candidates")

    def beep(self) -> None:
        self.done.append("beep")

    async def close(self) -> None:
        self.is_closed = True
        self.last_words()
        if self.is_gathering:
            await self.gathers.wait()

    def connect(self) -> None:
        self.listener.connected()
        self.at = int(self.clock())

    def speak(self, seconds: float) -> None:
        """Hand on packets for so long, from where the last ones ended."""
        for number in range(round(seconds * 50)):
            self.listener.heard(packet(self.at, number))
            self.at += 960


class FakeSfu:
    """A connection to an SFU whose participants are moved by hand, through `listener`. `fails`: the error of the next
    request to join; `done`: what was asked of it."""

    def __init__(self, listener: SfuListener, clock: Callable[[], Samples], encrypted: bool, private: bool) -> None:
        self.listener, self.clock, self.encrypted, self.private = listener, clock, encrypted, private
        self.fails: Exception | None = None
        self.done: list[str] = []
        self.joined: tuple[str, str] | None = None
        self.received: frozenset[str] = frozenset()
        self.keys: dict[tuple[str, int], bytes] = {}
        self.own_keys: dict[int, bytes] = {}
        self.is_closed = False
        self.last_words: dict[str, Callable[[], None]] = {}  # what hands on the sound of a participant that waits

    async def join(self, url: str, token: str) -> None:
        if self.fails is not None:
            raise self.fails
        self.joined = url, token
        self.listener.joined()

    def receive(self, identities: Collection[str]) -> None:
        for identity in self.received - set(identities):
            self.last_words.pop(identity, lambda: None)()
        self.received = frozenset(identities)

    def take_key(self, identity: str, index: int, key: bytes) -> None:
        self.keys[identity, index] = key

    def use_own_key(self, index: int, key: bytes) -> None:
        self.own_keys[index] = key

    def beep(self) -> None:
        self.done.append("beep")

    async def close(self) -> None:
        self.is_closed = True

    def speak(self, identity: str, seconds: float) -> None:
        """Hand on packets of a participant for so long, from the present place on."""
        at = int(self.clock())
        for number in range(round(seconds * 50)):
            self.listener.heard(identity, packet(at + 960 * number, number))


class FakeMedia:
    """The maker of such legs and SFUs. `fails`: the error by which it is not ready."""

    def __init__(self) -> None:
        self.legs: list[FakeLeg] = []
        self.sfus: list[FakeSfu] = []
        self.gathers = asyncio.Event()
        self.gathers.set()
        self.is_closed = False
        self.fails: Exception | None = None
        self.refuses_joining: Exception | None = None

    async def ready(self) -> None:
        if self.fails is not None:
            raise self.fails

    def leg(self, listener: Listener, clock: Callable[[], Samples], servers: Sequence[IceServer]) -> FakeLeg:
        leg = FakeLeg(listener, clock, self.gathers)
        self.legs.append(leg)
        return leg

    def sfu(self, listener: SfuListener, clock: Callable[[], Samples], *, encrypted: bool, private: bool) -> FakeSfu:
        sfu = FakeSfu(listener, clock, encrypted, private)
        sfu.fails = self.refuses_joining
        self.sfus.append(sfu)
        return sfu

    async def close(self) -> None:
        self.is_closed = True


@dataclass
class FakePresence:
    """The bot's entry in the room's state. `fails`: the error that the next request raises."""

    shown: set[Key] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    seen: Callable[[], None] = lambda: None  # called once members can see the entry
    fails: Exception | None = None
    hangs: bool = False  # the homeserver does not answer
    lists: bool = True  # the stored state tells of the entry
    lost: Callable[[bool], None] = lambda _: None  # whom the last entry's end is told
    us: Member | None = None  # as the last entry shows the bot

    async def show(self, room_id: str, call: Call, us: Member, lost: Callable[[bool], None]) -> None:
        if self.fails is not None:
            raise self.fails
        self.shown.add((RoomId(room_id), call.protocol))
        self.done.append("shown")
        self.lost, self.us = lost, us
        self.seen()

    async def move(self, key: Key, us: Member, lost: Callable[[bool], None]) -> None:
        self.done.append(f"moved to {us.transport.service_url if us.transport else None}")

    async def rooms(self, db: Connection) -> frozenset[RoomId]:
        return frozenset(room_id for room_id, _ in self.shown if self.lists)

    async def look(self, key: Key) -> None:
        pass

    async def hide(self, key: Key, *, shown: bool) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails is not None:
            raise self.fails
        if shown or key in self.shown:
            self.done.append("hidden")
        self.shown.discard(key)


class Stage:
    """The room, and the engine of this process."""

    def __init__(self, world: World, **settings: Any) -> None:
        self.world = world
        recording = world.settings.recording.model_copy(update={"max_broadcast_s": 120})
        calls_settings = world.settings.calls.model_copy(update={"beep": False} | settings)
        self.settings = world.settings.model_copy(update={"calls": calls_settings, "recording": recording})
        self.store = world.store
        self.told: list[orders.Notice] = []
        self.presence = FakePresence()
        self.tells = True  # the homeserver takes notices
        self.refuses: Exception | None = None  # the error that messages to devices meet
        self.withheld: dict[str, Exception] = {}  # the errors that token services meet
        self.given: dict[str, Grant] = {}  # what token services answer in place of a grant for themselves
        self.near: set[str] = set()  # the token services that may lead into private networks
        self.in_touch = True
        self.has_sticky = True  # the homeserver
        self.known_sticky: bool | None = None  # its answer
        self._sessions = 0
        self._positions = 1000
        self._written = 0
        self._begin()

    def _begin(self) -> None:
        """Make a new process."""
        world = self.world
        self.media = FakeMedia()
        self.sent: list[Send] = []
        self.shared: list[ShareKey] = []
        self.asked: list[str] = []  # token services
        self.named: list[Member] = []  # the bot, as they were told of it
        self.stems = Stems(world.store, world.recorder.apply, world.clock)
        self.engine = Engine(
            Parts(
                store=world.store,
                settings=self.settings,
                calling=world.recorder.calling,
                apply=world.recorder.apply,
                stems=self.stems,
                media=self.media,
                presence=self.presence,
                post=self._post,
                read=_read,
                servers=_no_servers,
                grant=self._grant,
                share=self._share,
                device=self._device,
                has_sticky=self._has_sticky,
                known_sticky=lambda: self.known_sticky,
                in_touch=lambda: self.in_touch,
                clock=world.clock,
                ticks=lambda: world.clock().timestamp(),
            )
        )
        world.handlers[orders.KeepCalls.kind] = self.engine

    def _device(self, protocol: CallProtocol) -> Device:
        self._sessions += 1
        return Device(BOT, "OURS", f"session{self._sessions}")

    async def _has_sticky(self) -> bool:
        self.known_sticky = self.has_sticky
        return self.has_sticky

    async def _grant(self, room_id: RoomId, own: Member, transport: Transport) -> Grant:
        self.asked.append(transport.service_url)
        self.named.append(own)
        error = self.withheld.get(transport.service_url)
        if error is not None:
            raise error
        service = transport.service_url
        grant = Grant(service.replace("https", "wss"), f"token {len(self.asked)}", service in self.near)
        return self.given.get(service, grant)

    async def _share(self, room_id: RoomId, own: Member, share: ShareKey) -> None:
        self.shared.append(share)

    async def _post(self, key: Key, setup: Setup, send: Send, message_id: str) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.sent.append(send)

    # ---- the room

    async def write(self, kind: str, content: Json, key: str = "", sender: str = ALICE) -> EventId:
        """Write state, and let the sync bring it."""
        self._written += 1
        event_id = EventId(f"${kind}{self._written}")
        await self.world.intake.take(batch(before=(state(kind, content, key, sender, event_id),)))
        await self.work()
        return event_id

    async def open_room(self, **policies: Any) -> None:
        """Let everybody, and the bot, be in calls; let the bot record them."""
        named = ((ZOE, "Zoe"), (YAN, "Yan"))
        joined = [("m.room.member", {"membership": "join", "displayname": name}, user, user) for user, name in named]
        states = [*joined, (POWER_LEVELS, _levels(0), "", ALICE)]
        events = (state(*each, EventId(f"$room{number}")) for number, each in enumerate(states))
        await self.world.intake.take(batch(before=tuple(events)))
        await self.policy(**({"calls_on": True} | policies))
        await self.engine.after_first_sync()
        await self.work()

    async def levels(self, member_events: int) -> None:
        await self.write(POWER_LEVELS, _levels(member_events))

    async def policy(self, **policies: Any) -> None:
        async with self.store.write() as db:
            room = await rooms.room(db, ROOM)
            assert room is not None
            await rooms.save_room(db, replace(room, **policies))

    async def call(self, *, call_id: str = "a-call", terminated: bool = False) -> EventId:
        content = {"m.intent": "m.room", "m.type": "m.voice", **({"m.terminated": "over"} if terminated else {})}
        return await self.write(CALL, content, call_id)

    async def enter(self, user: UserId, *, call_id: str = "a-call", session: str = "s") -> EventId:
        expires = self.world.clock() + timedelta(hours=1)
        device = {
            "device_id": f"DEV-{user[1:4]}",
            "session_id": session,
            "expires_ts": round(expires.timestamp() * 1000),
            "feeds": [{"purpose": "m.usermedia"}],
        }
        listed = {"m.calls": [{"m.call_id": call_id, "m.devices": [device]}]}
        return await self.write(CALL_MEMBER, listed, user, user)

    async def join(
        self, user: UserId, *, device_id: str = "DEV", sfu: str | None = "https://sfu.example", session: str = "m"
    ) -> str:
        """Enter the room's MatrixRTC call, and return the name of the device at its SFU."""
        transports = [{"type": "livekit", "livekit_service_url": sfu, "livekit_alias": ROOM}]
        content = {
            "application": "m.call",
            "call_id": "",
            "scope": "m.room",
            "device_id": device_id,
            "membershipID": session,
            "created_ts": round(self.world.clock().timestamp() * 1000),
            "expires": 14_400_000,
            "focus_active": {"type": "livekit", "focus_selection": "multi_sfu"},
            "foci_preferred": transports if sfu else [],
        }
        await self.write(CALL_MEMBER, content, f"_{user}_{device_id}_m.call", user)
        return f"{user}:{device_id}"

    async def join_sticky(self, user: UserId, *, device_id: str = "NEW", sfu: str = "https://sfu.example") -> str:
        """Enter the room's MatrixRTC call by a sticky event, and return the name of the device at its SFU."""
        transports = {"published": [{"type": "livekit", "livekit_service_url": sfu}], "can_subscribe": ["livekit"]}
        await self._stick(user, device_id, sticky_content(user, device_id, f"{user}{device_id}", transports=transports))
        return matrixrtc.hashed_identity(Device(user, device_id, f"{user}{device_id}"))

    async def part_sticky(self, user: UserId, *, device_id: str = "NEW") -> None:
        """Leave it by a sticky event."""
        await self._stick(user, device_id, {"slot_id": matrixrtc.SLOT, "msc4354_sticky_key": f"{user}{device_id}"})

    async def _stick(self, user: UserId, device_id: str, content: Json) -> None:
        self._written += 1
        sent, event_id = round(self.world.clock().timestamp() * 1000), EventId(f"$sticky{self._written}")
        sticky = {"duration_ms": 3_600_000}
        event = {"type": RTC_MEMBER, "sender": user, "origin_server_ts": sent, "content": content}
        heard = HeardEvent(ROOM, event_id, {**event, "event_id": event_id, "msc4354_sticky": sticky})
        await self.world.intake.take(SyncBatch("t", (RoomBatch(ROOM, True, sticky=(heard,)),)))
        await self.work()

    async def part(self, user: UserId, *, device_id: str = "DEV") -> None:
        """Leave the room's MatrixRTC call."""
        await self.write(CALL_MEMBER, {}, f"_{user}_{device_id}_m.call", user)

    async def leave(self, user: UserId) -> None:
        await self.write(CALL_MEMBER, {"m.calls": []}, user, user)

    # ---- work

    async def work(self) -> None:
        """Do all that is due: what rooms ask for, notices, and what runs in memory."""
        while await self.world.work_one((orders.KeepCalls.kind,)) or await self._tell():
            pass
        await self.quiet()

    async def look(self) -> None:
        """Have the room's calls looked at."""
        async with self.store.write() as db:
            await jobs.add(db, orders.KeepCalls(ROOM).job(), self.world.clock())
        await self.work()

    async def apply(self, event: RecordingEvent) -> None:
        """Apply an event to the newest recording, as a command does."""
        recording = await self.recording()
        async with self.store.write() as db:
            await self.world.recorder.apply(db, recording.id, event)

    async def _tell(self) -> bool:
        """Send the next notice."""
        if not self.tells:
            return False
        async with self.store.write() as db:
            claimed = await jobs.claim(db, (orders.Notice.kind,), self.world.clock(), 1)
            for job in claimed:
                notice = orders.Notice.of(job)
                self.told.append(notice)
                if notice.opens and notice.during is not None:
                    await self.world.recorder.apply(db, notice.during, NoticeSent(EventId(f"$notice{notice.during}")))
                    await jobs.add(db, orders.KeepCalls(ROOM).job(), self.world.clock())
                await jobs.done(db, job.id, self.world.clock())
        return bool(claimed)

    async def quiet(self) -> None:
        """Wait until nothing is left to do in memory."""
        for _ in range(3):
            for live in tuple(self.engine._attendance.live.values()):
                while live._events and not live._is_over:  # noqa: ASYNC110 (its own task empties it)
                    await asyncio.sleep(0)
                await asyncio.sleep(0)
                if isinstance(live._legs, Legs):
                    for work in tuple(live._legs._works.values()):
                        if self.media.gathers.is_set():
                            await work.media.done()
                        await work.messages.done()
                else:
                    for _ in range(20):  # links are tasks of their own
                        await asyncio.sleep(0)
                await live.rows.done()
            while self.engine._tasks:
                await asyncio.wait(self.engine._tasks)

    def next_position(self) -> int:
        self._positions += 1
        return self._positions

    def device(self, user: UserId) -> Device:
        return Device(user, f"DEV-{user[1:4]}", "s")

    @property
    def live(self) -> LiveCall | None:
        return next(iter(self.engine._attendance.live.values()), None)

    async def connect(self, user: UserId) -> FakeLeg:
        """Let a device that the bot has called answer, and be connected."""
        send = next(s for s in reversed(self.sent) if s.device.user_id == user and isinstance(s.message, Offered))
        self.hear(Received("a-call", send.device, send.leg, Answered("their answer"), 0, encrypted=True))
        await self.quiet()
        leg = next(leg for leg in reversed(self.media.legs) if "accept" in leg.done)
        leg.connect()
        await self.quiet()
        return leg

    def sfu(self, name: str = "sfu.example") -> FakeSfu:
        """Return the present connection to an SFU."""
        url = f"wss://{name}"
        return next(sfu for sfu in reversed(self.media.sfus) if sfu.joined and sfu.joined[0] == url)

    async def come(self, identity: str, name: str = "sfu.example") -> FakeSfu:
        """Let a device come to its SFU."""
        sfu = self.sfu(name)
        sfu.listener.came(identity)
        await self.quiet()
        return sfu

    async def be_called(self, user: UserId, *, offer: str = "their offer", leg: str = "leg") -> FakeLeg:
        """Let a device call the bot."""
        self.hear(Received("a-call", self.device(user), LegId(leg), Offered(offer), 0, encrypted=True))
        await self.quiet()
        return self.media.legs[-1]

    def hear(self, received: Received | KeyTold) -> None:
        self.engine.take([Signal(received.device.user_id, "m.call", {"received": received})])

    async def pass_by(self, seconds: float) -> None:
        """Let time pass, and the call look at it."""
        self.world.clock.pass_by(seconds)
        for live in tuple(self.engine._attendance.live.values()):
            live.take(TimePassed(is_cut=not self.in_touch))
        await self.quiet()
        await self.work()

    # ---- the process

    async def crash(self) -> None:
        """Die without a word, and begin anew."""
        await self.die()
        await self.world.rise_again()
        self._begin()
        await self.engine.begin()

    async def die(self) -> None:
        """End all that runs in memory."""
        self.engine._attendance.is_stopped = True
        for live in self.engine._attendance.live.values():
            tasks = (*live._tasks, *_tasks_of(live._legs))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            live.rows._work._waiting.clear()
            await live.rows.done()
            live.rows._stems.abandon()
        await asyncio.gather(*self.engine._tasks, return_exceptions=True)
        self.stems.stop()

    async def start_again(self) -> None:
        """Begin anew after a stop."""
        self._begin()
        await self.engine.begin()
        await self.engine.after_first_sync()
        await self.work()

    async def survive(self, work: Callable[[], Awaitable[object]]) -> None:
        """Do something; after a death on the way, start again."""
        try:
            await work()
            await self.quiet()
        except Killed:
            pass
        if self.has_died():
            await self.crash()
            await self.engine.after_first_sync()
            await self.work()
            await work()  # the sync brings again what was not stored

    def has_died(self) -> bool:
        return self.store.left is not None and self.store.left <= 0

    async def speak_a_little(self) -> None:
        """Connect to Zoe, if she was called, and hear her."""
        if any(isinstance(send.message, Offered) for send in self.sent):
            (await self.connect(ZOE)).speak(1)
            await self.pass_by(1)
            if self.live is not None:
                self.live.rows.advance(self.live.now())
                await self.quiet()

    # ---- what is recorded

    async def recordings(self) -> list[Recording]:
        """Return the recordings of calls, the oldest first."""
        async with self.store.read() as db:
            found = await archive.recordings(db, ROOM)
        return sorted(found, key=lambda recording: recording.id)

    async def recording(self) -> Recording:
        return (await self.recordings())[-1]

    async def laid_out(self) -> tuple[Recording, Ledger]:
        """Return the newest recording with its ledger."""
        recording = await self.recording()
        async with self.store.read() as db:
            return recording, lay_out(recording, await archive.chunks(db, recording.id))

    async def events(self) -> list[tuple[str, CallEventKind]]:
        async with self.store.read() as db:
            return [(event.user_id, event.what) for event in await calls.events(db, (await self.recording()).id)]


def _levels(member_events: int) -> Json:
    return {"users": {ALICE: 100}, "events": {CALL: 0, **dict.fromkeys((CALL_MEMBER, CALL_STATE), member_events)}}


def _tasks_of(carrier: Carrier) -> Sequence[asyncio.Task[None]]:
    if isinstance(carrier, Legs):
        return tuple(carrier._endings)
    assert isinstance(carrier, Reception)
    return (*(link._task for link in carrier._links.values()), *carrier._endings.values())


def _read(key: Key, setup: Setup, signal: Signal) -> Received | KeyTold | None:
    received: Received | KeyTold = signal.content["received"]
    return received


async def _no_servers() -> Sequence[IceServer]:
    return ()
