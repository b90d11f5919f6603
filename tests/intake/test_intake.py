"""A sync is written down in one transaction: everything that recordings need, and nothing else."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bot import facts, orders, words
from bot.intake import roomstate
from bot.intake.shares import AT_ONCE
from bot.matrix.batch import Invite, LimitedTimeline, RoomBatch, SyncBatch
from storage import archive, jobs, journal, rooms
from storage.errors import StoreBusyError
from storage.records import EventId, HeardEvent, Message, Position, RoomId, SessionId, StateEvent, UserId
from tests.world import ALICE, BOT, ROOM, START, World, batch, chunk, heard, info, room_state, sealed, state, world_of

MALLORY = UserId("@mallory:hs")
C1 = EventId("$c1")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(tmp_path / "data") as made:
        yield made


async def current(world: World, kind: str, key: str = "") -> StateEvent | None:
    async with world.store.read() as db:
        return await rooms.state(db, ROOM, kind, key)


async def journaled(world: World) -> list[str]:
    async with world.store.read() as db:
        return [one.event_id for one in await journal.unhandled(db, 100)]


async def position(world: World) -> Position:
    async with world.store.read() as db:
        return await journal.position(db)


def membership(user: UserId, what: str, event_id: str) -> HeardEvent:
    return heard(event_id, "m.room.member", {"membership": what}, state_key=user)


def bottomless() -> Any:
    """Return JSON that can be read and not written, since it is nested too deep."""
    tree: Any = {}
    for _ in range(100_000):
        tree = {"a": tree}
    return tree


async def test_an_event_that_can_not_be_written_silences_nobody(world: World) -> None:
    """An event that can't be written is left out; the rest of the batch is kept, and the sync continues."""
    await world.intake.take(batch(before=room_state()))
    poison = heard("$p", "io.element.voice_broadcast_info", bottomless() | {"state": "started"}, state_key=ALICE)
    await world.intake.take(batch(info(START, "started"), poison, chunk(C1, 1), token="after"))
    assert await journaled(world) == [START, C1]
    assert await world.intake.since() == "after"


async def test_state_that_can_not_be_written_costs_no_room(world: World) -> None:
    """A state event that can't be written costs nothing else of its block."""
    poison = state("m.room.encryption", bottomless())
    await world.intake.take(batch(info(START, "started"), before=room_state(poison)))
    assert await journaled(world) == [START]
    assert await current(world, "m.room.member", ALICE) is not None
    assert await current(world, "m.room.encryption") is None


async def test_texts_without_end_are_cut_where_they_enter(world: World) -> None:
    """Only the beginning of a room's or member's name is kept of its event."""
    long = {"name": "n" * 60_000, "url": "mxc://hs/" + "u" * 60_000, "more": "m" * 60_000}
    member = {"membership": "join", "displayname": "d" * 60_000, "avatar_url": "mxc://hs/a", "more": "m"}
    states = (state("m.room.name", long), state("m.room.avatar", long), state("m.room.member", member, key=ALICE))
    await world.intake.take(batch(info(START, "started"), before=room_state(*states)))
    for kind, key, name in (
        ("m.room.name", "", "name"),
        ("m.room.avatar", "", "url"),
        ("m.room.member", ALICE, "displayname"),
    ):
        kept = await current(world, kind, key)
        assert kept is not None
        assert set(kept.content) <= {name, "membership", "avatar_url"}
        assert len(kept.content[name]) == 2000


async def test_a_rooms_aliases_are_kept_in_bounds(world: World) -> None:
    """The main alias and the first others are kept, each cut where it enters, and nothing else of their event."""
    content = {"alias": "#a:hs", "alt_aliases": [7, *(f"#{number}{'x' * 60_000}" for number in range(99))], "more": 1}
    await world.intake.take(batch(before=room_state(state("m.room.canonical_alias", content))))
    kept = await current(world, "m.room.canonical_alias")
    assert kept is not None
    assert set(kept.content) == {"alias", "alt_aliases"}
    assert (len(kept.content["alt_aliases"]), len(kept.content["alt_aliases"][0])) == (49, 2000)


async def test_a_store_in_trouble_takes_nothing_and_keeps_the_token(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error of the store the same batch comes again, whole."""

    async def busy(*_: Any, **__: Any) -> None:
        raise StoreBusyError("the database can't be used now")

    await world.intake.take(batch(before=room_state(), token="before"))
    with monkeypatch.context() as patched:
        patched.setattr(journal, "add", busy)
        with pytest.raises(StoreBusyError):
            await world.intake.take(batch(info(START, "started"), token="after"))
    assert await world.intake.since() == "before"
    await world.intake.take(batch(info(START, "started"), token="after"))
    assert await journaled(world) == [START]


async def test_many_members_are_all_known(world: World) -> None:
    """No member is lost between the slices in which a large state block is taken."""
    users = [f"@u{number}:hs" for number in range(450)]
    members = [state("m.room.member", {"membership": "join", "displayname": user}, user) for user in users]
    await world.intake.take(batch(before=room_state(*members)))
    async with world.store.read() as db:
        found = await rooms.members(db, ROOM)
    assert {one.state_key for one in found} == {*users, ALICE, BOT}


async def test_a_member_keeps_the_place_of_the_last_change_of_membership(world: World) -> None:
    """A new name keeps a member's position; leaving and coming back does not, not even in one state block."""
    await world.intake.take(batch(membership(ALICE, "join", "$j1"), before=room_state()))
    joined = await current(world, "m.room.member", ALICE)
    named = state("m.room.member", {"membership": "join", "displayname": "A"}, ALICE, event_id="$j2")
    await world.intake.take(batch(heard("$e", "m.room.name", {"name": "N"}, state_key="")))
    await world.intake.take(batch(before=(named,)))
    renamed = await current(world, "m.room.member", ALICE)
    assert joined is not None
    assert renamed is not None
    assert (renamed.position, renamed.content["displayname"]) == (joined.position, "A")
    await world.intake.take(batch(membership(ALICE, "leave", "$l"), membership(ALICE, "join", "$j3")))
    back = await current(world, "m.room.member", ALICE)
    assert back is not None
    assert back.position > joined.position


async def test_state_that_was_asked_for_takes_nothing_back_that_was_heard_since(world: World) -> None:
    """An answer with older state does not give a demoted moderator their power back."""
    mods = heard("$p1", "m.room.power_levels", {"users": {ALICE: 100, MALLORY: 50}}, state_key="")
    await world.intake.take(batch(mods, membership(MALLORY, "join", "$m1"), before=room_state()))
    answer = [
        state("m.room.power_levels", {"users": {ALICE: 100, MALLORY: 50}}, event_id="$p1"),
        state("m.room.member", {"membership": "join"}, MALLORY, event_id="$m1"),
        state("m.room.name", {"name": "Radio"}, event_id="$n"),
    ]
    asked_at = await position(world)
    demoted = heard("$p2", "m.room.power_levels", {"users": {ALICE: 100}}, state_key="")
    await world.intake.take(batch(demoted, membership(MALLORY, "ban", "$m2")))
    await world.intake.refresh(ROOM, answer, asked_at)
    power, mallory, name = [
        await current(world, *one) for one in (("m.room.power_levels",), ("m.room.member", MALLORY), ("m.room.name",))
    ]
    assert power is not None
    assert MALLORY not in power.content["users"]
    assert mallory is not None
    assert facts.membership(mallory.content) == "ban"
    assert name is not None


async def test_a_state_block_takes_back_what_was_heard_only_if_the_room_says_so(world: World) -> None:
    """Two events that are sent at once stand side by side, and a sync that ends with the one shows the state without
    the other: old power levels after new ones. What was heard counts until the room's present state was read."""
    old = heard("$old", "m.room.power_levels", {"users": {ALICE: -1}}, state_key="")
    new = heard("$new", "m.room.power_levels", {"users": {ALICE: 0}}, state_key="")
    gone, back = membership(MALLORY, "leave", "$gone"), membership(MALLORY, "join", "$back")
    await world.intake.take(batch(membership(MALLORY, "join", "$came"), old, gone, before=room_state()))
    await world.intake.take(batch(new, back))
    async with world.store.write() as db:
        await jobs.cancel(db, [orders.Refresh(ROOM).job().name])
    await world.intake.take(batch(info(START, "started"), before=(old.event, gone.event)))
    levels, member = await current(world, "m.room.power_levels"), await current(world, "m.room.member", MALLORY)
    assert levels is not None
    assert levels.event_id == "$new"
    assert member is not None
    assert facts.is_joined(member)
    async with world.store.read() as db:
        assert await jobs.find(db, orders.Refresh(ROOM).job().name) is not None
    await world.intake.refresh(ROOM, (old.event, gone.event), await position(world))
    levels, member = await current(world, "m.room.power_levels"), await current(world, "m.room.member", MALLORY)
    assert levels is not None
    assert levels.event_id == "$old"
    assert member is not None
    assert not facts.is_joined(member)


async def refreshes(world: World) -> list[datetime]:
    """Return when the room's present state is to be read, and forget that."""
    async with world.store.write() as db:
        job = await jobs.find(db, orders.Refresh(ROOM).job().name)
        await jobs.cancel(db, [orders.Refresh(ROOM).job().name])
    return [job.run_at] if job is not None else []


async def test_a_state_block_takes_back_nothing_whose_elder_was_never_heard(world: World) -> None:
    """State from before the bot joined, or of which the journal has lost the place, is as old as what was heard since:
    a sync that shows it once more takes nothing back."""
    levels = {"users": {ALICE: 100}}
    await world.intake.take(batch(before=room_state(state("m.room.topic", {"topic": "old"}))))
    demoted = heard("$new", "m.room.power_levels", levels | {"users_default": 50}, state_key="")
    await world.intake.take(batch(demoted, heard("$topic", "m.room.topic", {"topic": "new"}, state_key="")))
    await refreshes(world)
    shown = state("m.room.power_levels", levels), state("m.room.topic", {"topic": "old"})
    await world.intake.take(batch(info(START, "started"), before=shown))
    kept = await current(world, "m.room.power_levels"), await current(world, "m.room.topic")
    assert [each.event_id for each in kept if each is not None] == ["$new", "$topic"]
    assert await refreshes(world) == [world.clock() + roomstate.SIDE_BY_SIDE]
    await world.intake.refresh(ROOM, shown, await position(world))
    kept = await current(world, "m.room.power_levels"), await current(world, "m.room.topic")
    assert [each.event_id for each in kept if each is not None] == ["$m.room.power_levels", "$m.room.topic"]


async def test_state_that_a_sync_shows_twice_is_not_read_again(world: World) -> None:
    """Some homeservers show new state in the timeline and in the block before it: nothing has to be asked for."""
    await world.intake.take(batch(before=room_state(state("m.room.topic", {"topic": "old"}))))
    new = heard("$new", "m.room.topic", {"topic": "new"}, state_key="", unsigned={"replaces_state": "$m.room.topic"})
    await world.intake.take(batch(new, before=(new.event,)))
    topic = await current(world, "m.room.topic")
    assert topic is not None
    assert topic.event_id == "$new"
    assert await refreshes(world) == []


async def test_the_state_block_of_a_gap_brings_what_changed_in_it(world: World) -> None:
    """Before a timeline that leaves events out, the state block is newer than what was heard, but for what was sent
    earlier."""
    await world.intake.take(batch(before=room_state()))
    name = heard("$name", "m.room.name", {"name": "heard"}, state_key="", origin_server_ts=5000)
    topic = heard("$topic", "m.room.topic", {"topic": "heard"}, state_key="", origin_server_ts=5000)
    await world.intake.take(batch(name, topic))
    shown = (
        state("m.room.name", {"name": "later"}, event_id="$later") | {"origin_server_ts": 6000},
        state("m.room.topic", {"topic": "earlier"}, event_id="$earlier") | {"origin_server_ts": 4000},
    )
    await refreshes(world)
    limited = RoomBatch(ROOM, True, shown, (info(START, "started"),), LimitedTimeline("p", "s"))
    await world.intake.take(SyncBatch("t", (limited,)))
    kept = await current(world, "m.room.name"), await current(world, "m.room.topic")
    assert [each.event_id for each in kept if each is not None] == ["$later", "$topic"]
    assert len(await refreshes(world)) == 1


@pytest.mark.parametrize(
    ("unsigned", "sent_at", "asks"),
    [
        ({"replaces_state": "$one"}, 1000, False),
        ({"replaces_state": "$zero"}, 99_000, True),
        ({}, 1500, True),
        ({}, 500, True),
        ({}, 99_000, False),
        (7, 99_000, False),
        ({"replaces_state": 7}, 1000, True),
    ],
)
async def test_state_that_was_sent_beside_what_is_kept_may_not_count(
    world: World, unsigned: Any, sent_at: int, *, asks: bool
) -> None:
    """The homeserver tells which of two events counts that were sent at once: the room's present state is read, and the
    later in the timeline counts until then."""
    await world.intake.take(batch(before=room_state()))
    one = heard("$one", "m.room.topic", {"topic": "one"}, state_key="", origin_server_ts=1000)
    two = {"state_key": "", "origin_server_ts": sent_at, "unsigned": unsigned}
    await world.intake.take(batch(one))
    assert await refreshes(world) == []
    await world.intake.take(batch(heard("$two", "m.room.topic", {"topic": "two"}, **two)))
    assert await refreshes(world) == ([world.clock() + roomstate.SIDE_BY_SIDE] if asks else [])
    topic = await current(world, "m.room.topic")
    assert topic is not None
    assert topic.event_id == "$two"


@pytest.mark.parametrize(
    ("kind", "key", "content", "asks"),
    [
        ("m.room.power_levels", "", {"users": {ALICE: 100}}, True),
        ("m.room.join_rules", "", {"join_rule": "invite"}, True),
        ("m.room.member", "@mod:hs", {"membership": "leave"}, True),
        ("m.room.member", MALLORY, {"membership": "ban"}, False),
        ("m.room.topic", "", {"topic": "new"}, False),
    ],
)
async def test_what_takes_rights_away_has_the_state_read_a_moment_later(
    world: World, kind: str, key: str, content: Any, *, asks: bool
) -> None:
    """An event that somebody sends at the instant at which they lose the right to it comes in the timeline, and counts
    for nothing."""
    people = [state("m.room.member", {"membership": "join"}, each) for each in (MALLORY, "@mod:hs")]
    levels = state("m.room.power_levels", {"users": {ALICE: 100, "@mod:hs": 50}})
    others = state("m.room.join_rules", {"join_rule": "public"}), state("m.room.topic", {"topic": "old"})
    await world.intake.take(batch(before=room_state(levels, *people, *others)))
    unsigned = {"replaces_state": f"${kind}{key}"}
    await world.intake.take(batch(heard("$new", kind, content, state_key=key, unsigned=unsigned)))
    assert await refreshes(world) == ([world.clock() + roomstate.SIDE_BY_SIDE] if asks else [])


async def test_state_that_a_room_lost_is_lost(world: World) -> None:
    """A room may have no such state any more after a demotion that undid what was sent at the same instant: members are
    out, texts are gone. What was heard since stays. An answer that is not whole says nothing: it lacks the room's
    beginning, the bot itself, its power levels or its encryption."""
    gone = heard("$topic", "m.room.topic", {"topic": "gone"}, state_key="")
    sealed_since = heard("$enc", "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}, state_key="")
    levels = heard("$levels", "m.room.power_levels", {"users": {ALICE: 100}}, state_key="")
    whole = (*room_state(), sealed_since.event, levels.event)
    await world.intake.take(batch(membership(MALLORY, "join", "$m1"), gone, sealed_since, levels, before=room_state()))
    at = await position(world)
    await world.intake.take(batch(heard("$name", "m.room.name", {"name": "since"}, state_key="")))
    needed = (("m.room.create", ""), ("m.room.member", BOT), ("m.room.encryption", ""), ("m.room.power_levels", ""))
    for lacks in needed:
        rest = [event for event in whole if (event["type"], event["state_key"]) != lacks]
        assert len(rest) < len(whole)
        await world.intake.refresh(ROOM, rest, at)
        topic, member = await current(world, "m.room.topic"), await current(world, "m.room.member", MALLORY)
        assert topic is not None
        assert topic.content
        assert member is not None
        assert facts.is_joined(member)
    for _ in range(2):
        await world.intake.refresh(ROOM, whole, at)
        topic, member = await current(world, "m.room.topic"), await current(world, "m.room.member", MALLORY)
        assert topic is not None
        assert topic.content == {}
        assert member is not None
        assert not facts.is_joined(member)
    name, sealing = await current(world, "m.room.name"), await current(world, "m.room.encryption")
    assert name is not None
    assert name.content == {"name": "since"}
    assert sealing is not None
    assert sealing.content
    await world.intake.take(batch(membership(MALLORY, "join", "$m2"), gone))
    topic, member = await current(world, "m.room.topic"), await current(world, "m.room.member", MALLORY)
    assert topic is not None
    assert topic.content == {"topic": "gone"}
    assert facts.is_joined(member)


async def test_nothing_is_kept_of_a_room_that_the_bot_is_out_of(world: World) -> None:
    """No state is kept of a room that the bot was removed or banned from."""
    await world.intake.take(batch(before=room_state()))
    await world.intake.take(batch(membership(BOT, "leave", "$k"), joined=False))
    await world.intake.take(batch(membership(BOT, "ban", "$b"), joined=False, before=room_state()))
    async with world.store.read() as db:
        assert await rooms.members(db, ROOM) == ()
        assert (await rooms.power(db, ROOM)).create is None


async def test_a_direct_chat_that_the_bot_makes_is_no_room_to_welcome(world: World) -> None:
    """A direct chat that the bot creates gets no notice, even if the sync shows it first."""
    await world.intake.take(batch(before=room_state(creator=BOT)))
    assert await world.waiting(orders.Notice.kind) == []
    async with world.store.read() as db:
        room = await rooms.room(db, ROOM)
    assert room is not None
    assert room.direct


async def test_whoever_joins_their_direct_chat_is_told_at_once(world: World) -> None:
    """Joining the direct chat sends what waits there at once; joining another room does not."""
    later = world.clock().replace(year=2027)
    async with world.store.write() as db:
        await jobs.add(db, orders.Direct.address(ALICE, RoomId("!x:hs")).job(later), world.clock())
    await world.intake.take(batch(before=room_state()))
    async with world.store.write() as db:
        assert await jobs.next_due(db, [orders.Direct.kind]) == later
        await rooms.save_direct(db, ALICE, ROOM, world.clock())
    await world.intake.take(batch(membership(ALICE, "join", "$j9")))
    async with world.store.read() as db:
        assert await jobs.next_due(db, [orders.Direct.kind]) == world.clock()


async def test_words_that_were_sealed_are_never_kept_nor_answered(world: World) -> None:
    """A sealed event that turns out to be a message, or a command, leaves the ledger without a trace."""
    await world.join()
    await world.begin(sealed("$s"))

    def opened(wrapper: HeardEvent) -> HeardEvent:
        said = heard(wrapper.event_id, "m.room.message", {"msgtype": "m.text", "body": "!aircheck help"})
        return replace(said, encrypted=True, clear_relation=wrapper.clear_relation)

    world.opens = opened
    await world.intake.take(batch(new_keys=frozenset({SessionId("session")})))
    async with world.store.read() as db:
        (waiting,) = await journal.unhandled(db, 10)
    assert waiting.event["content"] == {}
    await world.settle()
    assert await world.waiting(orders.Command.kind) == []
    async with world.store.read() as db:
        assert await archive.chunk_of_event(db, EventId("$s")) is None


async def test_a_key_opens_what_was_kept_after_a_start_too(world: World) -> None:
    """Sealed events are tried again after a start."""
    await world.join()
    await world.begin(sealed(C1))
    world.opens = lambda wrapper: replace(chunk(wrapper.event_id, 1), encrypted=True)
    await world.intake.open_all()
    await world.settle()
    assert len(await world.waiting(orders.Fetch.kind)) == 1


async def test_a_message_that_nobody_needs_is_not_written_down(world: World) -> None:
    """A message is written down only if it is a command or may belong to a broadcast."""
    await world.intake.take(
        batch(
            heard("$talk", "m.room.message", {"msgtype": "m.text", "body": "secret"}),
            sealed("$sealed"),
            heard("$command", "m.room.message", {"msgtype": "m.text", "body": "!aircheck help"}),
            before=room_state(),
        )
    )
    assert await journaled(world) == ["$command"]


async def test_an_invite_that_is_taken_back_is_not_answered(world: World) -> None:
    """An invite that was withdrawn is not answered."""
    await world.intake.take(batch(invites=(Invite(ROOM, ALICE, direct=False, encrypted=False),)))
    assert len(await world.waiting(orders.Invite.kind)) == 1
    await world.intake.take(batch(retracted=(ROOM,)))
    assert await world.waiting(orders.Invite.kind) == []


async def test_an_invite_takes_no_encryption_back(world: World) -> None:
    """An inviter's claim makes no clear message a command in an encrypted room."""
    await world.intake.take(batch(before=room_state(state("m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}))))
    await world.intake.take(batch(membership(BOT, "leave", "$k"), joined=False))
    await world.intake.take(SyncBatch("asked", invites=(Invite(ROOM, MALLORY, direct=False, encrypted=False),)))
    async with world.store.read() as db:
        room = await rooms.room(db, ROOM)
    assert room is not None
    assert room.encrypted


async def test_positions_never_begin_anew(world: World) -> None:
    """After a month of silence a new member still stands behind everything that was said before."""
    await world.intake.take(batch(membership(ALICE, "join", "$j"), before=room_state()))
    before = await position(world)
    async with world.store.write() as db:
        assert await journal.prune(db, world.clock().replace(year=2028)) > 0
    assert before > 0
    assert await position(world) == before


def said(event_id: str, body: str) -> HeardEvent:
    return heard(event_id, "m.room.message", {"msgtype": "m.text", "body": body})


async def test_what_was_said_before_the_bot_came_asks_for_nothing(world: World) -> None:
    """In front of the bot's own join only state counts, also when the same timeline comes twice; after it everything
    does."""
    joined = membership(BOT, "join", "$joined")
    name = heard("$name", "m.room.name", {"name": "Kitchen"}, state_key="")
    timeline = (name, said("$old", "!aircheck record off"), info(EventId("$past"), "started"), joined)
    for _ in range(2):
        await world.intake.take(batch(*timeline, said("$new", "!aircheck help"), info(START, "started")))
    assert await journaled(world) == ["$new", START]
    named = await current(world, "m.room.name")
    assert named is not None
    assert named.content == {"name": "Kitchen"}


async def test_a_new_name_of_the_bot_hides_nothing_that_was_said_before_it(world: World) -> None:
    """A member event of the bot that is no join cuts nothing off."""
    await world.intake.take(batch(before=room_state()))
    renamed = heard("$renamed", "m.room.member", {"membership": "join", "displayname": "Air"}, state_key=BOT)
    await world.intake.take(batch(info(START, "started"), chunk(C1, 1), renamed))
    assert await journaled(world) == [START, C1]


def read(event: HeardEvent, index: int) -> HeardEvent:
    """Return the event as it was decrypted."""
    return replace(event, encrypted=True, message=Message(SessionId("session"), index))


async def test_a_ciphertext_that_is_shown_again_is_not_heard(world: World) -> None:
    """A ciphertext under another event id is ignored, in a sync, in history and when its key comes late."""
    await world.join()
    first = (read(said("$c", "!aircheck help"), 1), info(START, "started"), read(chunk(C1, 1), 2))
    await world.intake.take(batch(*first))
    assert await journaled(world) == ["$c", START, C1]
    again = (read(said("$c again", "!aircheck help"), 1), read(chunk("$c1 again", 1), 2))
    await world.intake.take(batch(*first, *again, replace(again[1], event_id=EventId("$h"), history=True)))
    await world.intake.take(batch(*again))
    assert await journaled(world) == ["$c", START, C1]
    await world.settle()
    world.opens = lambda wrapper: replace(read(chunk(wrapper.event_id, 1), 2), clear_relation=wrapper.clear_relation)
    await world.hear(sealed("$s"))
    await world.intake.open_all()
    await world.settle()
    async with world.store.read() as db:
        chunks = await archive.chunks(db, (await world.recording()).id)
    assert [one.event_id for one in chunks] == [C1]


async def test_a_command_is_as_old_as_what_was_heard_after_it(world: World) -> None:
    """A homeserver can't make an old command new by giving it a new time."""
    await world.join()
    held_back = world.clock()
    await world.hear(read(said("$talk", "hello"), 8))
    world.clock.pass_by(3600)
    now_ms = round(world.clock().timestamp() * 1000)
    for event_id, index in (("$old", 7), ("$new", 9)):
        event = said(event_id, "!aircheck record off")
        await world.hear(read(replace(event, event={**event.event, "origin_server_ts": now_ms}), index))
    times = [command.sent_at for command in await world.ordered(orders.Command)]
    assert times == [held_back, world.clock()]


async def test_a_mention_of_the_bot_by_its_name_in_the_room_is_a_command(world: World) -> None:
    """The bot's display name begins a command where the client mentions the bot."""
    named = state("m.room.member", {"membership": "join", "displayname": "Air Check"}, BOT, BOT)
    await world.intake.take(batch(before=room_state(named)))
    body = {"msgtype": "m.text", "body": "Air Check: help"}
    mention = {"m.mentions": {"user_ids": [BOT, 7, "@bob:hs"]}}
    await world.hear(
        heard("$talk", "m.room.message", body),
        heard("$others", "m.room.message", body | {"m.mentions": {"user_ids": ["@bob:hs"]}}),
        heard("$junk", "m.room.message", body | {"m.mentions": [BOT]}),
        heard("$command", "m.room.message", body | mention),
    )
    (command,) = await world.ordered(orders.Command)
    assert (command.event_id, command.mentions) == ("$command", (BOT, "@bob:hs"))


async def test_a_flood_of_commands_is_answered_up_to_a_share_and_told_once(world: World) -> None:
    """Commands beyond the share are not written down, and somebody else's in the same room are answered."""
    await world.join()
    await world.hear(*(said(f"$c{number}", "!aircheck help") for number in range(800)))
    bob = said("$bob", "!aircheck help")
    await world.hear(replace(bob, event={**bob.event, "sender": "@bob:hs"}))
    asked = [command.event_id for command in await world.ordered(orders.Command)]
    assert asked == [*(f"$c{number}" for number in range(AT_ONCE)), "$bob"]
    told = [job for job in await world.waiting(orders.Notice.kind) if job["body"] == words.ASKED_TOO_MUCH]
    assert [job["reply_to"] for job in told] == [f"$c{AT_ONCE}"]
