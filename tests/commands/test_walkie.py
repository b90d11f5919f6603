"""`walkie …`, `talk`, `over`."""

from datetime import timedelta

import pytest

from bot import orders
from bot.commands.making_walkie import MOST_CHARACTERS, MOST_ROOMS, MOST_USERS
from bot.commands.replies import general
from bot.commands.replies import walkie as replies
from bot.commands.walkie import lasting
from bot.intake import panels, walkie
from bot.walkie import machine, permits
from bot.walkie.model import Locked
from storage import jobs, walkies
from storage.records import (
    EndedBy,
    EventId,
    FloorPhase,
    Job,
    Permit,
    RecordingKind,
    RecordingState,
    RoomId,
    UserId,
    Walkie,
)
from tests.commands.world import BOT, CREATOR, MEMBER, MOD, ROOM, SPEAKER, World

CHAT = RoomId("!chat:hs")
PANEL = EventId("$panel")


async def there(world: World) -> Walkie | None:
    async with world.store.read() as db:
        return await walkies.get(db, ROOM)


async def permit(world: World, user: UserId = MEMBER) -> Permit | None:
    async with world.store.read() as db:
        return await walkie.permit_of(db, ROOM, user)


async def waiting(world: World, order: type[orders.Order]) -> list[orders.Order]:
    async with world.store.read() as db:
        return [order.of(job) for job in await jobs.unfinished(db, order.kind)]


async def switched_on(world: World, *, say: bool = True) -> None:
    """Let the bot have the power, a moderator switch the walkie-talkie on, and the panel be in the room."""
    await world.power_levels({"users": {MOD: 50, BOT: 100}})
    await ask(world, MOD, "walkie on")
    async with world.store.write() as db:
        await panels.said(db, ROOM, PANEL, world.clock())


async def ask(world: World, user: UserId, words: str, **fields: object) -> str:
    """Return the answer to a command; the notices that are no answer stay."""
    job = world.command(user, f"!aircheck {words}", **fields)
    await world.handle(job)
    async with world.store.read() as db:
        notices = await jobs.unfinished(db, orders.Notice.kind)
    (answer,) = [notice for notice in notices if notice.subject == f"answer:{job.subject}"]
    async with world.store.write() as db:
        await jobs.done(db, answer.id, world.clock())
    return str(answer.payload["body"])


async def chat_of(world: World, user: UserId) -> None:
    """Open a direct chat of a user and the bot."""
    await world.open(room_id=CHAT, direct=True, recording_on=False, members=(user, BOT))


async def test_on_without_the_power_says_what_is_missing_and_changes_nothing(world: World) -> None:
    """The answer names the power that is needed, and the one that the bot has."""
    await world.power_levels({"users": {MOD: 50, BOT: 99}})
    answer = await ask(world, MOD, "walkie on")
    assert answer == replies.lacks_power(100, 99)
    assert await there(world) is None
    assert await waiting(world, orders.KeepFloor) == []


async def test_on_posts_a_panel_and_names_who_cannot_be_limited(world: World) -> None:
    """Members of power 10 or more and the creators of a room of version 12 are named; the room is told what is kept."""
    await world.power_levels({"users": {MOD: 50, SPEAKER: 10, MEMBER: 9, BOT: 100}})
    answer = await ask(world, MOD, "walkie on")
    assert answer == replies.switched_on("@mod:hs", ["@creator:hs", "@mod:hs", "@speaker:hs"])
    on = await there(world)
    assert on is not None
    assert (on.on, on.floor_s, on.guard_s) == (True, 60, 1)
    assert len(await waiting(world, orders.KeepFloor)) == 1
    notices = await waiting(world, orders.Notice)
    (panel,) = [notice for notice in notices if isinstance(notice, orders.Notice) and notice.panel]
    assert isinstance(panel, orders.Notice)
    assert [line[0] for line in panel.body.splitlines()[1:5]] == ["✅", "🎙", "🛑", "🚪"]
    assert any(isinstance(notice, orders.Notice) and notice.greets for notice in notices)
    assert await ask(world, MOD, "walkie on") == replies.ALREADY_ON
    assert "`walkie`: on · @mod:hs" in await ask(world, MOD, "settings")
    assert "walkie" in await ask(world, MOD, "log")


async def test_where_nothing_is_recorded_nobody_is_told_that_transmissions_are(world: World) -> None:
    """The notice of what is recorded is said anew only where transmissions are kept."""
    await ask(world, MOD, "record off")
    await switched_on(world)
    notices = await waiting(world, orders.Notice)
    assert not any(isinstance(notice, orders.Notice) and notice.greets for notice in notices)


async def test_off_puts_a_word_in_the_place_of_the_panel(world: World) -> None:
    """The panel is edited and unpinned, reactions to it count for nothing, and permits stay."""
    await switched_on(world)
    await ask(world, MEMBER, "walkie join forever")
    assert await ask(world, MOD, "walkie off") == replies.SWITCHED_OFF
    off = await there(world)
    assert off is not None
    assert (off.on, off.panel) == (False, None)
    edits = [notice for notice in await waiting(world, orders.Notice) if isinstance(notice, orders.Notice)]
    assert PANEL in [notice.replaces for notice in edits]
    assert permits.may_send(await permit(world), world.clock())
    assert await ask(world, MOD, "walkie off") == replies.ALREADY_OFF
    for words in ("walkie", "walkie join", "talk", "over"):
        assert await ask(world, MEMBER, words) == replies.is_off("!aircheck")


async def test_off_without_the_power_says_what_is_missing(world: World) -> None:
    """The room stays locked until the bot has the power again, which it says each time."""
    await switched_on(world)
    async with world.store.write() as db:
        await walkies.note(db, ROOM, locked=True)
    await world.power_levels({"users": {MOD: 50, BOT: 50}})
    for _ in range(2):
        assert await ask(world, MOD, "walkie off") == replies.still_locked(100, 50)
    off = await there(world)
    assert off is not None
    assert not off.on


async def test_leave_switches_it_off(world: World) -> None:
    """A room is not left locked: the panel goes, and the levels are put back first."""
    await switched_on(world)
    await world.take(orders.Notice.kind)
    await world.say(MOD, "!aircheck leave")
    assert "asked me to" in await ask(world, MOD, "yes")
    off = await there(world)
    assert off is not None
    assert (off.on, off.panel) == (False, None)
    assert "`walkie`: off · @mod:hs" in await ask(world, MOD, "settings")


@pytest.mark.parametrize(
    ("words", "lasts"),
    [
        ("join", timedelta(hours=8)),
        ("join 30m", timedelta(minutes=30)),
        ("JOIN 2H", timedelta(hours=2)),
        ("join 7d", timedelta(days=7)),
        ("join forever", None),
    ],
)
async def test_a_member_joins_for_a_time_of_their_choice(world: World, words: str, lasts: timedelta | None) -> None:
    """Without a time it is 8 hours; a permit that is over gives no floor."""
    await switched_on(world)
    answer = await ask(world, MEMBER, f"walkie {words}")
    assert answer.startswith("You have joined the walkie-talkie")
    given = await permit(world)
    assert given is not None
    assert (given.receive, given.send, given.devices) == (True, True, None)
    assert given.expires_at == (None if lasts is None else world.clock() + lasts)
    if lasts is not None:
        world.clock.pass_by(lasts.total_seconds())
        assert await ask(world, MEMBER, "talk") == replies.join_first("!aircheck")


@pytest.mark.parametrize("word", ["0m", "2", "h", "2w", "-1h", "1.5h", "99999d", "٣h", "", "forever!"])
def test_times_that_are_none(word: str) -> None:
    """A time is a whole number with one of three units."""
    assert lasting(word) is None


async def test_talk_gives_the_floor_or_a_place_in_the_queue(world: World) -> None:
    """The first has the floor, the others wait in their order; who waited by a command is told when it is theirs."""
    await switched_on(world)
    for user in (MEMBER, SPEAKER, CREATOR):
        await ask(world, user, "walkie join")
    assert await ask(world, MEMBER, "talk") == replies.floor_is_yours(60)
    assert await ask(world, MEMBER, "talk") == replies.floor_is_yours(60)
    assert await ask(world, SPEAKER, "talk") == replies.waits(1)
    assert await ask(world, CREATOR, "talk") == replies.waits(2)
    told = await ask(world, MOD, "walkie")
    assert told.splitlines()[:2] == ["The floor: @member:hs", "Waiting, in this order: @speaker:hs, @creator:hs"]
    assert "Joined: " in told
    assert await ask(world, CREATOR, "over") == replies.LEFT_QUEUE
    assert await ask(world, MEMBER, "over") == replies.GAVE_BACK
    assert await ask(world, MEMBER, "over") == replies.NOTHING_TO_GIVE_BACK
    before = await told_of_the_floor(world)
    assert len(before) == 1, "who left the queue is told nothing"
    await next_turn(world)
    now = await there(world)
    assert now is not None
    assert now.floor.holder == SPEAKER
    (given,) = await told_of_the_floor(world)
    assert given.run_at <= world.clock() < before[0].run_at


async def test_a_full_queue_takes_nobody_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The asker is told, and may ask again later."""
    monkeypatch.setattr(machine, "MOST_WAITING", 1)
    await switched_on(world)
    for user in (MEMBER, SPEAKER, CREATOR):
        await ask(world, user, "walkie join")
        answer = await ask(world, user, "talk")
    assert answer == replies.QUEUE_IS_FULL


async def told_of_the_floor(world: World) -> list[Job]:
    async with world.store.read() as db:
        return [job for job in await jobs.unfinished(db, orders.Notice.kind) if job.subject.startswith("floor given:")]


async def next_turn(world: World) -> None:
    """Let the homeserver have locked the floor that was given back, and the guard time pass."""
    now = await there(world)
    assert now is not None
    assert now.floor.phase is FloorPhase.RELEASING
    async with world.store.write() as db:
        await walkie.apply(db, ROOM, Locked(now.floor.serial), world.clock())
    world.clock.pass_by(1)
    async with world.store.write() as db:
        await walkie.ticked(db, ROOM, world.clock())


async def test_a_request_that_comes_late_counts_for_nothing(world: World) -> None:
    """More than ten seconds after it was sent, `talk` asks for nothing."""
    await switched_on(world)
    await ask(world, MEMBER, "walkie join")
    sent_at = world.clock() - timedelta(seconds=11)
    assert await ask(world, MEMBER, "talk", sent_at=sent_at, received_at=world.clock()) == replies.TOO_LATE
    sent_at = world.clock() - timedelta(seconds=9)
    assert await ask(world, MEMBER, "talk", sent_at=sent_at, received_at=world.clock()) == replies.floor_is_yours(60)


async def test_leaving_gives_the_floor_back(world: World) -> None:
    """`walkie leave` ends permit and floor; a second one has nothing to leave."""
    await switched_on(world)
    await ask(world, MEMBER, "walkie join")
    await ask(world, MEMBER, "talk")
    assert await ask(world, MEMBER, "walkie leave") == replies.LEFT
    now = await there(world)
    assert now is not None
    assert now.floor.holder is None
    assert await ask(world, MEMBER, "talk") == replies.join_first("!aircheck")
    assert await ask(world, MEMBER, "walkie leave") == replies.NOT_JOINED


async def test_who_left_the_room_since_gets_no_floor(world: World) -> None:
    """A command is carried out later than the timeline."""
    await switched_on(world)
    await ask(world, MEMBER, "walkie join")
    await world.member(MEMBER, "leave")
    await world.handle(world.command(MEMBER, "!aircheck talk"))
    now = await there(world)
    assert now is not None
    assert now.floor.holder is None


async def test_members_who_cannot_write_say_it_in_a_direct_chat(world: World) -> None:
    """`in ROOM` joins and asks for the floor of that room, answered in the chat."""
    await world.state("m.room.name", {"name": "Night shift"})
    await switched_on(world)
    await chat_of(world, MEMBER)
    answer = await ask(world, MEMBER, "in Night shift walkie join 30m", room_id=CHAT)
    assert answer.startswith("You have joined")
    assert await ask(world, MEMBER, "in night shift talk", room_id=CHAT) == replies.floor_is_yours(60)


async def test_end_makes_an_episode_of_what_was_said(world: World) -> None:
    """The session of transmissions is closed; other recordings go on."""
    of_walkie = await world.recording(
        state=RecordingState.LIVE, kind=RecordingKind.WALKIE_TALKIE, length_ms=None, event_id=EventId("$w")
    )
    other = await world.recording(state=RecordingState.LIVE, kind=RecordingKind.VOICE_MESSAGES, length_ms=None)
    assert await ask(world, MEMBER, "walkie end") == general.ONLY_MODS
    assert await ask(world, MOD, "walkie end") == replies.ENDED
    assert (await world.look(of_walkie)).ended_by is EndedBy.STOPPED
    assert (await world.look(other)).state is RecordingState.LIVE
    assert await ask(world, MOD, "walkie end") == replies.NOTHING_TO_END


async def test_off_makes_an_episode_too(world: World) -> None:
    """Nothing more can be said in the session."""
    await switched_on(world)
    running = await world.recording(state=RecordingState.LIVE, kind=RecordingKind.WALKIE_TALKIE, length_ms=None)
    assert await ask(world, MOD, "walkie off") == replies.SWITCHED_OFF
    assert (await world.look(running)).ended_by is EndedBy.STOPPED


# ---- a room of its own


async def test_create_orders_a_room(world: World) -> None:
    """The name is what stands in front of the users, who are invited with the asker, each once."""
    await chat_of(world, MEMBER)
    words = "walkie create Night  shift @ann:hs, [Ben](https://matrix.to/#/@ben:hs) @ann:hs @bot:hs @member:hs"
    assert await ask(world, MEMBER, words, room_id=CHAT) == replies.making("Night shift", 2)
    (order,) = await waiting(world, orders.MakeWalkie)
    assert isinstance(order, orders.MakeWalkie)
    assert (order.asker, order.name, order.users, order.said_in) == (
        MEMBER,
        "Night shift",
        ("@ann:hs", "@ben:hs"),
        CHAT,
    )


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("Night shift", replies.bad_name(MOST_CHARACTERS)),
        ("@ann:hs", replies.bad_name(MOST_CHARACTERS)),
        (f"{'x' * 101} @ann:hs", replies.bad_name(MOST_CHARACTERS)),
        ("Me @member:hs", replies.bad_name(MOST_CHARACTERS)),
        (f"All {' '.join(f'@u{number}:hs' for number in range(31))}", replies.too_many_users(MOST_USERS)),
    ],
)
async def test_create_needs_a_name_and_some_users(world: World, words: str, answer: str) -> None:
    """Name and users are bounded."""
    await chat_of(world, MEMBER)
    assert await ask(world, MEMBER, f"walkie create {words}", room_id=CHAT) == answer
    assert await waiting(world, orders.MakeWalkie) == []


async def test_create_is_for_a_direct_chat_of_somebody_whose_invites_are_taken(world: World) -> None:
    """In a room, and for users of other homeservers, no room is made."""
    assert await ask(world, MEMBER, "walkie create Shift @ann:hs") == replies.ONLY_IN_CHAT
    far = UserId("@far:elsewhere")
    await chat_of(world, far)
    assert await ask(world, far, "walkie create Shift @ann:hs", room_id=CHAT) == replies.MAY_NOT_CREATE
    assert await waiting(world, orders.MakeWalkie) == []


async def test_create_makes_a_few_rooms_a_day(world: World) -> None:
    """After several rooms their asker waits a day."""
    await chat_of(world, MEMBER)
    for number in range(MOST_ROOMS):
        answer = await ask(world, MEMBER, f"walkie create Shift {number} @ann:hs", room_id=CHAT)
        assert answer == replies.making(f"Shift {number}", 1)
    assert await ask(world, MEMBER, "walkie create Shift @ann:hs", room_id=CHAT) == replies.TOO_MANY_ROOMS
    world.clock.pass_by(86_401)
    assert await ask(world, MEMBER, "walkie create Shift @ann:hs", room_id=CHAT) == replies.making("Shift", 1)
