"""Members of calls with LiveKit's Go SDK are heard by another client, before they test the bot: `make test-calls`."""

from pathlib import Path

import pytest

from bot.demo.client_api import CLIENT
from bot.demo.people import Person
from bot.demo.slicing import speech
from tests.calls_clients.backend import Backend
from tests.calls_clients.members import Member
from tests.calls_clients.rtc_callers import heard_by, open_members, room_of, rtc_callers
from tests.calls_clients.sounds import SECONDS, SURE, likeness, microphone
from tests.calls_clients.speakers import PACKET_S, Speakers, sound
from tests.lab import People

pytestmark = pytest.mark.calls


async def devices(person: Person) -> set[str]:
    told = await person.api.call("GET", f"{CLIENT}/devices")
    return {str(device["device_id"]) for device in told["devices"]}


@pytest.mark.parametrize(
    ("encrypted", "sticky"),
    [(True, False), (True, True), (False, False)],
    ids=["compatibility", "matrix-2.0", "plain"],
)
async def test_a_browser_hears_a_speaker(
    rtc: Backend, rtc_person: People, speaking: Speakers, tmp_path: Path, *, encrypted: bool, sticky: bool
) -> None:
    """matrix-js-sdk and livekit-client open a speaker's sound with the key that they were sent, and with the next."""
    ann, ben = await rtc_person("ann"), await rtc_person("ben")
    room = await room_of(ann, [ben], encrypted=encrypted)
    before = await devices(ben)
    async with rtc_callers(tmp_path) as made:
        await open_members(
            made, rtc.homeserver, [("ben", ben, microphone(2, tmp_path / "ben.wav"))], room, encrypts=encrypted
        )
        await made.do("ben", "enter", mode="matrix_2_0" if sticky else "compatibility")
        [device] = await devices(ben) - before
        listener = (ben.user_id, device)
        member = Member(ann, room, rtc.homeserver.service_url, speaking, encrypts=encrypted, sticky=sticky)
        await member.enter(sound(speech(1)[: 50 * SECONDS + 1], tmp_path / "ann.packets"))
        if encrypted:
            await member.share_key([listener])
        met = await made.do("ben", "meet", userId=ann.user_id)
        assert [each["encrypted"] for each in met["participants"]] == [encrypted]
        assert likeness(await heard_by(made, "ben", ann.user_id, SECONDS), 1) > SURE
        if encrypted:
            await member.rotate([listener])
            assert likeness(await heard_by(made, "ben", ann.user_id, SECONDS), 1) > SURE
        spoken = await member.leave()
        await made.do("ben", "alone")
        assert spoken.packets * PACKET_S > SECONDS
