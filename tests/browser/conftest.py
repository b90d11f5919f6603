"""The gallery and the browser of a whole run."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.audio.conftest import ffmpeg, studio
from tests.browser.chromium import Browser, chromium
from tests.browser.gallery import Gallery, fill
from tests.calls_clients.sounds import microphone
from tests.web.world import World, world_of

__all__ = ["ffmpeg", "studio"]


@dataclass(frozen=True, slots=True)
class Shown:
    """The gallery behind its server."""

    world: World
    gallery: Gallery

    def address(self, path: str) -> str:
        return f"{self.world.server.address}{path}"


@pytest.fixture(scope="session")
async def shown(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shown]:
    folder: Path = tmp_path_factory.mktemp("gallery")
    async with world_of(folder / "data") as (world, _):
        yield Shown(world, await fill(world))


@pytest.fixture(scope="session")
async def speaking_browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """Run a browser whose microphone hears the shipped speech again and again."""
    folder = tmp_path_factory.mktemp("speaking")
    heard = microphone(1, folder / "microphone.wav")
    fake = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={heard}")
    async with chromium(folder, *fake) as running:
        yield running


@pytest.fixture(scope="session")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    async with chromium(tmp_path_factory.mktemp("browser")) as running:
        yield running
