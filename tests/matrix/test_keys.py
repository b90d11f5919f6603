"""Room keys that come late or malformed, or when one-time keys have run out."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot.errors import ConfigError
from bot.matrix.keys import Keys
from storage.records import HeardEvent, RoomId, SessionId, UserId, Withheld
from tests.lab import People
from tests.matrix.conftest import Bots
from tests.matrix.running import Running, meet

CLAIM = "/_matrix/client/v3/keys/claim"


async def sealed_in(bot: Running, room_id: RoomId) -> HeardEvent:
    """The first event of the room that the bot could not read."""
    return await bot.sink.until(lambda: next((one for one in bot.sink.heard(room_id) if one.session_id), None))


async def test_a_key_that_comes_late(bots: Bots, person: People) -> None:
    """An event without a key comes as its wrapper, and is decrypted once a batch names the key as new."""
    bot, alice = await bots(), await person("alice")
    room_id = await meet(alice, bot, encrypted=True)
    alice.keys.hold_back([bot.session.user_id])
    await alice.say(room_id, "for later")
    sealed = await sealed_in(bot, room_id)
    assert sealed.event["type"] == "m.room.encrypted"
    assert bot.session.keys.open_sealed(sealed) is None
    await alice.keys.release(room_id)
    await bot.sink.until(lambda: sealed.session_id in frozenset().union(*(one.new_keys for one in bot.sink.batches)))
    opened = bot.session.keys.hear(room_id, sealed.event)
    assert opened is not None
    assert (opened.event_id, opened.session_id, opened.encrypted) == (sealed.event_id, None, True)
    assert opened.event["content"]["body"] == "for later"
    kept = bot.session.keys.open_sealed(sealed)
    assert kept is not None
    assert kept.event == opened.event


async def test_old_keys_are_read_after_a_restart(bots: Bots, person: People) -> None:
    """A key from before a restart decrypts after it."""
    bot, alice = await bots(), await person("alice")
    room_id = await meet(alice, bot, encrypted=True)
    event_id = await alice.say(room_id, "once")
    await bot.sink.until_body(room_id, "once")
    await bot.stop()
    again = await bots(again=bot)
    wrapper = await alice.fetch_event(room_id, event_id)
    opened = again.session.keys.hear(room_id, wrapper)
    assert opened is not None
    assert opened.event["content"]["body"] == "once"


async def test_no_sender_key(bots: Bots, person: People) -> None:
    """An event without sender_key and device_id, as the specification allows, is read."""
    bot, alice = await bots(), await person("alice")
    room_id = await meet(alice, bot, encrypted=True)
    await alice.say(room_id, "first")
    await bot.sink.until_body(room_id, "first")
    _, wrapper = alice._client.encrypt(room_id, "m.room.message", {"msgtype": "m.text", "body": "bare"})
    del wrapper["sender_key"], wrapper["device_id"]
    await alice.send(room_id, "m.room.encrypted", wrapper, encrypt=False)
    assert (await bot.sink.until_body(room_id, "bare")).encrypted


async def test_what_the_sender_wrote_inside_is_not_believed(bots: Bots, person: People) -> None:
    """Sender, ids and state keys inside the ciphertext don't replace those of the homeserver."""
    bot, alice = await bots(), await person("alice")
    room_id = await meet(alice, bot, encrypted=True)
    await alice.say(room_id, "first")
    payload = {
        "type": "m.room.member",
        "state_key": bot.session.user_id,
        "event_id": "$other",
        "sender": "@mallory:localhost",
        "content": {"body": "inside"},
    }
    wrapper = alice._client.olm.group_encrypt(room_id, payload)
    event_id = await alice.send(room_id, "m.room.encrypted", wrapper, encrypt=False)
    heard = await bot.sink.until_body(room_id, "inside")
    assert heard.event_id == event_id
    assert heard.event["sender"] == alice.user_id
    assert "state_key" not in heard.event


async def test_somebody_else_sends_my_message_again(bots: Bots, person: People) -> None:
    """A ciphertext that another member resends is not decrypted as theirs."""
    bot, alice, mallory = await bots(), await person("alice"), await person("mallory")
    room_id = await meet(alice, bot, encrypted=True)
    await alice.invite(room_id, mallory.user_id)
    await mallory.join(room_id)
    first = await alice.say(room_id, "mine")
    await bot.sink.until_body(room_id, "mine")
    wrapper = await alice.fetch_event(room_id, first)
    await mallory.send(room_id, "m.room.encrypted", wrapper["content"], encrypt=False)
    copy = await sealed_in(bot, room_id)
    assert copy.event["sender"] == mallory.user_id


async def test_a_poorer_key_does_not_replace_a_better_one(bots: Bots, person: People) -> None:
    """A room key resent at a later index does not replace the earlier one, also after a restart."""
    bot, alice = await bots(), await person("alice")
    room_id = await meet(alice, bot, encrypted=True)
    early = await alice.say(room_id, "early")
    await alice.say(room_id, "late")
    await bot.sink.until_body(room_id, "late")
    olm, theirs = bot.session.keys.olm, alice._client.olm
    session = theirs.outbound_group_sessions[room_id]
    keys = theirs.account.identity_keys
    olm.create_group_session(keys["curve25519"], keys["ed25519"], room_id, session.id, session.session_key)
    olm.create_group_session("somebody", "else", room_id, session.id, session.session_key)
    await bot.stop()
    again = await bots(again=bot)
    opened = again.session.keys.hear(room_id, await alice.fetch_event(room_id, early))
    assert opened is not None
    assert opened.session_id is None


async def test_a_fallback_key_when_the_others_are_gone(bots: Bots, person: People) -> None:
    """A message sent while all one-time keys were claimed is decrypted by the fallback key."""
    bot, alice, mallory = await bots(), await person("alice"), await person("mallory")
    room_id = await meet(alice, bot, encrypted=True)
    await bot.stop()
    claim = {"one_time_keys": {bot.session.user_id: {bot.session.creds.device_id: "signed_curve25519"}}}
    kinds = []
    for _ in range(51):
        answer = await mallory.api.call("POST", CLAIM, claim)
        given = answer["one_time_keys"][bot.session.user_id][bot.session.creds.device_id]
        kinds.append(next(iter(given.values())).get("fallback", False))
    assert kinds == [False] * 50 + [True]
    await alice.say(room_id, "by the last key")
    again = await bots(again=bot)
    await again.sink.until_body(room_id, "by the last key")
    assert again.session._chores is not None
    await asyncio.wait({again.session._chores})
    answer = await mallory.api.call("POST", CLAIM, claim)
    fresh = answer["one_time_keys"][bot.session.user_id][bot.session.creds.device_id]
    assert not next(iter(fresh.values())).get("fallback", False)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "m.room.encrypted", "content": {}},
        {"type": "m.room.encrypted", "sender": "@a:b", "content": {"algorithm": "m.olm.v1.curve25519-aes-sha2"}},
        {"type": "m.room.encrypted"},
        {"type": "m.room_key.withheld", "content": {"session_id": 3, "code": []}},
        {"type": ["m.room.encrypted"], "content": {"ciphertext": 1}},
        {"type": "m.room_key_request", "sender": "@a:b", "content": {"action": "request"}},
    ],
)
async def test_a_strange_event_to_the_device(bots: Bots, event: dict[str, Any]) -> None:
    """Nothing that a stranger sends to the device stops the sync."""
    bot = await bots()
    assert await bot.session.keys.take_to_device([event]) == ()
    own = bot.session.keys.olm.account.identity_keys["curve25519"]
    content = {
        "algorithm": "m.olm.v1.curve25519-aes-sha2",
        "sender_key": own,
        "ciphertext": {own: {"type": 0, "body": "AwoA"}},
    }
    assert (
        await bot.session.keys.take_to_device([{"type": "m.room.encrypted", "sender": "@a:b", "content": content}])
        == ()
    )


async def test_withheld_keys_are_told(bots: Bots, person: People) -> None:
    """A note on a withheld key comes in the batch with its sender and code."""
    bot, alice = await bots(), await person("alice")
    await meet(alice, bot, encrypted=True)
    content = {"session_id": "session", "code": "m.unverified", "algorithm": "m.megolm.v1.aes-sha2"}
    body = {"messages": {bot.session.user_id: {bot.session.creds.device_id: content}}}
    await alice.api.call("PUT", "/_matrix/client/v3/sendToDevice/m.room_key.withheld/1", body)
    found = await bot.sink.until(lambda: [pair for batch in bot.sink.batches for pair in batch.withheld])
    assert found == [Withheld(SessionId("session"), UserId(alice.user_id), "m.unverified")]


async def test_keys_of_another_client_are_imported(bots: Bots, person: People, tmp_path: Path) -> None:
    """An exported key decrypts an older message; a wrong passphrase is a configuration error."""
    bot, alice = await bots(), await person("alice")
    room_id = await meet(alice, bot, encrypted=True)
    alice.keys.hold_back([bot.session.user_id])
    await alice.say(room_id, "exported")
    sealed = await sealed_in(bot, room_id)
    file = tmp_path / "keys.txt"
    await alice.export_keys(file, "open sesame")
    with pytest.raises(ConfigError):
        await bot.session.keys.import_keys(file, "wrong")
    assert sealed.session_id in (await bot.session.keys.import_keys(file, "open sesame")).sessions
    assert bot.session.keys.open_sealed(sealed) is not None
    again = await bot.session.keys.import_keys(file, "open sesame")
    assert (again.sessions, again.new, again.refused) == (frozenset(), 0, ())
    assert again.known


def test_before_the_login_nothing_can_be_read() -> None:
    """Without an open key store an encrypted event stays encrypted."""
    keys = Keys(lambda: datetime.now(UTC))
    content = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x", "session_id": "s"}
    event = {"type": "m.room.encrypted", "event_id": "$e", "sender": "@a:b", "content": content}
    heard = keys.hear(RoomId("!r"), event)
    assert heard is not None
    assert heard.session_id == "s"
