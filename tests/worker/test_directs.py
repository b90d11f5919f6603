"""Direct chats: each user is told what is theirs, alone, and is not pestered with invites."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from bot import orders
from bot.feeds.addresses import look_up_hash
from bot.worker.chats import INVITES_AN_HOUR
from storage import heirs, jobs, rooms, studios
from storage.records import JobState, Json, Listener, RoomId, Studio, StudioSource, StudioState, UserId
from tests.factories import a_studio
from tests.worker.conftest import WEB, studio_token
from tests.worker.post import CHAT, Post
from tests.world import ALICE, BOT, ROOM, Killed, batch, heard, room_state, state


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
    """A request sends one invite, which is not repeated."""
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
    post.world.handlers[orders.Direct.kind] = post.directs
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
    """A user who left the room while their chat was opened gets no address."""
    await post.ask()
    await post.work()
    await post.world.hear(heard("$left", "m.room.member", {"membership": "leave"}, state_key=ALICE))
    await post.chat_says("join")
    await post.work()
    assert (await post.job()).state is JobState.FAILED
    assert post.homeserver.sent == []


async def test_an_upgraded_rooms_address_is_for_members_of_the_new_one(post: Post) -> None:
    """A member of the old room alone is told nothing, and the address does not change."""
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


# ---- studios


async def asked_for_studio(post: Post, **fields: Any) -> Studio:
    """Alice, who moderates the room, has asked for a studio."""
    made = a_studio(room_id=ROOM, user_id=ALICE, at=post.clock())
    made = replace(made, **{"token_sha256": look_up_hash(studio_token(made)), **fields})
    async with post.world.store.write() as db:
        studio = await studios.add(db, made)
        await jobs.add(db, orders.Direct.of_studio(studio).job(), post.clock())
    return studio


async def told_of_studio(post: Post) -> list[str]:
    """Do the work, and return what was said in Alice's chat."""
    await post.work()
    return [str(content["body"]) for _, _, content in post.homeserver.sent]


async def test_the_address_of_a_studio_is_made_when_it_is_sent(post: Post) -> None:
    """Like any other message it waits for its reader; neither the order nor the row of the studio hold it."""
    studio = await asked_for_studio(post)
    assert await told_of_studio(post) == []
    assert post.homeserver.invited == [ALICE]
    await post.brings(ROOM, *room_state(state("m.room.name", {"name": "Kitchen"})))
    await post.chat_says("join")
    (body,) = await told_of_studio(post)
    assert body.startswith(f"Your studio for Kitchen:\n{WEB}/studio/{studio_token(studio)}/\n")
    assert "within 24 hours" in body


async def test_a_source_client_is_told_all_that_its_settings_ask_for(post: Post) -> None:
    """Server, port, mount point, user and password stand in lines of their own, as such programs ask for them."""
    studio = await asked_for_studio(post, source=StudioSource.CLIENT)
    await post.opened()
    (body,) = await told_of_studio(post)
    asked = {"Server": "pod.example", "Port": "8443", "TLS": "on", "Mount point": "/studio/source", "User": "source"}
    lines = body.splitlines()
    assert [line for line in lines if ": " in line and line.partition(":")[0] in {*asked, "Password"}] == [
        *(f"{name}: {value}" for name, value in asked.items()),
        f"Password: {studio_token(studio)}",
    ]


async def test_who_is_on_the_air_is_told_so_with_the_address(post: Post) -> None:
    """The terms of a broadcast that runs are others."""
    await asked_for_studio(post, state=StudioState.LIVE)
    await post.opened()
    (body,) = await told_of_studio(post)
    assert "You are on the air with it" in body


@pytest.mark.parametrize("end", ["over", "expired", "of another secret", "the bot may record no more"])
async def test_the_address_of_a_studio_that_ended_is_not_sent(post: Post, end: str) -> None:
    """Whoever comes to the chat too late asks again."""
    ended: dict[str, dict[str, Any]] = {
        "over": {"state": StudioState.OVER},
        "of another secret": {"token_sha256": "another"},
    }
    studio = await asked_for_studio(post, **ended.get(end, {}))
    await post.work()
    if end == "expired":
        post.clock.pass_by(24 * 3600)
    if end == "the bot may record no more":
        async with post.world.store.write() as db:
            room = await rooms.room(db, ROOM)
            assert room is not None
            await rooms.save_room(db, replace(room, recording_on=False))
    await post.chat_says("join")
    assert await told_of_studio(post) == []
    async with post.world.store.read() as db:
        job = await jobs.find(db, orders.Direct.of_studio(studio).job().name)
    assert job is not None
    assert job.state is JobState.FAILED
