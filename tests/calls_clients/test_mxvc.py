"""A voice channel of MXVC with pages in headless Chromium that behave as that project's: `make test-calls`."""

from pathlib import Path

import pytest

from bot.demo.synapse import Homeserver
from storage.records import CallProtocol, EndedBy, LeftBy, RecordingState
from tests.calls_clients.callers import callers
from tests.calls_clients.sounds import SURE, likeness, microphone
from tests.calls_clients.test_group_calls import finished, heard_in, log_in, room_with_calls, stem_sounds
from tests.lab import People, decode
from tests.line.conftest import Worlds

pytestmark = pytest.mark.calls

LEVELS = {"de.mtorials.test.callstate": 0}


@pytest.fixture
def world(homeserver: Homeserver, tmp_path: Path) -> Worlds:
    return Worlds(homeserver, tmp_path)


async def test_a_voice_channel_becomes_an_episode(
    homeserver: Homeserver, world: Worlds, person: People, tmp_path: Path
) -> None:
    """The bot offers to the page that is in the channel already, and answers the one that joins later."""
    bot = await world(calls={"empty_s": 1})
    ann, ben = await person("ann"), await person("ben")
    sounds = {ann: microphone(1, tmp_path / "ann.wav"), ben: microphone(2, tmp_path / "ben.wav")}
    async with bot.running() as aircheck, callers("mxvc.js", tmp_path) as made:
        room = await room_with_calls(bot, ann, ben, encrypted=False, levels=LEVELS)
        for name, someone in (("Chrome", ann), ("Firefox", ben)):
            token = (await log_in(homeserver, someone.user_id)).token
            await made.open(name, sounds[someone], homeserver=homeserver.address, token=token, roomId=room, device=name)
        for name in ("Chrome", "Firefox"):
            await made.do(name, "enter")
            await made.do(name, "meet", suffix="[REC]")
        running = await heard_in(aircheck.store, stems=2, windows=1)
        await made.do("Firefox", "leave")
        await made.do("Chrome", "leave")
        recording = await finished(aircheck.store, running)
        found = stem_sounds(aircheck, recording)
        assert (recording.protocol, recording.state) == (CallProtocol.MXVC, RecordingState.COMPLETE)
        assert recording.ended_by is EndedBy.STOPPED
        left_by = {stem.device_id: stem.left_by for stem in recording.stems}
        assert left_by.keys() == {"Chrome", "Firefox"}
        assert left_by["Firefox"] is LeftBy.LEFT
        # The call ends with the last to leave, whose event may be read before the end of its connection.
        assert left_by["Chrome"] in (LeftBy.LEFT, LeftBy.ENDED)
        for someone, part in ((ann, 1), (ben, 2)):
            pcm = decode(found[someone.user_id])
            assert likeness(pcm, part) > SURE
            assert likeness(pcm, 3 - part) < SURE
