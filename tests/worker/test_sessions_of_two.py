"""A session of two speakers is announced, reviewed, kept, published and handed back as any other recording."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot import orders, topics
from bot.errors import GiveUp
from bot.intake import announcements
from bot.matrix.media import FetchedMedia
from bot.recording.model import Deleted
from bot.worker import handing_back
from storage import archive, jobs, journal, rooms
from storage.records import Announce, EventId, HeardEvent, MediaSource, Position, Retention, RoomId, Visibility
from tests.recorder.voices import BEN, joined, messages, record_messages, redaction, sessions, voice
from tests.worker.quick import without_ffmpeg
from tests.worker.retained import retained
from tests.worker.test_handing_back import Town, fake, town
from tests.world import ALICE, BOT, ROOM, World, heard

GAP = 601


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ffmpeg(monkeypatch)
    monkeypatch.setattr(handing_back, "make_voice_message", fake)
    monkeypatch.setattr(handing_back, "LEAST_BYTES", 1)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Town]:
    async with town(tmp_path / "data") as made:
        await made.join()
        await made.hear(joined(BEN, "Ben"))
        await record_messages(made)
        yield made


async def rule(world: World, **changes: Any) -> None:
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, **changes))


def both(world: World, first: str = "$1", second: str = "$2") -> tuple[HeardEvent, HeardEvent]:
    return voice(first, world.clock()), voice(second, world.clock(), who=BEN)


async def said(world: Town, *events: HeardEvent) -> None:
    """Let a session be said, and end."""
    await world.hear(*(events or both(world)))
    await world.work()
    world.clock.pass_by(GAP)
    await world.work()


async def test_it_is_handed_back_once_and_goes_with_it(world: Town) -> None:
    """A single voice message of all of it refers to the first; it is never recorded itself, and is redacted with the
    session."""
    await rule(world, replay=True)
    await said(world)
    (content,) = world.homeserver.audio
    (one,) = await sessions(world)
    assert content["m.relates_to"] == {"rel_type": "m.reference", "event_id": "$1"}
    assert (content["info"]["duration"], content["org.aircheck.recording"]) == (3000, one.recording.code)
    await said(world, heard("$back", "m.room.message", content, sender=BOT))
    assert await messages(world) == [["$1", "$2"]]
    assert len(world.homeserver.events) == 1
    async with world.store.write() as db:
        await world.recorder.apply(db, one.recording.id, Deleted())
    await world.work()
    assert world.homeserver.visible == []


async def test_it_is_replaced_when_a_message_heals_or_is_taken_out(world: Town) -> None:
    """Media that come late make another voice message, and so does a redaction."""
    whole = world.download

    async def without_second(source: MediaSource, file: Path, max_bytes: int) -> FetchedMedia:
        if source.mxc.endswith("2"):
            raise GiveUp("the homeserver refused: 404 M_NOT_FOUND", reason="not_found")
        return await whole(source, file, max_bytes)

    world.download = without_second
    await rule(world, replay=True)
    await said(world)
    world.clock.pass_by(700)
    await world.work()
    assert [content["info"]["duration"] for content in world.homeserver.audio] == [1000]
    world.download = whole
    world.clock.pass_by(3600)
    await world.work()
    assert world.homeserver.audio[-1]["org.aircheck.replaces"] == "$handed-back-1"
    assert [content["info"]["duration"] for content in world.homeserver.visible] == [3000]
    await world.hear(redaction("$r", "$1"))
    await world.work()
    assert [content["info"]["duration"] for content in world.homeserver.visible] == [1000]


@pytest.mark.parametrize("announce", Announce)
async def test_it_is_announced_once_at_its_first_message(world: Town, announce: Announce) -> None:
    """By a notice or a reaction when it begins, and a reply to its first message when it is published."""
    await rule(world, announce=announce)
    await said(world)
    async with world.store.read() as db:
        reactions = await jobs.unfinished(db, orders.React.kind)
        notices = {
            orders.Notice.of(job).topic: orders.Notice.of(job) for job in await jobs.unfinished(db, orders.Notice.kind)
        }
    assert [job.subject for job in reactions] == (["$1"] if announce is Announce.QUIET else [])
    begun, told = (notices.get(topic(EventId("$1"))) for topic in (topics.recording_begun, topics.episode_published))
    assert (begun is not None) == (announce is Announce.ON)
    assert (told is not None) == (announce is not Announce.OFF)
    assert told is None or told.reply_to == "$1"
    assert not any(topic.endswith("$2") for topic in notices)


@pytest.mark.parametrize("sent", [True, False])
async def test_its_announcement_does_not_name_who_took_back_all_they_said(world: Town, *, sent: bool) -> None:
    """An announcement that is in the room is edited, another one is sent without names."""
    await said(world)

    async def notices() -> dict[str, orders.Notice]:
        async with world.store.read() as db:
            found = [orders.Notice.of(job) for job in await jobs.unfinished(db, orders.Notice.kind)]
        return {notice.topic: notice for notice in found}

    told = (await notices())[topics.episode_published(EventId("$1"))]
    assert "Ben" in told.body
    if sent:
        async with world.store.write() as db:
            await announcements.said(db, told, EventId("$told"), world.clock())
    await world.hear(redaction("$r", "$2", who=BEN))
    now = await notices()
    assert "Ben" not in now[told.topic].body
    edit = now.get(topics.speaker_gone(EventId("$told")))
    assert (edit is not None) == sent
    assert edit is None or (edit.replaces, "Ben" in edit.body) == ("$told", False)


async def test_its_speakers_hear_it_before_it_is_approved(world: Town) -> None:
    """Both of them, and no other member; one who took back what they said is a speaker no longer."""
    await rule(world, review=True)
    await said(world)
    (one,) = await sessions(world)
    assert one.recording.unreviewed
    assert one.episode is not None
    assert one.episode.published_at is None

    async def waits_for(user: Any) -> bool:
        async with world.store.read() as db:
            return one.recording.id in await archive.unreviewed(db, ROOM, user)

    assert [await waits_for(user) for user in (ALICE, BEN, BOT)] == [True, True, False]
    await world.hear(redaction("$r", "$2", who=BEN))
    assert not await waits_for(BEN)


CLOSING = {
    "encrypted": ("m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}),
    "invited only": ("m.room.join_rules", {"join_rule": "invite"}),
    "history hidden": ("m.room.history_visibility", {"history_visibility": "joined"}),
}


@pytest.mark.parametrize("how", CLOSING)
async def test_what_is_said_after_a_room_closed_itself_is_not_public(world: Town, how: str) -> None:
    """Another session begins, though it follows the public one at once."""
    await world.hear(
        heard("$rule", "m.room.join_rules", {"join_rule": "public"}, state_key=""),
        heard("$open", "m.room.history_visibility", {"history_visibility": "shared"}, state_key=""),
    )
    async with world.store.read() as db:
        since = await journal.position(db)
    await rule(world, visibility=Visibility.PUBLIC, public_since=since)
    kind, content = CLOSING[how]
    closing = heard("$turn", kind, content, state_key="")
    await world.hear(*both(world), closing, *both(world, "$3", "$4"))
    found = [(one.messages, one.recording.public) for one in await sessions(world)]
    assert found == [(["$1", "$2"], True), (["$3", "$4"], False)]


async def test_what_is_said_once_history_is_hidden_is_not_heard_by_who_joins_later(world: Town) -> None:
    """A session that everybody hears ends there, as a broadcast that begins then would be another one."""
    open_, hidden = (
        heard(f"${name}", "m.room.history_visibility", {"history_visibility": name}, state_key="")
        for name in ("shared", "joined")
    )
    await world.hear(open_, *both(world))
    await world.hear(hidden, *both(world, "$3", "$4"))
    found = [(one.messages, str(one.recording.history_visibility)) for one in await sessions(world)]
    assert found == [(["$1", "$2"], "shared"), (["$3", "$4"], "joined")]


async def test_it_does_not_go_on_in_another_room(world: Town) -> None:
    """A room that was upgraded has sessions of its own."""
    other = RoomId("!new:hs")
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, room_id=other, key="other", messages_since=Position(0)))
        await journal.add(db, replace(both(world)[1], room_id=other), world.clock())
    await world.hear(both(world, "$0")[0])
    assert await messages(world) == [["$2"], ["$0"]]


async def test_it_goes_by_retention_as_one_episode(tmp_path: Path) -> None:
    """The room keeps one episode: the older session goes a week after that was told, with all of its messages."""
    async with retained(tmp_path / "data") as world:
        await world.join()
        await world.hear(joined(BEN, "Ben"))
        await record_messages(world)
        for names in (("$1", "$2"), ("$3", "$4")):
            await world.hear(*both(world, *names))
            await world.done()
            world.clock.pass_by(GAP)
            await world.done()
        await world.rule(retention=Retention(episodes=1))
        await world.days(0)
        old, new = await sessions(world)
        assert any(old.recording.code in words for words in world.ears.words)
        assert not any("deleted by retention" in words and new.recording.code in words for words in world.ears.words)
        await world.days(8)
        assert await messages(world) == [["$3", "$4"]]
