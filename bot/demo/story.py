"""The demo's story, narrated while it happens."""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape

from bot.demo.broadcaster import Broadcaster
from bot.demo.people import Person
from bot.demo.received import Received
from bot.demo.slicing import PACKET, SPEECH_PARTS, speech
from bot.demo.stage import ROOM_NAME, Stage
from bot.demo.talk import Message, record, send
from bot.errors import StartError
from storage import archive
from storage.records import (
    SAMPLE_RATE,
    Chunk,
    ChunkId,
    ChunkState,
    Episode,
    EventId,
    Recording,
    RecordingState,
    to_ms,
)
from storage.store import Store

PAUSE_S = 3.0
LOOK_S = 0.2  # between two looks at the archive; only the narration waits for it
PATIENCE_S = 90.0
PACKETS_PER_SECOND = SAMPLE_RATE // PACKET
SOUND_CHECK = 100  # packets
VOICE = "org.matrix.msc3245.voice"


@dataclass(frozen=True, slots=True)
class Addresses:
    """The personal addresses that the bot gave Mira."""

    feed: str
    page: str


class Narrator:
    """Lines on the terminal, each with the seconds since the beginning."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._began = time.monotonic()

    def say(self, sentence: str, *, style: str = "") -> None:
        seconds = f"{time.monotonic() - self._began:6.1f} s"
        self._out.print(f"[dim]{seconds}[/]  {escape(sentence)}", style=style, soft_wrap=True)

    def quote(self, text: str) -> None:
        for line in filter(None, text.splitlines()):
            self._out.print(f"          [dim]│[/] {escape(line)}", soft_wrap=True)


async def invite_the_bot(stage: Stage, narrator: Narrator) -> None:
    """Invite the bot; wait until it has joined and announced itself."""
    await stage.phone.invite(stage.room_id, stage.bot_id)
    narrator.say(f"Mira invites {stage.bot_id} to the encrypted room “{ROOM_NAME}”")
    await until(stage.phone, lambda event: event.is_membership("join", stage.bot_id), "the bot did not join")
    narrator.say("Aircheck joined")
    hello = await until(stage.phone, lambda event: event.is_notice_of(stage.bot_id), "the bot did not announce itself")
    narrator.quote(hello.body)


async def ask_for_the_feed(stage: Stage, narrator: Narrator, web: str) -> Addresses:
    """Ask for the feed as any member does: the command in the room, the addresses in the direct chat."""
    narrator.say("Mira asks for her personal feed: !aircheck feed")
    await stage.phone.say(stage.room_id, "!aircheck feed")
    try:
        chat = await stage.phone.wait_for_invite(stage.bot_id, PATIENCE_S)
    except TimeoutError:
        raise StartError("the bot did not invite Mira to a direct chat") from None
    await stage.phone.join(chat)
    told = await until(
        stage.phone,
        lambda event: event.room_id == chat and event.sender == stage.bot_id and web in event.body,
        "the bot did not send the feed's address",
    )
    narrator.say("Aircheck sends the address in a direct chat, encrypted")
    return addresses_in(told.body, web)


def addresses_in(text: str, web: str) -> Addresses:
    """Find the addresses of feed and page in the bot's message. Raises StartError."""
    urls = re.findall(rf"{re.escape(web)}/\S+", text)
    feeds = [url for url in urls if url.endswith(".xml")]
    pages = [url for url in urls if not url.endswith(".xml")]
    if not feeds or not pages:
        raise StartError("the bot's message names no feed or no page")
    return Addresses(feeds[0], pages[0])


async def hear_the_announcement(stage: Stage, narrator: Narrator, event_id: str) -> None:
    """Wait for the bot's reply to the broadcast, or to the first voice message, that announces the episode."""
    told = await _reply_to(stage, event_id, "the bot did not announce the episode")
    narrator.say("Aircheck announces the episode in the room")
    narrator.quote(told.body)


async def delete_a_sound_check(stage: Stage, narrator: Narrator, pace: float) -> None:
    """Let Mira try her microphone and delete the recording: the bot asks once more, and she confirms."""
    broadcaster = Broadcaster(stage.browser, stage.room_id)
    await broadcaster.start()
    narrator.say("Mira tries her microphone for two seconds")
    await asyncio.sleep(SOUND_CHECK * PACKET / SAMPLE_RATE / pace)
    await broadcaster.speak(speech(1)[:SOUND_CHECK])
    await broadcaster.stop()
    await _reply_to(stage, broadcaster.broadcast_id, "the bot did not announce the sound check")
    narrator.say("Aircheck recorded that too. Mira wants it gone: !aircheck delete last")
    command = await stage.phone.say(stage.room_id, "!aircheck delete last")
    question = await _reply_to(stage, command, "the bot did not ask before it deletes")
    narrator.quote(question.body)
    narrator.say("Mira confirms with a 👍")
    await stage.phone.react(stage.room_id, question.event_id, "👍")
    deleted = await _reply_to(stage, question.event_id, "the bot did not delete the sound check")
    narrator.quote(deleted.body)


async def ask_for_voice_messages(stage: Stage, narrator: Narrator) -> None:
    """Switch on that finished recordings are handed back as voice messages."""
    narrator.say("Some members' clients know no broadcasts: !aircheck replay on")
    command = await stage.phone.say(stage.room_id, "!aircheck replay on")
    narrator.quote((await _reply_to(stage, command, "the bot did not answer")).body)


async def receive_the_voice_message(stage: Stage, narrator: Narrator) -> bytes:
    """Wait for the broadcast as a voice message, as any client gets it; give its file, decrypted."""
    message = await until(
        stage.phone,
        lambda event: event.sender == stage.bot_id and VOICE in event.content,
        "the bot did not hand the broadcast back",
    )
    data = await stage.phone.open_media(message)
    narrator.say(f"Aircheck hands the broadcast back as an encrypted voice message, {len(data) // 1000} kB of Opus")
    return data


async def _reply_to(stage: Stage, event_id: str, otherwise: str) -> Received:
    """Wait for the bot's reply to an event."""

    def is_the_reply(event: Received) -> bool:
        replied_to = event.content.get("m.relates_to", {}).get("m.in_reply_to", {}).get("event_id")
        return event.is_notice_of(stage.bot_id) and replied_to == event_id

    return await until(stage.phone, is_the_reply, otherwise)


async def broadcast(stage: Stage, narrator: Narrator, pace: float) -> Broadcaster:
    """Let Mira broadcast the shipped speech from her browser, with a pause between its two parts."""
    broadcaster = Broadcaster(stage.browser, stage.room_id)
    await broadcaster.start()
    narrator.say("Mira goes live from her browser (as Element Web does, in chunks of 5 s)")

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds / pace)

    for part in range(1, SPEECH_PARTS + 1):
        if part > 1:
            await broadcaster.pause()
            narrator.say("Mira pauses")
            await wait(PAUSE_S)
            await broadcaster.resume()
            narrator.say("Mira resumes")
        packets = speech(part)
        await broadcaster.speak(packets, wait=wait)
        await wait((len(packets) * PACKET - broadcaster.slicers[-1].samples) / SAMPLE_RATE)  # the unfinished chunk
    await broadcaster.stop()
    narrator.say(f"Mira stops after {len(broadcaster.chunks)} chunks")
    return broadcaster


SAID = (("Mira", 1, 0, 7), ("Jonas", 2, 0, 6), ("Mira", 1, 8, 5))
"""The voice messages: who says them, which part of the shipped speech, from which second on, how many seconds."""


async def switch_on_voice_messages(stage: Stage, narrator: Narrator) -> None:
    """Let Mira have voice messages recorded too."""
    narrator.say("Not every client can broadcast, but all send voice messages: !aircheck record messages on")
    command = await stage.phone.say(stage.room_id, "!aircheck record messages on")
    narrator.quote((await _reply_to(stage, command, "the bot did not answer")).body)


async def talk(stage: Stage, narrator: Narrator) -> tuple[list[Message], EventId]:
    """Let Mira and Jonas send voice messages; give them, and the event of the first."""
    people = {"Mira": stage.phone, "Jonas": stage.jonas}
    messages, first = [], None
    for name, part, begins, length in SAID:
        packets = speech(part)[begins * PACKETS_PER_SECOND : (begins + length) * PACKETS_PER_SECOND]
        message = record(name, people[name], packets)
        event_id = await send(message, stage.room_id)
        messages.append(message)
        first = first or EventId(event_id)
        narrator.say(f"{name} sends a voice message of {to_ms(message.samples) / 1000:.1f} s")
    assert first is not None
    return messages, first


@dataclass
class Watch:
    """A narration of the room's recording, read from the archive, until its episode is published. A deleted one is
    passed over; `began`: the event of the one that is meant, without which it is the newest."""

    store: Store
    narrator: Narrator
    began: EventId | None = None
    _told: set[tuple[ChunkId, ChunkState]] = field(default_factory=set)
    _state: RecordingState | None = None

    async def until_published(self) -> tuple[Recording, Episode]:
        while True:
            async with self.store.read() as db:
                known = await archive.recordings(db, limit=2)
                recording = next((one for one in known if self._is_meant(one)), None)
                chunks = await archive.chunks(db, recording.id) if recording else ()
                episode = await archive.episode(db, recording.id) if recording else None
            for chunk in chunks:
                self._tell_chunk(chunk)
            if recording is not None:
                self._tell_state(recording)
                if episode is not None and episode.published_at is not None:
                    length = to_ms(episode.samples) / 1000
                    self.narrator.say(f"published: an episode of {length:.1f} s, {episode.bytes // 1000} kB")
                    return recording, episode
            await asyncio.sleep(LOOK_S)

    def _is_meant(self, recording: Recording) -> bool:
        if self.began is not None:
            return recording.event_id == self.began
        return recording.state is not RecordingState.DELETED

    def _tell_chunk(self, chunk: Chunk) -> None:
        if (chunk.id, chunk.state) in self._told:
            return
        self._told.add((chunk.id, chunk.state))
        part = f"chunk {'?' if chunk.sequence is None else chunk.sequence}"
        part = f"voice message of {chunk.sender_name}" if chunk.sender_name else part
        if chunk.state is ChunkState.STORED:
            self.narrator.say(f"    {part} stored, {seconds_of(chunk):.1f} s", style="green")
        elif chunk.state is not ChunkState.WAITING_FOR_MEDIA:
            self.narrator.say(f"    {part} {chunk.state.replace('_', ' ')}", style="yellow")

    def _tell_state(self, recording: Recording) -> None:
        if recording.state is not self._state:
            self._state = recording.state
            self.narrator.say(f"    recording {recording.code}: {recording.state}", style="green")


def seconds_of(chunk: Chunk) -> float:
    """Give the length of a stored chunk: for a slice of an Ogg stream, that of its packets."""
    if chunk.facts is None:
        return 0.0
    samples = chunk.facts.ogg.packet_samples if chunk.facts.ogg else chunk.facts.samples
    return to_ms(samples) / 1000


async def until(person: Person, predicate: Callable[[Received], object], otherwise: str) -> Received:
    """Wait for an event. Raises StartError with the sentence `otherwise` when it does not come."""
    try:
        return await person.wait_for(predicate, PATIENCE_S)
    except TimeoutError:
        raise StartError(otherwise) from None
