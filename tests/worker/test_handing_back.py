"""Handing back: each recording is posted once, follows its sound, and goes when it goes, wherever the process dies."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from bot import orders
from bot.audio.opus_parts import Part
from bot.audio.plan import Piece, length
from bot.errors import GiveUp
from bot.intake import disclosing
from bot.matrix.sending import Sending
from bot.matrix.uploads import TooLarge, Uploads
from bot.recording.model import Deleted, Silenced
from bot.worker import handing_back
from bot.worker.handing_back import HandingBack
from bot.worker.room_history import RoomHistory
from bot.worker.unsending import Unsending
from storage import archive, found_again, handed_back, jobs, journal
from storage.place import Place
from storage.records import EncryptedFile, EventId, HeardEvent, Json, MediaSource, MxcUri, RoomId, Samples, UserId
from tests.booth import Booth
from tests.worker.mortal import BIG, MortalHomeserver, MortalTown
from tests.worker.quick import every, without_ffmpeg
from tests.world import (
    BOT,
    ROOM,
    START,
    Killed,
    Mortal,
    chunk,
    heard,
    info,
    state,
)

C1, C3 = EventId("$c1"), EventId("$c3")
OURS = (orders.HandBack.kind, orders.HandBackPart.kind, orders.Unsend.kind)
REDACTION = heard("$r", "m.room.redaction", {}, redacts=C1)


class Homeserver(MortalHomeserver):
    """A homeserver that knows transactions, and dies at the n-th request: before it is taken, or before its answer is
    read."""

    def __init__(self) -> None:
        super().__init__()
        self.events: dict[str, Json] = {}  # by transaction: the same one is the same event
        self.redacted: set[str] = set()
        self.uploaded: list[bytes] = []
        self.largest = BIG
        self.encrypted = False
        self.refuses = False

    async def is_encrypted(self, room_id: RoomId) -> bool:
        return self.encrypted

    async def send(self, room_id: RoomId, kind: str, content: Json, *, txn_id: str) -> EventId:
        if self.refuses:
            raise GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
        async with self.request("send"):
            self.events.setdefault(txn_id, content)
        return EventId(f"${txn_id}")

    async def redact(self, room_id: RoomId, event_id: EventId, *, txn_id: str) -> None:
        if self.refuses:
            raise GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
        async with self.request("redact"):
            self.redacted.add(event_id)

    async def referring(
        self, room_id: RoomId, event_id: EventId, sender: UserId
    ) -> AsyncIterator[tuple[HeardEvent, ...]]:
        for name, content in self.events.items():
            if f"${name}" not in self.redacted and content.get("m.relates_to", {}).get("event_id") == event_id:
                yield (heard(f"${name}", "m.room.message", content),)

    def forget_transactions(self) -> None:
        """Take each request for a new one, as after a day."""
        self.events = {f"{name}-before": content for name, content in self.events.items()}
        self.redacted = {f"{name}-before" for name in self.redacted}

    async def limit(self) -> int:
        return self.largest

    async def upload(self, file: Path, mimetype: str, *, name: str, sealed: bool) -> MediaSource:
        data = await asyncio.to_thread(file.read_bytes)
        async with self.request("upload"):
            if len(data) > self.largest:
                raise TooLarge(self.largest)
            self.uploaded.append(data)
        file_key = EncryptedFile("k", "iv", "hash") if sealed else None
        return MediaSource(MxcUri(f"mxc://hs/{len(self.uploaded)}"), file_key)

    @property
    def audio(self) -> list[Json]:
        """The voice messages that were ever posted, in order."""
        return [content for content in self.events.values() if content["msgtype"] == "m.audio"]

    @property
    def visible(self) -> list[Json]:
        """The contents that are not redacted."""
        return [content for name, content in self.events.items() if f"${name}" not in self.redacted]


class Town(MortalTown):
    """A world that hands back, over a homeserver that outlives it."""

    homeserver: Homeserver
    ours = OURS

    def __init__(self, store: Mortal, homeserver: Homeserver) -> None:
        super().__init__(store, homeserver)

    def _begin(self) -> None:
        super()._begin()
        sending, uploads = cast("Sending", self.homeserver), cast("Uploads", self.homeserver)
        history = cast("RoomHistory", self.homeserver)
        handing_back = self._counted(
            HandingBack(self.store, self.settings, self.ffmpeg, sending, uploads, history, us=BOT, clock=self.clock)
        )
        self.handlers |= {
            orders.HandBack.kind: handing_back,
            orders.HandBackPart.kind: handing_back,
            orders.Unsend.kind: self._counted(Unsending(self.store, sending)),
        }

    async def stop(self, *, last: int = 2) -> None:
        await self.hear(info("$stop", "stopped", last_chunk_sequence=last))
        self.clock.pass_by(61)
        await self.work()

    async def handed_back(self) -> None:
        """Broadcast two chunks, and work until all is done."""
        await self.begin(chunk("$c1", 1), chunk("$c2", 2))
        await self.stop()

    async def delete(self) -> None:
        async with self.store.write() as db:
            await self.recorder.apply(db, (await self.recording()).id, Deleted())


@asynccontextmanager
async def town(directory: Path, homeserver: Homeserver | None = None) -> AsyncIterator[Town]:
    store = await Mortal.own(Place(directory))
    assert isinstance(store, Mortal)
    try:
        yield Town(store, homeserver or Homeserver())
    finally:
        await store.close()


async def fake(pieces: Sequence[Piece], channels: int, folder: Path, *, max_bytes: int, **_: Any) -> list[Part]:
    """Write files that are as long as the sound is in milliseconds, and say which sound it is."""
    sound, parts = hashlib.sha256(repr(pieces).encode()).digest(), []
    for first in range(0, length(pieces), max_bytes * 48):
        samples = min(max_bytes * 48, length(pieces) - first)
        data = sound * (samples // 48 // len(sound)) + b"." * (samples // 48 % len(sound))
        path = folder / str(first)
        await asyncio.to_thread(path.write_bytes, data)
        digest = hashlib.sha256(data).hexdigest()
        parts.append(Part(path, Samples(first), Samples(samples), len(data), digest))
    return parts


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ffmpeg(monkeypatch)
    monkeypatch.setattr(handing_back, "make_voice_message", fake)
    monkeypatch.setattr(handing_back, "LEAST_BYTES", 1)


@pytest.fixture
async def begun(tmp_path: Path) -> Path:
    """Prepare a store with a room that is recorded and wants voice messages, for copies of it."""
    async with town(tmp_path / "begun") as world:
        await world.join()
        await world.policy(replay=True)
    return tmp_path / "begun"


@pytest.fixture
async def world(begun: Path) -> AsyncIterator[Town]:
    async with town(begun) as made:
        yield made


async def test_it_is_replaced_when_it_heals_and_when_a_chunk_is_redacted(world: Town) -> None:
    """A new message follows that names the one that it replaces, which is redacted: after the new one for a chunk that
    came late, before it for a chunk that was redacted."""
    server = world.homeserver
    await world.begin(chunk("$c1", 1), chunk("$c2", 2))
    await world.stop(last=3)
    await world.hear(chunk("$c3", 3))
    await world.work()
    first, second = server.audio
    assert "org.aircheck.replaces" not in first
    assert second["org.aircheck.replaces"] == "$handed-back-1"
    assert (first["info"]["duration"], second["info"]["duration"]) == (2000, 3000)
    assert server.visible == [second]
    assert server.asked[-2:] == ["send", "redact"]
    await world.hear(REDACTION)
    async with world.store.write() as db:  # the redaction does not wait for the new one
        (unsend,) = list(await jobs.unfinished(db, orders.Unsend.kind))
    assert unsend.subject == "$handed-back-2"
    await world.work()
    third = server.audio[-1]
    assert third["org.aircheck.replaces"] == "$handed-back-2"
    assert server.visible == [third]
    async with world.store.read() as db:
        assert len(await handed_back.of(db, (await world.recording()).id)) == 1


async def test_what_was_handed_back_before_a_restore_is_not_posted_again(world: Town) -> None:
    """A recording that is found again knows its voice messages, which go with it."""
    posted = (EventId("$part-1"), EventId("$part-2"))
    async with world.store.write() as db:
        for message in (*posted, posted[0]):
            await found_again.add_handed_back(db, ROOM, EventId(START), message)
    await world.handed_back()
    assert world.homeserver.audio == []
    async with world.store.read() as db:
        known = await handed_back.of(db, (await world.recording()).id)
    assert [message.event_id for message in known] == [*posted]
    await world.delete()
    await world.work()
    assert world.homeserver.redacted == {*posted}


async def test_sound_that_is_not_wanted_goes_at_once(world: Town) -> None:
    """The message that holds it is redacted before a new one is sent, and the old episode's file leaves the disk."""
    await world.handed_back()
    recording, server = await world.recording(), world.homeserver
    async with world.store.write() as db:
        old, since = await archive.episode(db, recording.id), await journal.position_of(db, C1)
        assert old is not None
        assert since is not None
        await world.recorder.apply(db, recording.id, Silenced(since))
        (unsend,) = list(await jobs.unfinished(db, orders.Unsend.kind))
    assert unsend.subject == "$handed-back-1"
    await world.work()
    assert server.visible == [server.audio[-1]] != [server.audio[0]]
    assert old.blob not in world.files()


async def test_a_deletion_redacts_it(world: Town) -> None:
    """Nothing of a deleted recording is left in the room, nor a row or a job."""
    await world.handed_back()
    await world.delete()
    await world.work()
    assert len(world.homeserver.audio) == 1
    assert world.homeserver.visible == []
    async with world.store.read() as db:
        assert await handed_back.of(db, (await world.recording()).id) == ()
        assert [await jobs.unfinished(db, kind) for kind in OURS] == [()] * len(OURS)


@pytest.mark.parametrize("taken", [False, True], ids=["before", "after"])
async def test_a_deletion_while_it_is_sent(world: Town, taken: bool) -> None:
    """A message that may have been sent when its recording was deleted is redacted if it was, and never posted if it
    was not."""
    server = world.homeserver
    server.left, server.taken = 2, taken  # after the upload
    with pytest.raises(Killed):
        await world.handed_back()
    await world.rise_again()
    server.left = None
    await world.delete()
    await world.work()
    assert len(server.audio) == int(taken)
    assert server.visible == []
    assert len(server.redacted) == 1


async def test_a_deletion_during_the_upload(world: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that is deleted while its file is uploaded is not posted."""
    upload = world.homeserver.upload

    async def deleted_meanwhile(*args: Any, **kwargs: Any) -> MediaSource:
        await world.delete()
        return await upload(*args, **kwargs)

    monkeypatch.setattr(world.homeserver, "upload", deleted_meanwhile)
    await world.handed_back()
    assert world.homeserver.asked == ["upload"]


async def test_a_deletion_during_the_request(world: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that is deleted while its message is sent is redacted at once."""
    send = world.homeserver.send

    async def deleted_meanwhile(*args: Any, **kwargs: Any) -> EventId:
        await world.delete()
        return await send(*args, **kwargs)

    monkeypatch.setattr(world.homeserver, "send", deleted_meanwhile)
    await world.handed_back()
    assert world.homeserver.asked == ["upload", "send", "redact"]
    assert world.homeserver.visible == []


@pytest.mark.parametrize("forgotten", [False, True], ids=["soon", "later"])
@pytest.mark.parametrize("taken", [False, True], ids=["before", "after"])
async def test_a_request_without_an_answer_before_it_heals(world: Town, taken: bool, forgotten: bool) -> None:
    """A message that may have been sent when a late chunk came is replaced if it was, and never posted if it was not,
    also when the homeserver has forgotten its transaction."""
    server = world.homeserver
    await world.begin(chunk("$c1", 1), chunk("$c2", 2))
    server.left, server.taken = 2, taken
    with pytest.raises(Killed):
        await world.stop(last=3)
    server.left = None
    await world.hear(chunk("$c3", 3))
    if forgotten:
        server.forget_transactions()
    await world.rise_again()
    await world.work()
    (message,) = server.visible
    assert message["info"]["duration"] == 3000
    before = "$handed-back-1-before" if forgotten else "$handed-back-1"
    assert message.get("org.aircheck.replaces") == (before if taken else None)
    async with world.store.read() as db:
        assert len(await handed_back.of(db, (await world.recording()).id)) == 1
        assert [await jobs.unfinished(db, kind) for kind in OURS] == [()] * len(OURS)


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_transaction_that_the_homeserver_forgot(world: Town, deleted: bool) -> None:
    """A message whose answer was lost is found in the room, and not posted again."""
    server = world.homeserver
    server.left, server.taken = 2, True
    with pytest.raises(Killed):
        await world.handed_back()
    server.left = None
    server.forget_transactions()
    await world.rise_again()
    if deleted:
        await world.delete()
    await world.work()
    assert [content["msgtype"] for content in server.events.values()] == ["m.audio"]
    assert server.visible == ([] if deleted else server.audio)


async def test_a_redaction_during_the_upload(world: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording of which a chunk is redacted while its file is uploaded is posted without it."""
    upload = world.homeserver.upload

    async def redacted_meanwhile(*args: Any, **kwargs: Any) -> MediaSource:
        if not world.homeserver.uploaded:
            await world.hear(REDACTION)
        return await upload(*args, **kwargs)

    monkeypatch.setattr(world.homeserver, "upload", redacted_meanwhile)
    await world.handed_back()
    world.clock.pass_by(5)
    await world.work()
    assert world.homeserver.asked == ["upload", "upload", "send"]
    assert len(world.homeserver.visible) == 1


async def test_a_redaction_while_it_is_made(world: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with a chunk that was redacted while it was made is not uploaded."""

    async def redacted_meanwhile(*args: Any, **kwargs: Any) -> list[Part]:
        made = await fake(*args, **kwargs)
        monkeypatch.setattr(handing_back, "make_voice_message", fake)
        await world.hear(REDACTION)
        return made

    monkeypatch.setattr(handing_back, "make_voice_message", redacted_meanwhile)
    await world.handed_back()
    world.clock.pass_by(5)
    await world.work()
    assert world.homeserver.asked == ["upload", "send"]


async def test_a_room_that_the_bot_left(world: Town) -> None:
    """A redaction is not tried in a room that the bot left, and is made when it is back."""
    server = world.homeserver
    await world.handed_back()
    await world.policy(joined=False)
    await world.delete()
    for _ in range(48):
        world.clock.pass_by(3600)
        await world.work()
    async with world.store.read() as db:
        (unsend,) = await jobs.unfinished(db, orders.Unsend.kind)
    assert unsend.attempts == 1
    await world.policy(joined=True)
    async with world.store.write() as db:
        await disclosing.speak_again(db, ROOM, world.clock())
    await world.work()
    assert server.visible == []


async def test_parts_are_numbered(world: Town) -> None:
    """A recording that is larger than the homeserver takes is posted in numbered parts, in order, each with its own
    length; a new set replaces it part by part."""
    server = world.homeserver
    server.largest = 1500
    await world.handed_back()
    titles = [content["body"] for content in server.audio]
    assert [title[-12:] for title in titles] == ["(1 of 2).ogg", "(2 of 2).ogg"]
    assert [content["info"]["duration"] for content in server.audio] == [1500, 500]
    assert [content["info"]["size"] for content in server.audio] == [1500, 500]
    await world.hear(chunk("$c3", 3))
    await world.work()
    again = [content["org.aircheck.replaces"] for content in server.audio[2:]]
    assert again == ["$handed-back-1", "$handed-back-2"]
    assert server.visible == server.audio[2:]


async def test_a_limit_that_was_not_known(world: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that a proxy finds too large for it is cut anew, and posted once."""
    server = world.homeserver

    async def limit() -> int:
        return BIG if not server.asked else 900

    server.largest = 900
    monkeypatch.setattr(server, "limit", limit)
    await world.handed_back()
    world.clock.pass_by(5)
    await world.work()
    world.clock.pass_by(5)
    await world.work()
    assert [content["info"]["duration"] for content in server.audio] == [900, 900, 200]
    assert server.visible == server.audio


async def test_what_finished_before_is_not_handed_back(world: Town) -> None:
    """A recording that was finished while `replay` was off is never posted, also when it heals later."""
    await world.policy(replay=False)
    await world.begin(chunk("$c1", 1), chunk("$c2", 2))
    await world.stop(last=3)
    await world.policy(replay=True)
    await world.hear(chunk("$c3", 3))
    await world.work()
    assert world.homeserver.events == {}


async def test_what_waits_for_approval_waits(world: Town) -> None:
    """A recording that is to be approved first is posted once it is."""
    await world.policy(review=True)
    await world.handed_back()
    assert (await world.recording()).unreviewed
    assert world.homeserver.events == {}
    async with world.store.write() as db:
        await archive.save_recording(db, replace(await world.recording(), unreviewed=False))
        await jobs.add(db, orders.Finish((await world.recording()).id).job(), world.clock())
    await world.work()
    assert len(world.homeserver.visible) == 1


async def test_one_that_is_made_anew_waits(world: Town) -> None:
    """A recording to which a late chunk came before it was posted is posted once its new episode is there."""
    server = world.homeserver
    await world.hear(heard_power(50))
    await world.begin(chunk("$c1", 1), chunk("$c2", 2))
    await world.stop(last=3)
    await world.hear(chunk("$c3", 3))
    await world.hear(heard_power(0))
    assert await world.work_one(OURS)
    assert server.asked == []
    await world.work()
    assert [content["info"]["duration"] for content in server.audio] == [3000]


async def test_its_own_voice_messages_are_not_heard(world: Town) -> None:
    """A voice message of the bot, or one that another Aircheck handed back, is kept by nobody, also beside a broadcast
    of the same sender."""
    plain = {"msgtype": "m.audio", "url": "mxc://hs/v", "org.matrix.msc3245.voice": {}}
    ours = replace(
        heard("$v1", "m.room.message", plain), event={**heard("$v1", "m.room.message", plain).event} | {"sender": BOT}
    )
    theirs = heard("$v2", "m.room.message", plain | {"org.aircheck.recording": "kfmtra"})
    alices = heard("$v3", "m.room.message", plain)
    await world.begin(chunk("$c1", 1), ours, theirs, alices)
    async with world.store.read() as db:
        known = {event: await journal.position_of(db, EventId(event)) for event in ("$v1", "$v2", "$v3")}
    assert {event for event, position in known.items() if position is not None} == {"$v3"}


async def test_a_muted_bot_posts_it_when_it_may(world: Town) -> None:
    """Without the power to speak nothing is uploaded; a change of the power levels is noticed at once."""
    await world.hear(heard_power(50))
    await world.handed_back()
    assert world.homeserver.asked == []
    await world.hear(heard_power(0))
    await world.work()
    assert world.homeserver.asked == ["upload", "send"]


def heard_power(needed: int) -> Any:
    content = {"users": {"@alice:hs": 100}, "events_default": needed}
    event = state("m.room.power_levels", content, event_id=f"$power{needed}")
    return heard(event["event_id"], event["type"], content, state_key="")


async def test_a_refusal_is_told_once(world: Town) -> None:
    """A refusal of the homeserver is told in the room once, and the bot goes on trying, ever more rarely."""
    world.homeserver.refuses = True
    await world.handed_back()
    for _ in range(30):
        world.clock.pass_by(86_400)
        await world.work()
    async with world.store.read() as db:
        (order,) = await jobs.unfinished(db, orders.HandBack.kind)
    assert 9 <= order.attempts <= 12
    said = [notice for notice in await world.ordered(orders.Notice) if "voice message" in notice.body]
    assert len(said) == 1
    world.homeserver.refuses = False
    world.clock.pass_by(7 * 86_400)
    await world.work()
    assert len(world.homeserver.visible) == 1


async def test_a_room_that_is_encrypted_meanwhile(world: Town) -> None:
    """A file that was uploaded in clear is uploaded again, sealed, before it is posted in a room that is encrypted."""
    server = world.homeserver
    server.refuses = True
    await world.handed_back()
    server.refuses, server.encrypted = False, True
    world.clock.pass_by(3700)
    await world.work()
    (message,) = server.visible
    assert message["file"]["url"] == "mxc://hs/2"
    assert "url" not in message


# ---- deaths


async def story(world: Town) -> None:
    """A recording is handed back, and heals."""
    await world.begin(chunk("$c1", 1), chunk("$c2", 2))
    await world.stop(last=3)
    await world.hear(chunk("$c3", 3))
    await world.work()


async def outcome(world: Town) -> dict[str, Any]:
    async with world.store.read() as db:
        messages = await handed_back.of(db, (await world.recording()).id)
        left = [await jobs.unfinished(db, kind) for kind in OURS]
    return {
        "visible": [(one["body"], one["info"]) for one in world.homeserver.visible],
        "posted": [(one["body"], one["info"]) for one in world.homeserver.audio],
        "replaced": all("org.aircheck.replaces" in one for one in world.homeserver.visible),
        "rows": [(one.fingerprint, one.part, one.event_id is not None, one.withdrawn) for one in messages],
        "left": left,
        "scratch": list(world.store.blobs.scratch.iterdir()),
    }


async def test_a_death_anywhere_posts_nothing_twice(begun: Path) -> None:
    """Killed at one of so many requests, before or after the homeserver took it, and writes of those that hand back (or
    at all): the same messages are posted, once, and the same are left."""
    async with town(shutil.copytree(begun, begun.with_name("undisturbed"))) as world:
        await story(world)
        expected, writes, requests = await outcome(world), world.writes, len(world.homeserver.asked)
    assert [len(expected[key]) for key in ("visible", "posted", "rows")] == [1, 2, 1]
    assert (writes, requests) == (6, 5)
    at_writes = [(number, number % 2 == 0, False) for number in range(1, writes + 1)]
    at_requests = [(number, taken, True) for number in range(1, requests + 1) for taken in (False, True)]
    for number, later, request in (at_writes + at_requests)[:: every(9)]:
        server = Homeserver()
        async with town(shutil.copytree(begun, begun.with_name(f"{number} {later} {request}")), server) as world:
            if request:
                server.left, server.taken = number, later
            else:
                world.dies_at, world.store.after_commit = number, later
            with pytest.raises(Killed):
                await story(world)
            server.left = world.dies_at = None
            await world.rise_again()
            await world.work()
            await story(world)  # as the homeserver tells again, being in doubt
            assert await outcome(world) == expected, f"died at {number} {later} {request}"


@pytest.mark.parametrize("shown_as", [None, EventId("$info")])
async def test_a_broadcast_from_a_studio_refers_to_what_stands_for_it_in_the_room(
    world: Town, shown_as: EventId | None
) -> None:
    """The events of a studio are known to no homeserver: without one in the room there is nothing to refer to."""
    booth = await Booth.open(world, info_event=shown_as)
    await booth.start()
    await booth.send(b"slice")
    await world.work()
    await booth.stop()
    (posted,) = world.homeserver.audio
    relation = {"rel_type": "m.reference", "event_id": shown_as} if shown_as else None
    assert posted.get("m.relates_to") == relation
    assert posted["org.aircheck.recording"] == (await booth.recording()).code


async def test_a_death_while_a_broadcast_from_a_studio_is_posted_posts_it_once(begun: Path, tmp_path: Path) -> None:
    """The message can't be found by an event that it refers to: its transaction makes it one."""
    for number in (1, 2):
        server = Homeserver()
        async with town(shutil.copytree(begun, tmp_path / str(number)), server) as world:
            booth = await Booth.open(world)
            await booth.start()
            await booth.send(b"slice")
            await world.work()
            server.left, server.taken = len(server.asked) + number, True
            with pytest.raises(Killed):
                await booth.stop()
            server.left = None
            await world.rise_again()
            await world.work()
            assert len(server.visible) == 1
