"""`studio`, `studio source`, `studio on|off`, `studio events on|off`."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot import orders
from bot.commands.replies import general
from bot.commands.replies import places as place_replies
from bot.commands.replies import studio as replies
from bot.dialects import studio as events
from bot.event_types import MSC3888_INFO
from bot.feeds.addresses import look_up_hash, studio_token
from bot.studio import writing
from storage import archive, changes, rooms, studios
from storage.records import (
    Behind,
    RecordingState,
    Studio,
    StudioSource,
    StudioState,
    UserId,
)
from tests.commands.test_places import CHAT, name, open_chat
from tests.commands.world import ADMIN, BASE, BOT, CREATOR, MEMBER, MOD, ROOM, SECRET, SPEAKER, World

COMING = replies.is_coming(StudioSource.PAGE, live=False)
AGAIN = replies.is_coming(StudioSource.PAGE, live=True)
BROADCASTS = "org.matrix.msc3888.voice_broadcast_info"


async def made(world: World, user: UserId = MOD) -> list[Studio]:
    """All studios of a member that are not over."""
    async with world.store.read() as db:
        return list(await studios.open_in(db, user_id=user))


async def is_over(world: World, studio: Studio) -> bool:
    async with world.store.read() as db:
        found = await studios.get(db, studio.id)
    return found is not None and found.state is StudioState.OVER


async def sent(world: World) -> list[orders.Direct]:
    return [orders.Direct.of(job) for job in await world.take(orders.Direct.kind)]


async def goes_live(world: World, studio: Studio) -> None:
    """The page of a studio begins a broadcast, which the recorder has heard."""
    await writing.Writing(world.store, world.settings, world.clock).start(studio.id, "page")
    await world.recording(length_ms=None, event_id=events.started_id(studio), state=RecordingState.LIVE)


async def test_the_address_goes_to_the_direct_chat_and_stands_nowhere(world: World) -> None:
    """The room reads one sentence; the order of the message names the studio, of which only the hash is stored."""
    assert await world.say(MOD, "!aircheck studio") == COMING
    assert "\n" not in COMING
    assert BASE not in COMING
    (studio,) = await made(world)
    assert (studio.room_id, studio.user_id, studio.source) == (ROOM, MOD, StudioSource.PAGE)
    assert (studio.state, studio.expires_at) == (StudioState.WAITING, world.clock() + timedelta(hours=24))
    assert studio.token_sha256 == look_up_hash(studio_token(SECRET, studio))
    (job,) = await world.take(orders.Direct.kind)
    assert (job.subject, dict(job.payload)) == (f"{MOD}|studio|{studio.id}", {"user_id": MOD, "studio": studio.id})


async def test_asked_again_it_is_the_same_until_it_is_over(world: World) -> None:
    """While it waits it is good for a whole day again; while its broadcast runs the answer says so; then it is new."""
    await world.say(MOD, "!aircheck studio")
    (first,) = await made(world)
    world.clock.pass_by(23 * 3600)
    assert await world.say(MOD, "!aircheck studio") == COMING
    assert await made(world) == [replace(first, expires_at=world.clock() + timedelta(hours=24))]
    await goes_live(world, first)
    world.clock.pass_by(30 * 3600)
    assert await world.say(MOD, "!aircheck studio") == AGAIN
    (live,) = await made(world)
    assert (live.id, live.state) == (first.id, StudioState.LIVE)
    assert {order.studio for order in await sent(world)} == {first.id}
    async with world.store.write() as db:
        await writing.end(db, live, world.clock())
    assert await world.say(MOD, "!aircheck studio") == COMING
    (second,) = await made(world)
    assert second.id != first.id
    assert second.key != first.key


async def test_what_nobody_used_in_time_is_replaced(world: World) -> None:
    """A studio that has expired is over, and the next one has another address."""
    await world.say(MOD, "!aircheck studio")
    (first,) = await made(world)
    world.clock.pass_by(24 * 3600)
    await world.say(MOD, "!aircheck studio")
    (second,) = await made(world)
    assert second.id != first.id
    assert await is_over(world, first)


async def test_a_broadcast_that_ended_by_itself_is_not_in_the_way(world: World) -> None:
    """Its page may be gone for good: whoever asks again after a long silence gets another studio, the same each time.
    The page may come back, too, and bring what it has."""
    await world.say(MOD, "!aircheck studio")
    (first,) = await made(world)
    await goes_live(world, first)
    async with world.store.write() as db:
        recording = await archive.recording_by_event(db, events.started_id(first))
        assert recording is not None
        await archive.save_recording(db, replace(recording, state=RecordingState.COMPLETE))
    for _ in range(2):
        assert await world.say(MOD, "!aircheck studio") == COMING
        found = await made(world)
        assert [(studio.id == first.id, studio.state) for studio in found] == [
            (True, StudioState.LIVE),
            (False, StudioState.WAITING),
        ]


async def test_a_lost_secret_gives_another_address(world: World) -> None:
    """A studio whose token can't be made again has a new one when its member asks, and the old one is good no more."""
    await world.say(MOD, "!aircheck studio")
    (studio,) = await made(world)
    async with world.store.write() as db:
        await studios.save(db, replace(studio, token_sha256="of another secret"))
    await world.say(MOD, "!aircheck studio")
    assert await made(world) == [studio]


async def test_a_source_client_has_a_studio_of_its_own(world: World) -> None:
    """`studio source` and `studio` stand side by side, and each is the same when it is asked for again."""
    for _ in range(2):
        assert await world.say(MOD, "!aircheck studio source") == replies.is_coming(StudioSource.CLIENT, live=False)
        assert await world.say(MOD, "!aircheck studio") == COMING
    assert [studio.source for studio in await made(world)] == [StudioSource.CLIENT, StudioSource.PAGE]
    assert len({order.studio for order in await sent(world)}) == 2


# ---- who gets one


async def test_whoever_may_send_the_info_event_gets_one(world: World) -> None:
    """The power levels of the room decide; being an administrator of the bot is no right to speak in it."""
    may = [user for user in (ADMIN, CREATOR, MOD, MEMBER) if await world.say(user, "!aircheck studio") == COMING]
    assert may == [CREATOR, MOD]
    assert await world.say(MEMBER, "!aircheck studio") == replies.NO_POWER
    await world.power_levels({"users": {MOD: 50}, "events": {BROADCASTS: 0}})
    assert await world.say(MEMBER, "!aircheck studio") == COMING


async def out(world: World) -> None:
    await world.say(MOD, "!aircheck optout")


async def speakers(world: World) -> None:
    await world.say(CREATOR, f"!aircheck speakers {SPEAKER}")


async def off(world: World) -> None:
    await world.say(MOD, "!aircheck studio off")


async def record_off(world: World) -> None:
    await world.say(MOD, "!aircheck record off")


async def untold(world: World) -> None:
    await world.tell(None)


async def walkie(world: World) -> None:
    await world.power_levels({"users": {MOD: 50, BOT: 100}})
    await world.handle(world.command(MOD, "!aircheck walkie on"))
    assert len(await world.take(orders.Notice.kind)) > 1  # the answer, and the panel


async def restored(world: World) -> None:
    async with world.store.write() as db:
        await rooms.save_room(db, replace(await world.room(), behind=Behind.WALKED))


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (out, "You opted out of being recorded: say `!aircheck optin` first."),
        (speakers, replies.others_only("!aircheck")),
        (off, "The studio is off in this room: a moderator can say `!aircheck studio on`."),
        (record_off, replies.not_recorded("!aircheck")),
        (untold, replies.AWAITS_NOTICE),
        (walkie, replies.is_walkie("!aircheck")),
        (restored, replies.BEHIND),
    ],
)
@pytest.mark.parametrize("command", ["studio", "studio source"])
async def test_each_refusal_says_why(world: World, command: str, before: Any, told: str) -> None:
    """A plain sentence names the reason, and the way out where there is one; no studio is made."""
    await before(world)
    assert await world.say(MOD, f"!aircheck {command}") == told
    assert "\n" not in told
    assert await made(world) == []
    assert await sent(world) == []


async def test_it_is_asked_for_in_a_direct_chat_for_a_named_room(world: World) -> None:
    """`in ROOM studio` makes one for that room, by the rights there; without a room a question comes back."""
    await name(world, ROOM, "Kitchen radio")
    await open_chat(world, MOD)
    assert await world.say(MOD, "in kitchen radio studio", room_id=CHAT) == COMING
    (studio,) = await made(world)
    assert studio.room_id == ROOM
    await world.power_levels({"users": {CREATOR: 100}})
    assert await world.say(MOD, "in kitchen radio studio", room_id=CHAT) == replies.NO_POWER
    assert await world.say(MOD, "studio", room_id=CHAT) == place_replies.which_room(["Kitchen radio"], "studio")


# ---- the switches


async def test_a_moderator_closes_and_opens_it_for_the_room(world: World) -> None:
    """Each change is in the log, and one that closes has the studios looked at that wait or run."""
    await world.member(MOD, name="Mo")
    await world.say(MOD, "!aircheck studio")
    await world.take(orders.LookAtStudios.kind)
    assert await world.say(MEMBER, "!aircheck studio off") == general.ONLY_MODS
    assert await world.say(MOD, "!aircheck studio off") == "The studio is off: Mo switched it off."
    assert [job.subject for job in await world.take(orders.LookAtStudios.kind)] == [ROOM]
    assert await world.say(MOD, "!aircheck studio OFF") == "The studio is already off."
    assert (await world.say(MOD, "!aircheck studio on") or "").startswith("The studio is on: Mo switched it on. ")
    assert await world.say(MOD, "!aircheck studio on") == "The studio is already on."
    async with world.store.read() as db:
        noted = await changes.of_rooms(db, [ROOM])
    assert [(one.by, one.what, one.before, one.after) for one in reversed(noted)] == [
        (MOD, "studio", "on", "off"),
        (MOD, "studio", "off", "on"),
    ]


async def test_switched_off_it_says_what_that_ends(world: World) -> None:
    """A broadcast that runs is not cut off in silence."""
    await world.say(MOD, "!aircheck studio")
    await goes_live(world, (await made(world))[0])
    answer = await world.say(CREATOR, "!aircheck studio off") or ""
    assert answer.endswith("That ends the broadcast that was made in it just now.")


async def test_a_bot_without_the_power_says_so_at_once(world: World) -> None:
    """The answer to `studio events on` says that the bot may not send them, if it may not."""
    answer = await world.say(MOD, "!aircheck studio events on") or ""
    assert MSC3888_INFO in answer
    await world.say(MOD, "!aircheck studio events off")
    await world.power_levels({"users": {MOD: 50}, "events": {MSC3888_INFO: 0}})
    assert MSC3888_INFO not in (await world.say(MOD, "!aircheck studio events on") or MSC3888_INFO)


async def test_events_are_off_until_a_moderator_wants_them(world: World) -> None:
    """The room's policy changes, and each change is in the log."""
    assert not (await world.room()).studio_events
    assert await world.say(MEMBER, "!aircheck studio events on") == general.ONLY_MODS
    assert (await world.say(MOD, "!aircheck studio events on") or "").startswith("Studio events are on: ")
    assert (await world.room()).studio_events
    assert await world.say(MOD, "!aircheck studio events on") == replies.EVENTS_ALREADY_ON
    assert (await world.say(MOD, "!aircheck studio events off") or "").startswith("Studio events are off: ")
    assert await world.say(MOD, "!aircheck studio events off") == replies.EVENTS_ALREADY_OFF
    async with world.store.read() as db:
        noted = await changes.of_rooms(db, [ROOM])
    assert [(one.what, one.before, one.after) for one in noted] == [
        ("studio events", "on", "off"),
        ("studio events", "off", "on"),
    ]


async def test_other_words_get_an_example(world: World) -> None:
    """Words that fit no form change nothing."""
    for words in ("loudly", "events", "events maybe", "source on"):
        assert "`!aircheck studio source`" in (await world.say(MOD, f"!aircheck studio {words}") or "")
    assert await made(world) == []
