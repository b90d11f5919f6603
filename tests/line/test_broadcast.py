"""From a speaker to a listener: real homeserver, real encryption, real ffmpeg."""

import pytest

from bot.demo.broadcaster import Broadcaster, Info
from bot.demo.slicing import speech
from storage import rooms
from storage.records import ChunkState, EndedBy, RecordingState
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import (
    answers,
    assert_exact,
    first_chunks,
    go_live,
    look,
    move_in,
    newest_episode,
    open_broadcast,
    personal_feed,
    recorded,
    send,
    subscribed_broadcast,
    until,
    welcome,
    whole_broadcast,
)

FIVE_CHUNKS = speech(1)[: 50 * 28 + 17]  # 28.34 s


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
async def test_a_broadcast_becomes_an_episode_in_its_listeners_feed(
    world: Worlds, person: People, encrypted: bool
) -> None:
    """An episode is joined to the sample across a pause, announced in the room and listed in a member's feed."""
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    async with bot.running() as aircheck:
        speaker, feed, page = await subscribed_broadcast(bot, alice, encrypted=encrypted, listener=bob)
        started = speaker.broadcast_id
        await speaker.speak(FIVE_CHUNKS)
        await speaker.pause()
        await speaker.resume()
        await speaker.speak(speech(2)[:400])
        await speaker.stop()
        recording, ledger = await recorded(aircheck.store, started, RecordingState.COMPLETE)
        assert recording.ended_by is EndedBy.STOPPED
        assert ledger.proved
        assert ledger.samples == speaker.samples
        told = await bob.wait_for(lambda event: event.is_notice_of(bot.user_id) and "is ready" in event.body)
        assert told.content["m.relates_to"]["m.in_reply_to"]["event_id"] == started
        assert ("complete" in told.body, told.room_id) == (True, speaker.room_id)
        await assert_exact(await newest_episode(feed), speaker)
        assert await answers(page) == 200


async def test_a_public_room_has_a_public_feed_for_what_comes_after(world: Worlds, person: People) -> None:
    """Broadcasts from before `publish public` stay private; later ones are public, until `private`."""
    bot, alice = await world(), await person("alice")
    async with bot.running() as aircheck:
        room = await move_in(bot, alice, encrypted=False)
        before = await whole_broadcast(alice, room, FIVE_CHUNKS)
        await recorded(aircheck.store, before.broadcast_id, RecordingState.COMPLETE)
        await alice.say(room, "!aircheck publish public")
        told = await alice.wait_for(lambda event: event.is_notice_of(bot.user_id) and bot.web in event.body)
        public = next(word for word in told.body.split() if word.startswith(bot.web) and word.endswith("feed.xml"))
        after = await whole_broadcast(alice, room, FIVE_CHUNKS[:700])
        await recorded(aircheck.store, after.broadcast_id, RecordingState.COMPLETE)
        await alice.wait_for(lambda event: event.is_notice_of(bot.user_id) and f"{bot.web}/r/" in event.body)
        await assert_exact(await newest_episode(public), after)
        await alice.say(room, "!aircheck publish private")
        await alice.wait_for(lambda event: event.is_notice_of(bot.user_id) and "private" in event.body.lower())
        assert await answers(public) == 404


async def test_a_key_that_comes_late_heals_the_recording(world: Worlds, person: People) -> None:
    """Chunks without a key are listed as waiting; once the key comes they are in the episode, under its GUID."""
    bot, alice = await world(), await person("alice")
    async with bot.running() as aircheck:
        speaker = await open_broadcast(bot, alice, encrypted=True)
        room, started = speaker.room_id, speaker.broadcast_id
        rest = await first_chunks(aircheck.store, speaker, FIVE_CHUNKS, 1)
        alice.keys.hold_back([bot.user_id])
        await send(speaker, rest)
        await speaker.stop()
        recording, ledger = await recorded(aircheck.store, started, RecordingState.INCOMPLETE)
        assert [entry.state for entry in ledger.entries].count(ChunkState.WAITING_FOR_KEY) == len(speaker.chunks) - 1
        found = await look(aircheck.store, started)
        assert found is not None
        assert found[2] is not None
        guid = found[2].guid
        await alice.keys.release(room)
        healed, whole = await recorded(aircheck.store, started, RecordingState.COMPLETE)
        assert whole.samples == speaker.samples
        found = await look(aircheck.store, started)
        assert found is not None
        assert found[2] is not None
        assert (found[2].guid, healed.code) == (guid, recording.code)
        feed, _ = await personal_feed(bot, alice, room)
        await assert_exact(await newest_episode(feed), speaker)


async def test_strangers_neither_add_to_a_broadcast_nor_end_it(world: Worlds, person: People) -> None:
    """A chunk and a `stopped` of another member are ignored."""
    bot, alice, mallory = await world(), await person("alice"), await person("mallory")
    async with bot.running() as aircheck:
        room = await move_in(bot, alice, encrypted=True)
        await welcome(mallory, alice, room)
        await alice.set_power(room, {mallory.user_id: 50})
        speaker = await go_live(alice, room)
        started = speaker.broadcast_id
        pieces = speaker.cut(FIVE_CHUNKS)
        await speaker.send_chunk(pieces[0])
        foreign = await speaker.send_chunk(pieces[3], sequence=2, sender=mallory)
        liar = Broadcaster(mallory, room)
        liar.broadcast_id = started
        await liar.tell(Info.STOPPED)
        for number, piece in enumerate(pieces[1:], start=2):
            await speaker.send_chunk(piece, sequence=number)
        await speaker.stop()
        recording, ledger = await recorded(aircheck.store, started, RecordingState.COMPLETE)
        assert ledger.samples == speaker.samples
        assert foreign not in {entry.chunk_id for entry in ledger.entries}
        assert recording.ended_by is EndedBy.STOPPED


async def test_who_is_banned_hears_nothing_any_more(world: Worlds, person: People) -> None:
    """The address of a banned or departed member ends at once; it works again after a return."""
    bot, alice, bob, carol = await world(), await person("alice"), await person("bob"), await person("carol")
    async with bot.running() as aircheck:
        room = await move_in(bot, alice, encrypted=False)
        addresses = {}
        for listener in (bob, carol):
            await welcome(listener, alice, room)
            addresses[listener.user_id], _ = await personal_feed(bot, listener, room)
        assert {await answers(feed) for feed in addresses.values()} == {200}

        async def status_of(user_id: str, status: int) -> None:
            async def check() -> bool | None:
                return True if await answers(addresses[user_id]) == status else None

            await until(aircheck.store, check)

        await alice.ban(room, bob.user_id)
        await status_of(bob.user_id, 410)
        await carol.leave(room)
        await status_of(carol.user_id, 410)
        await alice.invite(room, carol.user_id)
        await carol.join(room)
        await status_of(carol.user_id, 200)
        assert await answers(addresses[bob.user_id]) == 410


async def test_a_demoted_moderator_is_refused_at_once(world: Worlds, person: People) -> None:
    """A demoted moderator is refused at once."""
    bot, alice, bob = await world(), await person("alice"), await person("bob")
    async with bot.running():
        room = await move_in(bot, alice, encrypted=True)
        await welcome(bob, alice, room)
        await alice.set_power(room, {bob.user_id: 50})
        off = await bob.say(room, "!aircheck record off")
        allowed = await bob.wait_for(lambda event: event.is_notice_of(bot.user_id) and replies_to(event.content, off))
        await alice.set_power(room, {bob.user_id: 49})
        on = await bob.say(room, "!aircheck record on")
        refused = await bob.wait_for(lambda event: event.is_notice_of(bot.user_id) and replies_to(event.content, on))
        assert "moderator" in refused.body.lower()
        assert allowed.body != refused.body
        status = await alice.say(room, "!aircheck status")
        told = await alice.wait_for(lambda event: event.is_notice_of(bot.user_id) and replies_to(event.content, status))
        assert "off" in told.body.lower()


async def test_a_redacted_broadcast_is_gone_and_stays_gone(world: Worlds, person: People) -> None:
    """A redaction of the started event deletes audio, feed item and page; late chunks are refused."""
    bot, alice = await world(), await person("alice")
    async with bot.running() as aircheck:
        speaker, feed, page = await subscribed_broadcast(bot, alice, encrypted=True)
        room, started = speaker.room_id, speaker.broadcast_id
        *most, last = speaker.cut(FIVE_CHUNKS)
        await send(speaker, most)
        await speaker.tell(Info.STOPPED)
        recording, _ = await recorded(aircheck.store, started, RecordingState.COMPLETE, made=False)
        await alice.redact(room, started)
        await recorded(aircheck.store, started, RecordingState.DELETED, made=False)
        late = await speaker.send_chunk(last)
        await alice.say(room, "!aircheck list")
        await alice.wait_for(lambda event: event.is_notice_of(bot.user_id) and "no " in event.body.lower())
        found = await look(aircheck.store, started)
        assert found is not None
        assert (found[1], found[2]) == ((), None)
        assert late
        assert await answers(page + recording.code) == 404
        assert await answers(feed) == 200

        async def no_blobs() -> bool | None:
            async with aircheck.store.read() as db:
                covers = {str(one.cover) for one in await rooms.all_rooms(db)}
            left = {path.name for path in (bot.directory / "blobs").rglob("*") if path.is_file()}
            return True if left <= covers else None

        await until(aircheck.store, no_blobs)


def replies_to(content: object, event_id: str) -> bool:
    relation = content.get("m.relates_to", {}) if isinstance(content, dict) else {}
    return bool(relation.get("m.in_reply_to", {}).get("event_id") == event_id)
