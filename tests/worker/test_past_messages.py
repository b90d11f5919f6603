"""Past voice messages: one episode from a message on, or sessions; recorded once, and of nobody who objects."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot import orders, words
from bot.errors import GiveUp
from bot.recording.kinds import lay_out
from bot.recording.model import Deleted, Forgotten
from bot.recording.session import joining
from bot.worker.past_messages import BackfillingMessages, MakingEpisode
from bot.worker.room_history import MessagesPage, RoomHistory
from storage import archive, jobs, journal, optouts, rooms
from storage.records import (
    Chunk,
    ChunkState,
    EventId,
    HeardEvent,
    HistoryVisibility,
    OptOut,
    Position,
    Recording,
    RecordingState,
    RoomId,
    SessionId,
    UserId,
    Visibility,
)
from tests.worker.quick import without_ffmpeg
from tests.world import ALICE, BOT, PREFIX, ROOM, START, World, heard, info, state

BOB, CAROL = UserId("@bob:hs"), UserId("@carol:hs")
COMMAND = EventId("$command")
PAGE = 2


class Past(RoomHistory):
    """A room's messages as the homeserver gives them, two in a page, and one event that may not be read."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.timeline: list[HeardEvent] = []
        self.at = world.clock() - timedelta(days=2)
        self.refuses_at: int | None = None

    def says(self, name: str, sender: UserId = ALICE, *, after_s: float = 60, **content: Any) -> HeardEvent:
        """Let somebody send a voice message."""
        self.at += timedelta(seconds=after_s)
        voice = {"msgtype": "m.audio", "url": f"mxc://hs/{name[1:]}", "org.matrix.msc3245.voice": {}}
        event: dict[str, Any] = {"type": "m.room.message", "sender": sender, "event_id": name}
        event |= {"content": voice | content, "origin_server_ts": round(self.at.timestamp() * 1000)}
        self.timeline.append(HeardEvent(ROOM, EventId(name), event, history=True))
        return self.timeline[-1]

    def seals(self, name: str) -> None:
        """Make the last message one whose key has not come."""
        sealed: dict[str, Any] = {"type": "m.room.encrypted", "sender": ALICE, "content": {"ciphertext": "…"}}
        sealed["origin_server_ts"] = self.timeline[-1].event["origin_server_ts"]
        self.timeline[-1] = replace(
            self.timeline[-1], event=sealed, encrypted=True, session_id=SessionId(name), event_id=EventId(name)
        )

    async def said_in(self, room_id: RoomId, cursor: str | None) -> AsyncIterator[MessagesPage]:
        ahead = int(cursor or len(self.timeline))
        while ahead > 0:
            page = self.timeline[max(0, ahead - PAGE) : ahead][::-1]
            ahead -= len(page)
            at = [
                self.world.clock().fromtimestamp(one.event["origin_server_ts"] / 1000, self.at.tzinfo) for one in page
            ]
            named = zip([one.event_id for one in page], at, strict=True)
            yield MessagesPage(tuple(named), str(ahead) if ahead else None)

    async def onwards(
        self, room_id: RoomId, event_id: EventId, cursor: str | None
    ) -> AsyncIterator[tuple[tuple[HeardEvent, ...], str | None]]:
        names = [heard.event_id for heard in self.timeline]
        if event_id not in names:
            raise GiveUp("the homeserver refused: 404 M_NOT_FOUND", reason="not_found")
        place = int(cursor) if cursor else names.index(event_id)
        while place < len(self.timeline):
            if self.refuses_at is not None and place >= self.refuses_at:
                raise GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
            page = tuple(self.timeline[place : place + (PAGE if cursor else 1)])
            place += len(page)
            cursor = str(place)
            yield page, cursor if place < len(self.timeline) else None


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ffmpeg(monkeypatch)


@pytest.fixture
async def past(world: World) -> Past:
    made = Past(world)
    await world.hear(before=members())
    parts = (world.store, made, world.recorder.gathering, BOT, PREFIX, world.clock)
    world.handlers[orders.MakeEpisode.kind] = MakingEpisode(*parts)
    world.handlers[orders.BackfillMessages.kind] = BackfillingMessages(*parts)
    return made


def members() -> tuple[Any, ...]:
    named = ((BOB, "Bob"), (CAROL, "Carol"))
    return tuple(state("m.room.member", {"membership": "join", "displayname": name}, who, who) for who, name in named)


async def ask(world: World, message: str, *, command: str = COMMAND, asker: UserId = ALICE, mod: bool = True) -> str:
    """Say `episode` as an answer to a message, and do all that follows. Return the answer."""
    order = orders.MakeEpisode(EventId(command), ROOM, EventId(message), asker, mod=mod)
    async with world.store.write() as db:
        await jobs.add(db, order.job(), world.clock())
    while await world.work_one([orders.MakeEpisode.kind]):
        pass
    await world.work()
    return (await said(world, f"answer:{command}"))[0]


async def backfill(world: World, **fields: Any) -> str:
    async with world.store.write() as db:
        await jobs.add(db, orders.BackfillMessages(ROOM, **fields).job(), world.clock())
    while await world.work_one([orders.BackfillMessages.kind]):
        await world.work()
        world.clock.pass_by(2)
    return (await said(world, "backfilled:"))[-1]


async def said(world: World, topic: str) -> list[str]:
    async with world.store.read() as db:
        notices = [job for job in await jobs.unfinished(db, orders.Notice.kind) if job.subject.startswith(topic)]
    return [orders.Notice.of(job).body for job in notices]


async def look(world: World, first: str) -> tuple[Recording, tuple[Chunk, ...]]:
    async with world.store.read() as db:
        recording = await archive.recording_by_event(db, EventId(first))
        assert recording is not None
        return recording, await archive.chunks(db, recording.id)


def heard_in(chunks: Sequence[Chunk]) -> list[str | None]:
    return [chunk.event_id for chunk in chunks if chunk.state is ChunkState.STORED]


async def recordings(world: World) -> list[str]:
    """Return what is recorded, by the numbers."""
    async with world.store.read() as db:
        every = await archive.recordings(db, ROOM)
    return [str(one.event_id) for one in sorted(every, key=lambda one: one.number)]


async def test_messages_from_one_on_become_one_episode(world: World, past: Past) -> None:
    """Whatever the time between them, up to the command; it is private, though the podcast is public, and the room is
    told whose messages are in it and how to object."""
    past.says("$before")
    past.says("$a")
    past.says("$b", BOB, after_s=4000)
    past.says("$own", BOT)
    past.says("$c", after_s=5)
    past.says(COMMAND)
    past.says("$after")
    answer = await ask(world, "$a")
    recording, chunks = await look(world, "$a")
    assert (recording.state, recording.public, recording.past) == (RecordingState.COMPLETE, False, False)
    assert heard_in(chunks) == ["$a", "$b", "$c"]
    assert await recordings(world) == ["$a"]
    assert answer.startswith(
        f"Alice made an episode ({recording.code}) of 3 voice messages from the past, by Alice, Bob."
    )
    assert f"`{PREFIX} forget me`" in answer
    assert recording.ended_at == chunks[-1].sent_at


async def test_the_same_command_again_gives_the_same_recording(world: World, past: Past) -> None:
    """Messages that were sent since are added to it."""
    past.says("$a")
    past.says("$b", BOB)
    await ask(world, "$a")
    made, _ = await look(world, "$a")
    past.says("$c", CAROL)
    answer = await ask(world, "$a", command="$again")
    recording, chunks = await look(world, "$a")
    assert (recording.id, recording.state) == (made.id, RecordingState.COMPLETE)
    assert heard_in(chunks) == ["$a", "$b", "$c"]
    assert "3 voice messages" in answer
    assert await recordings(world) == ["$a"]


async def test_a_thread_is_an_episode_of_its_own(world: World, past: Past) -> None:
    """The messages of the thread from there on, and none of the room's; and the room's without the thread's."""
    thread: dict[str, Any] = {"m.relates_to": {"rel_type": "m.thread", "event_id": "$root"}}
    past.says("$a")
    past.says("$t0", **thread)
    past.says("$t1", BOB, **thread)
    past.says("$b")
    past.says("$t2", **thread)
    await ask(world, "$t1")
    await ask(world, "$a", command="$other")
    assert heard_in((await look(world, "$t1"))[1]) == ["$t1", "$t2"]
    assert heard_in((await look(world, "$a"))[1]) == ["$a", "$b"]
    assert (await look(world, "$t1"))[0].thread == "$root"


async def test_what_is_in_another_recording_stays_there(world: World, past: Past) -> None:
    """The answer counts it, and the episode begins with the first message that is in no other."""
    for name in ("$a", "$b", "$c"):
        past.says(name)
    await ask(world, "$b", command="$first")
    answer = await ask(world, "$a")
    assert "of 1 voice message from the past, by Alice." in answer
    assert answer.endswith("2 messages are in other recordings already.")
    past.says("$d")
    await ask(world, "$c", command="$third")
    assert [len((await look(world, first))[1]) for first in ("$a", "$b", "$d")] == [1, 2, 1]


@pytest.mark.parametrize("words", [["optout"], ["optout", "optin"]], ids=["out", "out, and in again later"])
async def test_who_opted_out_is_passed_over(world: World, past: Past, words: list[str]) -> None:
    """Their message is left out and counted; an `optin` later than the message does not open the past."""
    past.says("$a", BOB)
    past.says("$b")
    async with world.store.write() as db:
        for number, word in enumerate(words, start=1):
            out = OptOut(BOB, ROOM, Position(number), word == "optout", world.clock(), EventId(word))
            await optouts.add(db, out)
    answer = await ask(world, "$a")
    assert heard_in((await look(world, "$b"))[1]) == ["$b"]
    assert "by Alice." in answer
    assert answer.endswith("1 message was left out, since its sender is not recorded here.")


async def test_only_the_chosen_speakers_are_in_it(world: World, past: Past) -> None:
    """`speakers` holds for the past too; where nobody is left, nothing is made."""
    past.says("$a", BOB)
    past.says("$b")
    await change_room(world, speakers=(ALICE,))
    await ask(world, "$a")
    assert await recordings(world) == ["$b"]
    await change_room(world, speakers=(CAROL,))
    past.says("$c")
    answer = await ask(world, "$c", command="$again")
    assert answer.startswith("From that message on I found nothing that I could make an episode of. 1 message was left")
    assert await recordings(world) == ["$b"]


async def test_a_message_whose_key_comes_later_is_added_by_the_same_command(world: World, past: Past) -> None:
    """Not decrypted, it is counted; once it can be read it is put between its neighbours."""
    past.says("$a")
    unread = past.says("$k", BOB)
    past.seals("$k")
    past.says("$c")
    assert (await ask(world, "$a")).endswith("1 message could not be decrypted.")
    past.timeline[1] = replace(unread, encrypted=True)
    assert "3 voice messages" in await ask(world, "$a", command="$again")
    recording, chunks = await look(world, "$a")
    ledger = lay_out(recording, chunks)
    assert [entry.chunk_id for entry in ledger.entries] == ["$a", "$k", "$c"]


@pytest.mark.parametrize(
    ("message", "asker", "mod", "answer"),
    [
        ("$nowhere", ALICE, True, words.NO_SUCH_VOICE_MESSAGE),
        ("$text", ALICE, True, words.NO_SUCH_VOICE_MESSAGE),
        ("$bot", ALICE, True, words.NO_SUCH_VOICE_MESSAGE),
        ("$back", ALICE, True, words.NO_SUCH_VOICE_MESSAGE),
        ("$sealed", ALICE, True, words.NO_KEY_FOR_IT),
        ("$bob", CAROL, False, words.ONLY_ITS_SENDER_OR_MODS),
    ],
)
async def test_an_answer_to_something_else_makes_nothing(
    world: World, past: Past, message: str, asker: UserId, mod: bool, answer: str
) -> None:
    """The answer is a clear sentence: for a text, what can't be read, a posted recording, and another's message."""
    past.says("$text", msgtype="m.text", body="Soup?")
    past.says("$bot", BOT)
    handed_back: dict[str, Any] = {"org.aircheck.recording": "kfmtra"}
    past.says("$back", **handed_back)
    past.says("$sealed")
    past.seals("$sealed")
    past.says("$bob", BOB)
    assert await ask(world, message, asker=asker, mod=mod) == answer
    assert await recordings(world) == []


async def test_the_sender_of_the_message_may_make_it_too(world: World, past: Past) -> None:
    """Others' messages after it are in it as well: that is why the room is told of whom it is."""
    past.says("$a", BOB)
    past.says("$b")
    answer = await ask(world, "$a", asker=BOB, mod=False)
    assert answer.startswith("Bob made an episode")
    assert "by Bob, Alice." in answer


async def test_what_does_not_fit_is_told(world: World, past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording holds at most so many messages; what was said first is in it."""
    monkeypatch.setattr(joining, "MAX_CHUNKS", 2)
    for name in ("$a", "$b", "$c", "$d"):
        past.says(name)
    assert (await ask(world, "$a")).endswith("The last 2 messages did not fit, since a recording can't be longer.")
    assert heard_in((await look(world, "$a"))[1]) == ["$a", "$b"]


async def test_what_was_redacted_meanwhile_or_deleted_before_is_not_found(world: World, past: Past) -> None:
    """The homeserver gave a page whose message was redacted before it was recorded; what was deleted stays so."""
    for name in ("$a", "$b", "$c"):
        past.says(name)
    redaction = heard("$r", "m.room.redaction", {}, redacts="$b")
    await world.hear(redaction)
    await ask(world, "$a")
    recording, chunks = await look(world, "$a")
    assert heard_in(chunks) == ["$a", "$c"]
    async with world.store.write() as db:
        await world.recorder.apply(db, recording.id, Deleted())
    await world.work()
    assert (await ask(world, "$a", command="$again")) == words.NOTHING_TO_GATHER
    assert (await backfill(world)) == "I found no past voice messages to record in this room's history."
    assert (await look(world, "$a"))[0].state is RecordingState.DELETED


async def test_whoever_speaks_in_it_can_take_their_part_out(world: World, past: Past) -> None:
    """By `forget me`, as of any session; by a redaction their message goes."""
    for name, who in (("$a", ALICE), ("$b", BOB), ("$c", CAROL)):
        past.says(name, who)
    await ask(world, "$a")
    recording, _ = await look(world, "$a")
    async with world.store.write() as db:
        await world.recorder.apply(db, recording.id, Forgotten(BOB))
    redaction = heard("$r", "m.room.redaction", {}, redacts="$c")
    await world.hear(redaction)
    await world.work()
    recording, chunks = await look(world, "$a")
    assert (recording.state, heard_in(chunks)) == (RecordingState.COMPLETE, ["$a"])
    again = await ask(world, "$a", command="$again")
    assert "of 1 voice message from the past, by Alice." in again


async def test_a_history_that_ends_in_a_refusal_gives_what_there_is(world: World, past: Past) -> None:
    """The episode holds what was read."""
    for name in ("$a", "$b", "$c", "$d", "$e"):
        past.says(name)
    past.refuses_at = 3
    await ask(world, "$a")
    recording, chunks = await look(world, "$a")
    assert (recording.state, heard_in(chunks)) == (RecordingState.COMPLETE, ["$a", "$b", "$c"])


async def test_messages_keep_the_position_at_which_they_were_heard(world: World, past: Past) -> None:
    """So whoever was there then can hear the episode, and its number is right."""
    for name in ("$a", "$b"):
        await world.hear(past.says(name))
    await world.begin()
    await world.hear(info("$stop", "stopped"))
    await ask(world, "$a")
    recording, chunks = await look(world, "$a")
    assert recording.position > 0
    assert [chunk.position for chunk in chunks] == [recording.position, recording.position + 1]
    assert await recordings(world) == ["$a", START]


async def test_no_later_message_joins_an_episode_that_was_made(world: World, past: Past) -> None:
    """A live one begins a session of its own, for the public feed if the room is public; a search makes one, too."""
    await world.hear(past.says("$a"))
    await ask(world, "$a")
    await change_room(world, visibility=Visibility.PUBLIC, public_since=Position(0), messages_since=Position(0))
    soon = round((past.at + timedelta(seconds=60)).timestamp() * 1000)
    live = past.says("$live")
    assert live.event["origin_server_ts"] == soon
    await world.hear(replace(live, history=False))
    past.says("$found")
    await backfill(world)
    assert await recordings(world) == ["$a", "$live", "$found"]
    assert [(await look(world, first))[0].public for first in ("$a", "$live", "$found")] == [False, True, False]


async def test_a_session_is_neither_grown_nor_ended_by_an_episode(world: World, past: Past) -> None:
    """A session that runs goes on, and what is in none becomes an episode of its own."""
    await change_room(world, messages_since=Position(0))
    past.at = world.clock()
    await world.hear(replace(past.says("$a", after_s=0), history=False))
    past.says("$b", BOB, after_s=0)
    answer = await ask(world, "$a")
    assert answer.endswith("1 message is in another recording already.")
    recording, chunks = await look(world, "$a")
    assert (recording.state, heard_in(chunks)) == (RecordingState.LIVE, ["$a"])
    assert heard_in((await look(world, "$b"))[1]) == ["$b"]


async def test_an_episode_that_newcomers_hear_takes_nothing_that_they_could_not_read(world: World, past: Past) -> None:
    """Messages since the history was closed to newcomers are left out, and counted."""
    past.says("$a")
    await world.hear(past.says("$b"))
    await ask(world, "$a")
    await world.hear(before=(state("m.room.history_visibility", {"history_visibility": "joined"}),))
    await world.hear(past.says("$c"))
    answer = await ask(world, "$a", command="$again")
    assert answer.endswith("1 message was left out, since fewer people may read it than can hear this episode.")
    recording, chunks = await look(world, "$a")
    assert (recording.history_visibility, heard_in(chunks)) == (HistoryVisibility.SHARED, ["$a", "$b"])


# ---- all of the past


async def test_a_rooms_past_becomes_sessions(world: World, past: Past) -> None:
    """They part by time and by thread, are numbered in the order of the timeline, private, and made once."""
    await change_room(world, visibility=Visibility.PUBLIC, public_since=Position(0))
    thread: dict[str, Any] = {"m.relates_to": {"rel_type": "m.thread", "event_id": "$root"}}
    past.says("$a")
    past.says("$t", BOB, **thread)
    past.says("$b", BOB, after_s=500)
    past.says("$c", after_s=700)
    past.says("$u", **thread)
    answer = await backfill(world)
    assert answer.startswith("I found the voice messages of 4 episodes: 4 recorded whole. They are by Alice, Bob.")
    assert await recordings(world) == ["$a", "$t", "$c", "$u"]
    found = [await look(world, first) for first in ("$a", "$t", "$c", "$u")]
    assert [heard_in(chunks) for _, chunks in found] == [["$a", "$b"], ["$t"], ["$c"], ["$u"]]
    assert all(recording.past and not recording.public for recording, _ in found)
    assert all(recording.ended_at == chunks[-1].sent_at for recording, chunks in found)
    again = await backfill(world)
    assert again == "I found the voice messages of 4 episodes: 4 already there."
    assert await said(world, "published:") == []


async def test_a_search_goes_back_to_its_day(world: World, past: Past) -> None:
    """Older messages are left alone, also in the same page."""
    past.says("$old")
    past.says("$older")
    past.says("$new", after_s=86_400)
    await backfill(world, since=past.at - timedelta(hours=1))
    assert await recordings(world) == ["$new"]


async def test_a_late_key_puts_a_past_message_into_its_session(world: World, past: Past) -> None:
    """Saying the command again after an import of keys adds it, and makes no episode of its own."""
    past.says("$a")
    unread = past.says("$k", BOB)
    past.seals("$k")
    past.says("$c")
    assert (await backfill(world)).endswith("1 message could not be decrypted.")
    past.timeline[1] = replace(unread, encrypted=True)
    assert (await backfill(world)).startswith("I found the voice messages of 1 episode: 1 recorded whole.")
    recording, chunks = await look(world, "$a")
    assert [entry.chunk_id for entry in lay_out(recording, chunks).entries] == ["$a", "$k", "$c"]
    assert await recordings(world) == ["$a"]


async def test_a_search_that_is_refused_leaves_no_session_live(world: World, past: Past) -> None:
    """The sessions that were found end, and whoever asked is told."""
    for name in ("$a", "$b", "$c", "$d", "$e"):
        past.says(name)
    past.refuses_at = 3
    assert await backfill(world) == "The homeserver does not let me read this room's history."
    await world.work()
    recording, chunks = await look(world, "$a")
    assert (recording.state, heard_in(chunks)) == (RecordingState.COMPLETE, ["$a", "$b", "$c"])


@pytest.mark.parametrize("since", [None, timedelta(hours=1)], ids=["all", "since"])
async def test_a_search_ends_at_its_command(world: World, past: Past, since: timedelta | None) -> None:
    """Later messages come by the sync, after an objection of their sender, whatever their times."""
    past.says("$a")
    began = past.at - since if since else None
    past.says(COMMAND, msgtype="m.text", body="backfill messages")
    past.says("$late", BOB)
    past.says("$later", BOB, after_s=-90_000)
    past.says("$last", BOB)
    await backfill(world, command=COMMAND, since=began)
    assert await recordings(world) == ["$a"]
    assert heard_in((await look(world, "$a"))[1]) == ["$a"]


async def test_a_search_ends_at_a_command_that_was_said_elsewhere(world: World, past: Past) -> None:
    """Messages that the bot heard count by their place in its timeline, the others by their time."""
    unheard, old, new, ahead = (past.says(name) for name in ("$unheard", "$old", "$new", "$ahead"))
    await world.hear(old)
    async with world.store.read() as db:
        at = Position(await journal.position(db) + 1)
    await world.hear(heard("$else", "m.room.message", {"msgtype": "m.text"}), new)
    asked_at = past.at - timedelta(seconds=30)
    assert [unheard, old, new, ahead] == past.timeline
    await backfill(world, at=at, asked_at=asked_at)
    assert heard_in((await look(world, "$unheard"))[1]) == ["$unheard", "$old"]
    assert await recordings(world) == ["$unheard"]


@pytest.mark.parametrize("later", ["$b", "$d"], ids=["between", "behind"])
async def test_nothing_of_the_past_is_added_to_what_is_public(world: World, past: Past, later: str) -> None:
    """A public session stays as it is; messages in it and beside it become private ones of their own."""
    said = [past.says(name) for name in ("$a", "$b", "$c", "$d")]
    await world.hear(*said)
    past.timeline = [one for one in said if one.event_id in ("$a", "$c")]
    await backfill(world)
    recording, _ = await look(world, "$a")
    async with world.store.write() as db:
        await archive.save_recording(db, replace(recording, public=True))
    past.timeline = [one for one in said if one.event_id in ("$a", "$c", later)]
    await backfill(world)
    assert [(await look(world, first))[0].public for first in ("$a", later)] == [True, False]
    assert heard_in((await look(world, "$a"))[1]) == ["$a", "$c"]


async def change_room(world: World, **changes: Any) -> None:
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, **changes))
