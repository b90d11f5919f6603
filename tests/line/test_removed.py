"""The bot is removed from a room and invited again: recordings stay, and nothing said meanwhile is recorded."""

import pytest

from bot.demo.client_api import room_path
from bot.demo.people import Person
from bot.demo.slicing import speech
from bot.matrix.batch import RoomBatch
from storage import rooms
from storage.records import ChunkState, EndedBy, RecordingState, RoomId
from storage.store import Store
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.replay import Capture, Replay, address_of
from tests.line.world import (
    World,
    answers,
    first_chunks,
    look,
    newest_episode,
    recorded,
    send,
    subscribed_broadcast,
    until,
    whole_broadcast,
)

SPEECH = speech(1)[:1200]  # 24 s: four chunks and a rest
QUIET_S = 60
DAY_S = 24 * 3600


async def throw_out(host: Person, room: str, world: World, how: str) -> None:
    await (host.ban if how == "ban" else host.kick)(room, world.user_id)


async def ask_back(host: Person, room: str, world: World, how: str) -> None:
    if how == "ban":
        await host.api.call("POST", room_path(room, "unban"), {"user_id": world.user_id})
    await host.invite(room, world.user_id)


async def stored(store: Store, broadcast: str) -> tuple[EndedBy | None, int]:
    """Give what ended the recording and how many of its chunks are stored."""
    found = await look(store, broadcast)
    assert found is not None
    return found[0].ended_by, sum(chunk.state is ChunkState.STORED for chunk in found[1])


async def is_in(store: Store, room: str, *, joined: bool) -> None:
    async def check() -> bool | None:
        async with store.read() as db:
            found = await rooms.room(db, RoomId(room))
        return True if found is not None and found.joined is joined else None

    await until(store, check)


async def is_told(store: Store, room: str) -> None:
    """Note that the room has the bot's notice, so that new broadcasts are recorded."""

    async def check() -> bool | None:
        async with store.read() as db:
            found = await rooms.room(db, RoomId(room))
        return True if found is not None and found.joined and found.told_at is not None else None

    await until(store, check)


@pytest.mark.parametrize(("how", "encrypted"), [("kick", True), ("ban", True), ("ban", False)])
async def test_thrown_out_in_the_middle_and_asked_back(
    world: Worlds, person: People, how: str, encrypted: bool
) -> None:
    """A removal ends the recording with an episode and closes addresses; after a new invite everything works again."""
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    async with bot.running() as aircheck:
        speaker, feed, page = await subscribed_broadcast(bot, alice, encrypted=encrypted, listener=bob)
        room, started = speaker.room_id, speaker.broadcast_id
        rest = await first_chunks(aircheck.store, speaker, SPEECH, 2)
        await throw_out(alice, room, bot, how)
        recording, ledger = await recorded(aircheck.store, started, RecordingState.INCOMPLETE)
        assert (recording.ended_by, ledger.gaps) == (EndedBy.REMOVED, ())
        assert (await answers(feed), await answers(page)) == (410, 410)
        await send(speaker, rest)
        await speaker.stop()
        assert await stored(aircheck.store, started) == (EndedBy.REMOVED, 2)
        await ask_back(alice, room, bot, how)
        await is_in(aircheck.store, room, joined=True)
        await alice.wait_for(lambda event: event.room_id == room and event.is_notice_of(bot.user_id))
        await is_told(aircheck.store, room)
        again = await whole_broadcast(alice, room, SPEECH[:700])
        _, whole = await recorded(aircheck.store, again.broadcast_id, RecordingState.COMPLETE)
        assert whole.samples == again.samples
        assert await answers(feed) == 200
        await newest_episode(feed)
        assert await stored(aircheck.store, started) == (EndedBy.REMOVED, 2)


async def test_thrown_out_while_it_was_down(world: Worlds, person: People) -> None:
    """A removal while the bot was down ends the recording at its next start, before any address opens."""
    bot, alice = await world(), await person("alice")
    async with bot.running() as aircheck:
        speaker, feed, _ = await subscribed_broadcast(bot, alice, encrypted=True)
        assert await first_chunks(aircheck.store, speaker, SPEECH[:700], 2) == []
    await throw_out(alice, speaker.room_id, bot, "kick")
    await speaker.stop()
    async with bot.running() as aircheck:
        recording, _ = await recorded(aircheck.store, speaker.broadcast_id, RecordingState.INCOMPLETE)
        assert recording.ended_by is EndedBy.REMOVED
        assert await answers(feed) == 410


async def leave(replay: Replay, room: Capture) -> None:
    """Bring a sync that says that the bot has left."""
    await replay._sync(rooms=(RoomBatch(room.room, joined=False),))
    await replay.settled()


async def removed_while_media_was_missing(replay: Replay, room: Capture) -> dict[str, bytes]:
    """Let the bot hear a broadcast whose second chunk has no media yet, and leave; give that media by address."""
    mxc, upload = list(room.uploads.items())[1]
    replay.homeserver.says(address_of(mxc), 404, "M_NOT_FOUND")
    await replay.tell(room.room, room.broadcast[:4])
    await leave(replay, room)
    return {mxc: upload}


async def reasons(replay: Replay, room: Capture) -> set[str | None]:
    return {chunk.reason for chunk in (await replay.chunks(room.started)).values()}


async def test_nothing_is_fetched_for_a_room_that_the_bot_is_out_of(replay: Replay, room: Capture) -> None:
    """After a removal missing media is not requested any more, and the episode is listed without it."""
    missing = await removed_while_media_was_missing(replay, room)
    before = len(replay.homeserver.asked)
    replay.serves(missing)
    for _ in range(4):
        await replay.pass_by(DAY_S)
    recording = await replay.recording(room.started)
    assert (recording.state, recording.ended_by) == (RecordingState.INCOMPLETE, EndedBy.REMOVED)
    assert len(replay.homeserver.asked) == before
    assert await reasons(replay, room) == {None, "not_joined"}
    episode = await replay.episode(room.started)
    assert episode is not None
    assert episode.published_at is not None
    assert not [said for said in replay.said if "is ready" in said]


async def test_what_was_waited_for_is_fetched_once_the_bot_is_asked_back(replay: Replay, room: Capture) -> None:
    """A chunk whose media was missing at the removal heals the recording after a new invite."""
    missing = await removed_while_media_was_missing(replay, room)
    await replay.pass_by(QUIET_S)
    replay.serves(missing)
    await replay.move_in(room)
    await replay.pass_by(DAY_S)
    assert await reasons(replay, room) == {None}
    assert (await replay.ledger(room.started)).gaps == ()


async def test_what_a_lifted_ban_shows_is_not_heard(replay: Replay, room: Capture) -> None:
    """Events from while the bot was banned, shown when the ban is lifted, are not recorded."""
    await replay.tell(room.room, room.broadcast[:2])
    await leave(replay, room)
    asked = len(replay.homeserver.asked)
    await replay._sync(rooms=(RoomBatch(room.room, joined=False, timeline=room.broadcast[2:]),))
    while await replay.recorder.catch_up():
        pass
    await replay.pass_by(QUIET_S)
    assert len(replay.homeserver.asked) == asked
    assert list(await replay.chunks(room.started)) == [room.broadcast[1].event_id]
    assert (await replay.recording(room.started)).ended_by is EndedBy.REMOVED
