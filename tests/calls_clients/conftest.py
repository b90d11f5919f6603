"""Backends of MatrixRTC, for tests that ask for them; where LiveKit's server is not built they are left out."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.calls_clients import sfu, speakers
from tests.calls_clients.backend import Backend, backend
from tests.calls_clients.speakers import Speakers
from tests.lab import People, RtcHomeserver


@pytest.fixture
async def rtc(rtc_homeserver: RtcHomeserver, tmp_path: Path) -> AsyncIterator[Backend]:
    """The SFU and the token service of `rtc_homeserver`."""
    if not sfu.is_built():
        pytest.skip(sfu.MISSING)
    async with backend(rtc_homeserver, tmp_path / "sfu") as made:
        yield made


@pytest.fixture
async def far_rtc(far_rtc_homeserver: RtcHomeserver, tmp_path: Path) -> AsyncIterator[Backend]:
    """The SFU and the token service of `far_rtc_homeserver`."""
    if not sfu.is_built():
        pytest.skip(sfu.MISSING)
    async with backend(far_rtc_homeserver, tmp_path / "far_sfu") as made:
        yield made


@pytest.fixture
async def rtc_person(rtc_homeserver: RtcHomeserver, tmp_path: Path) -> AsyncIterator[People]:
    """`await rtc_person("alice")` makes somebody new on `rtc_homeserver`."""
    people = People(rtc_homeserver, tmp_path / "people")
    yield people
    await people.close()


@pytest.fixture
async def speaking(tmp_path: Path) -> AsyncIterator[Speakers]:
    """Speakers of calls, who join with tokens."""
    if not speakers.is_built():
        pytest.skip(sfu.MISSING)
    async with speakers.speakers(tmp_path) as made:
        yield made


@pytest.fixture
async def far_person(far_rtc_homeserver: RtcHomeserver, tmp_path: Path) -> AsyncIterator[People]:
    """`await far_person("alice")` makes somebody new on `far_rtc_homeserver`."""
    people = People(far_rtc_homeserver, tmp_path / "far_people")
    yield people
    await people.close()
