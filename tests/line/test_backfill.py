"""A long past broadcast on a real homeserver: found page by page, through trouble, with its date, and kept private."""

import asyncio
import os
import pty
import re
import sys
from email.utils import parsedate_to_datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import aiohttp
import pytest
import yaml
from aiohttp import web

from bot.demo.broadcaster import Broadcaster
from bot.demo.slicing import speech
from bot.matrix import history
from storage.records import RecordingState
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.test_past import speak, told
from tests.line.trouble import between
from tests.line.world import assert_exact, newest_episode, personal_feed, recorded

CHUNKS = 60  # a page of relations holds 50


async def items(feed: str) -> list[ET.Element]:
    async with aiohttp.ClientSession() as http, http.get(feed) as answer:
        assert answer.status == 200
        return ET.fromstring(await answer.text()).findall("channel/item")  # noqa: S314  our own feed


async def test_a_long_past_broadcast_is_whole_dated_and_private(
    world: Worlds, person: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A past broadcast of sixty chunks is found despite a failing homeserver, keeps its date, and stays private."""
    monkeypatch.setattr(history, "RELATIONS_PER_PAGE", CHUNKS // 3)
    bot, alice = await world(), await person("alice")
    room = await alice.create_room("archive", encrypted=False)
    past = Broadcaster(alice, room, chunk_seconds=0)
    started = await past.start()
    await past.speak([*speech(1), *speech(2)][: CHUNKS * 40])
    await past.stop()
    assert len(past.chunks) >= CHUNKS
    asked: list[tuple[str, dict[str, str]]] = []

    def trouble(request: web.Request) -> web.Response | None:
        if "/relations/" not in request.path and "/messages" not in request.path:
            return None
        asked.append((request.path, dict(request.query)))
        failed_before = any(path == request.path and "from" in query for path, query in asked[:-1])
        return web.Response(status=502) if "from" in request.query and not failed_before else None

    async with between(bot.homeserver.address) as line:
        bot.tree["matrix"]["homeserver"] = line.address
        line.trouble = trouble
        async with bot.running() as aircheck:
            await alice.invite(room, bot.user_id)
            assert "`!aircheck backfill`" in await told(bot, alice, "Hello")
            feed, _ = await personal_feed(bot, alice, room)
            await alice.say(room, "!aircheck publish public")
            public = re.search(r"http\S+/feed\.xml", await told(bot, alice, f"{bot.web}/r/"))
            assert public is not None
            await alice.say(room, "!aircheck backfill")
            found = await alice.wait_for(
                lambda event: event.is_notice_of(bot.user_id) and "I found " in event.body, 120
            )
            assert "1 recorded whole" in found.body
            recording, ledger = await recorded(aircheck.store, started, RecordingState.COMPLETE)
            assert ledger.samples == past.samples
            assert (
                recording.started_at.timestamp() * 1000 == (await alice.fetch_event(room, started))["origin_server_ts"]
            )
            (item,) = await items(feed)
            assert parsedate_to_datetime(item.findtext("pubDate") or "") == recording.started_at.replace(microsecond=0)
            await assert_exact(await newest_episode(feed), past)
            assert await items(public[0]) == []
            await alice.say(room, f"!aircheck publish {recording.code}")
            await told(bot, alice, recording.code)
            assert len(await items(public[0])) == 1
    relations = [(path, query) for path, query in asked if "/relations/" in path]
    assert len(relations) >= 3, "it was one page: the test shows nothing"
    assert all(path.endswith("/m.reference") for path, _ in relations), "filtered by type"
    assert any("voice_broadcast_info" in query.get("filter", "") for path, query in asked if "/messages" in path)


async def test_a_terminal_sees_how_far_it_is(world: Worlds, person: People, tmp_path: Path) -> None:
    """`aircheck backfill` on a terminal shows a progress line, then the result."""
    bot, alice = await world(), await person("alice")
    room = await alice.create_room("archive", encrypted=False)
    await speak(alice, room, 7)
    await alice.invite(room, bot.user_id)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(bot.tree))
    async with bot.running():
        await told(bot, alice, "Hello")
        master, slave = pty.openpty()
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "backfill", "-c", str(config), room), stderr=slave, stdout=slave
        )
        os.close(slave)
        shown, code = await asyncio.gather(asyncio.to_thread(everything, master), child.wait())
    assert code == 0
    assert re.search(r"searching the history: \d+ broadcasts", shown)
    assert "recorded whole" in shown.splitlines()[-1]


def everything(master: int) -> str:
    """Read everything that a terminal shows until its other end is closed."""
    pieces = []
    try:
        while piece := os.read(master, 4096):
            pieces.append(piece)
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(master)
    return b"".join(pieces).decode(errors="replace")


async def test_keys_are_imported_also_with_no_bot_running(world: Worlds, person: People, tmp_path: Path) -> None:
    """Without a running bot the command imports the keys, and the waiting recording is whole after the next start."""
    bot, alice = await world(), await person("alice")
    room = await alice.create_room("sealed", encrypted=True)
    past = await speak(alice, room, 11)
    exported, config = tmp_path / "keys.txt", tmp_path / "config.yaml"
    await alice.export_keys(exported, "a passphrase")
    config.write_text(yaml.safe_dump(bot.tree))
    async with bot.running() as aircheck:
        await alice.invite(room, bot.user_id)
        await told(bot, alice, "Hello")
        await alice.say(room, "!aircheck backfill")
        assert "1 incomplete" in await told(bot, alice, "I found ")
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "keys", "import", "-c", str(config), str(exported)),
        env={"AIRCHECK_KEYS_PASSPHRASE": "a passphrase"},
    )
    assert await child.wait() == 0
    async with bot.running() as aircheck:
        _, ledger = await recorded(aircheck.store, past.broadcast_id, RecordingState.COMPLETE)
        assert ledger.samples == past.samples
