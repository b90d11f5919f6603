"""The time at which a gap is released: read when gaps have changed, not after each commit."""

from datetime import datetime, timedelta

import pytest

from storage import gaps
from storage.database import Connection
from tests.world import World


async def test_it_is_read_when_it_can_have_changed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits to other tables cause no query; a change of the gaps does, and so does a clock that passed the time or
    was set back."""
    began = world.clock()
    release = began + timedelta(seconds=30)
    read: list[datetime] = []

    async def next_release(_: Connection, now: datetime) -> datetime | None:
        read.append(now)
        return release if now < release else None

    monkeypatch.setattr(gaps, "next_release", next_release)
    recorder, changes = world.recorder, world.store.changes
    assert await recorder._next_release() == 30
    changes.notify({"jobs"})
    assert await recorder._next_release() == 30
    assert len(read) == 1
    changes.notify({"gaps"})
    await recorder._next_release()
    assert len(read) == 2
    world.clock.now = release
    assert await recorder._next_release() is None
    assert await recorder._next_release() is None
    assert len(read) == 3
    world.clock.now = began
    assert await recorder._next_release() == 30
