"""Commands in a direct chat with a room in front, and what they mean without one."""

from typing import Any

import pytest

from bot import orders
from bot.commands.places import Shared, fit, labels
from bot.commands.replies import general
from bot.commands.replies import places as replies
from storage import questions
from storage.records import EventId, RecordingState, RoomId, UserId, Visibility
from tests.commands.world import ADMIN, CREATOR, MEMBER, MOD, ROOM, SPEAKER, World

CHAT = RoomId("!chat:hs")
OTHER = RoomId("!other:hs")


def a_shared(number: int, name: str | None, *aliases: str, named: bool = True) -> Shared:
    return Shared(RoomId(f"!{number}:hs"), name, aliases, named=named)


SHARED = (
    a_shared(1, "Kitchen", "#kitchen:hs", "#Cooks:hs"),
    a_shared(2, "Kitchen Radio"),
    a_shared(3, "Kitchen Radio Archive"),
    a_shared(4, "Garden\u202e  Talk", "#garden:hs"),
    a_shared(5, "#general"),
    a_shared(6, "Twins"),
    a_shared(7, "twins", "#seven:hs"),
    a_shared(8, None, "#kitchen:hs"),
    a_shared(9, "Old", named=False),
    a_shared(10, "`", "#`:hs"),
    a_shared(11, "x" * 200),
)
FITS = {
    "kitchen list": ("1", "list"),
    "KITCHEN": ("1", ""),
    "Kitchen radio list 3": ("2", "list 3"),
    "kitchen radio archive status": ("3", "status"),
    "kitchen radio a status": ("3", "status"),
    "gar title last Two\n\nlines ": ("4", "title last Two\n\nlines "),
    "garden  talk list": ("4", "list"),
    "Garden\u202e talk list": ("4", "list"),
    "#garden:hs list": ("4", "list"),
    "#COOKS:hs list": ("1", "list"),
    "#kitchen:hs list": ("1 8", "list"),
    "!4:hs list": ("4", "list"),
    "!9:hs list": ("9", "list"),
    "#general list": ("5", "list"),
    "twins list": ("6 7", "list"),
    "kitchenette list": ("", ""),
    "old list": ("", ""),
    "!99:hs list": ("", ""),
    "#nobody:hs list": ("", ""),
    "https://matrix.to/#/%23garden%3Ahs list": ("4", "list"),
    "[Garden Talk](https://matrix.to/#/!4:hs?via=hs&via=other) list": ("4", "list"),
    "[x](<https://matrix.to/#/#seven:hs>) list": ("7", "list"),
    "https://matrix.to/#/!99:hs list": ("", "list"),
    "": ("", ""),
}


@pytest.mark.parametrize("text", FITS)
def test_a_room_is_named_by_id_alias_link_or_the_longest_beginning_that_fits_one(text: str) -> None:
    """Names fit in any case and may be cut; what follows keeps its line ends; a room of the same name is ambiguous."""
    found = fit(text, SHARED)
    assert (" ".join(room.room_id[1:].partition(":")[0] for room in found.rooms), found.rest) == FITS[text]


def test_a_long_text_is_compared_in_bounds() -> None:
    """Thousands of words name no room, at once."""
    assert fit("word " * 12_000, SHARED).rooms == ()
    assert fit("[" * 60_000, SHARED).rooms == ()


def test_a_room_is_called_by_what_finds_it() -> None:
    """A label names its room alone: the name, an alias where another has the name too, or the id."""
    called = labels(SHARED, SHARED)
    assert called[:2] == ["Kitchen", "Kitchen Radio"]
    assert called[5:] == ["!6:hs", "#seven:hs", "#kitchen:hs", "!9:hs", "!10:hs", "!11:hs"]
    for room, label in zip(SHARED, called, strict=True):
        if label != "#kitchen:hs":  # two rooms claim this alias
            assert fit(f"{label} status", SHARED).rooms == (room,)


# ---- in a chat


async def open_chat(world: World, user: UserId = MEMBER, **fields: Any) -> None:
    """Open a direct chat of the bot and one user."""
    await world.open(room_id=CHAT, **({"direct": True, "recording_on": False} | fields))
    for other in {ADMIN, CREATOR, MOD, MEMBER, SPEAKER} - {user}:
        await world.member(other, "leave", room_id=CHAT)


async def name(world: World, room_id: RoomId, name: str) -> None:
    await world.state("m.room.name", {"name": name}, room_id=room_id)


async def say(world: World, user: UserId, body: str, **fields: Any) -> str:
    return await world.say(user, body, room_id=CHAT, **fields) or ""


async def test_a_command_is_carried_out_in_the_room_that_is_named(world: World) -> None:
    """The rights and the answer are those of the room; the answer goes to the chat, with or without the prefix."""
    await open_chat(world, MOD)
    await name(world, ROOM, "Kitchen")
    recording = await world.recording(title="Soup")
    assert recording.code in await say(world, MOD, "in kitchen list")
    assert recording.code in await say(world, MOD, "!aircheck in Kitchen list")
    assert "switched it off" in await say(world, MOD, "In Kitchen record off")
    assert not (await world.room()).recording_on


async def test_the_rights_are_those_of_the_room(world: World) -> None:
    """Whoever moderates the chat moderates no other room by it."""
    await open_chat(world)
    await world.state("m.room.power_levels", {"users": {MEMBER: 100}}, room_id=CHAT)
    await name(world, ROOM, "Kitchen")
    assert await say(world, MEMBER, "in Kitchen record off") == general.ONLY_MODS
    assert (await world.room()).recording_on


async def test_a_room_that_the_asker_is_not_in_does_not_exist(world: World) -> None:
    """Neither id nor name finds a room whose member the asker is not, by our state."""
    await open_chat(world)
    await name(world, ROOM, "Kitchen")
    await world.open(room_id=OTHER)
    await name(world, OTHER, "Secret")
    await world.member(MEMBER, "leave", room_id=OTHER)
    missing = await say(world, MEMBER, "in !nowhere:hs list")
    assert missing == "We share no room of that name. Please say, for example:\n`in Kitchen status`"
    for room in (OTHER, "Secret"):
        assert await say(world, MEMBER, f"in {room} list") == missing
    await world.member(MEMBER, "leave")
    assert await say(world, MEMBER, "in Kitchen list") == replies.NO_SHARED_ROOM


async def test_several_rooms_that_fit_are_named(world: World) -> None:
    """An ambiguous beginning is answered with the rooms that fit, each in a way that finds it alone."""
    await open_chat(world)
    await name(world, ROOM, "Kitchen Radio")
    await world.open(room_id=OTHER)
    await name(world, OTHER, "Kitchen Table")
    answer = await say(world, MEMBER, "in kitchen list")
    assert answer.startswith("Several rooms that we share fit that.")
    assert set(answer.split("\n")[1:]) == {"`in Kitchen Radio status`", "`in Kitchen Table status`"}


async def test_only_in_a_chat_of_two_a_room_can_be_named(world: World) -> None:
    """In a room, and in a direct chat with a third member, nobody reads what another room's members may."""
    await open_chat(world)
    await name(world, ROOM, "Kitchen")
    recording = await world.recording()
    assert await world.say(MEMBER, "!aircheck in Kitchen list") == replies.ONLY_IN_CHAT
    assert recording.code in await say(world, MEMBER, "!aircheck list")
    await world.member(SPEAKER, "invite", room_id=CHAT)
    assert await say(world, MEMBER, "!aircheck in Kitchen list") == replies.ONLY_IN_CHAT
    assert await say(world, MEMBER, "!aircheck list") == general.NO_RECORDING_YET


@pytest.mark.parametrize(("chat", "room"), [(False, True), (True, False), (True, True)])
async def test_an_unencrypted_message_changes_nothing_in_an_encrypted_room(bare: World, chat: bool, room: bool) -> None:
    """If chat or room are encrypted, only an encrypted message changes something or gets an address."""
    await bare.open(encrypted=room)
    await open_chat(bare, MOD, encrypted=chat)
    await name(bare, ROOM, "Kitchen")
    refusal = general.NOT_ENCRYPTED if chat else replies.NOT_ENCRYPTED_THERE
    for command in ("record off", "feed", "publish public"):
        assert await say(bare, MOD, f"in Kitchen {command}") == refusal
    assert (await bare.room()).recording_on
    assert (await bare.room()).visibility is Visibility.PRIVATE
    assert await bare.take(orders.Direct.kind) == ()
    assert "switched it off" in await say(bare, MOD, "in Kitchen record off", encrypted=True)


async def test_a_question_without_a_room_is_about_the_only_one(world: World) -> None:
    """In a direct chat a question is about the only shared room; a change has to name it."""
    await open_chat(world, MOD)
    await name(world, ROOM, "Kitchen")
    recording = await world.recording()
    assert recording.code in await say(world, MOD, "list")
    assert (await say(world, MOD, "status")).startswith("Recording is on.")
    assert (await say(world, MOD, "retention")) == await world.say(MOD, "!aircheck retention")
    asked = await say(world, MOD, "publish public")
    assert asked == "Which room do you mean? Please say, for example:\n`in Kitchen publish public`"
    assert (await world.room()).visibility is Visibility.PRIVATE


async def test_a_question_without_a_room_lists_the_rooms_where_there_are_several(world: World) -> None:
    """Each shared room is listed as a command that is right; the chat itself is left out."""
    await open_chat(world)
    await name(world, ROOM, "Kitchen")
    await world.open(room_id=OTHER)
    await world.state("m.room.canonical_alias", {"alias": "#other:hs"}, room_id=OTHER)
    answer = await say(world, MEMBER, "status")
    assert answer.split("\n")[0] == "Which room do you mean? Please say, for example:"
    assert set(answer.split("\n")[1:]) == {"`in Kitchen status`", "`in #other:hs status`"}
    assert (await say(world, MEMBER, "in #other:hs status")).startswith("Recording is on.")


async def test_many_rooms_are_listed_in_bounds(world: World) -> None:
    """At most twenty rooms are listed, and the others counted."""
    await open_chat(world)
    for number in range(22):
        await world.open(room_id=RoomId(f"!room{number}:hs"))
    lines = (await say(world, MEMBER, "list")).split("\n")
    assert len(lines) == 22
    assert lines[-1] == "… and 3 more rooms."


async def test_with_no_shared_room_it_says_so(bare: World) -> None:
    """A stranger learns nothing of rooms that they don't share with the bot."""
    await open_chat(bare)
    assert await say(bare, MEMBER, "list") == replies.NO_SHARED_ROOM
    assert await say(bare, MEMBER, "in Kitchen list") == replies.NO_SHARED_ROOM


async def test_what_is_about_the_chat_needs_no_room(world: World) -> None:
    """`help`, `feed`, and wrong words are answered in the chat itself."""
    await open_chat(world)
    assert "`!aircheck in ROOM COMMAND`" in await say(world, MEMBER, "help")
    assert "I am sending you" in await say(world, MEMBER, "feed")
    assert "Please say `!aircheck list [n]`" in await say(world, MEMBER, "list many")
    assert "Did you mean `!aircheck status`?" in await say(world, MEMBER, "sttaus")


async def test_a_direct_chat_that_records_is_a_room_like_any_other(world: World) -> None:
    """After `record on` a command without a room is about the chat; others can be named still."""
    await open_chat(world, MOD)
    await name(world, ROOM, "Kitchen")
    assert "switched it on" in await say(world, MOD, "record on")
    recording = await world.recording()
    assert await say(world, MOD, "list") == general.NO_RECORDING_YET
    assert recording.code in await say(world, MOD, "in Kitchen list")


async def test_what_cannot_be_undone_is_asked_in_the_chat(world: World) -> None:
    """A question about another room's recording is asked in the chat, about that room."""
    await open_chat(world, SPEAKER)
    await name(world, ROOM, "Kitchen")
    recording = await world.recording()
    assert "`!aircheck yes`" in await say(world, SPEAKER, f"in Kitchen delete {recording.code}")
    async with world.store.read() as db:
        question = await questions.open_of(db, CHAT, SPEAKER)
    assert question is not None
    assert (question.room_id, question.about) == (CHAT, ROOM)
    async with world.store.write() as db:
        await questions.said(db, question.command, EventId("$question"), world.clock())
    await world.handle(world.command(SPEAKER, "yes", room_id=CHAT))
    answers = [job for job in await world.take(orders.Notice.kind) if job.subject.startswith("answer:")]
    assert [job.payload["room_id"] for job in answers] == [CHAT]
    assert (await world.look(recording)).state is RecordingState.DELETED
