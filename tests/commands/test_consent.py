"""`optout`, `optin`, `speakers`."""

from typing import Any

import pytest

from bot import orders
from bot.commands.replies import general
from storage import archive, changes, optouts
from storage.records import (
    EVERYWHERE,
    Change,
    ChunkState,
    EndedBy,
    OptOut,
    Position,
    Recording,
    RecordingState,
    RoomId,
    UserId,
)
from tests.commands.world import BOT, MEMBER, MOD, ROOM, SPEAKER, World

CHAT = RoomId("!chat:hs")
ANN = UserId("@ann:hs")
LIVE: dict[str, Any] = {"state": RecordingState.LIVE, "length_ms": None}


async def words(world: World) -> list[tuple[UserId, RoomId, bool]]:
    async with world.store.read() as db:
        return [(word.user_id, word.room_id, word.out) for word in await optouts.every(db)]


async def log(world: World, what: str) -> list[Change]:
    async with world.store.read() as db:
        return [change for change in await changes.every(db) if change.what == what]


async def states(world: World, recording: Recording) -> dict[int, ChunkState]:
    async with world.store.read() as db:
        return {chunk.position: chunk.state for chunk in await archive.chunks(db, recording.id)}


async def test_an_opt_out_holds_in_its_room_and_is_logged(world: World) -> None:
    """The answer says where it holds and how to undo it; the log names the member and nothing that was said."""
    answer = await world.say(SPEAKER, "!aircheck optout", position=Position(50))
    assert answer is not None
    assert "in this room" in answer
    assert "`!aircheck optin`" in answer
    assert await words(world) == [(SPEAKER, ROOM, True)]
    (change,) = await log(world, "optout")
    assert (change.room_id, change.by, change.subject) == (ROOM, SPEAKER, SPEAKER)
    assert (change.before, change.after) == ("in", "out")
    assert "anyway" in (await world.say(SPEAKER, "!aircheck optout") or "")
    assert len(await words(world)) == 1


async def test_in_a_direct_chat_it_holds_everywhere(world: World) -> None:
    """An opt-out in the direct chat closes what runs in all rooms."""
    await world.open(room_id=CHAT, members=(BOT, SPEAKER), direct=True, recording_on=False)
    live = await world.recording(**LIVE)
    assert "in no room" in (await world.say(SPEAKER, "!aircheck optout", room_id=CHAT) or "")
    assert await words(world) == [(SPEAKER, EVERYWHERE, True)]
    assert (await world.look(live)).ended_by is EndedBy.SWITCHED_OFF
    (change,) = await log(world, "optout")
    assert change.room_id is None


async def test_what_runs_is_closed_and_its_speaker_is_told_how_to_delete_it(world: World) -> None:
    """The room's answer names no code; the direct message does, once, however often the command is handled."""
    mine, other = await world.recording(**LIVE), await world.recording(**LIVE, broadcaster=MEMBER)
    elsewhere = await world.recording(**LIVE, room_id=RoomId("!other:hs"))
    job = world.command(SPEAKER, "!aircheck optout")
    for _ in range(2):
        await world.handle(job)
    (notice,) = await world.take(orders.Notice.kind)
    assert mine.code not in str(notice.payload["body"])
    (direct,) = await world.take(orders.Direct.kind)
    order = orders.Direct.of(direct)
    assert (order.user_id, order.once) == (SPEAKER, True)
    assert f"`!aircheck in {ROOM} delete {mine.code}`" in (order.body or "")
    assert (await world.look(mine)).ended_by is EndedBy.SWITCHED_OFF
    for one in (other, elsewhere):
        assert (await world.look(one)).state is RecordingState.LIVE


async def test_it_counts_from_its_place_in_the_timeline(world: World) -> None:
    """Chunks that were fetched before the command was handled go, if they came after it; the others stay. What waits
    for media or a key is given up, and candidates are forgotten."""
    live = await world.recording(**LIVE, position=Position(10))
    for position, state in (
        (11, ChunkState.STORED),
        (12, ChunkState.WAITING_FOR_MEDIA),
        (13, ChunkState.WAITING_FOR_KEY),
        (14, ChunkState.CANDIDATE),
        (21, ChunkState.STORED),
    ):
        await world.chunk(live, state, position=Position(position), sender=SPEAKER)
    await world.say(SPEAKER, "!aircheck optout", position=Position(20))
    refused = ChunkState.REFUSED
    assert await states(world, live) == {11: ChunkState.STORED, 12: refused, 13: refused, 21: refused}


async def test_an_old_recording_does_not_heal_after_an_opt_out(world: World) -> None:
    """A recording that had ended keeps its end and its sound, and waits for nothing any more."""
    old = await world.recording(state=RecordingState.INCOMPLETE, ended_by=EndedBy.STOPPED, position=Position(10))
    await world.chunk(old, ChunkState.STORED, position=Position(11), sender=SPEAKER)
    await world.chunk(old, ChunkState.WAITING_FOR_KEY, position=Position(12), sender=SPEAKER)
    await world.say(SPEAKER, "!aircheck optout", position=Position(20))
    assert await states(world, old) == {11: ChunkState.STORED, 12: ChunkState.REFUSED}
    assert (await world.look(old)).ended_by is EndedBy.STOPPED
    assert await world.take(orders.Direct.kind) == ()


async def test_the_last_word_counts(world: World) -> None:
    """`optin` says what it can't bring back; whoever has not opted out is told so."""
    await world.open(room_id=CHAT, members=(BOT, SPEAKER), direct=True, recording_on=False)
    assert "have not opted out" in (await world.say(SPEAKER, "!aircheck optin") or "")
    await world.say(SPEAKER, "!aircheck optout", room_id=CHAT)
    assert "again" in (await world.say(SPEAKER, "!aircheck optin") or "")
    await world.say(SPEAKER, "!aircheck optout")
    assert "in all rooms" in (await world.say(SPEAKER, "!aircheck optin", room_id=CHAT) or "")
    assert "nowhere" in (await world.say(SPEAKER, "!aircheck optin", room_id=CHAT) or "")
    assert [(room, out) for _, room, out in await words(world)] == [
        (EVERYWHERE, True),
        (ROOM, False),
        (ROOM, True),
        (EVERYWHERE, False),
    ]


async def test_a_direct_chat_with_others_is_a_room(world: World) -> None:
    """Anybody can call a room a direct chat: with a third member an `optin` there takes back no other word."""
    await world.open(room_id=CHAT, direct=True, recording_on=False)
    await world.say(SPEAKER, "!aircheck optout")
    assert "in this room" in (await world.say(SPEAKER, "!aircheck optout", room_id=CHAT) or "")
    assert "in this room" in (await world.say(SPEAKER, "!aircheck optin", room_id=CHAT) or "")
    assert [(room, out) for _, room, out in await words(world)] == [(ROOM, True), (CHAT, True), (CHAT, False)]


async def test_speakers_limits_who_is_recorded(world: World) -> None:
    """Broadcasts of others that run are closed at once; the members are named by id or by a name that only one has."""
    await world.member(ANN, name="Ann Lee")
    hers, theirs = await world.recording(**LIVE, broadcaster=ANN), await world.recording(**LIVE)
    answer = await world.say(MOD, f"!aircheck speakers ann lee, {MEMBER}")
    assert answer is not None
    assert "Ann Lee, @member:hs" in answer
    assert "somebody else" in answer
    assert (await world.room()).speakers == (ANN, MEMBER)
    assert (await world.look(hers)).state is RecordingState.LIVE
    assert (await world.look(theirs)).ended_by is EndedBy.SWITCHED_OFF
    assert "Ann Lee" in (await world.say(SPEAKER, "!aircheck speakers") or "")
    (change,) = await log(world, "speakers")
    assert (change.before, change.after, change.subject) == ("all", f"{ANN} {MEMBER}", None)
    assert "everybody" in (await world.say(MOD, "!aircheck speakers all") or "")
    assert (await world.room()).speakers is None
    assert "already" in (await world.say(MOD, "!aircheck speakers all") or "")


@pytest.mark.parametrize(
    "name", ["Nobody", "@nobody:hs", "Twin", "@member:hs Nobody", "[Twin](https://matrix.to/#/@nobody:hs)", "@"]
)
async def test_a_name_that_fits_nobody_or_several_changes_nothing(world: World, name: str) -> None:
    """The answer has an example that is right, and repeats nothing that was written."""
    for user in (SPEAKER, MEMBER):
        await world.member(user, name="Twin")
    answer = await world.say(MOD, f"!aircheck speakers {name}")
    assert answer is not None
    assert f"`!aircheck speakers {MOD}`" in answer
    assert "obody" not in answer
    assert (await world.room()).speakers is None


@pytest.mark.parametrize(
    "mention", ["[Ann Lee](https://matrix.to/#/@ann:hs)", "https://matrix.to/#/%40ann%3Ahs?via=hs", "@Ann Lee"]
)
async def test_a_mention_names_a_member(world: World, mention: str) -> None:
    """Clients write a mention as a link or as the display name."""
    await world.member(ANN, name="Ann Lee")
    await world.say(MOD, f"!aircheck speakers {mention}")
    assert (await world.room()).speakers == (ANN,)


@pytest.mark.parametrize("words", [f"{MEMBER} " * 51, "x" * 5001])
async def test_too_many_names_are_refused(world: World, words: str) -> None:
    """More than fifty words, or an overlong one, name nobody; the answer says how many may be named."""
    answer = await world.say(MOD, f"!aircheck speakers {words}")
    assert "at most 50 members" in (answer or "")
    assert (await world.room()).speakers is None
    await world.say(MOD, f"!aircheck speakers {f'{MEMBER} ' * 50}")
    assert (await world.room()).speakers == (MEMBER,)


async def test_speakers_is_for_moderators(world: World) -> None:
    """Others may only ask."""
    assert await world.say(MEMBER, "!aircheck speakers @member:hs") == general.ONLY_MODS
    assert await world.say(MEMBER, "!aircheck speakers all") == general.ONLY_MODS
    assert "Everybody" in (await world.say(MEMBER, "!aircheck speakers") or "")


async def test_an_opt_out_outranks_the_moderators_choice(world: World) -> None:
    """A named speaker who opts out is closed like everybody."""
    await world.say(MOD, f"!aircheck speakers {SPEAKER}")
    live = await world.recording(**LIVE)
    await world.say(SPEAKER, "!aircheck optout")
    assert (await world.look(live)).ended_by is EndedBy.SWITCHED_OFF


async def test_words_said_twice_are_one_row(world: World) -> None:
    """A row is stored once for its member, room and position."""
    word = OptOut(SPEAKER, ROOM, Position(7), True, world.clock())
    async with world.store.write() as db:
        await optouts.add(db, word)
        await optouts.add(db, word)
        assert await optouts.of(db, SPEAKER) == (word,)
