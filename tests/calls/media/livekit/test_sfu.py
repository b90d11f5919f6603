"""The connection to an SFU, with a small one on this machine."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
from livekit.protocol import models, rtc

from bot.calls.media import reorder
from bot.calls.media.door import Refused
from bot.calls.media.livekit import subscriber, transport
from bot.calls.media.livekit.keyring import Keyring
from bot.calls.media.livekit.publisher import SILENCE, Publisher
from bot.calls.media.livekit.reception import Reception
from bot.calls.media.livekit.sfu import LiveKitSfu
from bot.calls.media.livekit.signalling import Signalling, connect
from bot.calls.media.livekit.stay import Stay
from storage.records import SAMPLE_RATE, Samples
from tests.livekit.ear import SfuEar
from tests.livekit.sfu import OPUS, PACKET, RED, SCREEN, UNKNOWN, Room, Sfu, Speaker, small_sfu

SPEECH = [bytes((0xF8, number)) + b"speech" for number in range(100)]
BOT, ANNA, BERT = "@bot:hs:BOT", "@anna:hs:A", "@bert:hs:B"


class Lab:
    """A small SFU with one room, and connections to it that are closed at the end."""

    def __init__(self, sfu: Sfu, stack: AsyncExitStack) -> None:
        self.sfu, self._stack = sfu, stack
        self._began = time.monotonic()

    @property
    def room(self) -> Room:
        return self.sfu.room("call")

    def clock(self) -> Samples:
        return Samples(int((time.monotonic() - self._began) * SAMPLE_RATE))

    def connection(self, *, encrypted: bool = False, private: bool = True) -> tuple[LiveKitSfu, SfuEar]:
        ear = SfuEar()
        connection = LiveKitSfu(ear, self.clock, private=private, encrypted=encrypted)
        self._stack.push_async_callback(connection.close)
        return connection, ear

    async def join(self, *identities: str) -> tuple[LiveKitSfu, SfuEar]:
        """Join the room, and receive these participants."""
        connection, ear = self.connection()
        connection.receive(identities)
        await connection.join(self.sfu.url, self.sfu.token("call", BOT))
        return connection, ear

    async def heard(self) -> tuple[LiveKitSfu, SfuEar, Speaker]:
        """Join, and hear somebody."""
        anna = self.room.speaker(ANNA)
        await anna.publish()
        connection, ear = await self.join(ANNA)
        await self.until(lambda: self.is_received(anna))
        await anna.say(SPEECH[:10])
        await ear.hears(ANNA, 10)
        return connection, ear, anna

    def is_received(self, speaker: Speaker) -> bool:
        """Tell whether the packets of somebody are sent to us, and we know of it."""
        return self.room.member.receives(speaker)

    @staticmethod
    async def until(true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():  # noqa: ASYNC110 (the SFU's state)
                await asyncio.sleep(0.01)


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with small_sfu() as sfu, AsyncExitStack() as stack:
        yield Lab(sfu, stack)


def places(ear: SfuEar, identity: str) -> list[tuple[int, int]]:
    """Return the number of each packet in the source, and its place."""
    return [(SPEECH.index(sound.payload), sound.at) for sound in ear.sounds[identity]]


async def test_sound_arrives_as_it_was_said(lab: Lab) -> None:
    """Each packet of a microphone arrives unchanged, at its place on the clock."""
    anna = lab.room.speaker(ANNA)
    await anna.publish()
    _, ear = await lab.join(ANNA)
    assert ear.told == ["joined", f"came {ANNA}", f"unmuted {ANNA}"]
    await lab.until(lambda: lab.is_received(anna))
    began = lab.clock()
    speaking = asyncio.ensure_future(anna.say(SPEECH[:25]))
    await ear.hears(ANNA, 1)
    heard = lab.clock()
    await speaking
    await ear.hears(ANNA, 25)
    assert [number for number, _ in places(ear, ANNA)] == list(range(25))
    offsets = {at - number * PACKET for number, at in places(ear, ANNA)}
    assert len(offsets) == 1
    assert began - PACKET <= offsets.pop() <= heard


async def test_only_microphones_that_are_wanted_are_subscribed_to(lab: Lab) -> None:
    """Video, screen shares and the microphones of others are not asked for; sound of an unknown source is."""
    anna, bert = lab.room.speaker(ANNA), lab.room.speaker(BERT)
    microphone = await anna.publish()
    await anna.publish(SCREEN)
    await anna.publish(models.TrackSource.CAMERA, video=True)
    unknown = await bert.publish(UNKNOWN)
    connection, _ = await lab.join(ANNA)
    await lab.until(lambda: lab.room.member.subscribed == [microphone.sid])
    connection.receive({BERT})
    await lab.until(lambda: lab.room.member.subscribed == [unknown.sid])
    connection.receive(())
    await lab.until(lambda: lab.room.member.subscribed == [])


async def test_participants_come_go_and_mute(lab: Lab) -> None:
    """The news of the room are told once each."""
    _, ear = await lab.join(ANNA)
    anna = await lab.room.enter(ANNA)
    await ear.is_told(f"muted {ANNA}")
    await anna.publish()
    await ear.is_told(f"unmuted {ANNA}")
    await anna.mute(True)
    await ear.is_told(f"muted {ANNA}", 2)
    await anna.unpublish()
    await anna.leave()
    await ear.is_told(f"went {ANNA}")
    assert ear.told == [
        "joined",
        *(f"{what} {ANNA}" for what in ("came", "muted", "unmuted", "muted", "went")),
    ]


async def test_another_microphone_goes_on(lab: Lab) -> None:
    """A track that is unpublished and published again is the same participant's, in a line that was used before."""
    _, ear, anna = await lab.heard()
    heard = len(ear.sounds[ANNA])
    await anna.unpublish()
    bert = await lab.room.enter(BERT)
    await anna.publish()
    anna.skip(30_000)
    await lab.until(lambda: lab.is_received(anna))
    assert len(lab.room.member.lines) == 1
    await anna.say(SPEECH[50:70])
    await ear.hears(ANNA, heard + 20)
    assert [number for number, _ in places(ear, ANNA)][-20:] == list(range(50, 70))
    assert bert.identity not in ear.sounds


async def test_packets_that_come_again_take_their_place(lab: Lab) -> None:
    """A packet that was lost takes its place when it comes again; one that does not is a hole."""
    _, ear, anna = await lab.heard()
    heard = len(ear.sounds[ANNA])
    anna.skip(1)
    await anna.say(SPEECH[51:53], 0)
    await anna.send_again(3, SPEECH[50])
    await anna.say(SPEECH[53:56])
    await ear.hears(ANNA, heard + 6)
    assert [number for number, _ in places(ear, ANNA)][-6:] == list(range(50, 56))
    anna.skip(2)
    await anna.say(SPEECH[58:70])
    await ear.hears(ANNA, heard + 18)
    assert sum(sound.lost_before for sound in ear.sounds[ANNA]) == 2 * PACKET


async def test_lost_packets_are_asked_for_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A packet that is missing is requested from the SFU."""
    asked: list[int] = []
    request = Reception.request

    def noted(reception: Reception, ours: int) -> bytes:
        asked.extend(reception._missing)
        return request(reception, ours)

    monkeypatch.setattr(Reception, "request", noted)
    _, ear, anna = await lab.heard()
    heard, missing = len(ear.sounds[ANNA]), anna.sequence
    anna.skip(1)
    await anna.say(SPEECH[50:60])
    await lab.until(lambda: missing in asked)
    await ear.hears(ANNA, heard + 10)


async def test_sound_that_ends_at_the_sfu_is_joined_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the transport of the sound ends while signalling lives, another stay follows."""
    monkeypatch.setattr("bot.calls.media.livekit.stay.TOLD_S", 0.05)
    connection, ear, _ = await lab.heard()
    before = connection._stay
    await lab.room.member.end_sound()
    await lab.until(lambda: connection._stay is not before)
    assert ear.told == ["joined", f"came {ANNA}", f"unmuted {ANNA}"]


async def up(lab: Lab) -> tuple[LiveKitSfu, SfuEar, Stay]:
    """Join, and wait until the microphone is heard."""
    connection, ear = await lab.join()
    stay = connection._stay
    assert stay is not None
    await lab.until(lambda: len(lab.room.member.said) >= 10)
    return connection, ear, stay


def ends(stay: Stay) -> bool:
    return stay._subscriber.has_ended or stay._publisher._transport.has_ended


@pytest.mark.parametrize("which", ["end_sound", "end_microphone"])
async def test_who_is_put_out_does_not_join_again(lab: Lab, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    """An SFU that puts us out closes a transport before we read its reason: nothing is resumed or joined meanwhile."""
    monkeypatch.setattr("bot.calls.media.livekit.stay.TOLD_S", 60)
    _, ear, stay = await up(lab)
    member = lab.room.member
    await getattr(member, which)()
    await lab.until(lambda: ends(stay))
    await member.leave(models.DisconnectReason.DUPLICATE_IDENTITY)
    await ear.is_told("ended duplicate")
    assert len(lab.sfu.tokens) == 1


@pytest.mark.parametrize("which", ["end_sound", "end_microphone"])
async def test_a_stay_whose_transport_ended_is_not_resumed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """When the signalling ends, too, without a reason, another stay follows at once."""
    monkeypatch.setattr("bot.calls.media.livekit.stay.TOLD_S", 60)
    connection, _, before = await up(lab)
    member = lab.room.member
    await getattr(member, which)()
    await lab.until(lambda: ends(before))
    await member.drop()
    await lab.until(lambda: connection._stay is not before)
    assert len(lab.sfu.tokens) == 2


@pytest.mark.parametrize("which", ["end_sound", "end_microphone"])
async def test_a_transport_that_ends_while_a_stay_resumes_is_joined_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """The end of a transport counts, also where the wait for its reason is over before the signalling is there."""
    monkeypatch.setattr("bot.calls.media.livekit.stay.TOLD_S", 0)
    connection, ear, before = await up(lab)
    member = lab.room.member

    async def ended(url: str, token: str, *, private: bool, resume: str | None = None) -> Signalling:
        if resume is not None:
            await getattr(member, which)()
            await lab.until(lambda: before._ending and not before._tasks)
        return await connect(url, token, private=private, resume=resume)

    monkeypatch.setattr("bot.calls.media.livekit.stay.connect", ended)
    await member.drop()
    await lab.until(lambda: connection._stay is not before)
    assert ear.told == ["joined"]


async def test_redundant_packets_are_not_negotiated(lab: Lab) -> None:
    """Our answers name Opus and nothing else; packets of another type are dropped."""
    _, ear, anna = await lab.heard()
    heard = len(ear.sounds[ANNA])
    await anna.send(b"\x6f" + SPEECH[40], RED)
    await anna.say(SPEECH[41:61])
    await ear.hears(ANNA, heard + 20)
    assert SPEECH[40] not in ear.payloads(ANNA)[heard:]
    sound = lab.room.member.answers[-1].partition("m=audio")[2]
    assert sound.splitlines()[0] == f" 9 UDP/TLS/RTP/SAVPF {OPUS}"
    assert "a=recvonly" in sound


async def test_a_flood_of_one_stream_leaves_the_others_alone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stream has its own allowance of packets."""
    monkeypatch.setattr(subscriber, "MOST_PACKETS", 0)
    monkeypatch.setattr(subscriber, "BURST_PACKETS", 40)
    anna, bert = lab.room.speaker(ANNA), lab.room.speaker(BERT)
    await anna.publish()
    await bert.publish()
    _, ear = await lab.join(ANNA, BERT)
    await lab.until(lambda: lab.is_received(anna) and lab.is_received(bert))
    await anna.say([SPEECH[0]] * 100, 0)
    await bert.say(SPEECH[:20])
    await ear.hears(BERT, 20)
    assert len(ear.sounds[ANNA]) <= 40


async def test_our_track_is_muted_but_for_the_beep(lab: Lab) -> None:
    """Our microphone is published muted, and unmuted while the tone plays."""
    connection, _ = await lab.join()
    await lab.until(lambda: len(lab.room.member.said) >= 10)
    track = lab.room.member.track
    assert track is not None
    assert (track.source, track.muted) == (models.TrackSource.MICROPHONE, True)
    assert track.encryption == models.Encryption.NONE
    assert lab.room.member.mutes == []
    connection.beep()
    await lab.until(lambda: lab.room.member.mutes == [False, True])
    assert len({packet[12:] for packet in lab.room.member.said}) > 10


async def test_our_track_is_muted_after_a_break_in_the_beep(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transport that is lost while the tone plays leaves our microphone muted, not open."""
    connection, _ = await lab.join()
    await lab.until(lambda: len(lab.room.member.said) >= 10)

    async def lost(packet: bytes) -> None:
        raise TimeoutError

    assert connection._stay is not None
    monkeypatch.setattr(connection._stay._publisher._transport, "send", lost)
    connection.beep()
    await lab.until(lambda: lab.room.member.mutes == [False, True])


async def test_sound_waits_for_its_key(lab: Lab) -> None:
    """Encrypted sound that comes before its key is heard when the key is there, at its place; no packet is lost when
    the key changes."""
    anna = lab.room.speaker(ANNA)
    await anna.publish()
    anna.encrypt(0, b"a" * 16)
    connection, ear = lab.connection(encrypted=True)
    connection.receive({ANNA})
    await connection.join(lab.sfu.url, lab.sfu.token("call", BOT))
    await lab.until(lambda: lab.is_received(anna))
    began = lab.clock()
    await anna.say(SPEECH[:20])
    assert ANNA not in ear.sounds
    connection.take_key(ANNA, 0, b"a" * 16)
    await ear.hears(ANNA, 20)
    assert began - PACKET <= ear.sounds[ANNA][0].at <= lab.clock() - 19 * PACKET + SAMPLE_RATE // 10
    connection.take_key(ANNA, 1, b"b" * 16)
    anna.encrypt(1, b"b" * 16)
    await anna.say(SPEECH[20:30])
    await ear.hears(ANNA, 30)
    assert [number for number, _ in places(ear, ANNA)] == list(range(30))


async def test_unencrypted_sound_is_not_taken_where_it_has_to_be(lab: Lab) -> None:
    """Sound in clear of a call that is encrypted is told, and not heard."""
    anna = lab.room.speaker(ANNA)
    await anna.publish()
    connection, ear = lab.connection(encrypted=True)
    connection.receive({ANNA})
    await connection.join(lab.sfu.url, lab.sfu.token("call", BOT))
    await lab.until(lambda: lab.is_received(anna))
    await anna.say(SPEECH[:10])
    await ear.is_told(f"unencrypted {ANNA}")
    assert ANNA not in ear.sounds


async def test_sound_may_be_encrypted_where_it_need_not(lab: Lab) -> None:
    """Sound of a participant who says that they encrypt is heard with its key in an unencrypted call too."""
    anna = lab.room.speaker(ANNA)
    anna.encrypt(0, b"a" * 16)
    await anna.publish()
    connection, ear = lab.connection()
    connection.receive({ANNA})
    await connection.join(lab.sfu.url, lab.sfu.token("call", BOT))
    await lab.until(lambda: lab.is_received(anna))
    await anna.say(SPEECH[:10])
    assert ANNA not in ear.sounds
    connection.take_key(ANNA, 0, b"a" * 16)
    await ear.hears(ANNA, 10)
    assert [number for number, _ in places(ear, ANNA)] == list(range(10))


async def test_our_track_is_encrypted_where_it_has_to_be(lab: Lab) -> None:
    """In an encrypted call nothing is sent before we have a key, and then only what is encrypted with it."""
    connection, _ = lab.connection(encrypted=True)
    await connection.join(lab.sfu.url, lab.sfu.token("call", BOT))
    connection.beep()
    assert not lab.room.member.said
    connection.use_own_key(3, b"k" * 16)
    await lab.until(lambda: len(lab.room.member.said) >= 10)
    assert lab.room.member.track is not None
    assert lab.room.member.track.encryption == models.Encryption.GCM
    keys = Keyring()
    keys.take(3, b"k" * 16)
    assert [keys.open(packet[12:]) for packet in lab.room.member.said[:10]] == [SILENCE] * 10


async def test_a_token_that_is_refused(lab: Lab) -> None:
    """A token that the SFU doesn't take is refused, and is in no error."""
    connection, ear = lab.connection()
    with pytest.raises(Refused, match="refused"):
        await connection.join(lab.sfu.url, "secret.token.here")
    assert ear.told == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://sfu.example", "bad_url"),
        ("wss://a:b@sfu.example", "bad_url"),
        ("nonsense", "bad_url"),
        ("wss://127.0.0.1:1", "private_address"),
        ("wss://[::1]:1", "private_address"),
        ("wss://localhost:1", "private_address"),
        ("ws://1.1.1.1:1", "private_address"),
    ],
)
async def test_addresses_of_private_networks_are_not_connected_to(lab: Lab, url: str, reason: str) -> None:
    """An SFU that a member names has to be reached by TLS, in the public Internet."""
    connection, _ = lab.connection(private=False)
    with pytest.raises(Refused, match=reason):
        await connection.join(url, "token")


async def test_nobody_answers(lab: Lab) -> None:
    """An SFU that isn't there is not reached."""
    await lab.sfu.stop()
    connection, _ = lab.connection()
    with pytest.raises(Refused, match="unreachable"):
        await connection.join(lab.sfu.url, "token")


async def test_a_break_of_signalling_is_resumed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the WebSocket ends the stay goes on, with a new ICE connection; nobody is told, nobody goes, and packets are
    taken from the old one too."""
    monkeypatch.setattr(transport, "OVERLAP_S", 60)
    _, ear, anna = await lab.heard()
    member = lab.room.member
    old = member._sending._path.connection
    speaking = asyncio.ensure_future(anna.say(SPEECH[10:60]))
    await member.drop()
    await lab.until(lambda: member._sending._path.connection is not old)
    member._sending._path.connection = old
    await speaking
    await ear.hears(ANNA, 60)
    assert [number for number, _ in places(ear, ANNA)] == list(range(60))
    assert lab.room.everybody == [member]
    assert ear.told == ["joined", f"came {ANNA}", f"unmuted {ANNA}"]


async def test_an_sfu_that_is_started_again_is_joined_again(lab: Lab) -> None:
    """After a restart the newest token is used; who is gone went, and who is there came once."""
    lab.room.speaker(BERT)
    lab.sfu.newer_token = lab.sfu.token("call", BOT) + ""
    _, ear, _ = await lab.heard()
    heard = len(ear.sounds[ANNA])
    await lab.sfu.stop()
    anna = lab.room.speaker(ANNA)
    await anna.publish()
    await lab.sfu.start()
    await ear.is_told(f"went {BERT}")
    await lab.until(lambda: bool(lab.room.everybody) and lab.is_received(anna))
    assert lab.sfu.tokens[-1] == lab.sfu.newer_token
    await anna.say(SPEECH[20:40])
    await ear.hears(ANNA, heard + 20)
    assert ear.told.count(f"came {ANNA}") == 1
    assert ear.told.count("joined") == 1
    assert not any(told.startswith("ended") for told in ear.told)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (models.DisconnectReason.DUPLICATE_IDENTITY, "ended duplicate"),
        (models.DisconnectReason.PARTICIPANT_REMOVED, "ended removed"),
        (models.DisconnectReason.ROOM_DELETED, "ended closed"),
    ],
)
async def test_an_sfu_that_puts_us_out(lab: Lab, reason: "models.DisconnectReason", told: str) -> None:
    """A connection that the SFU ends for good is over, once."""
    _, ear = await lab.join()
    await lab.room.member.leave(reason)
    await ear.is_told(told)
    await lab.room.member.drop()
    assert len(lab.sfu.tokens) == 1
    assert [what for what in ear.told if what.startswith("ended")] == [told]


async def test_an_sfu_that_wants_another_stay_has_one(lab: Lab) -> None:
    """An SFU that asks for a new connection (a restart of it, an error of its own) gets one."""
    _, ear = await lab.join()
    await lab.room.member.leave(models.DisconnectReason.SERVER_SHUTDOWN)
    await lab.until(lambda: len(lab.room.everybody) == 2 and lab.room.member.connected.is_set())
    assert ear.told == ["joined"]


async def test_an_sfu_that_is_never_content(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SFU that wants another stay again and again is joined at a bounded rate."""
    monkeypatch.setattr("bot.calls.media.livekit.sfu.MOST_BREAKS", 0.0)
    connection, _ = await lab.join()

    async def is_put_out() -> None:
        before = connection._stay
        await lab.room.member.leave(models.DisconnectReason.SERVER_SHUTDOWN)
        await lab.until(lambda: connection._stay is not before)

    for _ in range(6):
        await is_put_out()
    await lab.room.member.leave(models.DisconnectReason.SERVER_SHUTDOWN)
    await asyncio.sleep(0.5)  # long enough for two more
    assert len(lab.room.everybody) == 7


async def test_a_token_that_is_refused_in_the_middle(lab: Lab) -> None:
    """A token that has run out when it is needed again ends the connection."""
    _, ear = await lab.join()
    lab.sfu.refuses = 401
    await lab.room.member.drop()
    await ear.is_told("ended refused")


async def test_an_sfu_that_stays_away_is_lost(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some seconds without success the connection is over."""
    monkeypatch.setattr("bot.calls.media.livekit.sfu.LOST_S", 0.5)
    _, ear = await lab.join()
    await lab.sfu.stop()
    await ear.is_told("ended lost")


@pytest.mark.parametrize(
    "message",
    [
        b"\xff\xff\xff",
        rtc.SignalResponse(offer=rtc.SessionDescription(type="offer", sdp="v=0\r\nm=audio")).SerializeToString(),
    ],
)
async def test_malformed_messages_end_a_stay_and_nothing_else(lab: Lab, message: bytes) -> None:
    """After a message that can't be read the room is joined anew, or the stay is resumed."""
    _, ear = await lab.join()
    await lab.room.member.send_raw(message)
    await lab.until(lambda: len(lab.sfu.tokens) == 2)
    assert ear.told == ["joined"]


async def test_candidates_that_are_none(lab: Lab) -> None:
    """Candidates that are malformed, or are too many, are left out, and the connection stands."""
    _, ear, anna = await lab.heard()
    member = lab.room.member
    for text in ("", "candidate:x", "candidate:1 1 udp 1 nonsense 5 typ host"):
        await member.trickle(text)
    for init in ("{", "[]", "{}", "[" * 2000):
        await member.signal(trickle=rtc.TrickleRequest(candidateInit=init))
    for port in range(1, 200):
        await member.trickle(f"candidate:1 1 udp 1 127.0.0.1 {port} typ host")
    await lab.room.enter(BERT)
    await ear.is_told(f"came {BERT}")  # behind all of them
    await anna.say(SPEECH[10:20])
    await ear.hears(ANNA, 20)
    assert len(lab.sfu.tokens) == 1


async def test_closing_leaves_the_room(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing leaves the room, and hands on what waits; nothing is told afterwards."""
    monkeypatch.setattr(reorder, "WAIT", 60 * SAMPLE_RATE)
    connection, ear, anna = await lab.heard()
    await anna.say(SPEECH[10:12])
    anna.skip(3)
    await anna.send(SPEECH[15])
    await lab.until(lambda: connection._ears.waits(ANNA))
    await connection.close()
    assert lab.room.everybody[-1].left
    assert ear.payloads(ANNA)[-1] == SPEECH[15]
    told = list(ear.told)
    await connection.close()
    assert ear.told == told


async def test_who_is_wanted_is_who_was_wanted_last(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wish while another stay begins holds for it."""
    anna, bert = lab.room.speaker(ANNA), lab.room.speaker(BERT)
    await anna.publish()
    await bert.publish()
    connection, _ = await lab.join(ANNA)
    established = Stay.established

    async def wished(stay: Stay) -> None:
        await established(stay)
        connection.receive({BERT})

    monkeypatch.setattr(Stay, "established", wished)
    before = connection._stay
    await lab.room.member.leave(models.DisconnectReason.SERVER_SHUTDOWN)
    await lab.until(lambda: connection._stay is not before)
    await lab.until(lambda: lab.room.member.subscribed == [bert.track.sid])


async def test_an_objection_is_not_lost_with_the_signalling(lab: Lab) -> None:
    """An objection is told to the SFU again when a stay is resumed."""
    connection, _, anna = await lab.heard()
    member, socket = lab.room.member, lab.room.member.socket
    connection.receive(())
    await lab.until(lambda: member.subscribed == [])
    member.subscribed.append(anna.track.sid)  # as if that had never arrived
    await member.drop()
    await lab.until(lambda: member.socket is not socket and member.subscribed == [])


async def test_a_track_that_is_refused_is_asked_for_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription that the SFU refuses is tried again after a while."""
    monkeypatch.setattr("bot.calls.media.livekit.stay.AGAIN_S", 0.05)
    await lab.heard()
    member = lab.room.member
    (track,) = member.subscribed
    member.subscribed.clear()
    refusal = rtc.SubscriptionResponse(track_sid=track, err=models.SubscriptionError.SE_TRACK_NOTFOUND)
    await member.signal(subscription_response=refusal)
    await lab.until(lambda: member.subscribed == [track])


async def test_an_error_that_nobody_foresaw_is_tried_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error while a stay is resumed leads to another stay."""
    _, ear = await lab.join()

    async def fails(stay: Stay) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Stay, "resume", fails)
    await lab.room.member.drop()
    await lab.until(lambda: len(lab.room.everybody) == 2 and lab.room.member.connected.is_set())
    assert ear.told == ["joined"]


async def test_closing_that_is_cancelled_goes_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything of a stay is closed, whoever waits for it, and however long a part of it takes."""
    connection, _ = await lab.join()
    stay = connection._stay
    assert stay is not None
    ending, close = asyncio.Event(), Publisher.close

    async def slow(publisher: Publisher) -> None:
        await ending.wait()
        await close(publisher)

    monkeypatch.setattr(Publisher, "close", slow)
    closing = asyncio.ensure_future(stay.close())
    await asyncio.sleep(0)
    closing.cancel()
    await lab.until(lambda: stay._signalling._socket.closed and stay._subscriber._transport._over)
    ending.set()
    await lab.until(lambda: stay._publisher._transport._over)


async def test_an_sfu_that_reads_nothing_holds_nothing_up(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving goes on where the good-bye can't be sent."""
    connection, _ = await lab.join()
    stay = connection._stay
    assert stay is not None

    async def never(data: bytes) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(stay._signalling._socket, "send_bytes", never)
    async with asyncio.timeout(60):
        await stay.leave()
    assert stay._subscriber._transport._over


async def test_no_token_is_logged(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the token nor what was said is in the log."""
    caplog.set_level(logging.DEBUG)
    await lab.heard()
    lab.sfu.refuses = 500
    await lab.room.member.drop()
    await lab.until(lambda: lab.sfu.refused >= 2)
    assert lab.sfu.tokens[0] not in caplog.text
    assert not any(repr(said)[2:-1] in caplog.text or said.hex() in caplog.text for said in SPEECH[:10])
