"""The whole line on PostgreSQL: an encrypted broadcast from the homeserver to the feed, and a killed process."""

import signal
from pathlib import Path

from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.test_process import SPEECH, process, published, recordings
from tests.line.world import assert_exact, newest_episode, send, subscribed_broadcast
from tests.postgresql import Server


async def test_an_encrypted_broadcast_survives_kill_9(
    world: Worlds, person: People, tmp_path: Path, postgresql: Server
) -> None:
    """After a kill while chunks come the episode is whole, in the feed, and listed by the shell."""
    address = await postgresql.new(empty=True)
    bot, alice = await world(storage={"database_url": address}), await person("alice")
    log = tmp_path / "log"
    async with process(bot, log) as running:
        speaker, feed, _ = await subscribed_broadcast(bot, alice, encrypted=True)
        pieces = speaker.cut(SPEECH)
        await send(speaker, pieces[:2])
        await running.end(signal.SIGKILL)
        await speaker.send_chunk(pieces[2])
        await running.start()
        await send(speaker, pieces[3:])
        await speaker.stop()
        await published(bot, alice)
        await assert_exact(await newest_episode(feed), speaker)
        (found,) = await recordings(bot, log)
        assert (found["state"], found["ended_by"]) == ("complete", "stopped")
        assert await running.end(signal.SIGTERM) == 0
    assert not (bot.directory / "aircheck.db").exists()
    await postgresql.drop(address)
