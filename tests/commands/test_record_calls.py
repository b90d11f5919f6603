"""`record calls on|off`, `record call`: the recording of calls, and what follows for those that run."""

from dataclasses import replace
from typing import Any

import pytest

from bot import orders
from bot.event_types import CALL_MEMBER, CALL_STATE
from bot.intake import calls
from storage import archive, rooms
from storage.records import (
    CallEventKind,
    CallProtocol,
    EndedBy,
    Position,
    Recording,
    RecordingKind,
    RecordingState,
    RoomId,
    Samples,
    Stem,
    Unheard,
    UserId,
)
from tests.commands.world import BOT, MEMBER, MOD, ROOM, SPEAKER, World

LEVELS = {"users": {MOD: 50}}
OPEN = {**LEVELS, "events": {CALL_MEMBER: 0, CALL_STATE: 0}}


@pytest.fixture
async def world(world: World) -> World:
    """Provide a room in which every member may be shown in calls."""
    await world.power_levels(OPEN)
    return world


def a_stem(user: UserId, number: int = 1, **fields: Any) -> Stem:
    stem = Stem(number, user, "DEV", None, Samples(0), Position(50), serial=number)
    return replace(stem, **fields)


async def a_call(world: World, *users: UserId, **fields: Any) -> Recording:
    """A call that is recorded, with an open stem of each user."""
    stems = tuple(a_stem(user, number) for number, user in enumerate(users, 1))
    call: dict[str, Any] = {"protocol": CallProtocol.MSC3401, "call_id": "c", "stems": stems}
    return await world.recording(
        kind=RecordingKind.CALL, state=RecordingState.LIVE, length_ms=None, broadcaster_name=None, **call, **fields
    )


async def looked_at(world: World) -> list[RoomId]:
    """The rooms whose calls are to be looked at, which then count as looked at."""
    return [orders.KeepCalls.of(job).room_id for job in await world.take(orders.KeepCalls.kind)]


async def test_calls_are_switched_on_and_off_by_themselves(world: World) -> None:
    """`record calls on` leaves the rest as it is, is logged by its name, and has the room's calls looked at."""
    await world.member(MOD, name="Mo")
    answer = await world.say(MOD, "!aircheck record calls on")
    assert answer == (
        "Recording is on: Mo switched it on. I join the calls of this room (Group call, Voice channel, Element Call), "
        "also one that runs now."
    )
    assert await looked_at(world) == [ROOM]
    assert await world.recorded() == ["broadcasts", "calls"]
    assert "Calls: switched on by Mo" in (await world.say(MEMBER, "!aircheck record") or "")
    assert "`record calls`: on · Mo" in (await world.say(MEMBER, "!aircheck settings") or "")
    assert await world.say(MOD, "!aircheck record calls on") == "Recording is already on: calls."
    off = await world.say(MOD, "!aircheck record calls off")
    assert off == "Recording of calls is off: Mo switched it off. What was recorded before stays."
    assert await looked_at(world) == [ROOM]
    assert await world.recorded() == ["broadcasts"]
    assert "`record calls`: on → off" in (await world.say(MOD, "!aircheck log 1") or "")


@pytest.mark.parametrize("command", ["record calls on", "record call"])
async def test_without_what_calls_need_nothing_changes(
    world: World, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An Aircheck that was installed without the extra says so."""
    monkeypatch.setattr(calls, "find_spec", lambda _name: None)
    world.going_on, before = {CallProtocol.MSC3401: False}, await world.room()
    assert "installed without the extra `calls`" in (await world.say(MOD, f"!aircheck {command}") or "")
    assert (await world.room(), await looked_at(world)) == (before, [])


async def test_a_call_ends_with_the_switch_of_calls_and_with_no_other(world: World) -> None:
    """`record calls off` ends a call and no broadcast, `record messages off` no call; `record off` ends everything."""
    await world.say(MOD, "!aircheck record calls on")
    broadcast = await world.recording(state=RecordingState.LIVE, length_ms=None)
    first = await a_call(world, MEMBER)
    await world.say(MOD, "!aircheck record messages on")
    await world.say(MOD, "!aircheck record messages off")
    assert (await world.look(first)).ended_by is None
    off = await world.say(MOD, "!aircheck record calls off")
    assert "The recording that is running is closed here." in (off or "")
    assert (await world.look(first)).ended_by is EndedBy.SWITCHED_OFF
    await world.say(MOD, "!aircheck record calls on")
    second = await a_call(world, MEMBER)
    assert "The 2 recordings that are running" in (await world.say(MOD, "!aircheck record off") or "")
    assert (await world.look(second)).ended_by is (await world.look(broadcast)).ended_by is EndedBy.SWITCHED_OFF
    assert await world.recorded() == []


async def test_one_call_is_recorded_at_the_wish_of_a_moderator(world: World) -> None:
    """`record call` wants the call that runs now, switches nothing on, and says who asked for it."""
    await world.member(MOD, name="Mo")
    assert await world.say(MOD, "!aircheck record call") == "There is no call here now that I could join."
    assert not (await world.room()).call_wanted
    world.going_on = {CallProtocol.MATRIXRTC: False}
    answer = await world.say(MOD, "!aircheck record call")
    assert answer == "I join the call that runs now (Element Call) and record it, and no other: Mo asked for it."
    assert await looked_at(world) == [ROOM]
    assert ((await world.room()).call_wanted, await world.recorded()) == (True, ["broadcasts"])
    assert await world.say(MOD, "!aircheck record call") == "I am recording the call here already."
    told = await world.say(MEMBER, "!aircheck record") or ""
    assert "I record the call that runs now, and no other: switched on by Mo" in told
    await world.say(MOD, "!aircheck record off")
    assert not (await world.room()).call_wanted
    assert "`record call`: on → off" in (await world.say(MOD, "!aircheck log 1") or "")


async def test_a_call_is_not_recorded_twice(world: World) -> None:
    """The answer to `record call` says that one is recorded."""
    world.going_on = {CallProtocol.MSC3401: False}
    await a_call(world, MEMBER)
    assert await world.say(MOD, "!aircheck record call") == "I am recording the call here already."
    assert not (await world.room()).call_wanted


async def test_a_call_that_was_chosen_ends_only_by_words_about_calls(world: World) -> None:
    """Switching off messages leaves a chosen call alone, also where calls are off; `record calls off` and
    `record off` end it."""
    for command in ("record calls off", "record off"):
        call = await a_call(world, MEMBER, chosen=True)
        await world.say(MOD, "!aircheck record messages on")
        await world.say(MOD, "!aircheck record messages off")
        assert (await world.look(call)).ended_by is None
        await looked_at(world)
        assert "is closed here" in (await world.say(MOD, f"!aircheck {command}") or "")
        assert (await world.look(call)).ended_by is EndedBy.SWITCHED_OFF
        assert await looked_at(world) == [ROOM]


@pytest.mark.parametrize(
    ("levels", "encrypted", "protocol", "lacks"),
    [
        (LEVELS, False, CallProtocol.MSC3401, CALL_MEMBER),
        (LEVELS, False, CallProtocol.MXVC, CALL_STATE),
        (OPEN, True, CallProtocol.MXVC, "not encrypted"),
    ],
)
async def test_the_bot_joins_no_call_in_which_it_can_not_be_seen(
    world: World, levels: dict[str, Any], encrypted: bool, protocol: CallProtocol, lacks: str
) -> None:
    """The answer to `record call` tells the lack, and `status` does where calls are recorded."""
    await world.say(MOD, "!aircheck record calls on")
    await world.power_levels(levels)
    async with world.store.write() as db:
        await rooms.save_room(db, replace(await world.room(), encrypted=encrypted))
    world.going_on = {protocol: False}
    assert lacks in (await world.say(MOD, "!aircheck record call", encrypted=True) or "")
    assert not (await world.room()).call_wanted
    assert lacks in (await world.say(MEMBER, "!aircheck status", encrypted=True) or "")


@pytest.mark.parametrize("sticky", [True, None])
async def test_the_bot_joins_a_call_in_which_a_sticky_event_shows_it(world: World, *, sticky: bool | None) -> None:
    """Neither `record call` nor `status` tells of power that the bot does not need, or perhaps does not."""
    await world.say(MOD, "!aircheck record calls on")
    await world.power_levels(LEVELS)
    world.going_on = {CallProtocol.MATRIXRTC: sticky}
    assert CALL_MEMBER not in (await world.say(MEMBER, "!aircheck status") or "")
    assert "I join the call" in (await world.say(MOD, "!aircheck record call") or "")
    assert (await world.room()).call_wanted


async def test_status_tells_of_a_running_call(world: World) -> None:
    """The speakers who are in it now count, each once."""
    call = await a_call(world, MEMBER, SPEAKER, SPEAKER)
    world.clock.pass_by(65)
    status = await world.say(MEMBER, "!aircheck status") or ""
    assert "Live: recording a call with 2 speakers since 20 November 2026, 14:05 (UTC), for 1 min" in status
    assert f"Code: {call.code}" in status


# ---- consent


async def test_who_opts_out_of_a_call_leaves_it_to_the_others(world: World) -> None:
    """A member whose stem has no slice yet takes part too; the call goes on without them, and is looked at."""
    call = await a_call(world, MEMBER, SPEAKER)
    answer = await world.say(MEMBER, "!aircheck optout", position=70) or ""
    assert "A recording that others speak in goes on without you" in answer
    after = await world.look(call)
    assert (after.state, [stem.cut_at for stem in after.stems]) == (RecordingState.LIVE, [70, None])
    assert await looked_at(world) == [ROOM]
    await world.say(MEMBER, "!aircheck optin")
    assert await looked_at(world) == [ROOM]


async def test_a_call_goes_on_when_its_only_speaker_opts_out(world: World) -> None:
    """Others may be about to connect; when nobody does, the bot leaves by itself."""
    call = await a_call(world, MEMBER)
    assert "goes on without you" in (await world.say(MEMBER, "!aircheck optout") or "")
    after = await world.look(call)
    assert (after.state, after.stems[0].cut_at is not None) == (RecordingState.LIVE, True)


async def test_who_began_a_call_and_is_not_in_it_closes_nothing(world: World) -> None:
    """The broadcaster of a call is only whoever was in it first."""
    call = await a_call(world, MEMBER, broadcaster=SPEAKER)
    await world.say(SPEAKER, "!aircheck optout")
    assert (await world.look(call)).state is RecordingState.LIVE


async def test_an_objection_for_everywhere_reaches_the_calls_of_all_rooms(world: World) -> None:
    """Said in a direct chat, it has each room with calls looked at."""
    chat, other = RoomId("!chat:hs"), RoomId("!other:hs")
    await world.open(room_id=chat, members=(BOT, MEMBER), direct=True, recording_on=False)
    await world.open(room_id=other, calls_on=True)
    await a_call(world, SPEAKER)
    await world.say(MEMBER, "!aircheck optout", room_id=chat)
    assert set(await looked_at(world)) == {ROOM, other}


async def test_the_choice_of_speakers_holds_in_a_call(world: World) -> None:
    """`speakers` takes those out who are not chosen, and whoever is chosen later is looked for."""
    call = await a_call(world, MEMBER, SPEAKER)
    await world.say(MOD, f"!aircheck speakers {SPEAKER}", position=70)
    assert [stem.cut_at for stem in (await world.look(call)).stems] == [70, None]
    assert await looked_at(world) == [ROOM]
    await world.say(MOD, "!aircheck speakers all")
    assert await looked_at(world) == [ROOM]


async def test_to_be_forgotten_takes_a_stem_out_of_a_running_call(world: World) -> None:
    """Also of a member who is heard alone so far: the others are in the call too, and it goes on."""
    call = await a_call(world, MEMBER, SPEAKER)
    await world.confirmed(MEMBER, "!aircheck forget me")
    after = await world.look(call)
    assert (after.state, [stem.removed for stem in after.stems]) == (RecordingState.LIVE, [True, False])
    assert await looked_at(world) == [ROOM]


@pytest.mark.parametrize("ends", [False, True])
async def test_to_be_forgotten_ends_the_list_of_when_one_was_not_heard(world: World, *, ends: bool) -> None:
    """A member who was in a call and never received is named in it no more; the others' sound stays."""
    unheard = tuple(
        Unheard(user, "DEV", CallEventKind.UNREACHABLE, Samples(0), Samples(9)) for user in (MEMBER, SPEAKER)
    )
    call = await a_call(world, SPEAKER, unheard=unheard, broadcaster=SPEAKER)
    if ends:
        async with world.store.write() as db:
            await archive.save_recording(db, replace(call, state=RecordingState.EMPTY, ended_by=EndedBy.STOPPED))
    await world.confirmed(MEMBER, "!aircheck forget me")
    after = await world.look(call)
    assert ([each.user_id for each in after.unheard], after.stems[0].removed) == ([SPEAKER], False)


async def test_a_call_is_no_trace_of_who_is_not_in_it(world: World) -> None:
    """A member who began it and was never received has nothing to be forgotten there."""
    call = await a_call(world, MEMBER, broadcaster=SPEAKER)
    await world.say(SPEAKER, "!aircheck forget me")
    assert (await world.look(call)).state is RecordingState.LIVE


async def test_the_deletion_of_a_running_call_has_it_looked_at(world: World) -> None:
    """The bot is in it still, and leaves it."""
    call = await a_call(world, MEMBER)
    await world.confirmed(MOD, f"!aircheck delete {call.code}")
    assert (await world.look(call)).state is RecordingState.DELETED
    assert await looked_at(world) == [ROOM]
