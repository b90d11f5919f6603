"""Announcements of recordings: at the beginning and on publication, as the room chose, and late where refused."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from bot import orders, topics
from bot.commands.find import find_recording
from bot.errors import GiveUp
from bot.matrix.sending import Sending
from bot.recording.model import Deleted
from bot.worker.notices import Notices
from bot.worker.reacting import Reacting
from storage import found_again, jobs, rooms
from storage.records import Announce, EventId, Json, Position, RecordingState, RoomId, Visibility
from tests.booth import Booth
from tests.worker.quick import without_ffmpeg
from tests.world import ALICE, BOT, ROOM, START, Killed, World, chunk, heard, info, world_of

UNMUTED = heard("$loud", "m.room.power_levels", {"users": {ALICE: 100, BOT: 50}}, state_key="")


@dataclass
class Homeserver:
    """A room that hears the bot, or refuses to."""

    muted: bool = False
    tries: int = 0
    said: dict[str, tuple[str, Json]] = field(default_factory=dict)  # by transaction

    async def send(self, room_id: RoomId, kind: str, content: Json, *, txn_id: str) -> EventId:
        self.tries += 1
        if self.muted:
            raise GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
        self.said.setdefault(txn_id, (kind, content))
        return EventId(f"${txn_id}")


@dataclass
class Told:
    """The bot in Alice's room, and what the room heard of it."""

    world: World
    room: Homeserver = field(default_factory=Homeserver)

    def begin(self) -> None:
        world, sending = self.world, cast("Sending", self.room)
        world.handlers[orders.Notice.kind] = Notices(
            world.store, sending, world.settings, apply=world.recorder.apply, clock=world.clock
        )
        world.handlers[orders.React.kind] = Reacting(world.store, sending)

    async def choose(self, announce: Announce) -> None:
        async with self.world.store.write() as db:
            room = await rooms.room(db, ROOM)
            assert room is not None
            await rooms.save_room(db, replace(room, announce=announce))

    async def work(self) -> list[str]:
        """Do all that is due; return all that the room heard so far."""
        await self.world.work_on()
        while await self.world.work_one([orders.Notice.kind, orders.React.kind]):
            pass
        return [str(content.get("body", kind)) for kind, content in self.room.said.values()]

    async def whole(self) -> list[str]:
        """Let Alice speak and stop."""
        await self.world.hear(chunk("$c1", 1), info("$stop", "stopped", last_chunk_sequence=1))
        await self.world.work_on()
        self.world.clock.pass_by(61)
        return await self.work()

    async def answer(self) -> None:
        """Order an answer to a command of now."""
        until = self.world.clock() + orders.ANSWERED_WITHIN
        notice = orders.Notice(topics.answer(EventId("$q")), ROOM, "the answer", until=until)
        async with self.world.store.write() as db:
            await jobs.add(db, notice.job(), self.world.clock())


@pytest.fixture
async def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Told]:
    without_ffmpeg(monkeypatch)
    async with world_of(tmp_path / "data") as world:
        await world.join()
        made = Told(world)
        made.begin()
        await made.work()
        made.room.said.clear()
        made.room.tries = 0
        yield made


async def test_at_first_the_broadcast_gets_a_reaction_and_the_episode_a_notice(told: Told) -> None:
    """The reaction names the started event, and comes once however often the beginning is heard."""
    await told.world.begin()
    assert await told.work() == ["m.reaction"]
    ((_, content),) = told.room.said.values()
    assert content == {"m.relates_to": {"rel_type": "m.annotation", "event_id": START, "key": "🔴"}}
    await told.world.begin()
    first, published = await told.whole()
    assert (first, "is ready" in published) == ("m.reaction", True)


async def test_with_on_the_beginning_has_a_notice_that_is_no_reply(told: Told) -> None:
    """The notice names the speaker, and another one follows when the episode is published."""
    await told.choose(Announce.ON)
    await told.world.begin()
    assert await told.work() == ["I am recording: Alice has begun a broadcast."]
    ((_, content),) = told.room.said.values()
    assert "m.relates_to" not in content
    assert len(await told.whole()) == 2


async def test_with_off_neither_is_said(told: Told) -> None:
    """An episode that was not announced is not announced later, when it heals after the room chose otherwise."""
    await told.choose(Announce.OFF)
    await told.world.begin()
    assert await told.whole() == []
    await told.choose(Announce.QUIET)
    await told.world.hear(chunk("$c2", 2))
    await told.work()
    told.world.clock.pass_by(61)
    assert await told.work() == []


async def test_with_off_a_room_is_not_told_either_that_an_episode_waits_for_approval(told: Told) -> None:
    """`status`, `list` and `review` tell moderators what waits."""
    async with told.world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, announce=Announce.OFF, review=True))
    await told.world.begin()
    assert await told.whole() == []
    recording = await told.world.recording()
    assert (recording.unreviewed, recording.state) == (True, RecordingState.COMPLETE)


async def test_what_was_announced_before_a_restore_is_not_announced_again(told: Told) -> None:
    """A recording that is found again knows its announcement, which is edited when it is deleted."""
    async with told.world.store.write() as db:
        await found_again.note(db, ROOM, found_again.Trace.ANSWERED, EventId(START), "$said")
    await told.world.begin()
    assert await told.whole() == ["m.reaction"]
    recording = await told.world.recording()
    assert recording.announced_as == "$said"
    async with told.world.store.write() as db:
        await told.world.recorder.apply(db, recording.id, Deleted())
        assert await found_again.get(db, ROOM, found_again.Trace.ANSWERED, EventId(START)) is None
    edited = (await told.work())[-1]
    assert "deleted" in edited


async def test_a_refused_reaction_is_not_tried_again(told: Told) -> None:
    """A room may not let the bot react."""
    told.room.muted = True
    await told.world.begin()
    await told.work()
    told.world.clock.pass_by(600)
    assert await told.work() == []
    assert told.room.tries == 1


async def test_an_announcement_that_was_refused_is_said_once_the_bot_may(told: Told) -> None:
    """The notice waits for the power levels, without a storm of tries, and is said once."""
    told.room.muted = True
    await told.world.begin()
    await told.whole()
    tries = told.room.tries
    told.world.clock.pass_by(3600)
    assert await told.work() == []
    assert told.room.tries == tries
    told.room.muted = False
    await told.world.hear(UNMUTED)
    (published,) = await told.work()
    assert "is ready" in published
    await told.world.hear(replace(UNMUTED, event_id=EventId("$again")))
    assert len(await told.work()) == 1


async def test_an_answer_that_was_refused_is_said_within_ten_minutes(told: Told) -> None:
    """Later it would help nobody."""
    told.room.muted = True
    await told.answer()
    assert await told.work() == []
    told.room.muted = False
    told.world.clock.pass_by(599)
    await told.world.hear(UNMUTED)
    assert await told.work() == ["the answer"]


async def test_an_answer_that_was_refused_for_ten_minutes_is_not_said(told: Told) -> None:
    """The command is long forgotten."""
    told.room.muted = True
    await told.answer()
    await told.work()
    told.room.muted = False
    told.world.clock.pass_by(601)
    await told.world.hear(UNMUTED)
    assert await told.work() == []


@pytest.mark.parametrize("announce", [Announce.ON, Announce.QUIET])
async def test_what_is_no_longer_true_is_not_said(told: Told, announce: Announce) -> None:
    """A beginning is not told once the broadcast has ended, nor an episode whose recording was deleted."""
    await told.choose(announce)
    told.room.muted = True
    await told.world.begin()
    await told.work()
    await told.whole()
    recording: Any = await told.world.recording()
    async with told.world.store.write() as db:
        await told.world.recorder.apply(db, recording.id, Deleted())
    told.room.muted = False
    await told.world.hear(UNMUTED)
    assert await told.work() == []


async def test_a_death_at_any_write_says_nothing_twice(told: Told) -> None:
    """Killed between the refusal and its note, or after the request: the same transaction is sent again."""
    await told.choose(Announce.ON)
    await told.world.begin()
    told.world.store.die_at(2, after_commit=False)
    with pytest.raises(Killed):
        await told.work()
    await told.world.rise_again()
    told.begin()
    assert await told.work() == ["I am recording: Alice has begun a broadcast."]


# ---- a studio


async def from_a_studio(told: Told) -> Booth:
    """Broadcast a slice from a studio, and stop."""
    booth = await Booth.open(told.world)
    await booth.start()
    await booth.send(b"slice")
    await told.work()
    await booth.stop()
    return booth


@pytest.mark.parametrize(
    ("announce", "said"),
    [
        (Announce.ON, ["I am recording: Alice has begun a broadcast.", "is ready"]),
        (Announce.QUIET, ["I am recording: Alice has begun a broadcast.", "is ready"]),
        (Announce.OFF, []),
    ],
)
async def test_a_broadcast_from_a_studio_is_told_by_notices_that_refer_to_nothing(
    told: Told, announce: Announce, said: list[str]
) -> None:
    """No event of the room stands for it: nothing is a reply or a reaction, and where it is heard stands in the notice
    of its beginning, also where the room wants that quiet."""
    await told.choose(announce)
    await from_a_studio(told)
    bodies = await told.work()
    assert len(bodies) == len(said)
    assert all(part in body for part, body in zip(said, bodies, strict=True))
    assert all("m.relates_to" not in content for _, content in told.room.said.values())
    if bodies:
        assert bodies[0].endswith("Say `!aircheck feed` to get your own address, where you can listen.")


async def test_a_public_broadcast_from_a_studio_is_told_with_the_address_of_the_page(told: Told) -> None:
    """Members follow a link to the page on which it is live."""
    async with told.world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        public = replace(room, visibility=Visibility.PUBLIC, public_since=Position(0))
        await rooms.save_room(db, replace(public, announce=Announce.QUIET))
    await from_a_studio(told)
    begun, _ = await told.work()
    assert f"Listen here: {told.world.settings.web.address}/r/" in begun
    assert begun.endswith("/")


async def test_what_is_said_of_it_answers_its_event_where_the_room_has_one(told: Told) -> None:
    """The first event in a room that wants events stands for the broadcast; and a command finds it by that."""
    booth = await Booth.open(told.world)
    await booth.start()
    await booth.shown_as(EventId("$info"))
    await booth.send(b"slice")
    await told.work()
    await booth.stop()
    await told.work()
    (published,) = [content for _, content in told.room.said.values() if "is ready" in content["body"]]
    assert published["m.relates_to"] == {"m.in_reply_to": {"event_id": "$info"}}
    async with told.world.store.read() as db:
        assert await find_recording(db, ROOM, EventId("$info")) == await booth.recording()


async def test_a_deleted_broadcast_from_a_studio_is_said_to_be_gone(told: Told) -> None:
    """The announcement is edited, as that of any other."""
    booth = await from_a_studio(told)
    await told.work()
    async with told.world.store.write() as db:
        await told.world.recorder.apply(db, (await booth.recording()).id, Deleted())
    assert (await told.work())[-1] == "* This recording was deleted."
