"""Media that are loaded late."""

import subprocess
import sys

from bot.calls.media.late import LateMedia
from storage.records import Samples
from tests.calls.peers import Ear


def test_the_program_starts_without_webrtc() -> None:
    """A bot that joins no call loads neither aiortc nor PyAV."""
    code = "import sys, bot.app, bot.calls.joining; print(sorted({'aiortc', 'aioice', 'av'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "[]\n"


async def test_legs_can_be_made_once_ready() -> None:
    """After it was asked to be ready, also twice, it makes legs; it can be closed before and after."""
    media = LateMedia(private=False)
    await media.close()
    await media.ready()
    await media.ready()
    leg = media.leg(Ear(), lambda: Samples(0), ())
    assert "m=audio" in (await leg.offer()).sdp
    await media.close()
