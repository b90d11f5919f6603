"""The session against a real homeserver."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bot.demo.synapse import Homeserver
from bot.errors import ConfigError
from bot.matrix.identity import IdentityState
from bot.matrix.poll import LONG_POLL_S
from bot.matrix.wire import Backoff, Wire
from bot.worker.room_history import RoomHistory
from storage.records import HeardEvent, RoomId
from tests.lab import People
from tests.matrix.conftest import Bots
from tests.matrix.running import WAIT_S, Running, make_settings, meet

LOGOUT = "/_matrix/client/v3/logout"


async def test_hears_plain_and_encrypted(bots: Bots, person: People) -> None:
    """An encrypted event comes decrypted, marked as encrypted, with its relation in clear."""
    bot, alice = await bots(), await person("alice")
    room_id = await meet(alice, bot, encrypted=True)
    relation = {"rel_type": "m.reference", "event_id": await alice.say(room_id, "started")}
    await alice.send(room_id, "m.room.message", {"msgtype": "m.text", "body": "sealed", "m.relates_to": relation})
    heard = await bot.sink.until_body(room_id, "sealed")
    assert (heard.encrypted, heard.session_id, heard.history) == (True, None, False)
    assert heard.clear_relation == relation
    assert heard.event["sender"] == alice.user_id
    assert heard.event["type"] == "m.room.message"
    await alice.send(room_id, "m.room.message", {"msgtype": "m.text", "body": "clear"}, encrypt=False)
    plain = await bot.sink.until_body(room_id, "clear")
    assert not plain.encrypted
    assert plain.clear_relation is None


async def test_wrong_password_ends_with_a_sentence(homeserver: Homeserver, bots: Bots, tmp_path: Path) -> None:
    """A wrong password is a configuration error that names the setting and not the password."""
    running = Running(make_settings(homeserver.address, await bots.account(), "hunter2"), tmp_path)
    with pytest.raises(ConfigError, match=r"matrix\.password") as caught:
        await running.task
    assert "hunter2" not in str(caught.value)


async def test_no_password_ends_with_a_sentence(homeserver: Homeserver, bots: Bots, tmp_path: Path) -> None:
    """Without session and password the error names the setting."""
    running = Running(make_settings(homeserver.address, await bots.account(), None), tmp_path)
    with pytest.raises(ConfigError, match=r"matrix\.password"):
        await running.task


async def test_data_of_another_account_are_refused(homeserver: Homeserver, bots: Bots) -> None:
    """A changed matrix.user_id does not take over the other account's device."""
    first = await bots()
    await first.stop()
    running = Running(make_settings(homeserver.address, await bots.account()), first.directory)
    with pytest.raises(ConfigError, match=r"matrix\.user_id"):
        await running.task


async def test_a_stop_drops_the_long_poll(bots: Bots, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop in the middle of a long poll cancels its request instead of waiting for the answer."""
    call, began, ended = Wire.call, asyncio.Event(), list[str]()

    async def watched(wire: Wire, method: str, path: str, **options: Any) -> dict[str, Any]:
        if options.get("query", {}).get("timeout") != str(LONG_POLL_S * 1000):
            return await call(wire, method, path, **options)
        began.set()
        try:
            answer = await call(wire, method, path, **options)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        ended.append("answered")
        return answer

    monkeypatch.setattr(Wire, "call", watched)
    bot = await bots()
    await began.wait()
    ended.clear()
    await bot.stop()
    assert ended == ["cancelled"]


async def test_files_are_private(bots: Bots) -> None:
    """Only their owner can read session, keys and their folder."""
    bot = await bots()
    await bot.stop()
    modes = {file.name: file.stat().st_mode & 0o777 for file in (bot.directory / "matrix").iterdir()}
    assert set(modes.values()) == {0o600}
    assert (bot.directory / "matrix").stat().st_mode & 0o777 == 0o700


async def test_a_gap_is_told_and_can_be_walked(bots: Bots, person: People) -> None:
    """After a limited timeline, pages of history from the batch's cursor bring every event up to the last known one."""
    bot, alice = await bots(), await person("alice")
    room_id = await meet(alice, bot, encrypted=True)
    await alice.say(room_id, "before")
    await bot.sink.until_body(room_id, "before")
    await bot.stop()
    said = [f"message {number}" for number in range(130)]
    for text in said:
        await alice.say(room_id, text)
    again = await bots(again=bot)
    await again.sink.until_body(room_id, said[-1])
    gaps = [
        room.limited for batch in again.sink.batches for room in batch.rooms if room.room_id == room_id and room.limited
    ]
    gap, past, walked = gaps[-1], RoomHistory(again.session), list[HeardEvent]()
    cursor: str | None = gap.cursor
    while cursor is not None:
        page, cursor = await past.page(room_id, cursor, gap.until_token)
        walked += page
    in_gap = [one.event["content"]["body"] for one in reversed(walked) if "body" in one.event["content"]]
    assert ["before", *in_gap, *again.sink.bodies(room_id)[1:]] == ["before", *said]
    assert all(one.history for one in walked)
    assert len(walked) >= 80


async def test_invites_while_the_bot_was_down(bots: Bots, person: People) -> None:
    """An invite from while the bot was down comes at the next start, with the inviter and whether it is direct."""
    bot, alice = await bots(), await person("alice")
    await bot.stop()
    direct = await alice.create_room(invite=[bot.session.user_id], direct=True, encrypted=True)
    other = await alice.create_room(invite=[bot.session.user_id])
    again = await bots(again=bot)
    invites = {invite.room_id: invite for invite in again.sink.invites()}
    assert set(invites) == {direct, other}
    assert (invites[RoomId(direct)].direct, invites[RoomId(direct)].encrypted) == (True, True)
    assert (invites[RoomId(other)].direct, invites[RoomId(other)].encrypted) == (False, False)
    assert invites[RoomId(direct)].inviter == alice.user_id


async def test_a_retracted_invite(bots: Bots, person: People) -> None:
    """A withdrawn invite comes as retracted, not as a left room."""
    bot, alice = await bots(), await person("alice")
    room_id = await alice.create_room(invite=[bot.session.user_id])
    await bot.sink.until(lambda: bot.sink.invites())
    await alice.kick(room_id, bot.session.user_id)
    await bot.sink.until(lambda: [one for batch in bot.sink.batches for one in batch.retracted if one == room_id])
    assert not [room for batch in bot.sink.batches for room in batch.rooms]


async def test_a_left_room(bots: Bots, person: People) -> None:
    """A room that the bot was kicked from comes as not joined."""
    bot, alice = await bots(), await person("alice")
    room_id = await meet(alice, bot)
    await alice.kick(room_id, bot.session.user_id)
    await bot.sink.until(
        lambda: [r for b in bot.sink.batches for r in b.rooms if r.room_id == room_id and not r.joined]
    )


async def test_a_batch_that_was_not_written_comes_again(bots: Bots, person: People) -> None:
    """After a failure of the sink the same events come again, decrypted, with their new keys."""
    bot, alice = await bots(), await person("alice")
    room_id = await meet(alice, bot, encrypted=True)
    bot.sink.failures = 2
    await alice.say(room_id, "twice")
    heard = await bot.sink.until_body(room_id, "twice")
    assert len(bot.sink.refused) == 2
    assert bot.sink.bodies(room_id) == ["twice"]
    wrapper = await bot.session.wire.call("GET", f"/_matrix/client/v3/rooms/{room_id}/event/{heard.event_id}")
    keys = [batch.new_keys for batch in bot.sink.batches if batch.new_keys]
    assert wrapper["content"]["session_id"] in frozenset().union(*keys)


async def test_a_revoked_token_is_replaced_once(bots: Bots, person: People) -> None:
    """After a revoked token the bot logs in again as the same device; after the second one it ends."""
    bot, alice = await bots(), await person("alice")
    room_id = await meet(alice, bot, encrypted=True)
    device, token = bot.session.creds.device_id, bot.session.wire.token
    await bot.session.wire.call("POST", LOGOUT, body={})
    await bot.sink.until(lambda: bot.session.wire.token not in (None, token))
    bob = await person("bob")  # nio never uses a device again that was away once: somebody who has not seen it go
    await alice.invite(room_id, bob.user_id)
    await bob.join(room_id)
    await bob.say(room_id, "after the new login")
    await bot.sink.until_body(room_id, "after the new login")
    assert bot.session.creds.device_id == device
    assert bot.session.identity.state is IdentityState.OK
    stored = json.loads((bot.directory / "matrix" / "session.json").read_text())
    assert stored["access_token"] == bot.session.wire.token
    await bot.session.wire.call("POST", LOGOUT, body={})
    with pytest.raises(ConfigError, match="keeps ending the session"):
        async with asyncio.timeout(WAIT_S):
            await bot.task


async def test_waits_for_a_homeserver_and_survives_its_restart(
    homeserver: Homeserver, bots: Bots, person: People, caplog: pytest.LogCaptureFixture
) -> None:
    """The bot waits for a homeserver that is away, before and after the login, and logs one line at each change."""
    caplog.set_level("INFO", "bot")
    user_id, alice = await bots.account(), await person("alice")
    await homeserver.stop()
    starting = asyncio.create_task(bots(user_id=user_id))
    while not [one for one in caplog.messages if "no news from the homeserver" in one]:
        await asyncio.wait({starting}, timeout=0.05)
    assert not starting.done()
    await homeserver.restart()
    bot = await starting
    room_id = await meet(alice, bot)
    await homeserver.restart()
    await alice.say(room_id, "after the restart")
    await bot.sink.until_body(room_id, "after the restart")
    assert len([one for one in caplog.messages if "no news from the homeserver" in one]) == 2
    assert len([one for one in caplog.messages if "the homeserver is back" in one]) == 2


async def test_stop_while_waiting_for_the_homeserver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop ends the pause before the next attempt, here one of an hour."""
    monkeypatch.setattr(Backoff, "next", lambda *_: 3600.0)
    running = Running(make_settings("http://127.0.0.1:9", "@bot:localhost"), tmp_path)
    while not running.session._away:
        await asyncio.wait({running.task}, timeout=0.02)
    await running.stop()
