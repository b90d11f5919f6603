"""Past broadcasts: found on request, recorded with their true date, and never made public automatically."""

import asyncio
import sys
from pathlib import Path

import yaml

from bot.demo.broadcaster import Broadcaster
from bot.demo.people import Person
from bot.demo.slicing import speech
from storage import archive
from storage.records import RecordingState, RoomId
from storage.store import Store
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import World, assert_exact, newest_episode, personal_feed, recorded, whole_broadcast

SPEECH = speech(1)[:900]  # 18 s


async def speak(speaker: Person, room: str, seconds: int = 18) -> Broadcaster:
    return await whole_broadcast(speaker, room, SPEECH[: seconds * 50])


async def codes(store: Store, room: str) -> list[tuple[int, str, bool]]:
    """List a room's recordings by number: number, started event, public."""
    async with store.read() as db:
        found = await archive.recordings(db, RoomId(room))
    return sorted((one.number, str(one.event_id), one.public) for one in found)


async def told(world: World, listener: Person, words: str) -> str:
    """Wait for the bot's next notice that holds these words."""
    return (await listener.wait_for(lambda event: event.is_notice_of(world.user_id) and words in event.body)).body


async def test_past_broadcasts_are_found_once_and_told_once(world: Worlds, person: People) -> None:
    """Two past broadcasts are recorded once, before later ones; an old command between them is not executed."""
    bot, alice = await world(), await person("alice")
    room = await alice.create_room("archive", encrypted=False)
    first = await speak(alice, room)
    await alice.say(room, "!aircheck record off")
    second = await speak(alice, room, 11)
    await alice.invite(room, bot.user_id)
    async with bot.running() as aircheck:
        await alice.wait_for(lambda event: event.room_id == room and event.is_notice_of(bot.user_id))
        await alice.say(room, "!aircheck publish public")
        await told(bot, alice, "public")
        now = await speak(alice, room, 7)
        await recorded(aircheck.store, now.broadcast_id, RecordingState.COMPLETE)
        await told(bot, alice, "is ready")
        await alice.say(room, "!aircheck backfill")
        await told(bot, alice, "I am searching")
        assert "2 recorded whole, 1 already there" in await told(bot, alice, "I found ")
        for past in (first, second):
            recording, ledger = await recorded(aircheck.store, past.broadcast_id, RecordingState.COMPLETE)
            assert ledger.samples == past.samples
            assert (
                recording.started_at < (await recorded(aircheck.store, now.broadcast_id, recording.state))[0].started_at
            )
        assert await codes(aircheck.store, room) == [
            (1, first.broadcast_id, False),
            (2, second.broadcast_id, False),
            (3, now.broadcast_id, True),
        ]
        await alice.say(room, "!aircheck backfill")
        await told(bot, alice, "I am searching")
        assert "I found 3 past broadcasts: 3 already there." in await told(bot, alice, "I found")
        await alice.sync_once()
        notices = [event.body for event in alice.received if event.is_notice_of(bot.user_id)]
        assert sum("is ready" in body for body in notices) == 1, "each past recording was announced"


async def test_the_shell_finds_past_broadcasts_while_the_bot_runs_or_not(
    world: Worlds, person: People, tmp_path: Path
) -> None:
    """`aircheck backfill ROOM --since DATE` hands its work to the running bot, or does it itself."""
    bot, alice = await world(), await person("alice")
    room = await alice.create_room("archive", encrypted=False)
    first = await speak(alice, room, 11)
    await alice.invite(room, bot.user_id)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(bot.tree))

    async def backfill(*more: str) -> str:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "backfill", "-c", str(config), room, *more, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await child.communicate()
        assert child.returncode == 0
        return out.decode()

    async with bot.running() as aircheck:
        await alice.wait_for(lambda event: event.room_id == room and event.is_notice_of(bot.user_id))
        assert "no past broadcasts" in await backfill("--since", "2090-01-01")
        assert "1 recorded whole" in await backfill("--since", "2020-01-01")
        await recorded(aircheck.store, first.broadcast_id, RecordingState.COMPLETE)
        feed, _ = await personal_feed(bot, alice, room)
        await assert_exact(await newest_episode(feed), first)
        await alice.say(room, "!aircheck record off")
        await told(bot, alice, "off")
        await speak(alice, room, 7)
    assert "1 recorded whole, 1 already there" in await backfill()


async def test_keys_of_another_client_open_what_was_sealed(world: Worlds, person: People, tmp_path: Path) -> None:
    """A past encrypted broadcast waits for its keys, and heals with `aircheck keys import`."""
    bot, alice = await world(), await person("alice")
    room = await alice.create_room("sealed", encrypted=True)
    past = await speak(alice, room)
    exported = tmp_path / "keys.txt"
    await alice.export_keys(exported, "a passphrase")
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(bot.tree))
    async with bot.running() as aircheck:
        await alice.invite(room, bot.user_id)
        await alice.wait_for(lambda event: event.room_id == room and event.is_notice_of(bot.user_id))
        await alice.say(room, "!aircheck backfill")
        await told(bot, alice, "I am searching")
        assert "1 incomplete" in await told(bot, alice, "I found ")
        await recorded(aircheck.store, past.broadcast_id, RecordingState.INCOMPLETE, made=False)

        async def import_keys(passphrase: str) -> tuple[int | None, str]:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "bot", "keys", "import", "-c", str(config), str(exported)),
                env={"AIRCHECK_KEYS_PASSPHRASE": passphrase},
                stderr=asyncio.subprocess.PIPE,
            )
            _, err = await child.communicate()
            return child.returncode, err.decode()

        code, sentence = await import_keys("another passphrase")
        assert (code, sentence.count("\n")) == (2, 1)
        assert await import_keys("a passphrase") == (0, "")
        assert await import_keys("a passphrase") == (0, "")  # again: all are known
        _, ledger = await recorded(aircheck.store, past.broadcast_id, RecordingState.COMPLETE)
        assert ledger.samples == past.samples
        assert not list((bot.directory / "tmp").glob("keys-*"))
        feed, _ = await personal_feed(bot, alice, room)
        await assert_exact(await newest_episode(feed), past)
    assert (await import_keys("a passphrase"))[0] == 0  # with no bot running, the command does it
