"""Calls of MatrixRTC: what the bot receives from SFUs, what it keeps of it, and what the failure of one SFU costs."""

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bot.calls import link, reception
from bot.calls.link import Link
from bot.calls.media.door import Refused
from bot.calls.model import Device, KeyTold, Transport
from bot.calls.tokens import Grant
from bot.calls.wire import matrixrtc_own
from bot.errors import GiveUp, TryLater
from bot.event_types import ENCRYPTION
from bot.recording.model import Ended, Forgotten, Silenced
from storage import archive, optouts
from storage.records import (
    CallEventKind,
    CallProtocol,
    ChunkState,
    EndedBy,
    LeftBy,
    OptOut,
    Position,
    RecordingState,
    Samples,
    UserId,
)
from tests.calls.stage import YAN, ZOE, FakeSfu, Stage
from tests.world import ALICE, BOT, ROOM, World, heard

S = 48_000
OTHER = "https://other.example"
JOINED, LEFT, LOST, REJOINED = (
    CallEventKind.JOINED,
    CallEventKind.LEFT,
    CallEventKind.LOST,
    CallEventKind.REJOINED,
)
REFUSED = GiveUp("the token service refuses the bot (403)", reason="refused")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let links try again and leave without a pause."""
    monkeypatch.setattr(link, "PAUSES_S", (0.0,))
    monkeypatch.setattr(reception, "LINGER_S", 0.0)


@pytest.fixture
async def stage(world: World) -> AsyncIterator[Stage]:
    made = Stage(world)
    await made.open_room()
    yield made
    await made.die()


async def states(stage: Stage) -> set[tuple[UserId, ChunkState]]:
    """Return whose slices the newest recording has, in which states."""
    recording = await stage.recording()
    async with stage.store.read() as db:
        return {(chunk.sender, chunk.state) for chunk in await archive.chunks(db, recording.id)}


async def encrypt(stage: Stage) -> None:
    await stage.write(ENCRYPTION, {"algorithm": "m.megolm.v1.aes-sha2"})


async def test_a_call_is_recorded_from_its_notice_to_its_end(stage: Stage) -> None:
    """Each device has a stem from its coming to its leaving, and the bot goes when nobody is left."""
    zoe, yan = await stage.join(ZOE), await stage.join(YAN)
    assert [notice.during for notice in stage.told if notice.opens] == [(await stage.recording()).id]
    assert stage.presence.done == ["shown"]
    sfu = await stage.come(zoe)
    await stage.come(yan)
    assert sfu.joined == ("wss://sfu.example", "token 1")
    assert sfu.received == {zoe, yan}
    sfu.speak(zoe, 2)
    sfu.speak(yan, 1)
    await stage.pass_by(2)
    await stage.part(YAN)
    await stage.pass_by(31)
    await stage.part(ZOE)
    await stage.pass_by(31)
    recording = await stage.recording()
    assert (recording.protocol, recording.ended_by) == (CallProtocol.MATRIXRTC, EndedBy.STOPPED)
    assert recording.state is RecordingState.COMPLETE
    assert [(stem.user_id, stem.device_id, stem.left_by, stem.received) for stem in recording.stems] == [
        (ZOE, "DEV", LeftBy.LEFT, 2 * S),
        (YAN, "DEV", LeftBy.LEFT, 1 * S),
    ]
    assert await stage.events() == [(ZOE, JOINED), (YAN, JOINED), (YAN, LEFT), (ZOE, LEFT)]
    assert sfu.is_closed
    assert stage.presence.done == ["shown", "hidden"]
    assert len(stage.asked) == 1


async def test_a_muted_device(stage: Stage) -> None:
    """A device that is muted has a stem; what its microphone does is listed."""
    zoe = await stage.join(ZOE)
    sfu = await stage.come(zoe)
    for muted in (True, True, False):
        sfu.listener.muted(zoe, muted)
    await stage.quiet()
    assert await stage.events() == [(ZOE, JOINED), (ZOE, CallEventKind.MUTED), (ZOE, CallEventKind.UNMUTED)]


async def test_who_is_not_listed_is_not_received(stage: Stage) -> None:
    """Participants of the SFU who are not in the call are nobody."""
    zoe = await stage.join(ZOE)
    sfu = await stage.come("@stranger:hs:DEV")
    sfu.speak("@stranger:hs:DEV", 1)
    await stage.come(zoe)
    assert sfu.received == {zoe}
    assert await stage.events() == [(ZOE, JOINED)]


async def test_who_opts_out_is_not_received(stage: Stage) -> None:
    """The sound of a member who objects is not asked for from then on; what was heard before stays."""
    zoe, yan = await stage.join(ZOE), await stage.join(YAN)
    sfu = await stage.come(zoe)
    await stage.come(yan)
    sfu.speak(zoe, 1)
    await stage.pass_by(1)
    async with stage.store.write() as db:
        objection = OptOut(ZOE, ROOM, Position(stage.next_position()), out=True, at=stage.world.clock())
        await optouts.add(db, objection)
    sfu.last_words[zoe] = lambda: sfu.speak(zoe, 1)
    await stage.apply(Silenced(objection.position, ZOE))
    await stage.work()
    assert sfu.received == {yan}
    assert (ZOE, CallEventKind.DECLINED) in await stage.events()
    await stage.pass_by(1)
    await stage.part(YAN)
    await stage.pass_by(31)
    recording = await stage.recording()
    assert [(stem.left_by, stem.received) for stem in recording.stems] == [(LeftBy.ENDED, S), (LeftBy.LEFT, 0)]
    assert await states(stage) == {(ZOE, ChunkState.STORED)}


async def test_who_wants_to_be_forgotten_is_silent_in_a_running_call(stage: Stage) -> None:
    """The sound of a member who is forgotten is taken out, also what their open stem still brings; the others' sound
    stays, and the call goes on."""
    zoe, yan = await stage.join(ZOE), await stage.join(YAN)
    sfu = await stage.come(zoe)
    await stage.come(yan)
    for seconds in (1, 2):
        sfu.speak(zoe, seconds)
        sfu.speak(yan, seconds)
        await stage.pass_by(seconds)
        if seconds == 1:
            await stage.apply(Forgotten(ZOE))
            await stage.work()
    assert (await stage.recording()).state is RecordingState.LIVE
    await stage.part(ZOE)
    await stage.part(YAN)
    await stage.pass_by(31)
    recording = await stage.recording()
    assert [(stem.removed, stem.blob is None) for stem in recording.stems] == [(True, True), (False, False)]
    assert await states(stage) == {(ZOE, ChunkState.REDACTED), (YAN, ChunkState.STORED)}


async def test_the_last_sound_of_a_leg(stage: Stage) -> None:
    """Sound that waits while a member moves to another SFU, or leaves, is in the stem that ends."""
    zoe = await stage.join(ZOE)
    first = await stage.come(zoe)
    first.last_words[zoe] = lambda: first.speak(zoe, 0.2)
    await stage.join(ZOE, sfu=OTHER)
    second = await stage.come(zoe, "other.example")
    second.last_words[zoe] = lambda: second.speak(zoe, 0.4)
    second.listener.went(zoe)
    await stage.quiet()
    await stage.part(ZOE)
    await stage.pass_by(31)
    assert [stem.received for stem in (await stage.recording()).stems] == [S // 5, 2 * S // 5]


async def test_a_member_on_two_devices(stage: Stage) -> None:
    """Each device of a member has a stem of its own."""
    first, second = await stage.join(ZOE), await stage.join(ZOE, device_id="PHONE")
    await stage.come(first)
    await stage.come(second)
    recording = await stage.recording()
    assert [stem.device_id for stem in recording.stems] == ["DEV", "PHONE"]


# ---- the end


async def speak_in_call(stage: Stage) -> FakeSfu:
    """Let Zoe be in a call, and be heard for a second."""
    zoe = await stage.join(ZOE)
    sfu = await stage.come(zoe)
    sfu.speak(zoe, 1)
    await stage.pass_by(1)
    return sfu


async def check_left(stage: Stage, sfu: FakeSfu, by: EndedBy) -> None:
    """Check that the bot has left, and kept what was heard."""
    recording = await stage.recording()
    assert (recording.ended_by, stage.live, sfu.is_closed) == (by, None, True)
    assert [(stem.left_by, stem.received) for stem in recording.stems] == [(LeftBy.ENDED, S)]
    assert await states(stage) == {(ZOE, ChunkState.STORED)}
    assert stage.presence.done == ["shown", "hidden"]


async def test_a_call_that_was_too_long_is_not_joined_again(stage: Stage) -> None:
    """After `recording.max_broadcast_s` the bot stays away until nobody is in the call who was then."""
    sfu = await speak_in_call(stage)
    await stage.pass_by(120)
    await check_left(stage, sfu, EndedBy.LIMIT)
    await stage.join(YAN)
    assert len(await stage.recordings()) == 1
    await stage.part(ZOE)
    assert len(await stage.recordings()) == 2


async def test_record_calls_off_ends_the_recording(stage: Stage) -> None:
    """A recording that a command ends in the rows is ended in the call, and the bot does not come back."""
    sfu = await speak_in_call(stage)
    await stage.policy(calls_on=False)
    await stage.apply(Ended(EndedBy.SWITCHED_OFF))
    await stage.work()
    await check_left(stage, sfu, EndedBy.SWITCHED_OFF)
    await stage.join(YAN)
    assert len(await stage.recordings()) == 1


async def test_a_bot_that_is_removed_from_the_room_leaves_the_call(stage: Stage) -> None:
    """Nobody is recorded by a bot that is not in the room."""
    sfu = await speak_in_call(stage)
    await stage.world.hear(heard("$kick", "m.room.member", {"membership": "leave"}, state_key=BOT), joined=False)
    await stage.work()
    await check_left(stage, sfu, EndedBy.REMOVED)


# ---- several SFUs, and those that fail


async def test_an_sfu_that_refuses_the_bot_is_the_gap_of_its_speakers(stage: Stage) -> None:
    """The others are recorded, the room is told once whose sound is missing, and the bot tries again."""
    stage.withheld[OTHER] = REFUSED
    zoe, yan = await stage.join(ZOE), await stage.join(YAN, sfu=OTHER)
    sfu = await stage.come(zoe)
    sfu.speak(zoe, 1)
    assert await stage.events() == [(YAN, CallEventKind.UNREACHABLE), (ZOE, JOINED)]
    await stage.pass_by(5)
    await stage.pass_by(20)
    assert stage.asked.count(OTHER) == 3
    assert sum("does not have Yan" in notice.body for notice in stage.told) == 1
    stage.withheld.clear()
    await stage.pass_by(60)
    await stage.come(yan, "other.example")
    assert (await stage.events())[-1] == (YAN, JOINED)
    assert len(stage.media.sfus) == 2


async def test_who_can_not_be_received_has_a_gap(stage: Stage) -> None:
    """The gap lasts from the failure of their SFU until the bot is there, and the recording is incomplete. The sound of
    the others has no hole there. A room is not told of an outage of seconds."""
    zoe, yan = await stage.join(ZOE), await stage.join(YAN, sfu=OTHER)
    sfu, other = await stage.come(zoe), await stage.come(yan, "other.example")
    sfu.speak(zoe, 2)
    await stage.pass_by(2)
    stage.withheld[OTHER] = TryLater("the token service answered 502")
    other.listener.ended("closed")
    await stage.quiet()
    await stage.pass_by(3)
    assert (await stage.events())[-1] == (YAN, CallEventKind.UNREACHABLE)
    (lasting,) = (await stage.recording()).unheard
    assert (lasting.user_id, lasting.begins, lasting.ends) == (YAN, 5 * S, None)
    stage.withheld.clear()
    await stage.pass_by(5)
    (over,) = (await stage.recording()).unheard
    assert over == replace(lasting, ends=Samples(10 * S))
    await stage.part(YAN)
    await stage.part(ZOE)
    await stage.pass_by(31)
    recording, ledger = await stage.laid_out()
    assert (recording.state, ledger.gaps) == (RecordingState.INCOMPLETE, ())
    gaps = [(gap.position, gap.samples, gap.user_id, gap.reason) for gap in ledger.of_speakers]
    assert gaps == [(5 * S, 5 * S, YAN, CallEventKind.UNREACHABLE)]
    assert not any("does not have Yan" in notice.body for notice in stage.told)


async def test_an_outage_that_lasts_is_told_once(stage: Stage) -> None:
    """The room hears of it after ten seconds."""
    stage.withheld[OTHER] = TryLater("the token service answered 502")
    await stage.join(YAN, sfu=OTHER)
    for seconds, told in ((9, 0), (1, 1), (100, 1)):
        await stage.pass_by(seconds)
        assert sum("does not have Yan" in notice.body for notice in stage.told) == told


async def test_a_crash_while_somebody_is_not_heard(stage: Stage) -> None:
    """The time ends with the bot's own, and begins anew when it is back."""
    stage.withheld[OTHER] = REFUSED
    zoe, _ = await stage.join(ZOE), await stage.join(YAN, sfu=OTHER)
    (await stage.come(zoe)).speak(zoe, 2)
    await stage.pass_by(2)
    assert stage.live is not None
    stage.live.rows.advance(stage.live.now())
    await stage.quiet()
    await stage.crash()
    assert all(each.ends is not None for each in (await stage.recording()).unheard)
    stage.world.clock.pass_by(10)
    await stage.engine.after_first_sync()
    await stage.work()
    (await stage.come(zoe)).speak(zoe, 2)
    await stage.pass_by(2)
    assert [each.ends is None for each in (await stage.recording()).unheard][-1]
    await stage.part(ZOE)
    await stage.part(YAN)
    await stage.pass_by(31)
    recording = await stage.recording()
    (away,) = recording.aways
    assert away.ends is not None
    assert all(each.ends is not None and each.ends <= away.begins for each in recording.unheard[:-1])
    assert (recording.unheard[-1].begins, recording.unheard[-1].ends) == (away.ends, 14 * S)


@pytest.mark.parametrize("error", [Refused("refused"), Refused("unreachable"), RuntimeError("a mistake")])
async def test_an_sfu_that_can_not_be_joined(stage: Stage, error: Exception) -> None:
    """Whatever keeps the bot out of an SFU, the connection is ended, and made again later."""
    stage.media.refuses_joining = error
    zoe = await stage.join(ZOE)
    await stage.quiet()
    assert await stage.events() == [(ZOE, CallEventKind.UNREACHABLE)]
    assert all(sfu.is_closed for sfu in stage.media.sfus)
    stage.media.refuses_joining = None
    await stage.pass_by(5)
    await stage.come(zoe)
    assert (await stage.events())[-1] == (ZOE, JOINED)


async def test_an_sfu_that_is_started_anew(stage: Stage) -> None:
    """The bot joins again with a new token; its devices are lost and rejoin."""
    zoe = await stage.join(ZOE)
    first = await stage.come(zoe)
    first.listener.ended("closed")
    await stage.quiet()
    assert first.is_closed
    second = await stage.come(zoe)
    assert second is not first
    assert second.joined == ("wss://sfu.example", "token 2")
    assert second.received == {zoe}
    assert await stage.events() == [(ZOE, JOINED), (ZOE, LOST), (ZOE, REJOINED)]


async def test_a_moved_focus(stage: Stage) -> None:
    """A device that moves to another SFU is received there, and an SFU that nobody needs is left."""
    zoe, yan = await stage.join(ZOE), await stage.join(YAN, sfu=OTHER)
    await stage.come(zoe)
    await stage.come(yan, "other.example")
    old = stage.sfu("other.example")
    await stage.join(YAN, sfu="https://third.example")
    await stage.come(yan, "third.example")
    assert old.is_closed
    assert not stage.sfu().is_closed
    assert await stage.events() == [(ZOE, JOINED), (YAN, JOINED)]


async def test_each_sfu_is_as_private_as_its_service(stage: Stage) -> None:
    """Private networks are open to the one that the homeserver stands for, and to no other in the call."""
    stage.near = {OTHER}
    await stage.join(ZOE)
    await stage.join(YAN, sfu=OTHER)
    assert (stage.sfu().private, stage.sfu("other.example").private) == (False, True)


def token_of(room: str) -> str:
    claims = json.dumps({"sub": "@bot:hs:OURS", "video": {"room": room, "roomJoin": True}})
    return f"head.{base64.urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.signature"


async def test_two_services_for_one_sfu(stage: Stage) -> None:
    """Members who name other services for the same room of an SFU are received through one connection; once that is
    lost, each service is asked anew."""
    third = "https://third.example"
    stage.given = {
        OTHER: Grant("wss://same.example/", token_of("a")),
        third: Grant("wss://same.example", token_of("a")),
    }
    zoe, yan = await stage.join(ZOE, sfu=OTHER), await stage.join(YAN, sfu=third)
    sfu = await stage.come(zoe, "same.example/")
    await stage.come(yan, "same.example/")
    alice = await stage.join(ALICE, sfu=third)
    assert sfu.received == {zoe, yan, alice}
    assert [each.joined and each.joined[0] for each in stage.media.sfus].count("wss://same.example") == 0
    assert await stage.events() == [(ZOE, JOINED), (YAN, JOINED)]
    stage.withheld[OTHER] = REFUSED
    sfu.listener.ended("closed")
    await stage.pass_by(5)
    await stage.pass_by(20)
    assert stage.sfu("same.example").received == {yan, alice}


async def test_the_bots_own_sfu_under_another_name(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection by which the bot shows itself at its SFU takes over others there."""
    own = "https://sfu.example"
    stage.given = dict.fromkeys((own, OTHER), Grant("wss://same.example", token_of("a")))
    monkeypatch.setattr(matrixrtc_own, "transport_in", lambda *_: Transport(own))  # as before a room is looked at again
    stage.withheld[own] = TryLater("the token service answered 502")
    zoe, yan = await stage.join(ZOE), await stage.join(YAN, sfu=OTHER)
    first = await stage.come(yan, "same.example")
    stage.withheld.clear()
    await stage.pass_by(5)
    second = await stage.come(yan, "same.example")
    assert first.is_closed
    assert second.received == {zoe, yan}
    assert await stage.events() == [(ZOE, CallEventKind.UNREACHABLE), (YAN, JOINED), (YAN, LOST), (YAN, REJOINED)]


@pytest.mark.parametrize("place", ["_greet", "_lose"])
async def test_a_mistake_at_an_sfu(stage: Stage, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """After an error of the bot's own its connection is made again."""
    with monkeypatch.context() as broken:
        broken.setattr(Link, place, _fail)
        zoe = await stage.join(ZOE)
        await stage.quiet()
        first = stage.media.sfus[0]
        first.listener.ended("closed")
        await stage.quiet()
    assert first.is_closed
    assert await stage.events() == [(ZOE, CallEventKind.UNREACHABLE)]
    await stage.pass_by(5)
    await stage.come(zoe)
    assert (await stage.events())[-1] == (ZOE, JOINED)


def _fail(*_: object) -> None:
    raise RuntimeError("a mistake")


async def test_the_bot_follows_its_members(stage: Stage) -> None:
    """The SFU that the bot sends its silence to is left for that of the members, once none of them names it."""
    zoe, yan = await stage.join(ZOE), await stage.join(YAN, sfu=OTHER)
    await stage.come(zoe)
    await stage.come(yan, "other.example")
    await stage.part(ZOE)
    await stage.quiet()
    assert stage.presence.done == ["shown", f"moved to {OTHER}"]
    assert stage.sfu().is_closed
    assert not stage.sfu("other.example").is_closed


async def test_the_bot_goes_where_it_gets_in(stage: Stage) -> None:
    """The bot sends its sound to another SFU that members name, and its entry says so, once its own refuses it, or
    nobody names it any more; and to the first that is named at all."""
    stage.withheld["https://sfu.example"] = REFUSED
    await stage.join(ZOE)
    await stage.join(YAN, sfu=OTHER)
    await stage.work()
    assert stage.presence.done == ["shown", f"moved to {OTHER}"]
    assert stage.live is not None
    stage.live._legs.beep()
    assert stage.sfu("other.example").done == ["beep"]
    await stage.join(YAN, sfu="https://third.example")
    await stage.work()
    assert stage.presence.done[2:] == ["moved to https://third.example"]
    assert stage.sfu("other.example").is_closed


async def test_the_bot_goes_to_the_first_sfu_that_is_named(stage: Stage) -> None:
    """A call whose first members name no SFU has the bot's sound at the first that is named later."""
    await stage.join(ZOE, sfu=None)
    await stage.join(YAN, sfu=OTHER)
    assert stage.presence.done == ["shown", f"moved to {OTHER}"]


async def test_too_many_sfus_of_one_user(stage: Stage) -> None:
    """Devices of one user bring the bot to four SFUs that nobody else uses, and to no more."""
    for number in range(6):
        await stage.join(ZOE, device_id=f"D{number}", sfu=f"https://sfu{number}.example")
    assert len(set(stage.asked)) == reception.MOST_LINKS_OF_ONE
    await stage.join(YAN)
    assert stage.sfu().joined


async def test_an_sfu_that_floods_is_left(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SFU that tells of participants without end is left."""
    monkeypatch.setattr(link, "TOLD_AT_ONCE", 100)
    zoe = await stage.join(ZOE)
    sfu = await stage.come(zoe)
    for number in range(150):
        sfu.listener.muted(zoe, number % 2 == 0)
    await stage.quiet()
    assert sfu.is_closed


# ---- keys


def key_of(user: UserId, index: int, key: bytes) -> KeyTold:
    return KeyTold(Device(user, "DEV"), index, key)


async def test_a_key_may_come_before_its_device(stage: Stage) -> None:
    """Keys are kept for devices that are not listed yet, and given again to a new connection."""
    await encrypt(stage)
    await stage.join(YAN)
    stage.hear(key_of(ZOE, 0, b"zero"))
    zoe = await stage.join(ZOE)
    sfu = await stage.come(zoe)
    assert sfu.encrypted
    assert sfu.keys == {(zoe, 0): b"zero"}
    stage.hear(key_of(ZOE, 1, b"one"))
    assert sfu.keys[zoe, 1] == b"one"
    sfu.listener.ended("closed")
    await stage.quiet()
    assert stage.sfu().keys == {(zoe, 0): b"zero", (zoe, 1): b"one"}


async def test_the_key_of_the_bots_own_sound(stage: Stage) -> None:
    """Every device in the call is given the key of the bot's sound, which all connections use."""
    await encrypt(stage)
    await stage.join(ZOE)
    await stage.join(YAN, sfu=OTHER)
    assert [(share.index, *(device.user_id for device in share.devices)) for share in stage.shared] == [
        (0, ZOE),
        (0, YAN),
    ]
    key = stage.shared[0].key
    assert stage.sfu().own_keys == stage.sfu("other.example").own_keys == {0: key}
    assert len(key) == 16


async def test_no_key_in_a_room_that_is_not_encrypted(stage: Stage) -> None:
    """The bot's silence is sent in clear where everybody's sound is."""
    await stage.join(ZOE)
    assert (stage.shared, stage.sfu().own_keys, stage.sfu().encrypted) == ([], {}, False)


async def test_a_room_that_becomes_encrypted(stage: Stage) -> None:
    """The bot joins anew, and takes no sound in clear any more."""
    zoe = await stage.join(ZOE)
    await stage.come(zoe)
    await encrypt(stage)
    await stage.join(ZOE)
    await stage.pass_by(1)
    sfu = await stage.come(zoe)
    assert sfu.encrypted
    assert sfu.received == {zoe}
    assert (await stage.events())[-1] == (ZOE, REJOINED)


async def test_sound_without_its_key_is_told(stage: Stage) -> None:
    """Silence in place of sound is listed, and said in the room once."""
    await encrypt(stage)
    zoe = await stage.join(ZOE)
    sfu = await stage.come(zoe)
    for _ in range(2):
        sfu.listener.unreadable(zoe, "no_key")
        await stage.quiet()
        sfu.speak(zoe, 0.1)
        await stage.quiet()
    await stage.work()
    unreadable = (ZOE, CallEventKind.UNREADABLE)
    assert await stage.events() == [(ZOE, JOINED), unreadable, unreadable]
    assert sum("in place of Zoe" in notice.body for notice in stage.told) == 1


async def test_sound_without_its_key_is_a_gap(stage: Stage) -> None:
    """The gap begins with the wait for the key, and ends with the first sound that can be read."""
    await encrypt(stage)
    zoe = await stage.join(ZOE)
    sfu = await stage.come(zoe)
    sfu.speak(zoe, 1)
    await stage.pass_by(15)
    sfu.listener.unreadable(zoe, "no_key")
    await stage.quiet()
    await stage.pass_by(5)
    sfu.speak(zoe, 1)
    await stage.quiet()
    await stage.part(ZOE)
    await stage.pass_by(31)
    recording, ledger = await stage.laid_out()
    assert (recording.state, ledger.gaps) == (RecordingState.INCOMPLETE, ())
    gaps = [(gap.position, gap.samples, gap.user_id, gap.reason) for gap in ledger.of_speakers]
    assert gaps == [(5 * S, 15 * S, ZOE, CallEventKind.UNREADABLE)]


# ---- the bot's crash, and other calls


async def test_the_bot_rejoins_after_a_crash(stage: Stage) -> None:
    """The call goes on in the same recording; who is still there begins a new stem."""
    zoe = await stage.join(ZOE)
    (await stage.come(zoe)).speak(zoe, 1)
    await stage.pass_by(1)
    await stage.crash()
    await stage.engine.after_first_sync()
    await stage.work()
    (await stage.come(zoe)).speak(zoe, 1)
    await stage.pass_by(1)
    await stage.part(ZOE)
    await stage.pass_by(31)
    recording = await stage.recording()
    assert len(await stage.recordings()) == 1
    assert [stem.left_by for stem in recording.stems] == [LeftBy.LOST, LeftBy.LEFT]
    assert await stage.events() == [(ZOE, JOINED), (ZOE, REJOINED), (ZOE, LEFT)]
    assert recording.state is RecordingState.INCOMPLETE


async def test_a_token_service_that_is_away_while_the_bot_joins(stage: Stage) -> None:
    """The bot is in the call before it is at its SFU, and tries again by itself."""
    stage.withheld["https://sfu.example"] = TryLater("the token service answered 502")
    zoe = await stage.join(ZOE)
    assert stage.presence.done == ["shown"]
    stage.withheld.clear()
    await stage.pass_by(5)
    await stage.come(zoe)
    assert await stage.events() == [(ZOE, CallEventKind.UNREACHABLE), (ZOE, JOINED)]


async def test_calls_of_two_kinds_at_once(stage: Stage) -> None:
    """A call of MSC3401 and one of MatrixRTC in one room are two recordings."""
    await stage.call()
    await stage.enter(ZOE)
    await stage.join(YAN)
    assert {recording.protocol for recording in await stage.recordings()} == {
        CallProtocol.MSC3401,
        CallProtocol.MATRIXRTC,
    }


async def test_many_participants_of_whom_one_speaks(stage: Stage) -> None:
    """A large call is one connection, and a stem for each device."""
    users = [UserId(f"@u{number}:hs") for number in range(6)]
    for user in users:
        await stage.write("m.room.member", {"membership": "join", "displayname": user[1:4]}, user, user)
    names = [await stage.join(user) for user in users]
    for name in names:
        stage.sfu().listener.came(name)
    await stage.quiet()
    stage.sfu().speak(names[3], 1)
    await stage.pass_by(1)
    assert len((await stage.recording()).stems) == 6
    assert len(stage.media.sfus) == 1


async def test_a_member_who_joins_later_is_told(stage: Stage) -> None:
    """Members who were not told by the notice get a reply to it, each once."""
    await stage.join(ZOE)
    await stage.join(YAN)
    await stage.join(ALICE)
    late = [notice for notice in stage.told if notice.mentions]
    assert [notice.mentions for notice in late] == [(YAN,), (ALICE,)]


async def _hear_zoe(stage: Stage) -> None:
    """Let Zoe come to her SFU, if the bot is there, and be heard."""
    if stage.live is None:
        return
    await stage.quiet()
    sfu = await stage.come(f"{ZOE}:DEV")
    sfu.speak(f"{ZOE}:DEV", 1)
    await stage.pass_by(1)
    if stage.live is not None:
        stage.live.rows.advance(stage.live.now())
        await stage.quiet()


async def _leave_alone(stage: Stage) -> None:
    """Let Zoe leave, and the bot look at the call until it has left too."""
    await stage.part(ZOE)
    await stage.pass_by(31)


@pytest.mark.parametrize(("number", "after_commit"), [(n, bool(n % 2)) for n in (7, 14, 21, 28)])
async def test_every_write_can_be_the_last(stage: Stage, number: int, after_commit: bool) -> None:
    """A process that dies at any write of a call, and of a notice that a member is not heard, goes on after its next
    start: one recording, one notice of each kind, and every stem is closed."""
    stage.withheld[OTHER] = REFUSED
    stage.store.die_at(number, after_commit=after_commit)
    await stage.survive(lambda: stage.join(ZOE))
    await stage.survive(lambda: stage.join(YAN, sfu=OTHER))
    await stage.survive(lambda: _hear_zoe(stage))
    await stage.survive(lambda: stage.part(YAN))
    await stage.survive(lambda: _leave_alone(stage))
    (recording,) = await stage.recordings()
    assert recording.state in (RecordingState.COMPLETE, RecordingState.INCOMPLETE, RecordingState.EMPTY)
    assert all(stem.left is not None for stem in recording.stems)
    assert all(each.ends is not None for each in recording.unheard)
    assert len({notice.topic for notice in stage.told if notice.opens}) == 1
    assert sum("does not have Yan" in notice.body for notice in stage.told) == 1
    assert (YAN, CallEventKind.UNREACHABLE) in await stage.events()
    assert not stage.presence.shown
