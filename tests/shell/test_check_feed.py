"""`aircheck check --feed`: a line for each thing that directories and apps look at."""

import asyncio
from pathlib import Path

import pytest
import yaml

from bot.check.finding import Finding, Level
from bot.errors import ConfigError
from bot.settings import Settings
from bot.shell.check_feed import feed_findings
from bot.shell.cli import call
from storage.records import Visibility
from tests.check.site import mp3
from tests.web.world import ALICE, BOB, World, settings_with, world_of


def settings_of(world: World, directory: Path) -> Settings:
    return settings_with(storage={"directory": str(directory)}, web={"public_url": world.server.address})


async def found(settings: Settings, room_id: str) -> list[Finding]:
    return [finding async for finding in feed_findings(settings, room_id)]


async def test_the_command_fails_where_a_directory_refuses_the_feed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each finding is a line; the owner's address is missing at first."""
    async with world_of(tmp_path) as (world, _):
        room = await world.room(visibility=Visibility.PUBLIC)
        await world.episode(await world.recording(room), mp3(184))
        config = tmp_path / "config.yaml"
        config.write_text(
            yaml.safe_dump(settings_of(world, tmp_path).model_dump(mode="json", exclude_defaults=True)), "utf-8"
        )
        arguments = ["check", "-c", str(config), "--feed", room.room_id]
        assert await asyncio.to_thread(call, arguments) == 1
        lines = capsys.readouterr().out.splitlines()
        (failed,) = [line for line in lines if line.startswith("FAIL")]
        assert failed.startswith("FAIL  owner e-mail         missing: Spotify and other directories")
        assert any(line.startswith("ok    byte ranges") for line in lines)
        assert await asyncio.to_thread(call, [*arguments[:-1], "!unknown:hs"]) == 2


async def test_a_private_feed_is_tested_by_the_address_of_a_member(tmp_path: Path) -> None:
    """Nobody who left the room has one that works; without any, the command says what to do."""
    async with world_of(tmp_path) as (world, _):
        await world.store.secret.replace(bytes(32))
        room = await world.room()
        settings = settings_of(world, tmp_path)
        (told,) = await found(settings, room.room_id)
        assert (told.level, told.subject) == (Level.WARN, "feed")
        await world.member(room, ALICE, "leave")
        await world.listener(room, ALICE)
        await world.member(room, BOB)
        token = await world.listener(room, BOB)
        await world.episode(await world.recording(room), mp3(184))
        findings = await found(settings, room.room_id)
        assert [finding for finding in findings if finding.level is Level.FAIL] == []
        assert "listing" in [finding.subject for finding in findings]
        assert token not in "".join(map(str, findings))


async def test_a_room_that_is_not_known_is_refused(tmp_path: Path) -> None:
    """The sentence names the argument."""
    async with world_of(tmp_path) as (world, _):
        with pytest.raises(ConfigError, match="ROOM"):
            await found(settings_of(world, tmp_path), "!nowhere:hs")


async def test_without_a_running_bot_that_is_said_first(tmp_path: Path) -> None:
    """Then nobody can fetch the feed."""
    async with world_of(tmp_path) as (world, _):
        room = await world.room(visibility=Visibility.PUBLIC)
        settings = settings_of(world, tmp_path)
    findings = await found(settings, room.room_id)
    assert (findings[0].level, findings[0].subject) == (Level.WARN, "running")
    assert findings[-1].subject == "reachable"
