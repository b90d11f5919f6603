"""What is asked of the homeserver outside the sync: once, to whom it is for, and not for ever."""

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from bot import orders, words
from bot.errors import GiveUp
from bot.matrix.batch import Invite, RoomBatch, SyncBatch
from bot.matrix.sending import Sending
from bot.worker.chats import INVITES_AN_HOUR
from bot.worker.outbox import Outbox, notice
from storage import heirs, jobs, journal, rooms
from storage.records import Job, JobId, JobKind, JobState, Json, Listener, RoomId, UserId
from tests.clock import Clock
from tests.world import ALICE, BOT, ROOM, Killed, World, batch, heard, room_state, state, world_of

CHAT = RoomId("!theirs:hs")


@dataclass
class Homeserver:
    """What it was asked for."""

    sent: list[tuple[RoomId, str, Json]] = field(default_factory=list)  # room, transaction, content
    joined: list[RoomId] = field(default_factory=list)
    left: list[tuple[RoomId, str | None]] = field(default_factory=list)  # with the reason
    invited: list[UserId] = field(default_factory=list)
    state: list[Json] = field(default_factory=list)
    chats: dict[RoomId, list[Json]] = field(default_factory=dict)  # their states

    async def send(self, room_id: RoomId, kind: str, content: Json, *, txn_id: str) -> None:
        self.sent.append((room_id, txn_id, content))

    async def join(self, room_id: RoomId) -> None:
        self.joined.append(room_id)

    async def leave(self, room_id: RoomId, reason: str | None = None) -> None:
        self.left.append((room_id, reason))

    async def create_direct(self, user_id: UserId) -> RoomId:
        self.invited.append(user_id)
        return RoomId(f"!chat{len(self.invited)}:hs")

    async def room_state(self, room_id: RoomId) -> list[Json]:
        return self.chats.get(room_id, self.state)


@dataclass
class Post:
    """An outbox over a store and a homeserver that remembers."""

    world: World
    homeserver: Homeserver
    outbox: Outbox

    @property
    def clock(self) -> Clock:
        return self.world.clock

    async def chat_says(self, membership: str, chat: str = "!chat1:hs", *more: Json) -> None:
        """The sync brings the direct chat, with what Alice made of the invite."""
        member = state("m.room.member", {"membership": membership}, ALICE, event_id=f"${membership}{chat}")
        await self.brings(RoomId(chat), *room_state(creator=BOT), member, *more)

    async def brings(self, room_id: RoomId, *block: Json) -> None:
        """A room that the homeserver has like this."""
        current = {(event["type"], event["state_key"]): event for event in block}
        self.homeserver.chats[room_id] = list(current.values())
        brought = batch(before=block)
        (room,) = brought.rooms
        await self.world.intake.take(replace(brought, rooms=(replace(room, room_id=room_id),)))

    async def opened(self, *more: Json, inviter: UserId = ALICE) -> None:
        """Somebody opens a chat with the bot, which comes in."""
        invite = Invite(CHAT, inviter, direct=True, encrypted=False)
        await self.world.intake.take(SyncBatch("invited", invites=(invite,)))
        await self.brings(CHAT, *room_state(), *more)

    async def ask(self, *, body: str | None = None) -> None:
        """Alice asks for her address, or the bot has something to say to her."""
        order = orders.Direct.address(ALICE, ROOM)
        if body is not None:
            order = orders.Direct(f"{ALICE}|{body}", ALICE, body=body)
        async with self.world.store.write() as db:
            if await rooms.listener(db, ROOM, ALICE) is None:
                await rooms.save_listener(db, Listener(ROOM, ALICE, 1, "hash1"))
            await jobs.add(db, order.job(), self.clock())

    async def renew(self) -> None:
        async with self.world.store.write() as db:
            await rooms.save_listener(db, Listener(ROOM, ALICE, 1, "hash1", 2, "hash2"))
        await self.ask()

    async def work(self) -> None:
        """What is due now."""
        while await self.world.work_one([orders.Direct.kind]):
            pass

    async def job(self) -> Job:
        async with self.world.store.read() as db:
            found = await jobs.find(db, orders.Direct.address(ALICE, ROOM).job().name)
        assert found is not None
        return found

    def told(self) -> list[tuple[RoomId, str]]:
        """Chats, and the feeds that were said there."""
        return [(room, str(content["body"]).split("\n")[1]) for room, _, content in self.homeserver.sent]

    async def works(self, *hashes: str) -> list[bool]:
        async with self.world.store.read() as db:
            return [await rooms.listener_by_hash(db, one) is not None for one in hashes]


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    async with world_of(tmp_path / "data") as world:
        await world.join()
        homeserver = Homeserver()
        outbox = Outbox(
            world.store,
            cast("Sending", homeserver),
            us=BOT,
            invites=("*:hs",),
            addresses=lambda room_id, user_id, generation: (f"feed{generation}", "page"),
            take_state=world.intake.refresh,
            prefix="!aircheck",
            clock=world.clock,
        )
        world.handlers[orders.Direct.kind] = outbox.direct
        yield Post(world, homeserver, outbox)


def job(kind: JobKind, payload: Json, clock: Clock, *, attempts: int = 0, error: str | None = None) -> Job:
    subject = str(payload.get("room_id", ROOM))
    return Job(JobId(7), kind, subject, payload, JobState.RUNNING, clock(), attempts, error)


async def test_a_notice_is_the_same_event_however_often_it_is_sent(post: Post) -> None:
    """The transaction is the job's, so that a repeat after a death is none."""
    said = job(orders.Notice.kind, {"room_id": ROOM, "body": "hello", "reply_to": "$e"}, post.clock)
    await post.outbox.notice(said)
    await post.outbox.notice(said)
    (first, second) = post.homeserver.sent
    assert first == second
    assert first[2]["m.relates_to"] == {"m.in_reply_to": {"event_id": "$e"}}


async def test_a_notice_that_was_late_is_told_in_the_log(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    """A notice that was tried again, as after a rate limit, has a line with its room and without its words."""
    caplog.set_level(logging.INFO)
    payload = {"room_id": ROOM, "body": "hello"}
    await post.outbox.notice(job(orders.Notice.kind, payload, post.clock))
    assert "late" not in caplog.text
    await post.outbox.notice(job(orders.Notice.kind, payload, post.clock, attempts=2))
    assert f"notice sent late, at try 3, maybe after newer ones: room={ROOM}" in caplog.text
    assert "hello" not in caplog.text


async def test_nothing_is_said_where_the_bot_is_not(post: Post) -> None:
    """It was removed meanwhile."""
    with pytest.raises(GiveUp):
        await post.outbox.notice(job(orders.Notice.kind, {"room_id": "!other:hs", "body": "x"}, post.clock))
    assert post.homeserver.sent == []


async def test_a_direct_message_waits_until_its_reader_is_there(post: Post) -> None:
    """They are invited once, and told when they have come."""
    await post.ask()
    for _ in range(3):
        await post.work()
        post.clock.pass_by(30)
    assert post.homeserver.invited == [ALICE]
    await post.chat_says("invite")
    post.clock.pass_by(3600)
    await post.work()
    assert post.homeserver.sent == []
    await post.chat_says("join")
    await post.work()
    assert post.told() == [(RoomId("!chat1:hs"), "feed1")]
    assert post.homeserver.invited == [ALICE]


@pytest.mark.parametrize("third", ["join", "invite", "knock"])
async def test_nothing_is_told_in_a_direct_chat_with_a_third_person(post: Post, third: str) -> None:
    """Whoever else is there, or may come, reads no address: its user is invited to another chat."""
    await post.ask()
    await post.work()
    await post.chat_says("join", "!chat1:hs", state("m.room.member", {"membership": third}, "@mallory:hs"))
    await post.work()
    assert post.homeserver.sent == []
    assert post.homeserver.invited == [ALICE, ALICE]
    await post.chat_says("join", "!chat2:hs")
    await post.work()
    assert post.told() == [(RoomId("!chat2:hs"), "feed1")]


async def test_who_declines_is_left_alone(post: Post) -> None:
    """One request is one invite: it is not repeated every hour until they give in."""
    await post.ask()
    await post.work()
    await post.chat_says("leave")
    for _ in range(3):
        post.clock.pass_by(3600)
        await post.work()
    assert (await post.job()).state is JobState.FAILED
    assert post.homeserver.invited == [ALICE]


async def test_who_left_and_asks_is_invited_at_once(post: Post) -> None:
    """Also who declined a moment ago, and whose earlier request still waits."""
    await post.ask()
    await post.work()
    for number in (1, 2):
        await post.chat_says("leave", f"!chat{number}:hs")
        await post.ask()
        await post.work()
        assert post.homeserver.invited == [ALICE] * (number + 1)
    await post.chat_says("join", "!chat3:hs")
    await post.work()
    assert post.told() == [(RoomId("!chat3:hs"), "feed1")]
    await post.chat_says("leave", "!chat3:hs")
    await post.ask()
    await post.work()
    assert post.homeserver.invited == [ALICE] * 4


async def test_who_left_a_moment_ago_and_asks_is_told_nothing_in_an_empty_chat(post: Post) -> None:
    """The homeserver knows that they left before the sync brings it."""
    await post.ask()
    await post.work()
    await post.chat_says("join")
    left = state("m.room.member", {"membership": "leave"}, ALICE)
    post.homeserver.chats[RoomId("!chat1:hs")] = [*room_state(creator=BOT)[:2], left]
    await post.work()
    assert post.homeserver.sent == []
    assert post.homeserver.invited == [ALICE, ALICE]


async def test_who_asks_and_leaves_all_the_time_is_invited_a_few_times_an_hour(post: Post) -> None:
    """Rooms on the homeserver are not for nothing."""
    for number in range(1, 9):
        await post.ask()
        await post.work()
        await post.chat_says("leave", f"!chat{number}:hs")
    assert len(post.homeserver.invited) == INVITES_AN_HOUR
    post.clock.pass_by(3600)
    await post.work()
    assert len(post.homeserver.invited) == INVITES_AN_HOUR + 1


async def test_what_nobody_asked_for_invites_once_an_hour(post: Post) -> None:
    """An administrator who left the chat is told of a full disk all the same."""
    await post.ask(body="the disk")
    await post.work()
    await post.chat_says("leave")
    await post.ask(body="the disk again")
    await post.work()
    assert post.homeserver.invited == [ALICE]
    post.clock.pass_by(3600)
    await post.work()
    assert post.homeserver.invited == [ALICE, ALICE]


async def test_an_invite_that_nobody_answers_ends_after_a_week(post: Post) -> None:
    """The request is given up; a new one invites anew."""
    await post.ask()
    await post.work()
    await post.chat_says("invite")
    for _ in range(14):
        post.clock.pass_by(86_400)
        await post.work()
    assert (await post.job()).state is JobState.FAILED
    assert post.homeserver.invited == [ALICE]
    await post.ask()
    await post.work()
    assert post.homeserver.invited == [ALICE, ALICE]


async def test_a_chat_that_the_bot_is_out_of_is_none(post: Post) -> None:
    """Nobody waits a week for somebody to come to where the bot is not."""
    await post.ask()
    await post.work()
    await post.chat_says("join")
    await post.work()
    gone = batch(joined=False, before=())
    await post.world.intake.take(replace(gone, rooms=(replace(gone.rooms[0], room_id=RoomId("!chat1:hs")),)))
    post.clock.pass_by(300)
    await post.ask()
    await post.work()
    assert post.homeserver.invited == [ALICE, ALICE]


async def test_the_old_address_works_until_the_new_one_was_said(post: Post) -> None:
    """Both work while the listener is out of the chat; what was declined is said with the next request."""
    await post.renew()
    await post.work()
    assert await post.works("hash1", "hash2") == [True, True]
    await post.chat_says("leave")
    post.clock.pass_by(60)
    await post.work()
    assert (await post.job()).state is JobState.FAILED
    assert await post.works("hash1", "hash2") == [True, True]
    await post.ask()
    await post.work()
    await post.chat_says("join", "!chat2:hs")
    await post.work()
    assert post.told() == [(RoomId("!chat2:hs"), "feed2")]
    assert await post.works("hash1", "hash2") == [False, True]


async def test_an_address_that_is_renewed_while_the_old_one_is_said_is_said_too(post: Post) -> None:
    """The old one ends with the new one's own event, also where one job says both after a crash."""
    await post.ask()
    await post.work()
    await post.chat_says("join")
    send = post.homeserver.send

    async def renewed_meanwhile(*told: Any, **more: Any) -> None:
        await send(*told, **more)
        await post.renew()
        raise Killed

    cast("Any", post.homeserver).send = renewed_meanwhile
    with pytest.raises(Killed):
        await post.work()
    assert await post.works("hash1", "hash2") == [True, True]
    cast("Any", post.homeserver).send = send
    await post.world.rise_again()
    post.world.handlers[orders.Direct.kind] = post.outbox.direct
    await post.work()
    assert [feed for _, feed in post.told()] == ["feed1", "feed2"]
    assert len({txn for _, txn, _ in post.homeserver.sent}) == 2
    assert await post.works("hash1", "hash2") == [False, True]


async def test_a_chat_that_the_listener_opened_is_used(post: Post) -> None:
    """At once, also while an invite of the bot's is open."""
    await post.ask()
    await post.work()
    await post.opened()
    await post.work()
    assert post.told() == [(CHAT, "feed1")]
    assert post.homeserver.invited == [ALICE]


EVE, JOINED, KNOCKS, LEFT = (
    state("m.room.member", {"membership": membership}, "@eve:hs") for membership in ("invite", "join", "knock", "leave")
)
ASKED_IN = state("m.room.join_rules", {"join_rule": "invite"})
ANYBODY = state("m.room.join_rules", {"join_rule": "public"})
READ_ALONG = state("m.room.history_visibility", {"history_visibility": "world_readable"})


@pytest.mark.parametrize(
    ("more", "inviter", "used"),
    [
        ([ASKED_IN, LEFT], ALICE, True),
        ([EVE], ALICE, False),
        ([JOINED], ALICE, False),
        ([KNOCKS], ALICE, False),
        ([ANYBODY], ALICE, False),
        ([READ_ALONG], ALICE, False),
        ([], UserId("@eve:hs"), False),
    ],
    ids=[
        "alone",
        "somebody is invited",
        "somebody is in",
        "somebody knocks",
        "open to anybody",
        "read by anybody",
        "opened by somebody else",
    ],
)
async def test_an_address_is_said_to_its_listener_alone(
    post: Post, more: Sequence[Json], inviter: UserId, used: bool
) -> None:
    """In any other room the bot invites them to a chat of its own."""
    await post.opened(*more, inviter=inviter)
    await post.ask()
    await post.work()
    assert post.told() == ([(CHAT, "feed1")] if used else [])
    assert post.homeserver.invited == ([] if used else [ALICE])


async def test_who_comes_in_before_the_sync_tells_hears_no_address(post: Post) -> None:
    """The homeserver is asked who is there, right before it is said."""
    await post.opened()
    post.homeserver.chats[CHAT].append(EVE)
    await post.ask()
    await post.work()
    assert post.homeserver.sent == []


async def test_an_address_is_for_members_only_when_it_is_sent(post: Post) -> None:
    """Who left the room while their chat was opened gets none."""
    await post.ask()
    await post.work()
    await post.world.hear(heard("$left", "m.room.member", {"membership": "leave"}, state_key=ALICE))
    await post.chat_says("join")
    await post.work()
    assert (await post.job()).state is JobState.FAILED
    assert post.homeserver.sent == []


async def test_an_upgraded_rooms_address_is_for_members_of_the_new_one(post: Post) -> None:
    """Who is only in the old room is told nothing; the address is still the old one's."""
    new = RoomId("!new:hs")
    await post.opened()
    async with post.world.store.write() as db:
        await rooms.save_listener(db, Listener(ROOM, ALICE, 3, "hash"))
        await rooms.save_room(db, rooms.new_room(new, post.clock()))
        assert await heirs.inherit(db, ROOM, new)
    await post.ask()
    await post.work()
    assert (await post.job()).state is JobState.FAILED
    await post.world.intake.take(batch(heard("$t", "m.room.tombstone", {"replacement_room": new}, state_key="")))
    await post.brings(new, *room_state(state("m.room.name", {"name": "New kitchen"})))
    await post.ask()
    await post.work()
    ((_, _, content),) = post.homeserver.sent
    assert "New kitchen:\nfeed3" in content["body"]


@pytest.mark.parametrize(("inviter", "joined"), [("@alice:hs", ["!new:hs"]), ("@eve:elsewhere", [])])
async def test_invites_are_taken_by_the_settings(post: Post, inviter: str, joined: Sequence[str]) -> None:
    """Others are left alone."""
    await post.outbox.invite(job(orders.Invite.kind, {"room_id": "!new:hs", "inviter": inviter}, post.clock))
    assert post.homeserver.joined == joined


async def test_state_that_was_heard_during_the_request_is_newer_than_its_answer(post: Post) -> None:
    """The place in the journal is taken before the homeserver is asked."""
    post.homeserver.state = [state("m.room.name", {"name": "old"}, event_id="$old")]

    async def answer_late(_: RoomId) -> list[Json]:
        await post.world.intake.take(batch(heard("$new", "m.room.name", {"name": "new"}, state_key="")))
        return post.homeserver.state

    cast("Any", post.homeserver).room_state = answer_late
    await post.outbox.refresh(job(orders.Refresh.kind, {}, post.clock))
    async with post.world.store.read() as db:
        name = await rooms.state(db, ROOM, "m.room.name")
    assert name is not None
    assert name.content == {"name": "new"}


def test_an_answer_stands_in_the_thread_of_its_question() -> None:
    """A reply without a thread is a plain reply (Client-Server API, threading)."""
    threaded = notice("x", reply_to="$q", thread="$t")["m.relates_to"]
    assert (threaded["rel_type"], threaded["event_id"], threaded["is_falling_back"]) == ("m.thread", "$t", False)
    assert "m.relates_to" not in notice("x")


SPACE = state("m.room.create", {"type": "m.space", "room_version": "11"})


async def invites(post: Post) -> None:
    """What the jobs about invites ask for is done."""
    post.world.handlers[orders.Invite.kind] = post.outbox.invite
    while await post.world.work_one([orders.Invite.kind]):
        pass


@pytest.mark.parametrize(("inviter", "declined"), [(ALICE, True), (UserId("@eve:elsewhere"), False)])
async def test_an_invite_to_a_space_is_declined_with_the_reason(post: Post, inviter: UserId, declined: bool) -> None:
    """The stripped state says that it is one; a stranger's invite is left alone as any other."""
    space = RoomId("!space:hs")
    invite = Invite(space, inviter, direct=False, encrypted=False, stripped_state=(SPACE,))
    await post.world.intake.take(SyncBatch("asked", invites=(invite,)))
    await invites(post)
    assert post.homeserver.joined == []
    assert post.homeserver.left == ([(space, words.NO_SPACES)] if declined else [])


@pytest.mark.parametrize("known", ["at once", "later"])
async def test_a_space_that_the_invite_did_not_tell_is_left_with_the_reason(post: Post, known: str) -> None:
    """Nothing is said or recorded there, whether its state comes with the join or is asked for."""
    space = RoomId("!space:hs")
    await post.world.intake.take(SyncBatch("asked", invites=(Invite(space, ALICE, direct=False, encrypted=False),)))
    await invites(post)
    assert post.homeserver.joined == [space]
    here = [event for event in room_state() if event["type"] != "m.room.create"]
    before = (*here, SPACE) if known == "at once" else ()
    await post.world.intake.take(SyncBatch("joined", (RoomBatch(space, True, before),)))
    if known == "later":
        async with post.world.store.read() as db:
            asked_at = await journal.position(db)
        await post.world.intake.refresh(space, [*here, SPACE], asked_at)
    await invites(post)
    assert post.homeserver.left == [(space, words.NO_SPACES)]
    async with post.world.store.read() as db:
        room = await rooms.room(db, space)
    assert room is not None
    assert not room.recording_on
    if known == "at once":
        said = await post.world.waiting(orders.Notice.kind)
        assert [payload for payload in said if payload["room_id"] == space] == []
