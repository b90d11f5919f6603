"""matrix-js-sdk as a moderator's client, in a process of its own: `make test-clients` installs it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.demo.slicing import speech
from bot.demo.synapse import Homeserver
from storage.records import SAMPLE_RATE, RecordingState
from tests.lab import PASSWORD, People
from tests.line.conftest import Worlds
from tests.line.test_handed_back import heard
from tests.line.world import move_in, recorded, whole_broadcast

pytestmark = pytest.mark.clients

SCRIPT = Path(__file__).parent / "moderator.js"
SPEECH = speech(1)[:600]  # 12 s
STEP_S = 120.0


class Client:
    """A running moderator.js."""

    def __init__(self, process: asyncio.subprocess.Process, errors: Path) -> None:
        self._process = process
        self._errors = errors

    async def step(self, name: str) -> dict[str, Any]:
        """Wait for its next step."""
        assert self._process.stdout is not None
        async with asyncio.timeout(STEP_S):
            line = await self._process.stdout.readline()
        assert line, (await asyncio.to_thread(self._errors.read_text))[-3000:]
        told: dict[str, Any] = json.loads(line)
        assert told.pop("step") == name
        return told


@asynccontextmanager
async def moderator(**told: str) -> AsyncIterator[Client]:
    errors = Path(told["sound"]).with_suffix(".log")
    with errors.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "node", str(SCRIPT), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log
        )
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(told).encode() + b"\n")
        yield Client(process, errors)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
async def test_another_client_hears_what_was_broadcast_and_deletes_it(
    homeserver: Homeserver, person: People, tmp_path: Path, *, encrypted: bool
) -> None:
    """A moderator's client reads who records for whom, hears the voice message to the sample, confirms its deletion
    with a reaction, and sees the message redacted and the announcement edited."""
    bot, alice = await Worlds(homeserver, tmp_path)(), await person("alice")
    mod = await homeserver.register(f"mod-of-{alice.device_id.lower()}", PASSWORD)
    sound = tmp_path / "handed-back.ogg"
    async with bot.running() as aircheck:
        room = await move_in(bot, alice, encrypted=encrypted)
        await alice.set_power(room, {bot.user_id: 50, mod: 50})
        await alice.invite(room, mod)
        async with moderator(
            homeserver=homeserver.address, user=mod, password=PASSWORD, roomId=room, bot=bot.user_id, sound=str(sound)
        ) as client:
            assert "Replay is on" in (await client.step("replay"))["body"]
            speaker = await whole_broadcast(alice, room, SPEECH)
            seen = await client.step("heard")
            recording, ledger = await recorded(aircheck.store, speaker.broadcast_id, RecordingState.COMPLETE)
            deleted = await client.step("deleted")
    voice, data = seen["voice"], await asyncio.to_thread(sound.read_bytes)
    assert (seen["encrypted"], "file" in voice, "url" in voice) == (encrypted, encrypted, not encrypted)
    assert voice["msgtype"] == "m.audio"
    assert voice["org.matrix.msc3245.voice"] == {}
    assert voice["info"] == {
        "mimetype": "audio/ogg",
        "duration": round(ledger.samples * 1000 / SAMPLE_RATE),
        "size": len(data),
    }
    assert voice["org.aircheck.recording"] == recording.code
    played, truth = await heard([data], tmp_path), await heard(speaker.truth_ogg(), tmp_path)
    assert len(played) == len(truth) == ledger.samples
    assert np.abs(played - truth).max() < 1e-9
    told = seen["disclosure"]
    assert (told["records"], told["visibility"], told["by"]) == (["broadcasts"], "private", alice.user_id)
    assert recording.code in deleted["question"]
    assert "👍" in deleted["question"]
    assert f"{recording.code} is deleted" in deleted["answer"]
    assert deleted["announcement"] == "This recording was deleted."
    assert deleted["left"] == {}
