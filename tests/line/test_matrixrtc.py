"""A MatrixRTC call with a whole bot: on a real homeserver, with a token service that asks it, and a small SFU."""

import asyncio

from bot.demo.slicing import speech
from bot.demo.synapse import Homeserver
from bot.event_types import CALL_MEMBER
from storage.records import EndedBy, LeftBy, RecordingState
from tests.calls.peers import numbered
from tests.calls.rtc_caller import RtcCaller
from tests.lab import People, decode
from tests.line.conftest import Worlds
from tests.line.test_calls import call_room, has_stems, in_the_mix, is_so, numbers_in
from tests.livekit.access import RoomService
from tests.livekit.sfu import Sfu, small_sfu
from tests.livekit.token_service import TokenService, room_alias

SPOKEN_S = 4


class OpenRooms(RoomService):
    """The room service of the small SFU, whose rooms are always open."""

    async def create(self, room: str) -> None:
        """Open a room: nothing is to be done."""


def token_service(sfu: Sfu, homeserver: Homeserver) -> TokenService:
    server = homeserver.server_name
    return TokenService(OpenRooms(sfu.url, sfu.keys), frozenset({server}), {server: homeserver.address})


async def test_a_call_of_two_in_an_encrypted_room(world: Worlds, person: People, homeserver: Homeserver) -> None:
    """The bot gets a token, joins, decrypts both members by the keys that they give it, and keeps a stem of each: no
    packet is lost. At the end it has left the call."""
    bot = await world(calls={"empty_s": 2, "beep": False})
    aaron, zoe = await person("aaron"), await person("zoe")
    async with bot.running() as aircheck, small_sfu() as sfu:
        store = aircheck.store
        room = await call_room(bot, aaron, zoe, encrypted=True)
        service = token_service(sfu, homeserver)
        async with service.serving() as service_url:
            callers = [RtcCaller(each, room, service_url, sfu.room(room_alias(room))) for each in (aaron, zoe)]
            for number, caller in enumerate(callers, 1):
                await caller.enter()
                shown = await caller.give_key_to(bot.user_id)
                await has_stems(store, room, number)
            said = [numbered(speech(number)[: 50 * SPOKEN_S]) for number in (1, 2)]
            await asyncio.gather(*(caller.say(packets) for caller, packets in zip(callers, said, strict=True)))
            for caller in callers:
                await caller.leave()
            recording = await is_so(store, room, lambda recording: recording.state.is_decided)
        assert (recording.state, recording.ended_by) == (RecordingState.COMPLETE, EndedBy.STOPPED)
        assert [(stem.user_id, stem.device_id, stem.left_by) for stem in recording.stems] == [
            (caller.person.user_id, caller.person.device_id, LeftBy.LEFT) for caller in callers
        ]
        sounds = []
        for stem in recording.stems:
            assert stem.blob is not None
            async with store.blobs.local(stem.blob) as file:
                assert len(numbers_in(file)) == 50 * SPOKEN_S
                sounds.append((stem, decode(file.read_bytes())))
        await in_the_mix(store, recording, sounds)
        own = await aaron.state(room, CALL_MEMBER, shown.event["state_key"])
        assert own == {}
        assert [given.user_id for given in service.given] == [bot.user_id]
