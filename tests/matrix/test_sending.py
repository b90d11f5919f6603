"""The bot's requests about rooms, as other members see them."""

import asyncio
from pathlib import Path

import pytest

from bot.errors import GiveUp, TryLater
from bot.matrix.keys import Keys
from bot.matrix.session import Session
from storage.records import EventId, RoomId, UserId
from tests.clock import Clock
from tests.lab import People
from tests.matrix.conftest import Bots
from tests.matrix.running import MemorySink, Running, make_settings, meet

NOTICE = {"msgtype": "m.notice", "body": "recording"}


def sealed_by(bot: Running, room_id: RoomId) -> str:
    return str(bot.session.keys.olm.outbound_group_sessions[room_id].id)


async def test_encrypted_notice_and_its_repeat(bots: Bots, person: People) -> None:
    """A notice in an encrypted room is encrypted and readable; a repeat with its transaction id sends nothing new."""
    bot, alice = await bots(), await person("alice")
    room_id = await meet(alice, bot, encrypted=True)
    event_id = await bot.session.sending.send(room_id, "m.room.message", NOTICE, txn_id="once")
    seen = await alice.wait_for(lambda event: event.event_id == event_id and not event.sealed)
    assert seen.body == "recording"
    assert (await alice.fetch_event(room_id, event_id))["type"] == "m.room.encrypted"
    assert await bot.session.sending.send(room_id, "m.room.message", NOTICE, txn_id="once") == event_id


async def test_encrypted_after_a_restart(bots: Bots, person: People) -> None:
    """A bot that has just started encrypts in a room of which no sync has told it anything."""
    bot, alice = await bots(), await person("alice")
    room_id = await meet(alice, bot, encrypted=True)
    await bot.stop()
    again = await bots(again=bot)
    event_id = await again.session.sending.send(room_id, "m.room.message", NOTICE, txn_id="a")
    await alice.wait_for(lambda event: event.event_id == event_id and event.body == "recording")


async def test_never_in_clear_where_the_room_is_encrypted(bots: Bots, person: People) -> None:
    """If the stored state does not say that the room is encrypted, the homeserver is asked."""
    bot, alice = await bots(), await person("alice")
    room_id = await meet(alice, bot, encrypted=True)
    bot.sink.encrypted.clear()
    event_id = await bot.session.sending.send(room_id, "m.room.message", NOTICE, txn_id="a")
    assert (await alice.fetch_event(room_id, event_id))["type"] == "m.room.encrypted"


async def test_plain_room_and_relations(bots: Bots, person: People) -> None:
    """A plain room gets plain events; in an encrypted room the relation stays in clear."""
    bot, alice = await bots(), await person("alice")
    plain, sealed = await meet(alice, bot), await meet(alice, bot, encrypted=True)
    event_id = await bot.session.sending.send(plain, "m.room.message", NOTICE, txn_id="a")
    assert (await alice.fetch_event(plain, event_id))["content"] == NOTICE
    question = await alice.say(sealed, "!aircheck help")
    reply = {"m.in_reply_to": {"event_id": question}}
    event_id = await bot.session.sending.send(sealed, "m.room.message", {**NOTICE, "m.relates_to": reply}, txn_id="b")
    wrapper = await alice.fetch_event(sealed, event_id)
    assert (wrapper["type"], wrapper["content"]["m.relates_to"]) == ("m.room.encrypted", reply)


async def test_who_comes_late_reads_on_and_who_has_left_does_not(bots: Bots, person: People) -> None:
    """A new member gets the current key; after a member leaves, the next message has a new key."""
    bot, alice, bob = await bots(), await person("alice"), await person("bob")
    room_id = await meet(alice, bot, encrypted=True)
    await bot.session.sending.send(room_id, "m.room.message", NOTICE, txn_id="a")
    first = sealed_by(bot, room_id)
    await alice.invite(room_id, bob.user_id)
    await bob.join(room_id)
    event_id = await bot.session.sending.send(room_id, "m.room.message", NOTICE, txn_id="b")
    await bob.wait_for(lambda event: event.event_id == event_id and not event.sealed)
    assert sealed_by(bot, room_id) == first
    await bob.leave(room_id)
    await bot.session.sending.send(room_id, "m.room.message", NOTICE, txn_id="c")
    assert sealed_by(bot, room_id) != first


async def test_an_older_list_of_members_gives_no_key_to_who_has_left(
    bots: Bots, person: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message whose members were read before somebody left does not share with them the key with which another one is
    sealed that is sent at once."""
    bot, alice, bob = await bots(), await person("alice"), await person("bob")
    room_id = await meet(alice, bot, encrypted=True)
    await alice.invite(room_id, bob.user_id)
    await bob.join(room_id)
    sending, read = bot.session.sending, asyncio.Event()
    left = asyncio.Event()
    ask = sending.joined_members

    async def ask_early(room: RoomId) -> frozenset[UserId]:
        members = await ask(room)
        read.set()
        await left.wait()
        return members

    monkeypatch.setattr(sending, "joined_members", ask_early)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sending.send(room_id, "m.room.message", NOTICE, txn_id="a"))
        await read.wait()
        monkeypatch.setattr(sending, "joined_members", ask)
        await bob.leave(room_id)
        later = tasks.create_task(sending.send(room_id, "m.room.message", NOTICE, txn_id="b"))
        if not sending._sharing[room_id].locked():
            await later
        left.set()
    shared = bot.session.keys.olm.outbound_group_sessions[room_id].users_shared_with
    assert {user for user, _ in shared} == {alice.user_id}


async def test_a_direct_chat(bots: Bots, person: People) -> None:
    """A direct chat is encrypted, closed to others, marked as direct and listed in m.direct."""
    bot, alice = await bots(), await person("alice")
    room_id = await bot.session.sending.create_direct(UserId(alice.user_id))
    assert await alice.wait_for_invite(bot.session.user_id) == room_id
    second = await bot.session.sending.create_direct(UserId(alice.user_id))
    state = {event["type"]: event for event in await bot.session.sending.room_state(room_id)}
    assert state["m.room.encryption"]["content"]["algorithm"] == "m.megolm.v1.aes-sha2"
    assert state["m.room.power_levels"]["content"]["invite"] == 100
    assert state["m.room.history_visibility"]["content"]["history_visibility"] == "joined"
    where = f"/_matrix/client/v3/user/{bot.session.user_id}/account_data/m.direct"
    assert await bot.session.wire.call("GET", where) == {alice.user_id: [room_id, second]}
    await alice.join(room_id)
    assert await bot.session.sending.joined_members(room_id) == {alice.user_id, bot.session.user_id}
    event_id = await bot.session.sending.send(room_id, "m.room.message", NOTICE, txn_id="a")
    await alice.wait_for(lambda event: event.event_id == event_id and event.body == "recording")


async def test_events_are_fetched_decrypted(bots: Bots, person: People) -> None:
    """An event is read decrypted by its id; an unknown id is given up."""
    bot, alice = await bots(), await person("alice")
    room_id = await meet(alice, bot, encrypted=True)
    event_id = EventId(await alice.say(room_id, "this one"))
    await bot.sink.until_body(room_id, "this one")
    heard = await bot.session.sending.get_event(room_id, event_id)
    assert (heard.event["content"]["body"], heard.encrypted) == ("this one", True)
    with pytest.raises(GiveUp) as caught:
        await bot.session.sending.get_event(room_id, EventId("$nothing"))
    assert caught.value.reason == "not_found"


async def test_refusals_say_why(bots: Bots, person: People) -> None:
    """Sending to another's room is forbidden, an invite can be rejected, and a malformed id makes no request."""
    bot, alice = await bots(), await person("alice")
    room_id = RoomId(await alice.create_room())
    with pytest.raises(GiveUp) as caught:
        await bot.session.sending.send(room_id, "m.room.message", NOTICE, txn_id="a")
    assert caught.value.reason == "forbidden"
    with pytest.raises(GiveUp) as caught:
        await bot.session.sending.join(RoomId(".."))
    assert caught.value.reason == "bad_address"
    await alice.invite(room_id, bot.session.user_id)
    await bot.sink.until(lambda: bot.sink.invites())
    await bot.session.sending.leave(room_id)
    await alice.wait_until(lambda: alice.membership(room_id, bot.session.user_id) == "leave" or None)


async def test_before_the_login_all_waits(tmp_path: Path) -> None:
    """Requests before the login are tried again later."""
    settings, clock = make_settings("http://127.0.0.1:9", "@bot:localhost"), Clock()
    session = Session(settings, tmp_path, MemorySink(), Keys(clock), clock)
    with pytest.raises(TryLater):
        await session.sending.join(RoomId("!room"))
    await session.close()
