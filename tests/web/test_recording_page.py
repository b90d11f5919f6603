"""The page of a recording: speakers, notes, neighbours, what other sites read, and the data of its waveform."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientSession

from bot.web.people import initials_of, people_of
from storage import calls
from storage.records import (
    BlobKey,
    CallEvent,
    CallEventKind,
    CallProtocol,
    ChunkState,
    Credit,
    DurationMs,
    Mark,
    RecordingKind,
    RecordingState,
    Room,
    Samples,
    UserId,
    Visibility,
)
from tests.factories import a_recording
from tests.web.test_chapters import heard
from tests.web.world import ALICE, World


@pytest.fixture
async def room(world: World) -> Room:
    return await world.room(visibility=Visibility.PUBLIC)


async def html(client: ClientSession, address: str) -> str:
    async with client.get(address) as answer:
        assert answer.status == 200
        return (await answer.read()).decode()


async def test_addresses_in_notes_are_links(world: World, client: ClientSession, room: Room) -> None:
    """Notes keep their lines, and their web addresses are links that vouch for nothing and tell nobody."""
    notes = "One\ntwo <b> https://example.org/?a=1&b=2.\n\njavascript:alert(1) http://x.example"
    recording = await world.recording(room, description=notes)
    await world.episode(recording)
    text = await html(client, f"/r/{room.key}/{recording.code}")
    assert "<p>One<br>two &lt;b&gt; <a " in text
    links = re.findall(r'<a href="([^"]+)" rel="nofollow noopener noreferrer ugc">([^<]+)</a>(.)', text)
    address = "https://example.org/?a=1&amp;b=2"
    assert links == [(address, address, "."), ("http://x.example", "http://x.example", "<")]
    assert "<p>javascript:alert(1) " in text


async def test_neighbours_are_those_within_reach(world: World, client: ClientSession, room: Room) -> None:
    """A recording's page leads to the next newer and the next older one that its reader may hear."""
    titles = {}
    for title, public in (("First", True), ("Hidden", False), ("Second", True), ("Third", True)):
        titles[title] = await world.recording(room, title=title, public=public)
        await world.episode(titles[title], title.encode())
    await world.episode(await world.recording(await world.room(visibility=Visibility.PUBLIC)), b"elsewhere")

    async def beside(title: str) -> list[tuple[str, str]]:
        text = await html(client, f"/r/{room.key}/{titles[title].code}")
        return re.findall(r'<a rel="(prev|next)" href="(\w+)">', text)

    first, second, third = (titles[title].code for title in ("First", "Second", "Third"))
    assert await beside("First") == [("next", second)]
    assert await beside("Second") == [("prev", first), ("next", third)]
    assert await beside("Third") == [("prev", second)]


async def test_other_sites_read_what_a_public_page_is_about(world: World, client: ClientSession, room: Room) -> None:
    """A public page has a description, picture and audio for previews and search engines; a personal page has none."""
    recording = await world.recording(room, title="Soup </script>", description="How to make it.")
    await world.episode(recording)
    text = await html(client, f"/r/{room.key}/{recording.code}")
    own = f"{world.server.address}/r/{room.key}/{recording.code}"
    for name, content in (("description", "How to make it."), ("url", own), ("audio", f"{own}.mp3")):
        assert f'<meta property="og:{name}" content="{content}">' in text
    (data,) = re.findall(r'<script type="application/ld\+json">(.*?)</script>', text)
    said = json.loads(data)
    assert (said["@type"], said["name"], said["timeRequired"]) == ("PodcastEpisode", "Soup </script>", "PT3M4S")
    assert said["associatedMedia"]["contentUrl"] == f"{own}.mp3"
    await world.member(room, ALICE)
    personal = await html(client, f"/p/{await world.listener(room, ALICE)}/{recording.code}")
    assert not re.findall("og:|ld\\+json|oembed|data-share|\\.embed", personal)
    assert "there is no link to share" in personal


async def test_a_shared_place_needs_no_script(world: World, client: ClientSession, room: Room) -> None:
    """A link with `?t=` begins there in the browser's own player; what is no number of seconds is nothing."""
    recording = await world.recording(room)
    await world.episode(recording)
    for place, source in (("185", f"{recording.code}.mp3#t=185"), ('"><i>', f"{recording.code}.mp3")):
        found = await html(client, f"/r/{room.key}/{recording.code}?t={place}")
        assert re.findall(r'<audio [^>]*src="([^"]+)"', found) == [source]


async def timeline(client: ClientSession, address: str, code: str) -> dict[str, Any]:
    """Return the data of a page's waveform; the file beside the audio has the same, and more."""
    (data,) = re.findall(
        f'<script type="application/json" data-timeline="{code}">(.*?)</script>', await html(client, address)
    )
    async with client.get(f"{address}.waveform.json") as answer:
        assert json.loads(data).items() <= (await answer.json()).items()
    said: dict[str, Any] = json.loads(data)
    return said


async def test_the_waveform_knows_gaps_and_chapters(world: World, client: ClientSession, room: Room) -> None:
    """The data of a waveform has length, bars, gaps and chapters in seconds, and no voices where one person speaks."""
    recording = await world.recording(room, state=RecordingState.INCOMPLETE)
    for sequence, state in enumerate((ChunkState.STORED, ChunkState.DAMAGED, ChunkState.STORED), 1):
        await world.chunk(recording, sequence, state, seconds=60)
    await heard(world, recording, (184, b"\xff" * 18_400))
    await world.episode(recording, chapters=(Mark(DurationMs(61_500), "Soup"),))
    said = await timeline(client, f"/r/{room.key}/{recording.code}", recording.code)
    assert (said["duration"], said["gaps"], said["chapters"]) == (184.0, [[60.0, 60.0]], [[61.5, "Soup"]])
    assert (said["voices"], len(said["bars"])) == ([], 536)


async def test_the_waveform_knows_who_speaks(world: World, client: ClientSession, room: Room) -> None:
    """The data of a session's waveform has its speakers by name, with all stretches in which each speaks."""
    session = await world.session(room, "Ann", "Ben", None, "Ann", "Ann")
    await heard(world, session, (304, b"\xff" * 30_400))
    await world.episode(session)
    said = await timeline(client, f"/r/{room.key}/{session.code}", session.code)
    ann, ben, somebody = said["voices"]
    assert (ann["name"], ann["spans"]) == ("Ann", [[0.0, 60.0], [183.0, 121.0]])
    assert (ben["name"], ben["spans"]) == ("Ben", [[61.0, 60.0]])
    assert somebody["name"] == "Somebody"


def test_speakers_have_portraits_or_initials() -> None:
    """Each speaker is shown once, by portrait, else by initials; nobody is named by a user id."""
    ann, ben, nobody = UserId("@ann:hs"), UserId("@ben:hs"), UserId("@x:hs")
    heard_of = (Credit(ann, "Ann"), Credit(ben, "ben  de la Cruz"), Credit(nobody, "@x:hs"))
    people = people_of(a_recording(speakers=heard_of), {ann: BlobKey("f" * 64)})
    assert [(person.name, person.portrait, person.initials) for person in people] == [
        ("Ann", f"portrait-{'f' * 16}.jpg", "A"),
        ("ben de la Cruz", "", "BC"),
        ("Somebody", "", "?"),
    ]
    assert initials_of("🎙️") == "🎙"
    namesakes = people_of(a_recording(speakers=(Credit(ben, "Ann"), Credit(ann, "Ann"))), {ann: BlobKey("f" * 64)})
    assert [person.portrait for person in namesakes] == ["", f"portrait-{'f' * 16}.jpg"]


async def test_avatars_have_the_colours_of_their_voices(world: World, client: ClientSession, room: Room) -> None:
    """Initials and voice of a speaker have one colour, also behind two speakers of one name."""
    users = [UserId(f"@user{number}:hs") for number in range(3)]
    named = tuple(map(Credit, users, ("Ann", "Ann", "Ben")))
    session = await world.session(room, "Ann", "Another", "Ben", speakers=named)
    await world.episode(session)
    text = await html(client, f"/r/{room.key}/{session.code}")
    assert re.findall(r'class="face tint-(\d)" aria-hidden="true">(\w)', text) == [("1", "A"), ("3", "B")]
    assert '<li class="key-3"><bdi>Ben</bdi>' in text


async def test_the_page_of_a_call_tells_who_was_not_heard(world: World, client: ClientSession, room: Room) -> None:
    """The page says which kind of call it was, and why sound of members is missing, without a name."""
    recording = await world.recording(room, kind=RecordingKind.CALL, protocol=CallProtocol.MATRIXRTC)
    await world.episode(recording)
    whole = await html(client, f"/r/{room.key}/{recording.code}")
    assert "<span>Element Call</span>" in whole
    assert "Complete: the episode has all audio that was sent." in whole
    away = CallEvent(Samples(0), ALICE, CallEventKind.UNREACHABLE)
    async with world.store.write() as db:
        await calls.note(db, recording.id, [away, replace(away, what=CallEventKind.UNREADABLE)])
    text = await html(client, f"/r/{room.key}/{recording.code}")
    assert "The episode has all audio that was received." in text
    assert "Some sound of 1 member was not received" in text
    assert "Some sound of 1 member is silence" in text
