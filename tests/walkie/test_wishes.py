"""Reactions to the panel and requests of clients: from the timeline to permits, floor, and what is taken away."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import orders
from bot.intake import panels, walkie
from bot.intake.selection import WISHES_AT_ONCE
from bot.walkie import permits
from bot.walkie.model import Locked
from storage import jobs, walkies
from storage.records import EventId, Floor, HeardEvent, JobState, UserId
from tests.world import ALICE, BOT, ROOM, World, heard, state, world_of

BOB, PANEL = UserId("@bob:hs"), EventId("$panel")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Provide a room with a walkie-talkie, whose panel is in the room, and of which Alice and Bob are members."""
    async with world_of(tmp_path / "data") as world:
        await world.join()
        await world.hear(before=(state("m.room.member", {"membership": "join"}, BOB, BOB),))
        async with world.store.write() as db:
            await walkie.switch_on(db, ROOM, world.clock(), floor_s=60, guard_s=1)
            await panels.said(db, ROOM, PANEL, world.clock())
        yield world


def sent(world: World, event_id: str, kind: str, content: Any, *, late: float = 0, **more: Any) -> HeardEvent:
    ms = round((world.clock() - timedelta(seconds=late)).timestamp() * 1000)
    return heard(event_id, kind, content, **({"origin_server_ts": ms} | more))


def tap(world: World, event_id: str, key: str, *, to: str = PANEL, **more: Any) -> HeardEvent:
    relation = {"rel_type": "m.annotation", "event_id": to, "key": key}
    return sent(world, event_id, "m.reaction", {"m.relates_to": relation}, **more)


def request(world: World, event_id: str, content: Any = None, **more: Any) -> HeardEvent:
    return sent(world, event_id, "org.aircheck.walkie.request", content or {}, **more)


async def floor_of(world: World) -> Floor:
    async with world.store.read() as db:
        there = await walkies.get(db, ROOM)
    assert there is not None
    return there.floor


async def has_joined(world: World, user: UserId = ALICE) -> bool:
    async with world.store.read() as db:
        return permits.may_send(await walkie.permit_of(db, ROOM, user), world.clock())


async def taken_away(world: World) -> list[str]:
    """Return the reactions that are taken away by now."""
    async with world.store.read() as db:
        waiting = await jobs.unfinished(db, orders.TakeAway.kind)
    return [job.subject for job in waiting if job.state is JobState.READY and job.run_at <= world.clock()]


async def next_turn(world: World) -> None:
    """Let the homeserver lock the floor that was given back, and the guard time pass."""
    async with world.store.write() as db:
        await walkie.apply(db, ROOM, Locked((await walkies.get(db, ROOM)).floor.serial), world.clock())  # type: ignore[union-attr]
    world.clock.pass_by(1)
    async with world.store.write() as db:
        await walkie.ticked(db, ROOM, world.clock())


async def test_reactions_join_ask_give_back_and_leave(world: World) -> None:
    """Each reaction is acted on and then taken away."""
    await world.hear(tap(world, "$in", "✅"), tap(world, "$ask", "🎙️"))
    assert (await floor_of(world)).holder == ALICE
    await world.hear(tap(world, "$over", "🛑"))
    assert (await floor_of(world)).holder is None
    assert await has_joined(world)
    await world.hear(tap(world, "$out", "🚪"))
    assert not await has_joined(world)
    assert await taken_away(world) == ["$in", "$ask", "$over", "$out"]


@pytest.mark.parametrize("key", ["🎙", "🎙️", "🎙️\ufe0e"])
async def test_a_microphone_of_any_look_asks(world: World, key: str) -> None:
    """Variation selectors make no difference."""
    await world.hear(tap(world, "$in", "✅\ufe0f"), tap(world, "$ask", key))
    assert (await floor_of(world)).holder == ALICE


async def test_who_waits_is_seen_until_it_is_their_turn(world: World) -> None:
    """A request that waits stays under the panel, and is taken away when its sender has the floor."""
    await world.hear(tap(world, "$a", "✅"), tap(world, "$b", "✅", sender=BOB))
    await world.hear(tap(world, "$ask", "🎙️"), tap(world, "$wait", "🎙️", sender=BOB))
    assert [asked.user for asked in (await floor_of(world)).queue] == [BOB]
    assert "$wait" not in await taken_away(world)
    await world.hear(tap(world, "$over", "🛑"))
    await next_turn(world)
    assert (await floor_of(world)).holder == BOB
    assert "$wait" in await taken_away(world)


async def test_a_microphone_taken_back_leaves_the_queue(world: World) -> None:
    """The sender redacts the reaction; a stranger's redaction without the power for it counts for nothing."""
    await world.hear(tap(world, "$a", "✅"), tap(world, "$b", "✅", sender=BOB), tap(world, "$ask", "🎙️"))
    await world.hear(tap(world, "$wait", "🎙️", sender=BOB))
    nobody = heard("$no", "m.room.redaction", {"redacts": "$wait"}, redacts="$wait", sender="@carl:hs")
    await world.hear(nobody)
    assert len((await floor_of(world)).queue) == 1
    await world.hear(heard("$back", "m.room.redaction", {"redacts": "$wait"}, redacts="$wait", sender=BOB))
    assert (await floor_of(world)).queue == ()
    assert await world.ordered(orders.TakeAway) != []
    assert "$wait" not in [order.event_id for order in await world.ordered(orders.TakeAway)], "it is gone already"


async def test_the_bots_own_redaction_takes_nobody_out(world: World) -> None:
    """A request that was granted and taken away leaves the floor with its sender."""
    await world.hear(tap(world, "$a", "✅"), tap(world, "$ask", "🎙️"))
    await world.hear(heard("$gone", "m.room.redaction", {"redacts": "$ask"}, redacts="$ask", sender=BOT))
    assert (await floor_of(world)).holder == ALICE


async def test_a_request_without_a_permit_is_told_once_an_hour(world: World) -> None:
    """The room is told what to do first; the reaction is taken away all the same."""
    await world.hear(tap(world, "$ask", "🎙️"), request(world, "$again"))
    assert (await floor_of(world)).holder is None
    told = [notice for notice in await world.ordered(orders.Notice) if "react with ✅" in notice.body]
    assert len(told) == 1
    assert await taken_away(world) == ["$ask"]


async def test_a_request_of_a_client_names_its_device(world: World) -> None:
    """A permit for some devices gives the floor to those; a request without a device is any device's."""
    permit = {"receive": True, "send": True, "expires_ts": None, "devices": ["PHONE"]}
    await world.hear(sent(world, "$permit", "org.aircheck.walkie.permit", permit, state_key=ALICE))
    await world.hear(request(world, "$tablet", {"device_id": "TABLET"}))
    assert (await floor_of(world)).holder is None
    await world.hear(request(world, "$phone", {"device_id": "PHONE"}))
    assert (await floor_of(world)).holder == ALICE
    assert await taken_away(world) == [], "a request is no reaction"


async def test_a_permit_under_somebody_elses_key_counts_for_nothing(world: World) -> None:
    """Nobody writes a permit for another, not even as the bot does."""
    permit = {"receive": True, "send": True, "expires_ts": None}
    for key in (ALICE, f"_{ALICE}"):
        await world.hear(sent(world, f"$for{key}", "org.aircheck.walkie.permit", permit, state_key=key, sender=BOB))
    assert not await has_joined(world)


@pytest.mark.parametrize("late", [11, 3600])
async def test_a_request_that_comes_late_counts_for_nothing(world: World, late: float) -> None:
    """More than ten seconds late, a reaction that asks is only taken away; a request is nothing."""
    await world.hear(tap(world, "$a", "✅"))
    await world.hear(tap(world, "$ask", "🎙️", late=late), request(world, "$request", late=late))
    assert (await floor_of(world)).holder is None
    assert "$ask" in await taken_away(world)
    await world.hear(request(world, "$soon", late=9))
    assert (await floor_of(world)).holder == ALICE


async def test_reactions_to_an_old_panel_and_other_emoji_count_for_nothing(world: World) -> None:
    """They are not even kept."""
    await world.hear(tap(world, "$old", "✅", to="$panel of before"), tap(world, "$heart", "❤️"))
    assert not await has_joined(world)
    assert await taken_away(world) == []


async def test_without_a_walkie_talkie_requests_are_not_kept(world: World) -> None:
    """Nothing of a walkie-talkie that is off is kept."""
    async with world.store.write() as db:
        await panels.close(db, ROOM, world.clock())
        await walkie.switch_off(db, ROOM, world.clock())
    await world.hear(tap(world, "$in", "✅"), request(world, "$ask"))
    assert not await has_joined(world)
    assert await taken_away(world) == []


async def test_who_reacts_and_leaves_the_room_has_no_floor(world: World) -> None:
    """The leaving counts though the sync holds it behind the request."""
    await world.hear(tap(world, "$a", "✅", sender=BOB))
    gone = sent(world, "$gone", "m.room.member", {"membership": "leave"}, state_key=BOB, sender=BOB)
    await world.hear(tap(world, "$ask", "🎙️", sender=BOB), gone)
    assert (await floor_of(world)).holder is None


async def test_the_bots_own_buttons_are_no_wishes(world: World) -> None:
    """The bot reacts to its panel, so that members need only tap."""
    await world.hear(tap(world, "$button", "✅", sender=BOT), tap(world, "$ask", "🎙️", sender=BOT))
    assert not await has_joined(world, BOT)
    assert await taken_away(world) == []


async def test_a_flood_of_reactions_costs_the_bot_a_share(world: World) -> None:
    """Beyond a member's share reactions are left where they are."""
    await world.hear(*[tap(world, f"$in{number}", "✅") for number in range(WISHES_AT_ONCE + 20)])
    assert len(await taken_away(world)) == WISHES_AT_ONCE


async def test_the_panel_is_known_from_the_sync_before_the_answer(world: World) -> None:
    """The bot's own message tells the panel by its transaction id; a reaction in the same sync counts."""
    async with world.store.write() as db:
        await panels.close(db, ROOM, world.clock())
        await panels.post(db, ROOM, EventId("$command"), world.settings, world.clock())
        waiting = await jobs.unfinished(db, orders.Notice.kind)
    (job,) = [job for job in waiting if orders.is_panel(job, ROOM)]
    content = {"msgtype": "m.notice", "body": "…"}
    shown = heard("$new", "m.room.message", content, sender=BOT, unsigned={"transaction_id": f"aircheck-{job.id}"})
    await world.hear(shown, tap(world, "$in", "✅", to="$new"))
    assert await has_joined(world)
    assert [order.event_id for order in await world.ordered(orders.PutButtons)] == [PANEL, "$new"]
