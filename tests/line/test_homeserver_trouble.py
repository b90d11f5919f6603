"""A homeserver that is slow, asks for pauses or fails for an hour: the bot waits, and loses nothing."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from bot.demo.people import Person
from bot.demo.slicing import speech
from bot.matrix import session, wire
from storage.records import ChunkState, RecordingState
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.replay import Capture, address_of, assert_heard_whole, replaying
from tests.line.trouble import Between, between, none
from tests.line.world import (
    WAIT_S,
    World,
    answers,
    assert_exact,
    move_in,
    newest_episode,
    personal_feed,
    recorded,
    subscribed_room,
    whole_broadcast,
)
from tests.matrix.conftest import Bots, bots
from tests.matrix.running import meet

__all__ = ["bots"]  # a fixture

SPEECH = speech(1)[:900]  # 18 s
HOUR_S = 3600
KINDS = {"sync", "join/", "send/", "download"}


@dataclass
class Setting:
    """A bot behind a proxy in trouble, and Alice, who is not."""

    bot: World
    between: Between
    alice: Person


@pytest.fixture
async def replay(world: Worlds, person: People) -> AsyncIterator[Setting]:
    bot, alice = await world(), await person("alice")
    async with between(bot.homeserver.address) as made:
        bot.tree["matrix"]["homeserver"] = made.address
        yield Setting(bot, made, alice)


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Collect the pauses of the session in seconds, and skip them."""
    pauses: list[float] = []

    async def pause(seconds: float, stopping: asyncio.Event) -> None:
        pauses.append(seconds)
        await wire.pause(min(seconds, 0.01), stopping)

    monkeypatch.setattr(session, "pause", pause)
    return pauses


async def test_an_hour_of_failures_loses_nothing(
    replay: Setting, paused: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """An hour of 502 is logged at its begin and end only, pauses stay bounded, and a broadcast in it is whole."""
    caplog.set_level(logging.INFO)
    async with replay.bot.running() as aircheck:
        room, feed, _ = await subscribed_room(replay.bot, replay.alice, encrypted=True)
        replay.between.trouble = lambda _: web.Response(status=502)
        speaker = await whole_broadcast(replay.alice, room, SPEECH)
        async with asyncio.timeout(WAIT_S):
            while sum(paused) < HOUR_S:
                await replay.between.until(replay.between.troubled.total() + 1)
        assert max(paused) <= 30
        assert len(paused) < 400
        assert await answers(feed) == 200
        replay.between.trouble = none
        await recorded(aircheck.store, speaker.broadcast_id, RecordingState.COMPLETE)
        await assert_exact(await newest_episode(feed), speaker)
    assert len([one for one in caplog.messages if "no news from the homeserver" in one]) == 1
    assert len([one for one in caplog.messages if "the homeserver is back" in one]) == 1


async def test_pauses_that_are_asked_for_are_kept(replay: Setting, paused: list[float]) -> None:
    """After a 429 the session pauses as `retry_after_ms` or `Retry-After` says, and does everything once."""
    troubled: set[str] = set()

    def trouble(request: web.Request) -> web.Response | None:
        kind = next((kind for kind in KINDS if f"/{kind}" in request.path), None)
        if kind is None or kind in troubled:
            return None
        troubled.add(kind)
        if kind == "download":
            return web.json_response({}, status=429, headers={"Retry-After": "1"})
        body = {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 77_000 if kind == "sync" else 50}
        return web.json_response(body, status=429)

    async with replay.bot.running() as aircheck:
        replay.between.trouble = trouble
        room = await move_in(replay.bot, replay.alice, encrypted=True)
        speaker = await whole_broadcast(replay.alice, room, SPEECH)
        await recorded(aircheck.store, speaker.broadcast_id, RecordingState.COMPLETE)
        feed, _ = await personal_feed(replay.bot, replay.alice, room)
        await assert_exact(await newest_episode(feed), speaker)
        await replay.alice.sync_once()
        told = [
            event.body for event in replay.alice.received if event.is_notice_of(replay.bot.user_id) and not event.sealed
        ]
        assert len(told) == len(set(told)), "something was said twice"
    assert troubled == KINDS
    assert 77 in paused


async def test_answers_that_take_long_hold_up_nothing_else(replay: Setting) -> None:
    """While the homeserver answers nothing, feeds and `/healthz` answer; afterwards everything is recorded."""
    async with replay.bot.running() as aircheck:
        room, feed, _ = await subscribed_room(replay.bot, replay.alice, encrypted=True)
        replay.between.gate.clear()
        speaker = await whole_broadcast(replay.alice, room, SPEECH)
        async with asyncio.timeout(WAIT_S):
            assert (await answers(feed), await answers(f"{replay.bot.web}/healthz")) == (200, 200)
        replay.between.gate.set()
        await recorded(aircheck.store, speaker.broadcast_id, RecordingState.COMPLETE)
        await assert_exact(await newest_episode(feed), speaker)


async def test_a_stop_does_not_wait_for_an_answer(replay: Setting) -> None:
    """A stop does not wait for a homeserver that no longer answers."""
    async with replay.bot.running():
        await move_in(replay.bot, replay.alice, encrypted=False)
        replay.between.gate.clear()
        await replay.alice.create_room("another", invite=[replay.bot.user_id])
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 30  # a request is waited for a minute


@pytest.mark.parametrize("status", [500, 429, *(pytest.param(status, marks=pytest.mark.long) for status in (502, 503))])
async def test_media_that_fail_for_an_hour_are_whole_after_it(status: int, tmp_path: Path) -> None:
    """While media fails no chunk is given up, and the episode is whole afterwards."""
    good = Capture("plain")
    async with replaying(tmp_path / "data") as made:
        await made.move_in(good)
        for mxc in good.uploads:
            made.homeserver.says(address_of(mxc), status, "M_LIMIT_EXCEEDED" if status == 429 else "M_UNKNOWN")
        await made.tell(good.room, good.broadcast)
        for _ in range(60):
            await made.pass_by(60)
        states = {chunk.state for chunk in (await made.chunks(good.started)).values()}
        assert states == {ChunkState.WAITING_FOR_MEDIA}
        assert len(made.homeserver.asked) < 40 * len(good.uploads), "it is asked too often"
        made.serves(good.uploads)
        await made.pass_by(600)
        assert (await made.recording(good.started)).state is RecordingState.COMPLETE
        await assert_heard_whole(await made.audio(good.started), good.files, tmp_path)


async def test_what_can_not_be_written_is_said_once(
    bots: Bots, person: People, paused: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """A database that can't be written is logged once, not as a homeserver that is away; the batch comes again."""
    caplog.set_level(logging.INFO, "bot")
    bot, alice = await bots(), await person("alice")
    room_id = await meet(alice, bot)
    caplog.clear()
    bot.sink.failures = 25
    await alice.say(room_id, "at last")
    await bot.sink.until_body(room_id, "at last")
    assert len(bot.sink.refused) == 25
    assert [one for one in caplog.messages if "homeserver" in one] == []
    assert len([one for one in caplog.messages if "batch not stored" in one]) == 1
    assert max(paused) <= 30
