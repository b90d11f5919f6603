"""Room upgrades: the new room has the podcast if the old one names it and a moderator of both lets the bot in."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot import facts, orders
from bot.intake import consent, greeting
from bot.intake.succession import take_back
from bot.matrix.batch import Invite, RoomBatch, SyncBatch
from bot.studio import rights
from bot.worker.looking_at_studios import LookingAtStudios
from storage import archive, changes, heirs, journal, optouts, rooms, studios, tables
from storage.records import (
    EVERYWHERE,
    Announce,
    BlobKey,
    Change,
    EndedBy,
    EventId,
    HeardEvent,
    Json,
    OptOut,
    PodcastTexts,
    Position,
    RecordingState,
    Retention,
    Room,
    RoomId,
    StudioState,
    UserId,
    Visibility,
)
from tests.factories import a_studio
from tests.recorder.voices import key_comes, messages, sealed_voice, voice
from tests.world import ALICE, BOT, ROOM, START, World, batch, chunk, heard, info, room_state, state, world_of

NEW = RoomId("!new:hs")
MALLORY = UserId("@mallory:hs")
ADMIN = UserId("@admin:hs")
UPGRADED = {"room_id": ROOM, "event_id": "$tombstone"}
LATER = EventId("$later")
TOMBSTONE = "m.room.tombstone"
INVITED_BY_THE_MOD: dict[str, Any] = {"host": ALICE, "mods": (ALICE,), "predecessor": UPGRADED}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Provide Alice's recorded, private room, with Mallory as a member; it names the new room as its replacement."""
    async with world_of(tmp_path / "data") as made:
        await made.join()
        await made.hear(heard("$m", "m.room.member", {"membership": "join"}, state_key=MALLORY), tombstone())
        yield made


def tombstone(replacement: Any = NEW, event_id: str = "$tombstone", sender: UserId = ALICE) -> HeardEvent:
    content = {} if replacement is None else {"body": "moved", "replacement_room": replacement}
    return heard(event_id, TOMBSTONE, content, state_key="", sender=sender)


def redaction(of: str, sender: UserId = ALICE) -> HeardEvent:
    return heard(f"$redaction{of}", "m.room.redaction", {"redacts": of}, redacts=of, sender=sender)


async def room(world: World, room_id: RoomId = NEW) -> Room:
    async with world.store.read() as db:
        found = await rooms.room(db, room_id)
    assert found is not None
    return found


async def change(world: World, room_id: RoomId, **changes: Any) -> None:
    async with world.store.write() as db:
        found = await rooms.room(db, room_id)
        assert found is not None
        await rooms.save_room(db, replace(found, **changes))


async def line(world: World) -> tuple[RoomId, ...]:
    async with world.store.read() as db:
        return await heirs.line(db, ROOM)


def there(event: HeardEvent) -> HeardEvent:
    """Return the same event in the new room."""
    return replace(event, room_id=NEW)


async def come(
    world: World,
    *timeline: HeardEvent,
    host: UserId,
    mods: tuple[UserId, ...],
    predecessor: Any,
    direct: bool = False,
) -> None:
    """Let the bot accept the host's invite to a new room."""
    await world.intake.take(SyncBatch("invited", invites=(Invite(NEW, host, direct=direct, encrypted=False),)))
    await world.intake.take(SyncBatch("joined", (RoomBatch(NEW, True, new_state(host, mods, predecessor), timeline),)))
    await world.settle()


def new_state(host: UserId, mods: tuple[UserId, ...], predecessor: Any) -> tuple[Json, ...]:
    create = {"room_version": "11"} | ({} if predecessor is None else {"predecessor": predecessor})
    return (
        state("m.room.create", create, sender=host),
        state("m.room.power_levels", {"users": dict.fromkeys(mods, 50)}, sender=host),
        state("m.room.member", {"membership": "join"}, host, host),
        state("m.room.member", {"membership": "join"}, BOT, BOT),
    )


async def tell(world: World) -> None:
    """Put the bot's notice into the new room."""
    async with world.store.write() as db:
        await greeting.said(db, NEW, EventId("$notice"), "…", world.clock())


async def welcome(world: World) -> str:
    (found,) = [payload for payload in await world.waiting(orders.Notice.kind) if payload["room_id"] == NEW]
    assert found["greets"]
    return await greeted(world, await room(world))


async def greeted(world: World, known: Room) -> str:
    async with world.store.read() as db:
        return await greeting.greeting(db, known, world.settings)


async def test_a_mod_of_both_who_invites_makes_an_heir(world: World) -> None:
    """The heir records for the same podcast, which stays private, and both rooms are told."""
    await change(world, ROOM, cover=BlobKey("ab" * 32), cover_of="drawn: Kitchen")
    await come(world, **INVITED_BY_THE_MOD)
    assert await line(world) == (ROOM, NEW)
    old, new = await room(world, ROOM), await room(world)
    assert (new.recording_on, new.visibility, new.public_since) == (True, Visibility.PRIVATE, None)
    assert (new.cover, new.cover_of) == (old.cover, old.cover_of)
    assert not old.recording_on
    said = await welcome(world)
    for words in ("continues the podcast", "members of this room only", "!aircheck record off"):
        assert words in said


async def test_a_room_that_was_not_recorded_is_not_recorded_after_its_upgrade(world: World) -> None:
    """The heir keeps the old room's recording switch, and the notice says how to change it."""
    await change(world, ROOM, recording_on=False)
    await come(world, **INVITED_BY_THE_MOD)
    assert await line(world) == (ROOM, NEW)
    assert not (await room(world)).recording_on
    assert "!aircheck record on" in await welcome(world)


async def test_a_public_podcast_stays_public_for_what_begins_from_now_on(world: World) -> None:
    """In a public podcast's heir, only what begins after its notice is recorded, and it is public."""
    await change(world, ROOM, visibility=Visibility.PUBLIC, public_since=Position(1))
    joined = there(heard("$joined", "m.room.member", {"membership": "join"}, state_key=BOT, sender=BOT))
    await come(world, joined, there(info(START, "started")), **INVITED_BY_THE_MOD)
    later = replace(there(info(LATER, "started", device_id="E")), event_id=LATER)
    await tell(world)
    await world.intake.take(SyncBatch("later", (RoomBatch(NEW, True, (), (later,)),)))
    await world.settle()
    async with world.store.read() as db:
        found = [await archive.recording_by_event(db, event) for event in (START, LATER)]
    assert [one and (one.room_id, one.public) for one in found] == [None, (NEW, True)]
    said = await welcome(world)
    assert "it is public" in said
    assert "!aircheck publish private" in said


@pytest.mark.parametrize(
    ("public_by", "host", "visibility"),
    [
        ("mods", ALICE, Visibility.PUBLIC),
        ("admins", ALICE, Visibility.PRIVATE),
        ("admins", ADMIN, Visibility.PUBLIC),
        ("nobody", ADMIN, Visibility.PRIVATE),
    ],
)
async def test_who_may_not_publish_makes_no_public_heir(
    tmp_path: Path, public_by: str, host: UserId, visibility: Visibility
) -> None:
    """An heir let in by somebody who may not publish is private."""
    async with world_of(tmp_path / "data", feeds={"public_by": public_by}) as world:
        await world.join()
        powers = heard("$p", "m.room.power_levels", {"users": {ALICE: 100, ADMIN: 100}}, state_key="")
        await world.hear(powers, heard("$a", "m.room.member", {"membership": "join"}, state_key=ADMIN), tombstone())
        await change(world, ROOM, visibility=Visibility.PUBLIC, public_since=Position(1))
        await come(world, host=host, mods=(ALICE, ADMIN), predecessor=UPGRADED)
        assert await line(world) == (ROOM, NEW)
        assert (await room(world)).visibility is visibility


IMPOSTORS: dict[str, dict[str, Any]] = {
    "a mod of the new room only": {"host": MALLORY, "mods": (MALLORY,)},
    "a mod of the old room only": {"mods": (MALLORY,)},
    "a mod of both, invited by another": {"host": MALLORY, "mods": (MALLORY, ALICE)},
    "no predecessor": {"predecessor": None},
    "another predecessor": {"predecessor": UPGRADED | {"room_id": "!unknown:hs"}},
    "itself": {"predecessor": UPGRADED | {"room_id": NEW}},
    "a text": {"predecessor": ROOM},
    "no text": {"predecessor": UPGRADED | {"room_id": [ROOM]}},
    "what can't be stored": {"predecessor": UPGRADED | {"room_id": "!\ud800:hs"}},
    "what is too long": {"predecessor": UPGRADED | {"room_id": "!" + "a" * 300}},
    "a direct chat": {"direct": True},
}


@pytest.mark.parametrize("case", IMPOSTORS)
async def test_who_only_says_so_gets_nothing(world: World, case: str) -> None:
    """A room that only names the old one in its m.room.create is a room like any other."""
    await change(world, ROOM, visibility=Visibility.PUBLIC, public_since=Position(1))
    old = await room(world, ROOM)
    await come(world, **(INVITED_BY_THE_MOD | IMPOSTORS[case]))
    assert await line(world) == (ROOM,)
    assert await room(world, ROOM) == old
    new = await room(world)
    assert new.joined
    assert new.visibility is Visibility.PRIVATE
    assert "continues" not in await welcome(world)


NO_WORD: dict[str, tuple[HeardEvent, ...]] = {
    "gone": (redaction("$tombstone"),),
    "empty": (tombstone(None, "$second"),),
    "another room": (tombstone("!other:hs", "$second"),),
    "no room": (tombstone([NEW], "$second"),),
    "from a user who may not send it": (
        heard(
            "$p", "m.room.power_levels", {"users": {ALICE: 100, MALLORY: 50}, "events": {TOMBSTONE: 100}}, state_key=""
        ),
        tombstone(NEW, "$second", MALLORY),
    ),
    "under a level that can't be read": (
        heard("$p", "m.room.power_levels", {"users": {ALICE: 100}, "events": {TOMBSTONE: "high"}}, state_key=""),
    ),
}


@pytest.mark.parametrize("case", NO_WORD)
async def test_without_the_old_rooms_word_there_is_no_heir(world: World, case: str) -> None:
    """A moderator of both rooms makes no heir while the old room's tombstone does not name the new one."""
    await world.hear(*NO_WORD[case])
    old = await room(world, ROOM)
    await come(world, **INVITED_BY_THE_MOD)
    assert await line(world) == (ROOM,)
    assert await room(world, ROOM) == old
    assert "continues" not in await welcome(world)


async def test_a_tombstone_that_comes_after_the_bot_makes_an_heir_and_tells_it(world: World) -> None:
    """The line begins with its last condition: a public podcast stays public, and the new room is told."""
    await world.hear(tombstone(None, "$none"))
    await change(world, ROOM, visibility=Visibility.PUBLIC, public_since=Position(1))
    await come(world, **INVITED_BY_THE_MOD)
    assert await line(world) == (ROOM,)
    await world.hear(tombstone(NEW, "$at last"))
    assert await line(world) == (ROOM, NEW)
    assert ((await room(world)).recording_on, (await room(world, ROOM)).recording_on) == (True, False)
    assert [notice.greets for notice in await world.ordered(orders.Notice) if notice.room_id == NEW] == [True, True]
    assert "continues" in await greeted(world, await room(world))
    assert "it is public" in await greeted(world, await room(world))


async def test_a_tombstone_that_only_the_rooms_state_shows_counts_too(world: World) -> None:
    """A tombstone counts that only a refresh of the room's state shows."""
    await world.hear(tombstone(None, "$none"))
    await come(world, **INVITED_BY_THE_MOD)
    async with world.store.read() as db:
        asked_at = await journal.position(db)
    await world.intake.refresh(ROOM, [state(TOMBSTONE, {"replacement_room": NEW})], asked_at)
    assert await line(world) == (ROOM, NEW)


async def test_the_bot_may_come_into_the_new_room_first(world: World) -> None:
    """A bot that joins the old room last reads the tombstone there."""
    await world.hear(heard("$k", "m.room.member", {"membership": "leave"}, state_key=BOT), joined=False)
    await come(world, **INVITED_BY_THE_MOD)
    assert await line(world) == (ROOM,)
    await world.intake.take(SyncBatch("asked", invites=(Invite(ROOM, ALICE, direct=False, encrypted=False),)))
    await world.intake.take(batch(before=room_state(state(TOMBSTONE, {"replacement_room": NEW}))))
    assert await line(world) == (ROOM, NEW)


async def test_who_invited_the_bot_and_is_made_a_moderator_later_lets_it_in(world: World) -> None:
    """The inviter's power may be the last condition that is met."""
    await come(world, **(INVITED_BY_THE_MOD | {"mods": (MALLORY,)}))
    assert await line(world) == (ROOM,)
    await world.intake.take(SyncBatch("power", (RoomBatch(NEW, True, new_state(ALICE, (ALICE,), UPGRADED)),)))
    assert await line(world) == (ROOM, NEW)


@pytest.mark.parametrize("case", ["gone", "empty", "another room"])
async def test_thrown_out_and_invited_again_the_bot_begins_anew(world: World, case: str) -> None:
    """When the bot rejoins a room whose tombstone no longer names its heir, both have a podcast of their own."""
    await come(world, **INVITED_BY_THE_MOD)
    assert await line(world) == (ROOM, NEW)
    await world.hear(*NO_WORD[case])
    assert await line(world) == (ROOM, NEW)
    await world.hear(heard("$k", "m.room.member", {"membership": "leave"}, state_key=BOT), joined=False)
    await world.intake.take(SyncBatch("asked", invites=(Invite(ROOM, ALICE, direct=False, encrypted=False),)))
    await world.intake.take(batch(before=room_state()))
    assert await line(world) == (ROOM,)
    assert (await room(world, ROOM)).recording_on
    assert (await room(world)).recording_on
    assert any(notice.greets and notice.room_id == ROOM for notice in await world.ordered(orders.Notice))
    assert "From now on I record" in await greeted(world, await room(world, ROOM))


async def test_an_heir_that_the_bot_comes_back_to_is_looked_at_again(world: World) -> None:
    """When the bot rejoins an heir that the tombstone no longer names, it is no heir."""
    await come(world, **INVITED_BY_THE_MOD)
    out = there(heard("$k", "m.room.member", {"membership": "leave"}, state_key=BOT))
    await world.intake.take(SyncBatch("out", (RoomBatch(NEW, False, (), (out,)),)))
    await world.hear(tombstone(None, "$second"))
    await come(world, **INVITED_BY_THE_MOD)
    assert await line(world) == (ROOM,)


async def test_who_let_the_bot_in_before_it_was_thrown_out_counts_no_more(world: World) -> None:
    """After the bot was removed, only who invites it again counts."""
    await world.hear(tombstone(None, "$none"))
    await come(world, **INVITED_BY_THE_MOD)
    async with world.store.write() as db:
        await heirs.let_in(db, NEW, ALICE)
    out = there(heard("$k", "m.room.member", {"membership": "leave"}, state_key=BOT))
    await world.intake.take(SyncBatch("out", (RoomBatch(NEW, False, (), (out,)),)))
    await come(world, host=MALLORY, mods=(MALLORY, ALICE), predecessor=UPGRADED)
    await world.hear(tombstone(NEW, "$at last"))
    assert await line(world) == (ROOM,)


async def test_a_redaction_of_the_tombstone_by_a_user_who_may_not_is_asked_about(world: World) -> None:
    """The tombstone counts until the homeserver shows it empty."""
    await world.hear(redaction("$tombstone", MALLORY))
    assert await world.waiting(orders.Refresh.kind) == [{}]
    async with world.store.read() as db:
        kept = await rooms.state(db, ROOM, TOMBSTONE)
        asked_at = await journal.position(db)
    assert kept is not None
    assert kept.content == {"replacement_room": NEW}
    await world.intake.refresh(ROOM, [state(TOMBSTONE, {}, event_id="$tombstone")], asked_at)
    async with world.store.read() as db:
        kept = await rooms.state(db, ROOM, TOMBSTONE)
    assert kept is not None
    assert facts.replacement(kept) is None


async def pend(world: World) -> None:
    """Make the new room an heir as an earlier version did, by its own word."""
    await world.hear(tombstone(None, "$none"))
    await come(world, **INVITED_BY_THE_MOD)
    async with world.store.write() as db:
        await db.execute(tables.heirs.insert().values(room_id=ROOM, heir=NEW, confirmed=False))
    await change(world, ROOM, recording_on=False)


async def test_an_heir_of_an_earlier_version_counts_once_the_old_room_confirms_it(world: World) -> None:
    """A link of an earlier version counts once the old room's state confirms it."""
    await pend(world)
    assert await line(world) == (ROOM,)
    async with world.store.read() as db:
        asked_at = await journal.position(db)
    before = await room(world)
    await world.intake.refresh(ROOM, list(room_state(state(TOMBSTONE, {"replacement_room": NEW}))), asked_at)
    assert await line(world) == (ROOM, NEW)
    after = await room(world)
    assert after.revision > before.revision
    assert (after.recording_on, after.visibility) == (before.recording_on, before.visibility)


async def test_an_heir_of_an_earlier_version_that_is_not_confirmed_ends(world: World) -> None:
    """A link that the old room's state contradicts ends, and the old room is told; an incomplete answer decides
    nothing."""
    await pend(world)
    async with world.store.read() as db:
        asked_at = await journal.position(db)
    await world.intake.refresh(ROOM, [], asked_at)
    async with world.store.read() as db:
        assert await heirs.pending(db, ROOM) == NEW
    await world.intake.refresh(ROOM, list(room_state()), asked_at)
    async with world.store.read() as db:
        assert await heirs.pending(db, ROOM) is None
    assert await line(world) == (ROOM,)
    said = [payload["body"] for payload in await world.waiting(orders.Notice.kind) if payload["room_id"] == ROOM]
    assert "It is back here" in said[-1]


@pytest.mark.parametrize("membership", ["leave", "ban"])
async def test_a_mod_who_is_out_of_the_old_room_lets_nobody_in(world: World, membership: str) -> None:
    """A moderator who left the old room makes no heir, although its power levels still name them."""
    await world.hear(heard("$out", "m.room.member", {"membership": membership}, state_key=ALICE))
    await come(world, **INVITED_BY_THE_MOD)
    assert await line(world) == (ROOM,)


async def test_of_a_room_that_the_bot_has_left_nobody_is_a_mod(world: World) -> None:
    """The podcast of a room that the bot has left goes to no heir."""
    await world.hear(heard("$k", "m.room.member", {"membership": "leave"}, state_key=BOT), joined=False)
    await come(world, **INVITED_BY_THE_MOD)
    assert await line(world) == (ROOM,)


async def test_the_second_claimant_gets_nothing(world: World) -> None:
    """A room has one heir, whatever other rooms claim."""
    other = RoomId("!other:hs")
    async with world.store.write() as db:
        await rooms.save_room(db, rooms.new_room(other, world.clock()))
        assert await heirs.inherit(db, ROOM, other)
    await come(world, **INVITED_BY_THE_MOD)
    assert await line(world) == (ROOM, other)
    assert "continues" not in await welcome(world)


async def test_what_is_live_in_the_old_room_goes_on_there(world: World) -> None:
    """A live broadcast in the old room is recorded to its end, and a new one there is not."""
    await world.begin(chunk("$c1", 1))
    await come(world, **INVITED_BY_THE_MOD)
    await world.hear(chunk("$c2", 2), info("$stop", "stopped"), replace(info(LATER, "started"), event_id=LATER))
    recording = await world.recording()
    assert recording.state is RecordingState.FINISHING
    async with world.store.read() as db:
        assert [one.sequence for one in await archive.chunks(db, recording.id)] == [1, 2]
        assert await archive.recording_by_event(db, LATER) is None


async def test_an_episode_is_announced_at_the_podcasts_address(world: World) -> None:
    """A public episode is announced at the podcast's address, and one whose podcast became private at none."""
    await change(world, ROOM, visibility=Visibility.PUBLIC, public_since=Position(1))
    running = replace(info(LATER, "started", device_id="E"), event_id=LATER)
    ended = {"m.relates_to": {"rel_type": "m.reference", "event_id": LATER}}
    part = heard("$c2", "m.room.message", dict(chunk("$c2", 1).event["content"]) | ended)
    await world.hear(running, part)
    await come(world, **INVITED_BY_THE_MOD)
    await tell(world)
    said = [there(one) for one in (info(START, "started"), chunk("$c1", 1), info("$stop", "stopped"))]
    await world.intake.take(SyncBatch("said", (RoomBatch(NEW, True, (), tuple(said)),)))
    await world.work()
    world.clock.pass_by(61)
    await world.work()
    recording = await world.recording()
    page = f"/r/{(await room(world, ROOM)).key}/{recording.code}"
    (told,) = [one["body"] for one in await world.waiting(orders.Notice.kind) if one.get("reply_to") == START]
    assert page in told
    await change(world, NEW, visibility=Visibility.PRIVATE)
    await world.hear(info("$stop2", "stopped", last_chunk_sequence=1, **ended))
    await world.work()
    world.clock.pass_by(61)
    await world.work()
    (told,) = [one["body"] for one in await world.waiting(orders.Notice.kind) if one.get("reply_to") == LATER]
    assert "http" not in told


async def test_the_bots_going_from_the_old_room_changes_nothing_for_the_heir(world: World) -> None:
    """The heir stays one when the bot leaves the old room and comes back to it."""
    await come(world, **INVITED_BY_THE_MOD)
    heir = await room(world)
    await world.hear(heard("$k", "m.room.member", {"membership": "leave"}, state_key=BOT), joined=False)
    assert (await line(world), await room(world)) == ((ROOM, NEW), heir)
    await world.intake.take(SyncBatch("again", invites=(Invite(ROOM, ALICE, direct=False, encrypted=False),)))
    named = state(TOMBSTONE, {"replacement_room": NEW})
    back = replace(
        RoomBatch(NEW, True, (*new_state(ALICE, (ALICE,), None), named)),
        room_id=ROOM,
        timeline=(heard("$back", "m.room.member", {"membership": "join"}, state_key=BOT),),
    )
    await world.intake.take(SyncBatch("back", (back,)))
    old = await room(world, ROOM)
    assert (old.joined, old.recording_on) == (True, False)
    assert "continues in the room that replaced it" in await greeted(world, old)


async def test_the_heir_stays_one_when_the_bot_comes_back_to_it(world: World) -> None:
    """The heir stays one when a stranger invites the bot back, and records nothing then."""
    await come(world, **INVITED_BY_THE_MOD)
    out = there(heard("$k", "m.room.member", {"membership": "leave"}, state_key=BOT))
    await world.intake.take(SyncBatch("out", (RoomBatch(NEW, False, (), (out,)),)))
    await come(world, host=MALLORY, mods=(ALICE,), predecessor=UPGRADED)
    assert await line(world) == (ROOM, NEW)
    assert not (await room(world)).recording_on


# ---- policies and consent


OLD_POLICIES: dict[str, Any] = {
    "announce": Announce.OFF,
    "language": "de",
    "retention": Retention(days=30),
    "review": True,
    "replay": True,
    "studio": False,
    "studio_events": True,
    "speakers": (ALICE,),
    "podcast": PodcastTexts(title="Kitchen", author="Alice"),
    "own_cover": BlobKey("ab" * 32),
    "own_cover_event": EventId("$picture"),
    "own_cover_room": ROOM,
    "own_cover_sender": ALICE,
}


async def test_an_heir_has_all_policies_of_the_old_room(world: World) -> None:
    """An upgrade loosens nothing that people agreed on, and keeps how the podcast presents itself."""
    await change(world, ROOM, **OLD_POLICIES)
    await come(world, **INVITED_BY_THE_MOD)
    heir = await room(world)
    assert {name: getattr(heir, name) for name in OLD_POLICIES} == OLD_POLICIES
    async with world.store.read() as db:
        noted = await changes.newest_of_each(db, NEW)
    assert {what: change.after for what, change in noted.items() if change.by is None} == {
        "announce": "off",
        "language": "de",
        "retention": "30 days",
        "review": "on",
        "replay": "on",
        "studio": "off",
        "studio events": "on",
        "speakers": ALICE,
        "podcast title": "given",
        "podcast author": "given",
        "podcast cover": "given",
    }


async def test_a_moderator_of_the_heir_may_have_chosen_already(world: World) -> None:
    """A policy that was set in the heir by a command stays; a rule of the bot's, or a default, does not."""
    await change(world, ROOM, **OLD_POLICIES)
    await world.hear(tombstone(None, event_id="$none"))
    await come(world, **INVITED_BY_THE_MOD)
    chosen = {"announce": Announce.ON, "podcast": PodcastTexts(title="Garden"), "own_cover": BlobKey("cd" * 32)}
    await change(world, NEW, **chosen, retention=Retention(episodes=3))
    async with world.store.write() as db:
        for what, by in (("announce", ALICE), ("podcast title", ALICE), ("retention", None)):
            await changes.add(db, Change(0, world.clock(), NEW, by, what))
    await world.hear(tombstone(event_id="$named"))
    heir = await room(world)
    assert (heir.announce, heir.podcast) == (Announce.ON, PodcastTexts(title="Garden", author="Alice"))
    assert (heir.retention, heir.own_cover) == (Retention(days=30), OLD_POLICIES["own_cover"])
    assert [BlobKey("cd" * 32)] in [list(order.blobs) for order in await world.ordered(orders.Forget)]


@pytest.mark.parametrize("where", [ROOM, NEW])
async def test_a_studio_ends_where_an_upgrade_ends_the_right_to_it(world: World, where: RoomId) -> None:
    """The old room records nothing new any more, and the heir takes over whom the old room's moderators chose."""
    await change(world, ROOM, speakers=(MALLORY,) if where == NEW else None)
    async with world.store.write() as db:
        studio = await studios.add(db, a_studio(room_id=where, user_id=ALICE, state=StudioState.LIVE))
    await come(world, **INVITED_BY_THE_MOD)
    await tell(world)
    assert [order.room_id for order in await world.ordered(orders.LookAtStudios)] == [where]
    world.handlers[orders.LookAtStudios.kind] = LookingAtStudios(world.store, world.clock)
    assert await world.work_one([orders.LookAtStudios.kind])
    async with world.store.read() as db:
        ended = await studios.get(db, studio.id)
        refused = await rights.refusal(db, where, ALICE)
    assert ended is not None
    assert ended.state is StudioState.OVER
    assert refused is (rights.Refusal.NOT_WANTED if where == NEW else rights.Refusal.NOT_RECORDED)


async def opts(world: World, room_id: RoomId, *, out: bool = True, at: int = 1) -> None:
    async with world.store.write() as db:
        await optouts.add(db, OptOut(ALICE, room_id, Position(at), out, world.clock()))


async def may(world: World, room_id: RoomId) -> bool:
    async with world.store.read() as db:
        return await consent.may_record(db, room_id, ALICE)


async def test_an_opt_out_holds_in_a_room_that_only_claims_to_replace_its_own(world: World) -> None:
    """Nobody is recorded in the time between the bot's coming and the old room's word."""
    await world.hear(tombstone(None, event_id="$none"))
    await opts(world, ROOM)
    await come(world, there(info(START, "started")), **INVITED_BY_THE_MOD)
    await tell(world)
    assert await line(world) == (ROOM,)
    assert not await may(world, NEW)
    async with world.store.read() as db:
        assert await archive.recording_by_event(db, START) is None


@pytest.mark.parametrize("where", [EVERYWHERE, NEW])
async def test_a_claim_to_replace_a_room_lifts_no_opt_out(world: World, where: RoomId) -> None:
    """An `optin` in the room that is claimed counts there alone, as long as that room does not confirm it."""
    await opts(world, where, at=1)
    await opts(world, ROOM, out=False, at=2)
    await come(world, host=MALLORY, mods=(MALLORY,), predecessor=UPGRADED)
    assert await line(world) == (ROOM,)
    assert (await may(world, ROOM), await may(world, NEW)) == (True, False)
    async with world.store.read() as db:
        assert await consent.is_out(db, NEW, ALICE)
    await opts(world, NEW, out=False, at=3)
    assert await may(world, NEW)


@pytest.mark.parametrize("where", [ROOM, NEW])
async def test_an_opt_in_after_the_rooms_parted_counts_in_its_own(world: World, where: RoomId) -> None:
    """Words that were shared when the line ended are undone in each room by itself, whatever its `create` names."""
    await come(world, **INVITED_BY_THE_MOD)
    await opts(world, where)
    await world.hear(tombstone("!other:hs", event_id="$other"))
    async with world.store.write() as db:
        await take_back(db, ROOM, world.clock())
    await opts(world, ROOM, out=False, at=2)
    assert (await may(world, ROOM), await may(world, NEW)) == (True, False)


@pytest.mark.parametrize("where", [ROOM, NEW])
async def test_an_opt_out_holds_in_both_rooms_when_they_part(world: World, where: RoomId) -> None:
    """Said in either room of a line, it holds in each when the line ends."""
    await come(world, **INVITED_BY_THE_MOD)
    await opts(world, where)
    assert not await may(world, ROOM)
    await world.hear(tombstone("!other:hs", event_id="$other"))
    async with world.store.write() as db:
        assert await take_back(db, ROOM, world.clock()) is not None
    assert await line(world) == (ROOM,)
    assert (await may(world, ROOM), await may(world, NEW)) == (False, False)


async def test_a_broadcast_that_runs_in_the_heir_waits_if_the_old_room_wants_review(world: World) -> None:
    """Although it began before the new room was the heir, it is not published unheard."""
    await world.hear(tombstone(None, event_id="$none"))
    await change(world, ROOM, review=True)
    await come(world, **INVITED_BY_THE_MOD)
    await tell(world)
    await world.intake.take(SyncBatch("live", (RoomBatch(NEW, True, (), (there(info(START, "started")),)),)))
    await world.settle()
    assert not (await world.recording()).unreviewed
    await world.hear(tombstone(event_id="$named"))
    assert (await world.recording()).unreviewed


async def test_a_broadcast_that_the_heir_may_not_record_is_closed(world: World) -> None:
    """The old room's choice of speakers closes what runs in the heir when it becomes one."""
    await world.hear(tombstone(None, event_id="$none"))
    await change(world, ROOM, speakers=(MALLORY,))
    await come(world, **INVITED_BY_THE_MOD)
    await tell(world)
    await world.intake.take(SyncBatch("live", (RoomBatch(NEW, True, (), (there(info(START, "started")),)),)))
    await world.settle()
    await world.hear(tombstone(event_id="$named"))
    (order,) = await world.ordered(orders.End)
    assert order.by is EndedBy.SWITCHED_OFF
    await world.work()
    assert (await world.recording()).ended_by is EndedBy.SWITCHED_OFF


@pytest.mark.parametrize(
    ("old", "said", "recorded"),
    [
        ({"messages_since": Position(1)}, {}, {"broadcasts", "messages"}),
        ({"messages_since": Position(1), "recording_on": False}, {}, {"messages"}),
        ({"messages_since": Position(1)}, {"record messages": "off"}, {"broadcasts"}),
        ({"messages_since": Position(1), "recording_on": False}, {"record": "off"}, set()),
        ({"calls_on": True}, {}, {"broadcasts", "calls"}),
        ({"calls_on": True}, {"record calls": "off"}, {"broadcasts"}),
        ({"call_wanted": True}, {}, {"broadcasts"}),
        ({}, {}, {"broadcasts"}),
    ],
)
async def test_an_heir_records_messages_and_calls_where_the_old_room_did(
    world: World, old: dict[str, Any], said: dict[str, str], recorded: set[str]
) -> None:
    """The switch is taken over unless people have switched it off there, from the upgrade on; the old room is off."""
    await change(world, ROOM, **old)
    await world.hear(tombstone(None, event_id="$none"))
    await come(world, **INVITED_BY_THE_MOD)
    await tell(world)
    async with world.store.write() as db:
        for what, after in said.items():
            await changes.add(db, Change(0, world.clock(), NEW, ALICE, what, after=after))
    await world.hear(tombstone(event_id="$named"))
    heir = await room(world)
    assert heir.recorded == recorded
    assert not heir.records_message(Position(1))
    left = await room(world, ROOM)
    assert not left.switched_on
    assert not left.call_wanted
    assert {order.room_id for order in await world.ordered(orders.KeepCalls)} >= ({NEW} if heir.calls_on else set())


@pytest.mark.parametrize("switched_off", [False, True])
async def test_a_message_that_waits_for_its_key_outlives_the_upgrade(world: World, switched_off: bool) -> None:
    """Nobody asked to stop where it was said. What is said in the old room later is not
    recorded."""
    early, late = (voice(name, world.clock()) for name in ("$early", "$late"))
    await change(world, ROOM, messages_since=Position(0))
    await world.hear(tombstone(None, event_id="$none"), sealed_voice(early))
    await come(world, **INVITED_BY_THE_MOD)
    if switched_off:
        async with world.store.write() as db:
            await changes.add(db, Change(0, world.clock(), NEW, ALICE, "record messages", after="off"))
    await world.hear(tombstone(event_id="$named"), sealed_voice(late))
    assert (await room(world)).messages_on is not switched_off
    await key_comes(world, early, late)
    assert await messages(world) == ([] if switched_off else [["$early"]])


async def test_a_room_that_the_bot_comes_back_to_records_broadcasts_only(world: World) -> None:
    """Messages and calls are recorded again once a moderator says so; the log tells that a rule switched them off."""
    await change(world, ROOM, messages_since=Position(1), calls_on=True)
    await world.hear(heard("$k", "m.room.member", {"membership": "leave"}, state_key=BOT), joined=False)
    await world.intake.take(SyncBatch("asked", invites=(Invite(ROOM, ALICE, direct=False, encrypted=False),)))
    await world.intake.take(batch(before=room_state()))
    assert (await room(world, ROOM)).switched_on == {"broadcasts"}
    async with world.store.read() as db:
        noted = (await changes.newest_of_each(db, ROOM))["record messages"]
    assert (noted.by, noted.before, noted.after) == (None, "on", "off")
