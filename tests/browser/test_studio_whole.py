"""A studio with everything real: the homeserver, the bot as a process of its own, a member's client, and the page in
headless Chromium with a known microphone."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.commands.replies.studio import is_coming
from bot.demo.people import Person
from bot.demo.received import Received
from bot.demo.synapse import Homeserver
from bot.event_types import ENCRYPTED, MESSAGE
from storage.records import StudioSource
from tests.browser.chromium import DESK, PHONE, Browser, Tab
from tests.browser.test_studio import MEMORY, NETWORK, RECORDED, STATE, STEP_MS, end, go_live, until_recorded
from tests.calls_clients.sounds import SURE, likeness
from tests.lab import People, decode
from tests.line.conftest import Worlds, world
from tests.line.test_process import process, recordings
from tests.line.world import World, move_in, newest_episode, personal_feed, reply_to, welcome

__all__ = ["world"]  # a fixture

pytestmark = pytest.mark.browser

SENT = """(() => {
    const ask = globalThis.fetch;
    globalThis.sent = {};
    globalThis.fetch = async (address, options) => {
        const number = /slice-(\\d+)$/.exec(String(address))?.[1];
        if (number) {
            const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await options.body.arrayBuffer()));
            const name = [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
            sent[number] = [...new Set([...(sent[number] ?? []), name])];
        }
        return ask(address, options);
    };
})()"""
"""A page's own record of what it sends: the hashes of each slice."""
ADDRESS = re.compile(r"\S+/studio/[a-z2-7]{52}/")
TOLD = "document.querySelector('[data-tell]').innerText"


@dataclass(frozen=True, slots=True)
class Studio:
    """A member's studio as they were told of it."""

    bot: World
    room: str
    address: str

    async def have(self) -> int:
        """Return how many slices are on the bot's disk, as it says itself."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.address}state") as answer:
            assert answer.status == 200
            return sum(last - first + 1 for first, last in (await answer.json())["have"])

    async def status(self) -> int:
        async with aiohttp.ClientSession() as http, http.get(self.address) as answer:
            return answer.status

    @asynccontextmanager
    async def tab(self, browser: Browser, width: int = DESK, scheme: str = "light") -> AsyncIterator[Tab]:
        """Open its page, which may use the microphone and notes what it sends."""
        async with browser.tab(width, scheme, gives={self.bot.web: ["microphone"]}) as tab:
            await tab.prepare(SENT)
            await tab.visit(self.address)
            yield tab


async def studio_of(bot: World, member: Person, room: str) -> Studio:
    """Ask for a studio in an encrypted room, and read its address in the encrypted direct chat."""
    asked = await member.say(room, "!aircheck studio")
    assert (await reply_to(member, asked)).body == is_coming(StudioSource.PAGE, live=False)
    chat = await member.wait_for_invite(bot.user_id)
    await member.join(chat)
    told = await member.wait_for(lambda event: event.room_id == chat and ADDRESS.search(event.body))
    assert (await member.fetch_event(chat, told.event_id))["type"] == ENCRYPTED
    found = ADDRESS.search(told.body)
    assert found is not None
    return Studio(bot, room, found[0])


async def told(person: Person, bot: World, room: str, words: str) -> Received:
    """Wait for a message of the bot in the room with these words."""
    return await person.wait_for(
        lambda event: event.room_id == room and event.is_notice_of(bot.user_id) and words in event.body
    )


async def messages(person: Person, bot: World, room: str) -> list[Received]:
    """Return what a person sees of the bot in a room, in its order, and check that each event to which one refers is
    there."""
    await person.sync_once()
    seen = {
        event.event_id: event
        for event in person.received
        if (event.room_id, event.sender, event.type) == (room, bot.user_id, MESSAGE)
    }
    for event in seen.values():
        assert not event.sealed
        relation = event.content.get("m.relates_to", {})
        for named in (relation.get("event_id"), relation.get("m.in_reply_to", {}).get("event_id")):
            if named is not None:
                await person.fetch_event(room, named)  # refused where there is none
    return list(seen.values())


def hashes(recording: dict[str, Any]) -> list[str]:
    """Return the hashes of a recording's chunks, all of which are there to the sample."""
    chunks: Sequence[dict[str, Any]] = recording["chunks"]
    assert {(chunk["state"], chunk["timing"]) for chunk in chunks} == {("stored", "exact")}
    assert [chunk["sequence"] for chunk in chunks] == list(range(1, len(chunks) + 1))
    for one, other in pairwise(chunks):
        assert abs(one["position_ms"] + one["duration_ms"] - other["position_ms"]) <= 1  # each is rounded
    return [chunk["sha256"] for chunk in chunks]


async def sent_by(tab: Tab) -> list[str]:
    """Return the hashes of the slices that a page has sent, in their order; what is sent again has the same bytes."""
    sent: dict[str, list[str]] = await tab.evaluate("sent")
    by_number = [sent[str(number)] for number in range(1, len(sent) + 1)]
    assert {len(each) for each in by_number} == {1}
    return [name for (name,) in by_number]


async def test_a_broadcast_outlives_a_killed_bot_and_a_homeserver_that_is_away(
    world: Worlds, person: People, homeserver: Homeserver, speaking_browser: Browser, tmp_path: Path
) -> None:
    """A member asks in an encrypted room, opens the address and speaks, while the bot is killed and started again, and
    the homeserver is away. The episode is what the page sent, to the sample, and the room hears of it in order."""
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    log = tmp_path / "log"
    async with process(bot, log) as running:
        room = await move_in(bot, alice, encrypted=True)
        await welcome(bob, alice, room)
        feed, _ = await personal_feed(bot, alice, room)
        studio = await studio_of(bot, bob, room)
        async with studio.tab(speaking_browser, PHONE) as tab:
            await tab.wait(f"{STATE} === 'ready'")
            await tab.click("[data-plain]")  # else the browser changes the wave
            await tab.wait("!document.querySelector('[data-meter]').hidden")
            await go_live(tab, 4_000)
            begun = await told(alice, bot, room, "has begun a broadcast")

            await running.end(signal.SIGKILL)
            killed = await tab.evaluate(RECORDED)
            await until_recorded(tab, killed + 7_000)
            await tab.wait(f"{NETWORK}.includes('kept in this browser')", STEP_MS)
            assert await tab.evaluate(STATE) == "live"
            await running.start()
            await tab.wait(f"{NETWORK}.startsWith('Sending')", STEP_MS)

            await homeserver.stop()
            try:
                away, had = await tab.evaluate(RECORDED), await studio.have()
                await until_recorded(tab, away + 11_000)
                await tab.wait(f"{NETWORK}.startsWith('Sending')", STEP_MS)
                assert await studio.have() > had  # it does not wait for the homeserver
            finally:
                await homeserver.restart()
            assert not await tab.evaluate(f"Boolean({MEMORY.removesuffix('.innerText')})")
            recorded_ms = await end(tab)
            sent = await sent_by(tab)

        ready = await told(alice, bot, room, "is ready")
        (found,) = await recordings(bot, log)
        assert (found["kind"], found["via"], found["state"]) == ("voice_broadcast", "studio", "complete")
        assert (found["broadcaster"], found["ended_by"], found["gaps"]) == (bob.user_id, "stopped", [])
        assert hashes(found) == sent
        duration_ms = found["duration_ms"]
        assert isinstance(duration_ms, int)
        assert abs(duration_ms - recorded_ms) < 50
        sound = await asyncio.to_thread(decode, await newest_episode(feed))
        assert abs(len(sound) / 48 - duration_ms) < 1
        assert await asyncio.to_thread(likeness, sound, 1) > SURE
        assert await running.end(signal.SIGTERM) == 0
    said = await messages(alice, bot, room)
    assert [event.event_id for event in said if event.event_id in (begun.event_id, ready.event_id)] == [
        begun.event_id,
        ready.event_id,
    ]
    assert sum("has begun a broadcast" in event.body for event in said) == 1
    assert sum("is ready" in event.body for event in said) == 1
    assert "complete" in ready.body


@asynccontextmanager
async def on_air(bot: World, alice: Person, bob: Person, browser: Browser) -> AsyncIterator[tuple[Studio, Tab]]:
    """Bob broadcasts into Alice's room; some seconds of it are on the disk."""
    room = await move_in(bot, alice, encrypted=True)
    await welcome(bob, alice, room)
    studio = await studio_of(bot, bob, room)
    async with studio.tab(browser) as tab:
        await go_live(tab)
        await told(alice, bot, room, "has begun a broadcast")
        await tab.wait("Object.keys(sent).length > 2", STEP_MS)  # two are there
        yield studio, tab


async def ended_from_outside(studio: Studio, tab: Tab) -> None:
    """Wait until the page says that the broadcast was ended, and check that nothing more is recorded or taken."""
    await tab.wait(f"{STATE} === 'closed-by-room'", STEP_MS)
    assert "Not on this page" in await tab.evaluate(TOLD)
    assert not await tab.evaluate("[...document.querySelectorAll('[data-do]')].some((key) => !key.hidden)")
    assert await tab.evaluate("document.querySelector('[data-meter]').hidden")
    assert await studio.status() == 410


async def test_a_demotion_in_the_middle_ends_the_broadcast(
    world: Worlds, person: People, speaking_browser: Browser
) -> None:
    """The page says that it was ended elsewhere; what was sent before becomes an episode, and the room hears of it."""
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    async with bot.running(), on_air(bot, alice, bob, speaking_browser) as (studio, tab):
        await alice.set_power(studio.room, {bob.user_id: -1})
        await ended_from_outside(studio, tab)
        await told(alice, bot, studio.room, "is ready")
        assert len(await messages(alice, bot, studio.room)) == 4  # the greeting, an answer, a beginning and an end


async def test_an_optout_in_the_middle_ends_the_broadcast(
    world: Worlds, person: People, speaking_browser: Browser
) -> None:
    """The page says that it was ended; the answer and the direct chat say what stays, and how it is deleted."""
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    async with bot.running(), on_air(bot, alice, bob, speaking_browser) as (studio, tab):
        answer = await reply_to(bob, await bob.say(studio.room, "!aircheck optout"))
        assert "Your recording that was running is closed" in answer.body
        await ended_from_outside(studio, tab)
        await bob.wait_for(lambda event: event.is_notice_of(bot.user_id) and f"in {studio.room} delete" in event.body)
        await told(alice, bot, studio.room, "is ready")
        assert len(await messages(alice, bot, studio.room)) == 5
