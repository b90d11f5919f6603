"""A monitor that is given time: these tests are not about a slow disk unless they say so."""

import pytest

from bot.monitoring import monitor


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have who asks wait for the database and the disk for as long as it takes on a busy machine."""
    monkeypatch.setattr(monitor, "WAIT_S", 60.0)
