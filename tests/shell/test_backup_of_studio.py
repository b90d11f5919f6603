"""A backup that is made while somebody broadcasts from a studio, and the store that is restored from it."""

import asyncio
import hashlib
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import ClientSession

from bot.demo.slicing import PRE_SKIP, Slicer, speech
from bot.dialects.studio import started_id
from bot.settings import validate
from bot.shell import backup as backing_up
from bot.shell import restore as restoring
from bot.studio.writing import Writing
from bot.web.server import WebServer
from storage.records import BlobKey, ChunkState, EndedBy, RecordingState, Studio, StudioSource
from tests.lab import decode
from tests.line.replay import replaying
from tests.studio.air import TOKEN, Air, assert_aligned, on_the_air

SLICES = Slicer(1, 2.0)
TAKE = [*SLICES.feed(speech(1)[:700]), SLICES.end()]


async def send(air: Air, studio: Studio, number: int) -> None:
    """Send a slice, and return when it is acknowledged."""
    data = TAKE[number - 1].data
    part = air.bot.store.blobs.part(f"slice-{number}")
    await asyncio.to_thread(part.write_bytes, data)
    key = BlobKey(hashlib.sha256(data).hexdigest())
    await Writing(air.bot.store, air.bot.settings, air.bot.clock).add(
        studio.id, "the-page", number, part, key, len(data), 2000
    )


async def test_what_was_acknowledged_before_the_backup_is_there(tmp_path: Path) -> None:
    """Each slice that was acknowledged before the backup is in the restored recording, also one that the bot had not
    come to; it ends there. The page is told that the broadcast is over, and sends nothing in vain again and again."""
    async with on_the_air(tmp_path / "data") as air:
        studio = await air.studio(StudioSource.PAGE, TOKEN)
        await Writing(air.bot.store, air.bot.settings, air.bot.clock).start(studio.id, "the-page")
        for number in (1, 2, 3):
            await send(air, studio, number)
        await air.settled()
        for number in (4, 5):
            await send(air, studio, number)  # in the journal, and not handled
        await backing_up.backup(air.bot.settings, tmp_path / "backup")
        await send(air, studio, 6)
        tree = air.bot.settings.model_dump(exclude_unset=True)
    tree["storage"]["directory"] = str(tmp_path / "again")
    await restoring.restore(validate(tree), tmp_path / "backup")
    async with replaying(tmp_path / "again") as bot:
        bot.clock.now = datetime.now(UTC)  # as the restore's
        restored = Air(bot)
        for number in (5, 6):
            assert await answer_to_slice(restored, number) == (410, {"problem": "over"})
        await restored.settled()
        await bot.pass_by(bot.settings.recording.quiet_period_s + 1)
        recording = await restored.recording(studio)
        assert (recording.state, recording.ended_by) == (RecordingState.COMPLETE, EndedBy.STOPPED)
        chunks = (await bot.chunks(started_id(studio))).values()
        assert [(chunk.sequence, chunk.state) for chunk in chunks] == [(at, ChunkState.STORED) for at in range(1, 6)]
        found = await restored.heard(studio)
        assert len(found) == sum(piece.samples for piece in TAKE[:5]) - PRE_SKIP
        assert_aligned(found, decode(SLICES.ogg()))


async def answer_to_slice(air: Air, number: int) -> tuple[int, dict[str, str]]:
    """Send a slice by HTTP, as its page does."""
    tree = air.bot.settings.model_dump(exclude_unset=True)
    server = WebServer(air.bot.store, validate(tree | {"web": {"port": 0}}), lambda: True, air.bot.clock)
    await server.start()
    address = f"http://127.0.0.1:{server.port}/studio/{TOKEN}/slice-{number}"
    try:
        async with (
            ClientSession(headers={"X-Client": "the-page"}) as http,
            http.put(address, data=TAKE[number - 1].data) as answer,
        ):
            return answer.status, await answer.json()
    finally:
        await server.stop()
