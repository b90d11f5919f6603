from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.shell import Shell, shell


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Shell]:
    """The core, the bot being in Alice's room."""
    async with shell(tmp_path / "data") as made:
        await made.join()
        yield made
