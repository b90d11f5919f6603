"""A small SFU for tests: LiveKit's signalling and transports of its own, with participants that tests speak for.

Its clients connect as to LiveKit's server (`pkg/rtc` of github.com/livekit/livekit was the model); other participants
are not clients but `Speaker`s, whose packets tests send. Every line of sound is its own, as there: a track that goes
leaves an inactive line, which the next track takes over with its SSRC.
"""

import asyncio
import json
import secrets
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web
from livekit.protocol import models, rtc

from bot.calls.media.livekit.description import Local, read
from bot.calls.media.livekit.frames import Sealer
from bot.calls.media.livekit.keyring import cipher_of
from bot.calls.media.livekit.transport import Transport
from tests.livekit.access import Keys

PACKET = 960
OPUS, RED = 111, 63
MICROPHONE, UNKNOWN, SCREEN = (
    models.TrackSource.MICROPHONE,
    models.TrackSource.UNKNOWN,
    models.TrackSource.SCREEN_SHARE_AUDIO,
)


@dataclass
class Line:
    """A line of sound in the offers to a member."""

    ssrc: int
    track: str | None = None


@dataclass
class Track:
    """A track of a speaker."""

    sid: str
    source: "models.TrackSource" = MICROPHONE
    muted: bool = False
    kind: "models.TrackType" = models.TrackType.AUDIO


class Member:
    """A client: its WebSocket, and the transports to and from it."""

    def __init__(self, room: "Room", identity: str) -> None:
        self.room, self.identity = room, identity
        self.sid = f"PA_{secrets.token_hex(6)}"
        self.socket: web.WebSocketResponse | None = None
        self.lines: list[Line] = []
        self.subscribed: list[str] = []  # tracks
        self.said: list[bytes] = []  # packets of RTP
        self.mutes: list[bool] = []
        self.track: rtc.AddTrackRequest | None = None
        self.left = False
        self.pings = 0
        self.answers: list[str] = []
        self.connected = asyncio.Event()
        self._sending = Transport(
            private=True, admits=lambda _: False, received=lambda _: None, changed=self._sending_changed
        )
        self._taking = Transport(private=True, admits=lambda _: True, received=self.said.append, changed=lambda _: None)
        self._local: Local | None = None
        self._offered = False  # an offer waits for its answer
        self._renegotiates = False
        self._restarts = False
        self._begun = False

    def receives(self, speaker: "Speaker") -> bool:
        """Tell whether the packets of somebody are sent to the member, and the member knows of it."""
        lines = [line for line in self.lines if line.track == speaker.track.sid]
        return bool(lines) and not self._offered and self.connected.is_set()

    async def signal(self, **message: object) -> None:
        """Send a message, by its name."""
        await self.send_raw(rtc.SignalResponse(**message).SerializeToString())  # type: ignore[arg-type]

    async def send_raw(self, data: bytes) -> None:
        if self.socket is not None and not self.socket.closed:
            await self.socket.send_bytes(data)

    async def drop(self) -> None:
        """End the WebSocket, as a break of the network does."""
        if self.socket is not None:
            await self.socket.close()

    async def end_sound(self) -> None:
        """End the transport to the member, and nothing else."""
        await self._sending.close()

    async def end_microphone(self) -> None:
        """End the transport from the member, and nothing else."""
        await self._taking.close()

    async def leave(self, reason: "models.DisconnectReason", action: int = rtc.LeaveRequest.Action.DISCONNECT) -> None:
        """Put the member out."""
        await self.signal(leave=rtc.LeaveRequest(reason=reason, action=action))  # type: ignore[arg-type]

    async def offer(self, *, restart: bool = False) -> None:
        """Offer the lines as they are now, once the last offer was answered."""
        self._restarts = self._restarts or restart
        if self._offered:
            self._renegotiates = True
            return
        if self._local is None or self._restarts:
            self._local, self._restarts, self._begun = await self._sending.prepare(None), False, False
        self._offered = True
        tracks = {str(number): line.track for number, line in enumerate(self.lines, 1) if line.track}
        await self.signal(
            offer=rtc.SessionDescription(type="offer", sdp=self._description(self._local), id=1, mid_to_track_id=tracks)
        )
        for candidate in self._local.candidates:
            await self.trickle(f"candidate:{candidate}")

    async def trickle(self, candidate: str) -> None:
        init = json.dumps({"candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0})
        await self.signal(trickle=rtc.TrickleRequest(candidateInit=init, target=rtc.SignalTarget.SUBSCRIBER))

    async def send(self, track: str, head: bytes, payload: bytes) -> None:
        """Send a packet of a track, if it is subscribed to. `head`: of RTP, up to the timestamp."""
        for line in self.lines:
            if line.track == track:
                await self._sending.send(head + struct.pack("!I", line.ssrc) + payload)

    async def take(self, request: rtc.SignalRequest) -> None:
        """Do as the client asks."""
        match request.WhichOneof("message"):
            case "answer":
                await self._answered(request.answer.sdp)
            case "offer":
                await self._published(request.offer)
            case "subscription":
                await self._subscribe(request.subscription)
            case "add_track":
                self.track = request.add_track
                info = models.TrackInfo(sid=f"TR_{secrets.token_hex(6)}", muted=True)
                await self.signal(track_published=rtc.TrackPublishedResponse(cid=self.track.cid, track=info))
            case "mute":
                self.mutes.append(request.mute.muted)
            case "ping_req":
                self.pings += 1
                await self.signal(pong_resp=rtc.Pong(last_ping_timestamp=request.ping_req.timestamp))
            case "leave":
                self.left = True
                self.room.members.pop(self.identity, None)
            case "trickle" if request.trickle.target == rtc.SignalTarget.PUBLISHER:
                await self._taking.add_candidate(json.loads(request.trickle.candidateInit)["candidate"])

    async def close(self) -> None:
        await self.drop()
        await self._sending.close()
        await self._taking.close()

    def renew_lines(self) -> bool:
        """Bring the lines up to date; return whether they changed."""
        there = {track.sid for speaker in self.room.speakers.values() for track in speaker.tracks}
        wanted = [track for track in self.subscribed if track in there]
        changed = False
        for line in self.lines:
            if line.track is not None and line.track not in wanted:
                line.track, changed = None, True
        for track in wanted:
            if not any(line.track == track for line in self.lines):
                free = next((line for line in self.lines if line.track is None), None)
                if free is None:
                    self.lines.append(free := Line(secrets.randbits(32)))
                free.track, changed = track, True
        return changed

    def _sending_changed(self, up: bool) -> None:
        if up:
            self.connected.set()

    async def _subscribe(self, update: rtc.UpdateSubscription) -> None:
        named = list(update.track_sids)
        self.subscribed = [track for track in self.subscribed if track not in named] + (
            named if update.subscribe else []
        )
        if self.renew_lines():
            await self.offer()

    async def _answered(self, answer: str) -> None:
        self._offered = False
        self.answers.append(answer)
        remote = read(answer, "answer", {})
        if not self._begun:
            self._begun = True
            for candidate in remote.candidates:
                await self._sending.add_candidate(candidate)
            self._sending.connect(remote, controlling=True, client=False)
        if self._renegotiates:
            self._renegotiates = False
            await self.offer()

    async def _published(self, offer: rtc.SessionDescription) -> None:
        remote = read(offer.sdp, "offer", {})
        local = await self._taking.prepare(None)
        for candidate in remote.candidates:
            await self._taking.add_candidate(candidate)
        self._taking.connect(remote, controlling=False, client=True)
        await self.signal(answer=rtc.SessionDescription(type="answer", sdp=remote.answer(local), id=offer.id))

    def _description(self, local: Local) -> str:
        mids = " ".join(map(str, range(len(self.lines) + 1)))
        transport = [f"a=ice-ufrag:{local.fragment}", f"a=ice-pwd:{local.password}", "a=setup:actpass"]
        text = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", f"a=fingerprint:sha-256 {local.fingerprint}"]
        text += ["a=extmap-allow-mixed", f"a=group:BUNDLE {mids}"]
        text += ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0", "a=mid:0", "a=sctp-port:5000"]
        text += transport
        for mid, line in enumerate(self.lines, 1):
            text += [f"m=audio 9 UDP/TLS/RTP/SAVPF {OPUS} {RED}", "c=IN IP4 0.0.0.0", f"a=mid:{mid}", "a=rtcp-mux"]
            text += [f"a=rtpmap:{OPUS} opus/48000/2", f"a=rtcp-fb:{OPUS} nack", f"a=rtpmap:{RED} red/48000/2"]
            text += [f"a={'sendonly' if line.track else 'inactive'}", *transport]
            if line.track:
                text += [f"a=msid:stream {line.track}", f"a=ssrc:{line.ssrc} cname:{line.track}"]
        return "\r\n".join([*text, ""])


class Speaker:
    """A participant that a test speaks for."""

    def __init__(self, room: "Room", identity: str) -> None:
        self.room, self.identity = room, identity
        self.sid = f"PA_{secrets.token_hex(6)}"
        self.version = 0
        self.tracks: list[Track] = []
        self.sealer: Sealer | None = None
        self.sequence, self.timestamp = secrets.randbits(16), secrets.randbits(32)
        self.ssrc = secrets.randbits(32)  # of what they send to the SFU

    @property
    def track(self) -> Track:
        return self.tracks[-1]

    async def publish(
        self, source: "models.TrackSource" = MICROPHONE, *, muted: bool = False, video: bool = False
    ) -> Track:
        """Publish a track."""
        kind = models.TrackType.VIDEO if video else models.TrackType.AUDIO
        self.tracks.append(Track(f"TR_{secrets.token_hex(6)}", source, muted, kind))
        await self._tell()
        return self.track

    async def unpublish(self) -> None:
        """Take the last track back."""
        self.tracks.pop()
        await self._tell()

    async def mute(self, muted: bool) -> None:
        self.track.muted = muted
        await self._tell()

    async def leave(self) -> None:
        del self.room.speakers[self.identity]
        self.tracks.clear()
        await self._tell(gone=True)

    def encrypt(self, index: int, key: bytes) -> None:
        """Encrypt with this key from now on."""
        self.sealer = Sealer(index, cipher_of(key), secrets.randbits(32))

    async def say(self, payloads: Iterable[bytes], every_s: float = PACKET / 48000) -> None:
        """Send packets of Opus, one after the other, at their pace."""
        clock = asyncio.get_running_loop().time
        due = clock()
        for payload in payloads:
            await self.send(payload)
            due += every_s
            await asyncio.sleep(max(0, due - clock()))

    async def send(self, payload: bytes, payload_type: int = OPUS) -> None:
        """Send one packet, and go on by its length."""
        await self.send_again(0, payload, payload_type)
        self.skip(1)

    async def send_again(self, back: int, payload: bytes, payload_type: int = OPUS) -> None:
        """Send a packet in the place of one before. `back`: how many packets before the next."""
        sequence, timestamp = (self.sequence - back) % (1 << 16), (self.timestamp - back * PACKET) % (1 << 32)
        head = struct.pack("!BBHI", 0x80, payload_type, sequence, timestamp)
        if self.sealer is not None:
            payload = self.sealer.seal(payload, self.ssrc, timestamp)
        for member in list(self.room.members.values()):
            await member.send(self.track.sid, head, payload)

    def skip(self, packets: int) -> None:
        """Go on without sending."""
        self.sequence = (self.sequence + packets) % (1 << 16)
        self.timestamp = (self.timestamp + packets * PACKET) % (1 << 32)

    def info(self, *, gone: bool = False) -> models.ParticipantInfo:
        state = models.ParticipantInfo.State.DISCONNECTED if gone else models.ParticipantInfo.State.ACTIVE
        encryption = models.Encryption.NONE if self.sealer is None else models.Encryption.GCM
        tracks = [
            models.TrackInfo(
                sid=track.sid, type=track.kind, source=track.source, muted=track.muted, encryption=encryption
            )
            for track in self.tracks
        ]
        return models.ParticipantInfo(
            sid=self.sid, identity=self.identity, state=state, version=self.version, tracks=tracks
        )

    async def _tell(self, *, gone: bool = False) -> None:
        self.version += 1
        for member in list(self.room.members.values()):
            await member.signal(update=rtc.ParticipantUpdate(participants=[self.info(gone=gone)]))
            if member.renew_lines():
                await member.offer()


@dataclass
class Room:
    """A room with its members and speakers."""

    name: str
    members: dict[str, Member] = field(default_factory=dict)
    speakers: dict[str, Speaker] = field(default_factory=dict)
    everybody: list[Member] = field(default_factory=list)  # who ever was a member

    @property
    def member(self) -> Member:
        """The member who came last."""
        return self.everybody[-1]

    def speaker(self, identity: str) -> Speaker:
        """Let somebody come, before the clients."""
        return self.speakers.setdefault(identity, Speaker(self, identity))

    async def enter(self, identity: str) -> Speaker:
        """Let somebody come."""
        speaker = self.speaker(identity)
        await speaker._tell()
        return speaker


class Sfu:
    """The SFU. It keeps its address when it is started again, and no rooms."""

    def __init__(self) -> None:
        self.keys = Keys("key", secrets.token_hex(20))
        self.rooms: dict[str, Room] = {}
        self.port = 0
        self.refuses = 0  # a status of HTTP
        self.refused = 0  # connections
        self.injected = b"trailer"
        self.newer_token = ""
        self.tokens: list[str] = []
        self.arrivals = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def room(self, name: str) -> Room:
        return self.rooms.setdefault(name, Room(name))

    def token(self, room: str, identity: str) -> str:
        return self.keys.sign({"room": room, "roomJoin": True}, identity)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/rtc", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        assert self._runner.addresses
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """End it as a crash does."""
        members = [member for room in self.rooms.values() for member in room.everybody]
        self.rooms.clear()
        for member in members:
            await member.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        if self.refuses:
            self.refused += 1
            raise web.HTTPException(text="refused") if self.refuses < 0 else _refusal(self.refuses)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        assert token not in request.path_qs
        self.tokens.append(token)
        try:
            claims = self.keys.claims(token)
        except ValueError:
            raise web.HTTPUnauthorized from None
        room, identity = self.room(claims["video"]["room"]), claims["sub"]
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if request.query.get("reconnect") == "1":
            member = room.members.get(identity)
            if member is None or member.sid != request.query.get("sid"):
                reason, action = models.DisconnectReason.STATE_MISMATCH, rtc.LeaveRequest.Action.RECONNECT
                leave = rtc.LeaveRequest(reason=reason, action=action)
                await socket.send_bytes(rtc.SignalResponse(leave=leave).SerializeToString())
                return socket
            member.socket = socket
            await member.signal(reconnect=rtc.ReconnectResponse())
            infos = [speaker.info() for speaker in room.speakers.values()]
            await member.signal(update=rtc.ParticipantUpdate(participants=infos))
            member._offered = False
            await member.offer(restart=True)
        else:
            member = await self._joined(room, identity, socket)
        async with self.arrivals:
            self.arrivals.notify_all()
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await member.take(rtc.SignalRequest.FromString(message.data))
        return socket

    async def _joined(self, room: Room, identity: str, socket: web.WebSocketResponse) -> Member:
        if (before := room.members.pop(identity, None)) is not None:
            await before.leave(models.DisconnectReason.DUPLICATE_IDENTITY)
            await before.drop()
        member = room.members[identity] = Member(room, identity)
        room.everybody.append(member)
        member.socket = socket
        join = rtc.JoinResponse(
            room=models.Room(sid="RM_1", name=room.name),
            participant=models.ParticipantInfo(sid=member.sid, identity=identity),
            other_participants=[speaker.info() for speaker in room.speakers.values()],
            subscriber_primary=True,
            ping_interval=1,
            ping_timeout=3,
            sif_trailer=self.injected,
        )
        await member.signal(join=join)
        if self.newer_token:
            await member.signal(refresh_token=self.newer_token)
        await member.offer()
        return member


def _refusal(status: int) -> web.HTTPException:
    class Refusal(web.HTTPException):
        status_code = status

    return Refusal()


@asynccontextmanager
async def small_sfu() -> AsyncIterator[Sfu]:
    """Run a small SFU."""
    sfu = Sfu()
    await sfu.start()
    try:
        yield sfu
    finally:
        await sfu.stop()
