"""The bot is thrown out of a room, and asked back: what it has stays, what follows is none of its business."""

from pathlib import Path

import pytest

from bot.demo.broadcaster import Broadcaster
from bot.demo.client_api import room_path
from bot.demo.people import Person
from bot.demo.slicing import speech
from bot.matrix.batch import RoomBatch
from storage import rooms
from storage.records import ChunkState, EndedBy, RecordingState, RoomId
from storage.store import Store
from tests.lab import Cast
from tests.line.conftest import Houses
from tests.line.house import House, answers, live_with, look, move_in, newest_episode, personal_feed, recorded, until
from tests.line.replay import Capture, Line, address_of, line

SPEECH = speech(1)[:1200]  # 24 s: four chunks and a rest
QUIET_S = 60
DAY_S = 24 * 3600


async def throw_out(host: Person, room: str, house: House, how: str) -> None:
    await (host.ban if how == "ban" else host.kick)(room, house.user_id)


async def ask_back(host: Person, room: str, house: House, how: str) -> None:
    if how == "ban":
        await host.api.call("POST", room_path(room, "unban"), {"user_id": house.user_id})
    await host.invite(room, house.user_id)


async def stored(store: Store, broadcast: str) -> tuple[EndedBy | None, int]:
    """By what it was ended, and how many of its chunks are there."""
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
    """The notice of what is recorded stands in the room: what begins from now on is."""

    async def check() -> bool | None:
        async with store.read() as db:
            found = await rooms.room(db, RoomId(room))
        return True if found is not None and found.joined and found.told_at is not None else None

    await until(store, check)


@pytest.mark.parametrize(("how", "encrypted"), [("kick", True), ("ban", True), ("ban", False)])
async def test_thrown_out_in_the_middle_and_asked_back(house: Houses, person: Cast, how: str, encrypted: bool) -> None:
    """What was stored becomes an episode, addresses are closed, and what is said meanwhile is not heard; asked back,
    the bot says so, records the next broadcast whole, and the addresses of members work again."""
    bot, alice, bob = await house(), await person("alice"), await person("bob")
    async with bot.running() as aircheck:
        room = await move_in(bot, alice, encrypted=encrypted)
        await alice.invite(room, bob.user_id)
        await bob.wait_for_invite(alice.user_id)
        await bob.join(room)
        feed, page = await personal_feed(bot, bob, room)
        speaker = Broadcaster(alice, room)
        started = await speaker.start()
        pieces = speaker.cut(SPEECH)
        for piece in pieces[:2]:
            await speaker.send_chunk(piece)
        await live_with(aircheck.store, started, 2)
        await throw_out(alice, room, bot, how)
        recording, ledger = await recorded(aircheck.store, started, RecordingState.INCOMPLETE)
        assert (recording.ended_by, ledger.gaps) == (EndedBy.REMOVED, ())
        assert (await answers(feed), await answers(page)) == (404, 404)
        for piece in pieces[2:]:
            await speaker.send_chunk(piece)
        await speaker.stop()
        assert await stored(aircheck.store, started) == (EndedBy.REMOVED, 2)
        await ask_back(alice, room, bot, how)
        await is_in(aircheck.store, room, joined=True)
        await alice.wait_for(lambda event: event.room_id == room and event.is_notice_of(bot.user_id))
        await is_told(aircheck.store, room)
        again = Broadcaster(alice, room)
        second = await again.start()
        await again.speak(SPEECH[:700])
        await again.stop()
        _, whole = await recorded(aircheck.store, second, RecordingState.COMPLETE)
        assert whole.samples == again.samples
        assert await answers(feed) == 200
        await newest_episode(feed)
        assert await stored(aircheck.store, started) == (EndedBy.REMOVED, 2)


async def test_thrown_out_while_it_was_down(house: Houses, person: Cast) -> None:
    """It finds out at its next start: the recording ends with what was stored, and no address opens before that."""
    bot, alice = await house(), await person("alice")
    async with bot.running() as aircheck:
        room = await move_in(bot, alice, encrypted=True)
        feed, _ = await personal_feed(bot, alice, room)
        speaker = Broadcaster(alice, room)
        started = await speaker.start()
        await speaker.speak(SPEECH[:700])
        await live_with(aircheck.store, started, 2)
    await throw_out(alice, room, bot, "kick")
    await speaker.stop()
    async with bot.running() as aircheck:
        recording, _ = await recorded(aircheck.store, started, RecordingState.INCOMPLETE)
        assert recording.ended_by is EndedBy.REMOVED
        assert await answers(feed) == 404


@pytest.fixture
def capture() -> Capture:
    return Capture("plain")


async def leave(it: Line, capture: Capture) -> None:
    """A sync says that the bot is out."""
    await it._sync(rooms=(RoomBatch(capture.room, joined=False),))
    await it.settled()


async def reasons(it: Line, capture: Capture) -> set[str | None]:
    return {chunk.reason for chunk in (await it.chunks(capture.started)).values()}


async def test_nothing_is_fetched_for_a_room_that_the_bot_is_out_of(capture: Capture, tmp_path: Path) -> None:
    """Media that were not there so far are not asked for any more: what was stored is the episode, and nothing waits
    for the rest in the feed's way."""
    mxc, upload = list(capture.uploads.items())[1]
    async with line(tmp_path / "data") as it:
        await it.move_in(capture)
        it.homeserver.says(address_of(mxc), 404, "M_NOT_FOUND")
        await it.tell(capture.room, capture.broadcast[:4])
        await leave(it, capture)
        before = len(it.homeserver.asked)
        it.serves({mxc: upload})
        for _ in range(4):
            await it.pass_by(DAY_S)
        recording = await it.recording(capture.started)
        assert (recording.state, recording.ended_by) == (RecordingState.INCOMPLETE, EndedBy.REMOVED)
        assert len(it.homeserver.asked) == before
        assert await reasons(it, capture) == {None, "not_joined"}
        episode = await it.episode(capture.started)
        assert episode is not None
        assert episode.published_at is not None
        assert not [said for said in it.said if "is there" in said]


async def test_what_was_waited_for_is_fetched_once_the_bot_is_asked_back(capture: Capture, tmp_path: Path) -> None:
    """A chunk that it had heard of, and whose media were not there when it was thrown out, heals the recording."""
    mxc, upload = list(capture.uploads.items())[1]
    async with line(tmp_path / "data") as it:
        await it.move_in(capture)
        it.homeserver.says(address_of(mxc), 404, "M_NOT_FOUND")
        await it.tell(capture.room, capture.broadcast[:4])
        await leave(it, capture)
        await it.pass_by(QUIET_S)
        it.serves({mxc: upload})
        await it.move_in(capture)
        await it.pass_by(DAY_S)
        assert await reasons(it, capture) == {None}
        assert (await it.ledger(capture.started)).gaps == ()


async def test_what_a_lifted_ban_shows_is_not_heard(capture: Capture, tmp_path: Path) -> None:
    """The homeserver tells somebody who was out, and is out, what was said meanwhile: none of it is recorded."""
    async with line(tmp_path / "data") as it:
        await it.move_in(capture)
        await it.tell(capture.room, capture.broadcast[:2])
        await leave(it, capture)
        asked = len(it.homeserver.asked)
        await it._sync(rooms=(RoomBatch(capture.room, joined=False, timeline=capture.broadcast[2:]),))
        while await it.recorder.catch_up():
            pass
        await it.pass_by(QUIET_S)
        assert len(it.homeserver.asked) == asked
        assert list(await it.chunks(capture.started)) == [capture.broadcast[1].event_id]
        assert (await it.recording(capture.started)).ended_by is EndedBy.REMOVED
