"""A web server that source clients send to."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bot.settings import validate
from bot.web.server import WebServer
from storage import studios
from storage.records import RecordingState, Studio, StudioState
from storage.store import Store
from tests.studio.air import TOKEN, Air, Sound, assert_aligned, on_the_air

WITHIN_S = 60
BASIC = {"Authorization": "Basic " + base64.b64encode(f"source:{TOKEN}".encode()).decode()}


class Tower:
    """A web server that sources send to, over a room in which Alice may broadcast. `store`: of another process than the
    bot's."""

    def __init__(self, air: Air, store: Store | None = None) -> None:
        tree = air.bot.settings.model_dump(exclude_unset=True)
        self.air = air
        self.fresh = True
        root = "https://radio.example.org"
        web = {"port": 0, "public_url": f"{root}/pod", "source_url": f"{root}:8443/air"}
        self.server = WebServer(
            store or air.bot.store, validate(tree | {"web": web}), lambda: self.fresh, air.bot.clock
        )

    @property
    def port(self) -> int:
        return self.server.port

    async def becomes(self, studio: Studio, state: StudioState) -> Studio:
        """Wait for a state of a studio."""
        with self.air.bot.store.changes.subscribe() as changed:
            async with asyncio.timeout(WITHIN_S):
                while True:
                    changed.clear()
                    now = await self.air.now(studio)
                    if now.state is state:
                        return now
                    await changed.wait()

    async def has_slices(self, studio: Studio, count: int) -> None:
        """Wait until so many slices are stored."""
        with self.air.bot.store.changes.subscribe() as changed:
            async with asyncio.timeout(WITHIN_S):
                while True:
                    changed.clear()
                    async with self.air.bot.store.read() as db:
                        if len(await studios.slices_of(db, studio.id)) >= count:
                            return
                    await changed.wait()


@asynccontextmanager
async def tower_over(directory: Path, **changed: Any) -> AsyncIterator[Tower]:
    async with on_the_air(directory, **changed) as air:
        made = Tower(air)
        await made.server.start()
        try:
            yield made
        finally:
            await made.server.stop()


async def whole(tower: Tower, studio: Studio, truth: Sound, late: int = 0) -> None:
    """Check that the episode is this sound, at its place."""
    await tower.air.settled()
    assert (await tower.air.recording(studio)).state is RecordingState.COMPLETE
    found = await tower.air.heard(studio)
    assert len(found) - late >= len(truth)
    assert_aligned(found[late:], truth)
