"""What is asked of the homeserver outside the sync: once, to whom it is for, and not for ever."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from bot.errors import GiveUp, TryLater
from bot.matrix.batch import SyncBatch
from bot.matrix.outbox import Outbox, notice
from bot.matrix.sending import Sending
from storage import heirs, rooms
from storage.records import Job, JobId, JobKind, JobState, Json, Listener, RoomId, UserId
from tests.clock import Clock
from tests.shell import ALICE, BOT, ROOM, Shell, batch, heard, room_state, shell, state


@dataclass
class Homeserver:
    """What it was asked for."""

    sent: list[tuple[RoomId, str, Json]] = field(default_factory=list)  # room, transaction, content
    joined: list[RoomId] = field(default_factory=list)
    invited: list[UserId] = field(default_factory=list)
    state: list[Json] = field(default_factory=list)

    async def send(self, room_id: RoomId, kind: str, content: Json, *, txn_id: str) -> None:
        self.sent.append((room_id, txn_id, content))

    async def join(self, room_id: RoomId) -> None:
        self.joined.append(room_id)

    async def create_direct(self, user_id: UserId) -> RoomId:
        self.invited.append(user_id)
        return RoomId(f"!chat{len(self.invited)}:hs")

    async def room_state(self, room_id: RoomId) -> list[Json]:
        return self.state


@dataclass
class Post:
    """An outbox over a store and a homeserver that remembers."""

    stage: Shell
    homeserver: Homeserver
    outbox: Outbox

    @property
    def clock(self) -> Clock:
        return self.stage.clock

    async def chat_says(self, membership: str, chat: str = "!chat1:hs") -> None:
        """The sync brings the direct chat, with what Alice made of the invite."""
        member = state("m.room.member", {"membership": membership}, ALICE, event_id=f"${membership}{chat}")
        brought = batch(before=(*room_state(creator=BOT), member))
        (room,) = brought.rooms
        await self.stage.intake.take(replace(brought, rooms=(replace(room, room_id=RoomId(chat)),)))


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    async with shell(tmp_path / "data") as stage:
        await stage.join()
        homeserver = Homeserver()
        outbox = Outbox(
            stage.store,
            cast("Sending", homeserver),
            us=BOT,
            invites=("*:hs",),
            addresses=lambda room_id, user_id, generation: (f"feed{generation}", "page"),
            take_state=stage.intake.refresh,
            prefix="!aircheck",
            clock=stage.clock,
        )
        yield Post(stage, homeserver, outbox)


def job(kind: JobKind, payload: Json, clock: Clock, *, attempts: int = 0, error: str | None = None) -> Job:
    subject = str(payload.get("room_id", ROOM))
    return Job(JobId(7), kind, subject, payload, JobState.RUNNING, clock(), attempts, error)


def direct(post: Post, *, attempts: int = 0, error: str | None = None) -> Job:
    return job(JobKind.DIRECT, {"user_id": ALICE, "body": "hello"}, post.clock, attempts=attempts, error=error)


async def test_a_notice_is_the_same_event_however_often_it_is_sent(post: Post) -> None:
    """The transaction is the job's, so that a repeat after a death is none."""
    said = job(JobKind.NOTICE, {"room_id": ROOM, "body": "hello", "reply_to": "$e"}, post.clock)
    await post.outbox.notice(said)
    await post.outbox.notice(said)
    (first, second) = post.homeserver.sent
    assert first == second
    assert first[2]["m.relates_to"] == {"m.in_reply_to": {"event_id": "$e"}}


async def test_nothing_is_said_where_the_bot_is_not(post: Post) -> None:
    """It was removed meanwhile."""
    with pytest.raises(GiveUp):
        await post.outbox.notice(job(JobKind.NOTICE, {"room_id": "!other:hs", "body": "x"}, post.clock))
    assert post.homeserver.sent == []


async def test_a_direct_message_waits_until_its_reader_is_there(post: Post) -> None:
    """They are invited once, and told when they have come."""
    for attempts in range(3):
        with pytest.raises(TryLater):
            await post.outbox.direct(direct(post, attempts=attempts))
    assert post.homeserver.invited == [ALICE]
    await post.chat_says("invite")
    with pytest.raises(TryLater):
        await post.outbox.direct(direct(post, attempts=3))
    await post.chat_says("join")
    await post.outbox.direct(direct(post, attempts=4))
    assert [(room, content["body"]) for room, _, content in post.homeserver.sent] == [("!chat1:hs", "hello")]


@pytest.mark.parametrize("third", ["join", "invite", "knock"])
async def test_nothing_is_told_in_a_direct_chat_with_a_third_person(post: Post, third: str) -> None:
    """Whoever else is there, or may come, reads no address: its user is invited to another chat."""
    with pytest.raises(TryLater):
        await post.outbox.direct(direct(post))
    await post.chat_says("join")
    mallory = state("m.room.member", {"membership": third}, "@mallory:hs", event_id="$third")
    (room,) = batch(before=(mallory,)).rooms
    await post.stage.intake.take(SyncBatch("third", (replace(room, room_id=RoomId("!chat1:hs")),)))
    with pytest.raises(TryLater):
        await post.outbox.direct(direct(post))
    assert post.homeserver.sent == []
    assert post.homeserver.invited == [ALICE, ALICE]
    await post.chat_says("join", "!chat2:hs")
    await post.outbox.direct(direct(post))
    assert [room_id for room_id, _, _ in post.homeserver.sent] == ["!chat2:hs"]


async def test_who_declines_is_left_alone(post: Post) -> None:
    """One request is one invite: it is not repeated every hour until they give in."""
    with pytest.raises(TryLater) as later:
        await post.outbox.direct(direct(post))
    await post.chat_says("leave")
    for wait in (timedelta(minutes=1), timedelta(hours=2)):
        post.clock.now += wait
        with pytest.raises(GiveUp):
            await post.outbox.direct(direct(post, attempts=1, error=later.value.sentence))
    assert post.homeserver.invited == [ALICE]


async def test_who_left_and_asks_again_is_invited_again_an_hour_later(post: Post) -> None:
    """One invite in an hour, whatever is asked."""
    with pytest.raises(TryLater):
        await post.outbox.direct(direct(post))
    await post.chat_says("leave")
    with pytest.raises(TryLater) as later:
        await post.outbox.direct(direct(post))
    assert post.homeserver.invited == [ALICE]
    assert later.value.after_s == 3600
    post.clock.pass_by(3600)
    with pytest.raises(TryLater):
        await post.outbox.direct(direct(post, attempts=1, error=later.value.sentence))
    assert post.homeserver.invited == [ALICE, ALICE]


async def test_an_invite_that_nobody_answers_ends_after_a_week(post: Post) -> None:
    """The request is given up; a new one invites anew."""
    with pytest.raises(TryLater):
        await post.outbox.direct(direct(post))
    await post.chat_says("invite")
    post.clock.pass_by(7 * 86_400)
    with pytest.raises(GiveUp):
        await post.outbox.direct(direct(post, attempts=9))
    with pytest.raises(TryLater):
        await post.outbox.direct(direct(post))
    assert post.homeserver.invited == [ALICE, ALICE]


async def test_an_address_is_for_members_only_when_it_is_sent(post: Post) -> None:
    """Who left the room while their chat was opened gets none."""
    with pytest.raises(TryLater):
        await post.outbox.direct(direct(post))
    await post.chat_says("join")
    wanted = job(JobKind.DIRECT, {"user_id": ALICE, "room_id": ROOM}, post.clock)
    with pytest.raises(GiveUp):
        await post.outbox.direct(wanted)
    assert post.homeserver.sent == []


async def test_an_upgraded_rooms_address_is_for_members_of_the_new_one(post: Post) -> None:
    """Who is only in the old room is told nothing; the address is still the old one's."""
    new = RoomId("!new:hs")
    with pytest.raises(TryLater):
        await post.outbox.direct(direct(post))
    await post.chat_says("join")
    async with post.stage.store.write() as db:
        await rooms.save_listener(db, Listener(ROOM, ALICE, 3, "hash"))
        await rooms.save_room(db, rooms.new_room(new, post.clock()))
        assert await heirs.inherit(db, ROOM, new)
    asked = job(JobKind.DIRECT, {"user_id": ALICE, "room_id": ROOM}, post.clock)
    with pytest.raises(GiveUp):
        await post.outbox.direct(asked)
    await post.stage.intake.take(batch(heard("$t", "m.room.tombstone", {"replacement_room": new}, state_key="")))
    (brought,) = batch(before=room_state(state("m.room.name", {"name": "New kitchen"}))).rooms
    await post.stage.intake.take(SyncBatch("joined", (replace(brought, room_id=new),)))
    await post.outbox.direct(asked)
    ((_, _, content),) = post.homeserver.sent
    assert "New kitchen:\nfeed3" in content["body"]


@pytest.mark.parametrize(("inviter", "joined"), [("@alice:hs", ["!new:hs"]), ("@eve:elsewhere", [])])
async def test_invites_are_taken_by_the_settings(post: Post, inviter: str, joined: Sequence[str]) -> None:
    """Others are left alone."""
    await post.outbox.invite(job(JobKind.INVITE, {"room_id": "!new:hs", "inviter": inviter}, post.clock))
    assert post.homeserver.joined == joined


async def test_state_that_was_heard_during_the_request_is_newer_than_its_answer(post: Post) -> None:
    """The place in the journal is taken before the homeserver is asked."""
    post.homeserver.state = [state("m.room.name", {"name": "old"}, event_id="$old")]

    async def answer_late(_: RoomId) -> list[Json]:
        await post.stage.intake.take(batch(heard("$new", "m.room.name", {"name": "new"}, state_key="")))
        return post.homeserver.state

    cast("Any", post.homeserver).room_state = answer_late
    await post.outbox.refresh(job(JobKind.REFRESH, {}, post.clock))
    async with post.stage.store.read() as db:
        name = await rooms.state(db, ROOM, "m.room.name")
    assert name is not None
    assert name.content == {"name": "new"}


def test_an_answer_stands_in_the_thread_of_its_question() -> None:
    """A reply without a thread is a plain reply (Client-Server API, threading)."""
    threaded = notice("x", reply_to="$q", thread="$t")["m.relates_to"]
    assert (threaded["rel_type"], threaded["event_id"], threaded["is_falling_back"]) == ("m.thread", "$t", False)
    assert "m.relates_to" not in notice("x")
