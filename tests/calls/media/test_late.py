"""Media that are loaded late."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from bot.calls import private
from bot.calls.media import late
from bot.calls.media.door import Unfit
from bot.calls.media.late import LateMedia
from bot.calls.media.rtc import RtcMedia
from bot.errors import TryLater
from storage.records import Samples
from tests.calls.peers import Ear


def test_the_program_starts_without_webrtc() -> None:
    """A bot that joins no call loads neither aiortc nor PyAV."""
    code = "import sys, bot.app, bot.calls.joining; print(sorted({'aiortc', 'aioice', 'av'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "[]\n"


async def test_legs_can_be_made_once_ready() -> None:
    """After it was asked to be ready, also twice, it makes legs; it can be closed before and after."""
    media = LateMedia(_is_public)
    await media.close()
    await media.ready()
    await media.ready()
    leg = media.leg(Ear(), lambda: Samples(0), ())
    assert "m=audio" in (await leg.offer()).sdp
    await media.close()


async def _is_public() -> bool:
    return False


async def test_libraries_that_cannot_be_loaded_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that is installed but broken is named, and legs can be made once it was mended."""
    (tmp_path / "broken_rtc.py").write_text("import a_library_that_is_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    media = LateMedia(_is_public)
    with monkeypatch.context() as patch:
        patch.setattr(late, "RTC", "broken_rtc")
        with pytest.raises(Unfit, match="a_library_that_is_not_there"):
            await media.ready()
    await media.ready()


async def test_where_the_homeserver_is_decides_once_its_name_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is not known yet, as while everything starts, counts for nothing: it is looked up again."""
    media = LateMedia(lambda: private.is_private("http://homeserver:8008"))
    answers: list[object] = [OSError("not known"), [(0, 0, 0, "", ("172.18.0.2", 0))]]

    async def look_up(*_: object, **__: object) -> object:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    with pytest.raises(TryLater):
        await media.ready()
    await media.ready()
    await media.ready()
    assert isinstance(media._media, RtcMedia)
    assert media._media.private
