"""Callers of MatrixRTC hear each other through a real SFU, before they are used to test the bot: `make test-calls`."""

from pathlib import Path

import pytest

from tests.calls_clients.backend import Backend
from tests.calls_clients.rtc_callers import element_callers, heard_by, open_members, room_of, rtc_callers
from tests.calls_clients.sounds import SECONDS, Pcm, likeness, microphone
from tests.lab import People

pytestmark = pytest.mark.calls


def assert_hears(sound: Pcm, part: int) -> None:
    """Assert that this is one source rather than the other. A browser on a busy machine stretches what it hears."""
    assert likeness(sound, part) > likeness(sound, 3 - part) + 0.1


@pytest.mark.parametrize(
    ("mode", "encrypted"),
    [("compatibility", True), ("matrix_2_0", True), ("matrix_2_0", False), ("legacy", False)],
    ids=["compatibility", "matrix-2.0", "matrix-2.0-plain", "legacy-plain"],
)
async def test_two_callers_hear_each_other(
    rtc: Backend, rtc_person: People, tmp_path: Path, *, mode: str, encrypted: bool
) -> None:
    """Each hears the other's microphone, also with a new key, and sees the other leave."""
    ann, ben = await rtc_person("ann"), await rtc_person("ben")
    room = await room_of(ann, [ben], encrypted=encrypted)
    parts = {ann.user_id: 1, ben.user_id: 2}
    sounds = [("ann", ann, microphone(1, tmp_path / "ann.wav")), ("ben", ben, microphone(2, tmp_path / "ben.wav"))]
    async with rtc_callers(tmp_path) as made:
        await open_members(made, rtc.homeserver, sounds, room, encrypts=encrypted)
        for name in ("ann", "ben"):
            await made.do(name, "enter", mode=mode, raw=True)
        for name, other in (("ann", ben), ("ben", ann)):
            met = await made.do(name, "meet", userId=other.user_id)
            assert [each["encrypted"] for each in met["participants"]] == [encrypted]
            assert_hears(await heard_by(made, name, other.user_id, SECONDS), parts[other.user_id])
        if encrypted:
            assert (await made.do("ann", "rotate"))["index"] > 0
            assert_hears(await heard_by(made, "ben", ann.user_id, SECONDS), 1)
        await made.do("ben", "leave")
        await made.do("ann", "alone")


@pytest.mark.parametrize("mode", ["compatibility", "matrix_2_0"])
async def test_a_caller_hears_element_call(rtc: Backend, rtc_person: People, tmp_path: Path, mode: str) -> None:
    """Element Call, as the widget of a client, joins the call of another caller, is heard, and leaves."""
    ann, ben = await rtc_person("ann"), await rtc_person("ben")
    room = await room_of(ann, [ben], encrypted=True)
    one, two = microphone(1, tmp_path / "ann.wav"), microphone(2, tmp_path / "ben.wav")
    async with rtc_callers(tmp_path) as made, element_callers(tmp_path) as elements:
        await open_members(elements, rtc.homeserver, [("ann", ann, one)], room, encrypts=True)
        await open_members(made, rtc.homeserver, [("ben", ben, two)], room, encrypts=True)
        await made.do("ben", "enter", mode=mode)
        await elements.do("ann", "enter", mode=mode)
        await made.do("ben", "meet", userId=ann.user_id)
        assert_hears(await heard_by(made, "ben", ann.user_id, SECONDS), 1)
        await elements.do("ann", "leave")
        await made.do("ben", "alone")
