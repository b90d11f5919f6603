"""The homeserver and the people that other tests use."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bot.demo.client_api import Refused
from bot.demo.people import Person, Uploaded
from bot.demo.received import Received
from bot.demo.synapse import Homeserver
from bot.errors import StartError
from tests.lab import People
from tests.ports import free_port


def is_event(event_id: str, *, sealed: bool = False) -> Callable[[Received], bool]:
    return lambda event: (event.event_id, event.sealed) == (event_id, sealed)


async def meet(alice: Person, others: Sequence[Person], *, encrypted: bool) -> str:
    """Create a room that all of them have joined."""
    room = await alice.create_room("tea", encrypted=encrypted, invite=[other.user_id for other in others])
    for other in others:
        assert await other.wait_for_invite(alice.user_id) == room
        await other.join(room)
    return room


async def test_people_speak_in_an_encrypted_room(person: People) -> None:
    """A message in an encrypted room is read by the other members and encrypted on the homeserver."""
    alice, bob = await person("alice"), await person("bob")
    room = await meet(alice, [bob], encrypted=True)
    event_id = await alice.say(room, "hello")
    heard = await bob.wait_for(lambda event: event.event_id == event_id)
    assert (heard.sealed, heard.body, heard.sender) == (False, "hello", alice.user_id)
    assert (await bob.fetch_event(room, event_id))["type"] == "m.room.encrypted"
    answer = await bob.say(room, "hi", reply_to=event_id)
    assert (await alice.wait_for(lambda event: event.event_id == answer)).body == "hi"


async def test_each_event_is_waited_for_once(person: People) -> None:
    """Two waits for the same thing return two events, also when both came before."""
    alice = await person("alice")
    room = await alice.create_room()
    first, second = await alice.say(room, "once"), await alice.say(room, "once")
    found = [(await alice.wait_for(lambda event: event.body == "once")).event_id for _ in range(2)]
    assert found == [first, second]
    with pytest.raises(TimeoutError, match=r"waited 0\.1 s in vain"):
        await alice.wait_for(lambda event: event.body == "once", timeout=0.1)


async def test_a_newcomer_reads_what_is_said_from_then_on(person: People) -> None:
    """Somebody who joins an encrypted room gets the key of the next message and not of those before."""
    alice, bob, carol = await person("alice"), await person("bob"), await person("carol")
    room = await meet(alice, [bob], encrypted=True)
    before = await alice.say(room, "before")
    await alice.invite(room, carol.user_id)
    await carol.wait_for_invite(alice.user_id)
    await carol.join(room)
    after = await alice.say(room, "after")
    assert (await carol.wait_for(is_event(after))).body == "after"
    assert (await carol.wait_for(is_event(before, sealed=True))).sealed
    assert not [event for event in carol.received if event.event_id == before and not event.sealed]


async def test_a_second_device_reads_too(person: People) -> None:
    """A device that logs in later gets the keys of what its own account's other device says."""
    alice = await person("alice")
    room = await alice.create_room(encrypted=True)
    await alice.say(room, "alone")
    phone = await person("phone", account=alice.user_id)
    event_id = await alice.say(room, "both")
    assert (await phone.wait_for(lambda event: event.event_id == event_id)).body == "both"
    assert phone.device_id != alice.device_id


async def test_a_late_key_opens_what_was_sealed(person: People) -> None:
    """An event whose key is held back can't be read, others in the room read it, and the key opens it later."""
    alice, bob, carol = await person("alice"), await person("bob"), await person("carol")
    room = await meet(alice, [bob, carol], encrypted=True)
    await bob.wait_for(is_event(await alice.say(room, "with key")))
    alice.keys.hold_back([bob.user_id])
    sealed = [await alice.say(room, "one"), await alice.say(room, "two")]
    for event_id in sealed:
        assert (await bob.wait_for(is_event(event_id, sealed=True))).type == "m.room.encrypted"
    assert (await carol.wait_for(is_event(sealed[0]))).body == "one"
    await alice.keys.release(room)
    assert [(await bob.wait_for(is_event(event_id))).body for event_id in sealed] == ["one", "two"]


async def test_room_commands(person: People) -> None:
    """Reactions, redactions, power levels, profile, kick and ban arrive at the others."""
    alice, bob = await person("alice"), await person("bob")
    room = await meet(alice, [bob], encrypted=False)
    said = await alice.say(room, "oops")
    await bob.react(room, said, "👍")
    reaction = await alice.wait_for(lambda event: event.type == "m.reaction")
    assert reaction.content["m.relates_to"]["key"] == "👍"
    await alice.redact(room, said)
    await bob.wait_for(lambda event: event.type == "m.room.redaction" and event.event["redacts"] == said)
    with pytest.raises(Refused, match="M_FORBIDDEN"):
        await bob.kick(room, alice.user_id)
    await alice.set_power(room, {bob.user_id: 50})
    assert (await bob.state(room, "m.room.power_levels"))["users"][bob.user_id] == 50
    await bob.set_profile(name="Bob B.", avatar="mxc://localhost/face")
    await alice.wait_for(lambda event: event.content.get("displayname") == "Bob B.")
    await alice.kick(room, bob.user_id)
    await alice.wait_until(lambda: alice.membership(room, bob.user_id) == "leave" or None)
    await alice.ban(room, bob.user_id)
    await alice.wait_until(lambda: alice.membership(room, bob.user_id) == "ban" or None)


async def test_a_direct_chat(person: People) -> None:
    """An invite to a direct chat is heard as such, and can be taken."""
    alice, bob = await person("alice"), await person("bob")
    room = await alice.create_room(encrypted=True, invite=[bob.user_id], direct=True)
    assert await bob.wait_for_invite(alice.user_id) == room
    assert (await alice.state(room, "m.room.member", bob.user_id))["is_direct"] is True
    await bob.join(room)
    assert bob.invites == {}


@pytest.mark.parametrize("encrypted", [False, True])
async def test_media(person: People, encrypted: bool) -> None:
    """Uploaded media come back as they were, lying encrypted on the homeserver where that was asked for."""
    alice = await person("alice")
    media = await alice.upload(b"sound" * 1000, "audio/ogg", encrypted=encrypted)
    assert await alice.download(media) == b"sound" * 1000
    assert (await alice.download(Uploaded(media.mxc)) == b"sound" * 1000) is not encrypted


async def test_exported_keys_are_those_of_the_room(person: People, tmp_path: Path) -> None:
    """A person's exported keys are written as clients write them."""
    alice = await person("alice")
    await alice.say(await alice.create_room(encrypted=True), "for the file")
    await alice.export_keys(tmp_path / "keys.txt", "passphrase")
    assert (tmp_path / "keys.txt").read_text().startswith("-----BEGIN MEGOLM SESSION DATA-----")


async def test_a_restart_keeps_data_and_sessions(person: People, homeserver: Homeserver) -> None:
    """After a restart or a crash of the homeserver, rooms and devices are there under the same address."""
    alice, bob = await person("alice"), await person("bob")
    room = await meet(alice, [bob], encrypted=True)
    said = await alice.say(room, "before")
    address = homeserver.address
    await homeserver.restart()
    await homeserver.kill()
    await homeserver.restart()
    assert homeserver.address == address
    assert (await bob.wait_for(is_event(said))).body == "before"
    assert (await bob.wait_for(is_event(await alice.say(room, "after")))).body == "after"


async def test_no_homeserver_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without matrix-synapse the error names the extra to install."""
    monkeypatch.setattr("bot.demo.synapse.find_spec", lambda name: None)
    with pytest.raises(StartError, match=r"matrix-aircheck\[demo\]"):
        await Homeserver.start(tmp_path)


async def test_a_homeserver_on_a_port_in_use(tmp_path: Path, homeserver: Homeserver) -> None:
    """An error names a port in use at once."""
    with pytest.raises(StartError, match=f"port {homeserver.port} on 127.0.0.1 is in use"):
        await Homeserver.start(tmp_path, port=homeserver.port)


async def test_a_homeserver_that_dies_at_its_start(tmp_path: Path) -> None:
    """When the homeserver can't start, the error holds the end of its log."""
    with pytest.raises(StartError, match=r"ended while it started(.|\n)*Server name"):
        await Homeserver.start(tmp_path, port=free_port(), server_name="not a name")


def test_received_reads_hostile_content() -> None:
    """Properties of an event without the usual keys are empty, not errors."""
    event = Received("!r", {})
    assert (event.type, event.sender, event.event_id, event.body, dict(event.content)) == ("", "", "", "", {})
