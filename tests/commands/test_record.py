"""`record on|off`, `record messages on|off`."""

from typing import Any

from bot import orders
from bot.intake import greeting
from storage import archive, heirs, journal, sealed_messages
from storage.records import ChunkState, EndedBy, EventId, HeardEvent, Position, RecordingKind, RecordingState, RoomId
from tests.commands.world import MEMBER, MOD, ROOM, World


async def test_off_ends_what_is_live_and_says_who_did_it(world: World) -> None:
    """`record off` ends each live recording of the room at once, and none that is finishing."""
    live = [await world.recording(state=RecordingState.LIVE, length_ms=None) for _ in range(2)]
    others = [
        await world.recording(state=RecordingState.FINISHING, length_ms=None),
        await world.recording(state=RecordingState.LIVE, room_id=RoomId("!other:hs")),
    ]
    await world.member(MOD, name="Mo")
    answer = await world.say(MOD, "!aircheck record off")
    assert answer == (
        "Recording is off: Mo switched it off. The 2 recordings that are running are closed here. "
        "What was recorded before stays."
    )
    assert not (await world.room()).recording_on
    assert {(await world.look(one)).ended_by for one in live} == {EndedBy.SWITCHED_OFF}
    assert [(await world.look(one)).ended_by for one in others] == [None, None]


async def test_on_is_on_again(world: World) -> None:
    """`record on` names the moderator, by id where there is no display name."""
    await world.say(MOD, "!aircheck record OFF")
    answer = await world.say(MOD, "!aircheck record On")
    assert answer is not None
    assert "@mod:hs switched it on" in answer
    assert (await world.room()).recording_on


async def test_what_is_so_already_is_said(world: World) -> None:
    """The same switch again changes nothing."""
    before = await world.room()
    world.clock.pass_by(60)
    assert await world.say(MOD, "!aircheck record on") == "Recording is already on: voice broadcasts."
    assert await world.room() == before
    await world.say(MOD, "!aircheck record off")
    assert await world.say(MOD, "!aircheck record off") == "Recording is already off."


async def test_a_command_that_is_handled_twice_ends_nothing_more(world: World) -> None:
    """A broadcast that began after `record off` and a new `record on` is not ended by a repetition of the first."""
    job = world.command(MOD, "!aircheck record off")
    await world.handle(job)
    await world.take(orders.Notice.kind)
    await world.say(MOD, "!aircheck record on")
    live = await world.recording(state=RecordingState.LIVE, length_ms=None)
    await world.handle(job)
    assert (await world.look(live)).state is RecordingState.LIVE


async def test_record_on_ends_the_waiting_for_the_notice(world: World) -> None:
    """`record on` stands in for a notice that the bot could not send, from the command's place on."""
    await world.tell(None)
    assert "Recording waits" in (await world.say(MOD, "!aircheck status") or "")
    await world.say(MEMBER, "!aircheck record on")
    assert (await world.room()).waits
    answer = await world.say(MOD, "!aircheck record on", position=70)
    assert "Recording is on" in (answer or "")
    assert (await world.room()).told_at == 70
    assert "Recording is on." in (await world.say(MOD, "!aircheck status") or "")
    await world.say(MOD, "!aircheck record on", position=80)
    assert (await world.room()).told_at == 70


async def test_messages_are_recorded_from_the_command_on(world: World) -> None:
    """`record messages on` counts from its position, and leaves broadcasts as they are."""
    await world.member(MOD, name="Mo")
    answer = await world.say(MOD, "!aircheck record messages on", position=70)
    assert answer == "Recording is on: Mo switched it on. I keep the voice messages that begin here from now on."
    room = await world.room()
    assert not room.records_message(Position(70))
    assert room.records_message(Position(71))
    await world.say(MOD, "!aircheck record messages on", position=80)
    assert (await world.room()).messages_since == 70


async def test_either_kind_is_switched_on_and_off_by_itself(world: World) -> None:
    """Messages may be on where broadcasts are off; `record off` switches off both, and each is logged by its name."""
    await world.member(MOD, name="Mo")
    await world.say(MOD, "!aircheck record off")
    await world.say(MOD, "!aircheck record messages on")
    assert await world.recorded() == ["messages"]
    assert "I record here: voice messages." in (await world.say(MEMBER, "!aircheck record") or "")
    assert "I record voice messages." in (await world.say(MEMBER, "!aircheck status") or "")
    await world.say(MOD, "!aircheck record on")
    assert await world.recorded() == ["broadcasts", "messages"]
    told = await world.say(MEMBER, "!aircheck record") or ""
    assert "voice broadcasts and voice messages" in told
    assert "Voice messages: switched on by Mo" in told
    off = await world.say(MOD, "!aircheck record messages off")
    assert off == "Recording of voice messages is off: Mo switched it off. What was recorded before stays."
    await world.say(MOD, "!aircheck record messages on")
    assert "Recording is off" in (await world.say(MOD, "!aircheck record off") or "")
    assert await world.recorded() == []
    log = (await world.say(MOD, "!aircheck log 2") or "").split("\n")
    assert ["`record messages`: on → off" in log[0], "`record`: on → off" in log[1]] == [True, True]


async def test_a_session_ends_with_the_switch_that_it_is_recorded_by(world: World) -> None:
    """`record messages off` ends a session and no broadcast; `record off` ends both."""
    running: dict[str, Any] = {"state": RecordingState.LIVE, "length_ms": None}
    kinds = (RecordingKind.VOICE_MESSAGES, RecordingKind.WALKIE_TALKIE, RecordingKind.VOICE_BROADCAST)
    session, walkie, broadcast = [await world.recording(kind=kind, **running) for kind in kinds]
    await world.say(MOD, "!aircheck record messages on")
    await world.say(MOD, "!aircheck record messages off")
    ends = [(await world.look(each)).ended_by for each in (session, walkie, broadcast)]
    assert ends == [EndedBy.SWITCHED_OFF, None, None]
    assert "The 2 recordings that are running" in (await world.say(MOD, "!aircheck record off") or "")
    assert (await world.look(walkie)).ended_by is (await world.look(broadcast)).ended_by is EndedBy.SWITCHED_OFF


async def test_a_word_for_messages_is_none_for_broadcasts(world: World) -> None:
    """In a room that was not told yet, a moderator's `record messages on` begins to record messages alone, and the
    notice that comes later moves nothing of it."""
    await world.tell(None)
    await world.say(MOD, "!aircheck record messages on", position=70)
    assert await world.recorded() == ["messages"]
    told = await world.say(MEMBER, "!aircheck status") or ""
    assert "I record voice messages. Recording waits" in told
    assert "`!aircheck record on`." in told
    async with world.store.write() as db:
        await greeting.said(db, ROOM, EventId("$notice"), "…", world.clock())
    room = await world.room()
    assert await world.recorded() == ["broadcasts", "messages"]
    assert room.messages_since == 70


async def test_messages_that_a_room_takes_over_wait_for_the_notice(world: World) -> None:
    """Messages are recorded from the notice on in a room that has to be told first."""
    await world.say(MOD, "!aircheck record messages on")
    async with world.store.write() as db:
        await greeting.greet(db, await world.room(), world.clock(), waits=True)
    assert await world.recorded() == []
    assert (await world.room()).waits
    assert "do not record voice broadcasts and voice messages here yet" in (
        await world.say(MEMBER, "!aircheck record") or ""
    )
    heard = HeardEvent(ROOM, EventId("$notice"), {})
    async with world.store.write() as db:
        await greeting.said(db, ROOM, heard.event_id, "…", world.clock())
        await greeting.heard(db, heard, world.clock())
        place = await journal.position_of(db, heard.event_id)
    room = await world.room()
    assert room.messages_since == room.told_at == place
    assert await world.recorded() == ["broadcasts", "messages"]


async def test_messages_that_wait_for_their_key_go_with_the_switch(world: World) -> None:
    """Also those of the room that this one replaced."""
    old = RoomId("!old:hs")
    await world.open(room_id=old)
    await world.say(MOD, "!aircheck record messages on")
    async with world.store.write() as db:
        assert await heirs.inherit(db, old, ROOM)
        for number, room_id in enumerate((old, ROOM)):
            waiting = HeardEvent(room_id, EventId(f"${number}"), {})
            await sealed_messages.note(db, waiting, MEMBER, world.clock())
    await world.say(MOD, "!aircheck record messages off")
    async with world.store.read() as db:
        for number, room_id in enumerate((old, ROOM)):
            assert await sealed_messages.sender_of(db, room_id, EventId(f"${number}")) is None


async def test_a_message_behind_the_command_is_not_kept(world: World) -> None:
    """A message that was taken in before `record off` was carried out, and stands behind it in the timeline, goes; one
    of before it that is still being fetched stays."""
    session = await world.recording(kind=RecordingKind.VOICE_MESSAGES, state=RecordingState.LIVE, length_ms=None)
    placed = {EventId("$before"): Position(70), EventId("$behind"): Position(72)}
    for event_id, position in placed.items():
        await world.chunk(session, ChunkState.WAITING_FOR_MEDIA, event_id=event_id, position=position)
    await world.say(MOD, "!aircheck record off", position=71)
    async with world.store.read() as db:
        states = {chunk.event_id: chunk.state for chunk in await archive.chunks(db, session.id)}
    assert states == {EventId("$before"): ChunkState.WAITING_FOR_MEDIA, EventId("$behind"): ChunkState.REFUSED}
