"""The broadcaster against the captures of a real Element Web."""

import json
from typing import Any

import pytest

from bot.demo.broadcaster import Broadcaster, Info
from bot.demo.people import INFO_TYPE, Person, Uploaded
from bot.demo.received import Received
from bot.demo.slicing import speech
from storage.records import Json
from tests.demo.test_slicing import joined, pages
from tests.lab import DATA, People, decode

# What says something of the dialect and not of the moment: compared as it is, the rest by its kind.
WORDS = {"state", "msgtype", "body", "rel_type", "mimetype", "name", "v", "alg", "kty", "ext", "key_ops", "algorithm"}
WORDS |= {"sequence", "last_chunk_sequence", "chunk_length", "org.matrix.msc1767.text"}


def shape(value: object, key: str = "") -> object:
    """Reduce a value to its keys and types; keep strings."""
    if isinstance(value, dict):
        return {name: shape(content, name) for name, content in value.items()}
    return value if key in WORDS else type(value).__name__


def captured(folder: str) -> list[tuple[object, object, object]]:
    events = json.loads((DATA / "element_web" / folder / "events.json").read_text())
    return [described(entry["event"], entry["decrypted"]) for entry in events]


def described(event: Json, decrypted: Json | None) -> tuple[object, object, object]:
    """Type, shape of the content, shape of what was encrypted in it."""
    inside = {key: decrypted[key] for key in ("type", "content")} if decrypted else None
    return event["type"], shape(dict(event["content"])), shape(inside) if inside else None


async def world(person: People, *, encrypted: bool) -> tuple[Broadcaster, Person]:
    """A broadcaster, and a listener in the same room."""
    alice, bob = await person("alice"), await person("bob")
    room = await alice.create_room("studio", encrypted=encrypted, invite=[bob.user_id])
    await bob.wait_for_invite(alice.user_id)
    await bob.join(room)
    return Broadcaster(alice, room), bob


async def broadcast_like_the_capture(broadcaster: Broadcaster) -> None:
    await broadcaster.start()
    await broadcaster.speak(speech(1)[:647])
    await broadcaster.pause()
    await broadcaster.resume()
    await broadcaster.speak(speech(2)[:455])
    await broadcaster.stop()


async def heard(listener: Person, broadcaster: Broadcaster) -> list[Received]:
    """The broadcast's events in the room's order, to the end."""
    await listener.wait_for(lambda event: event.type == INFO_TYPE and event.content["state"] == Info.STOPPED)
    return [
        event
        for event in listener.received
        if event.event_id == broadcaster.broadcast_id
        or event.content.get("m.relates_to", {}).get("event_id") == broadcaster.broadcast_id
    ]


def media_of(content: Json) -> Uploaded:
    if "url" in content:
        return Uploaded(str(content["url"]))
    file: dict[str, Any] = content["file"]
    return Uploaded(file["url"], file)


@pytest.mark.parametrize("folder", ["plain", "encrypted"])
async def test_a_broadcast_looks_like_a_real_one(person: People, folder: str) -> None:
    """Events, their order and every key of them are those that a real Element Web sent."""
    broadcaster, bob = await world(person, encrypted=folder == "encrypted")
    await broadcast_like_the_capture(broadcaster)
    seen = []
    for event in await heard(bob, broadcaster):
        raw = await bob.fetch_event(broadcaster.room_id, event.event_id)
        seen.append(described(raw, event.event if raw["type"] == "m.room.encrypted" else None))
        assert (raw["sender"], raw.get("state_key")) in (
            (broadcaster.person.user_id, None),
            (broadcaster.person.user_id, broadcaster.person.user_id),
        )
    assert seen == captured(folder)


@pytest.mark.parametrize("encrypted", [False, True])
async def test_chunks_join_to_the_truth(person: People, encrypted: bool) -> None:
    """The downloaded chunks of each run join to the broadcaster's own whole file, of the exact length."""
    broadcaster, bob = await world(person, encrypted=encrypted)
    await broadcast_like_the_capture(broadcaster)
    chunks = [event.content for event in await heard(bob, broadcaster) if event.type == "m.room.message"]
    media = [await bob.download(media_of(content)) for content in chunks]
    assert [len(data) for data in media] == [content["info"]["size"] for content in chunks]
    runs: dict[int, list[bytes]] = {}
    for data in media:
        runs.setdefault(pages(data)[0].serial, []).append(data)
    whole = [joined(chunks_of_run) for chunks_of_run in runs.values()]
    assert whole == broadcaster.truth_ogg()
    assert sum(len(decode(data)) for data in whole) == broadcaster.samples == (647 + 455) * 960 - 2 * 3840


async def test_each_run_has_a_serial_of_its_own(person: People) -> None:
    """After a pause pages and granules begin anew under another serial, and the numbers of chunks go on."""
    broadcaster, _ = await world(person, encrypted=False)
    await broadcast_like_the_capture(broadcaster)
    first, second = (pages(data) for data in broadcaster.truth_ogg())
    assert first[0].serial != second[0].serial
    assert first[2].granule == second[2].granule == 38_400
    assert list(broadcaster.chunks.values()) == [1, 2, 3, 4, 5]


async def test_wrong_ways(person: People) -> None:
    """Chunks can be sent late, twice, in another order, with any number, by a stranger, and as plain messages."""
    broadcaster, bob = await world(person, encrypted=True)
    await broadcaster.start()
    one, two, *_ = broadcaster.cut(speech(1))
    media = await broadcaster.upload(one)
    await broadcaster.send_chunk(two, sequence=2)
    again = [await broadcaster.send_chunk(one, sequence=1, media=media) for _ in range(2)]
    foreign = await broadcaster.send_chunk(one, sequence=3, sender=bob)
    bare = await broadcaster.send_voice_message(one)
    await broadcaster.tell(Info.STOPPED, {"last_chunk_sequence": None, "device_id": None})
    late = await broadcaster.send_chunk(broadcaster.end_run(), sequence=9)
    events = {event.event_id: event for event in await heard(bob, broadcaster)}
    events[late] = await bob.wait_for(lambda event: event.event_id == late)
    assert [events[event_id].content["file"]["url"] for event_id in again] == [media.mxc] * 2
    assert events[foreign].sender == bob.user_id
    assert list(broadcaster.chunks.values()) == [2, 1, 1, 3, 9]
    message = await bob.wait_for(lambda event: event.event_id == bare)
    assert "m.relates_to" not in message.content
    stopped = next(event for event in events.values() if event.content.get("state") == Info.STOPPED)
    assert set(stopped.content) == {"state", "m.relates_to"}


async def test_a_lost_end(person: People) -> None:
    """A run that is not ended has no end mark, and what was not sent of it is not in the truth."""
    broadcaster, _ = await world(person, encrypted=False)
    await broadcaster.start()
    await broadcaster.speak(speech(1)[:300])
    broadcaster.begin_run()
    await broadcaster.speak(speech(2)[:90])
    await broadcaster.stop()
    lost, whole = (pages(data) for data in broadcaster.truth_ogg())
    assert (len(lost), lost[-1].ends, whole[-1].ends) == (2 + 7, False, True)
    assert broadcaster.samples == (280 + 90) * 960 - 2 * 3840


async def test_speaking_at_the_pace_of_sound(person: People) -> None:
    """With a `wait` each chunk is preceded by as many seconds as it holds."""
    broadcaster, _ = await world(person, encrypted=False)
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    await broadcaster.start()
    await broadcaster.speak(speech(1)[:600], wait=wait)
    assert waited == [5.6, 5.6]
