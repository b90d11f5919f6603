"""Voice messages, keys, redactions, repeated syncs and restarts in any order: every message is in one session, once.

Nothing is downloaded here: `tests/recording/session/test_properties.py` is about the sound.
"""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import journal, rooms
from storage.records import ChunkState, EventId, HeardEvent, SessionId, UserId
from tests.interleaving.begun import begin, new_loop
from tests.recorder.voices import BEN, Session, in_thread, redaction, sealed_voice, sessions, voice
from tests.recording.world import LIMITS
from tests.world import ALICE, ROOM, World, batch, world_of

GAP = LIMITS.session_gap


@dataclass(frozen=True)
class Message:
    name: str
    who: UserId
    at: datetime
    thread: str | None
    sealed: bool  # its key comes later
    redacted: bool

    @property
    def clear(self) -> HeardEvent:
        return voice(self.name, self.at, who=self.who, **(in_thread(self.thread) if self.thread else {}))

    @property
    def heard(self) -> HeardEvent:
        return sealed_voice(self.clear, f"key of {self.name}") if self.sealed else self.clear


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    at, messages = datetime.fromisoformat("2026-11-20T08:00:00+00:00"), []
    for number in range(1, draw(st.integers(2, 8)) + 1):
        at += timedelta(minutes=draw(st.sampled_from([1, 4, 9, 10, 11, 30])))
        thread = draw(st.sampled_from([None, None, "$root"]))
        sealed, redacted = draw(st.booleans()), draw(st.integers(0, 4)) == 0
        messages.append(Message(f"${number}", draw(st.sampled_from([ALICE, BEN])), at, thread, sealed, redacted))
    return messages


def chains(messages: list[Message]) -> set[tuple[str, ...]]:
    """Return the sessions of messages that all come in order."""
    found: list[list[Message]] = []
    for thread in {message.thread for message in messages}:
        of_thread = [message for message in messages if message.thread == thread]
        found.append(of_thread[:1])
        for before, after in pairwise(of_thread):
            if after.at - before.at < GAP:
                found[-1].append(after)
            else:
                found.append([after])
    return {tuple(message.name for message in chain) for chain in found}


class Story:
    """A bot that hears a conversation."""

    def __init__(self, directory: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._open: AbstractAsyncContextManager[World] = world_of(directory)
        self.bot = loop.run_until_complete(self._open.__aenter__())
        self._keys: dict[EventId, HeardEvent] = {}
        loop.run_until_complete(self._record())

    def close(self) -> None:
        self._loop.run_until_complete(self._open.__aexit__(None, None, None))

    async def _record(self) -> None:
        async with self.bot.store.write() as db:
            room = await rooms.room(db, ROOM)
            assert room is not None
            await rooms.save_room(db, replace(room, messages_since=await journal.position(db)))

    def hear(self, *heard: HeardEvent) -> None:
        self._loop.run_until_complete(self.bot.hear(*heard))

    def key(self, message: Message) -> None:
        """Let the key of a message come."""
        relation = message.clear.event["content"].get("m.relates_to")
        self._keys[message.clear.event_id] = replace(message.clear, encrypted=True, clear_relation=relation)
        self.bot.opens = lambda wrapper: (
            replace(clear, position=wrapper.position) if (clear := self._keys.get(wrapper.event_id)) else None
        )
        keys = frozenset({SessionId(f"key of {message.name}")})
        self._loop.run_until_complete(self.bot.intake.take(batch(new_keys=keys)))
        self._loop.run_until_complete(self.bot.settle())

    def restart(self) -> None:
        self._loop.run_until_complete(self.bot.rise_again())

    def ends(self) -> list[Session]:
        return self._loop.run_until_complete(sessions(self.bot))


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    yield from new_loop()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, loop: asyncio.AbstractEventLoop) -> Path:
    return begin(tmp_path_factory.mktemp("begun") / "data", loop)


def tell(story: Story, messages: list[Message], data: st.DataObject | None) -> None:
    """Tell a conversation: the timeline in its order; with `data`, keys and redactions whenever they may come, some
    events twice, and restarts."""
    waiting: list[Message] = []
    for message in messages:
        story.hear(message.heard)
        waiting += [message] if message.sealed else []
        while data and data.draw(st.booleans()):
            what = data.draw(st.sampled_from(["key", "again", "restart"]))
            if what == "key" and waiting:
                story.key(waiting.pop(data.draw(st.integers(0, len(waiting) - 1))))
            elif what == "again":
                story.hear(*(one.heard for one in messages[: messages.index(message) + 1]))
            elif what == "restart":
                story.restart()
    for message in waiting:
        story.key(message)
    story.hear(
        *(redaction(f"$r{message.name[1:]}", message.name, message.who) for message in messages if message.redacted)
    )


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=conversations(), data=st.data())
def test_every_message_is_in_one_session_once(
    begun: Path, loop: asyncio.AbstractEventLoop, tmp_path: Path, messages: list[Message], data: st.DataObject
) -> None:
    """Whatever comes late, twice or between two starts: no message is lost or doubled, sessions of a thread follow one
    another, and no silence of the gap lies inside of one. Where nothing is late they are the chains of messages."""
    directory = tmp_path / f"story{data.draw(st.uuids())}"
    story = Story(shutil.copytree(begun, directory), loop)
    try:
        tell(story, messages, data)
        found = story.ends()
    finally:
        story.close()
        shutil.rmtree(directory)
    by_name = {message.name: message for message in messages}
    assert sorted(name for session in found for name in session.messages) == sorted(by_name)
    for session in found:
        mine = [by_name[name] for name in session.messages]
        assert {message.thread for message in mine} == {session.recording.thread}
        assert session.messages == [message.name for message in messages if message in mine]
        assert all(after.at - before.at < GAP for before, after in pairwise(mine))
        for chunk in session.chunks:
            assert (chunk.state is ChunkState.REDACTED) is by_name[str(chunk.event_id)].redacted
    for thread in (None, "$root"):
        order = [session.messages for session in found if session.recording.thread == thread]
        told = [message.name for message in messages if message.thread == thread]
        assert sorted(order, key=lambda names: told.index(names[0])) == _cut(told, order)
    late = any(message.sealed for message in messages)
    if not late:
        assert {tuple(session.messages) for session in found} == chains(messages)


def _cut(told: list[str], sessions: list[list[str]]) -> list[list[str]]:
    """Cut the messages of a thread into stretches as long as these sessions, in the order of the timeline."""
    lengths = [len(names) for names in sorted(sessions, key=lambda names: told.index(names[0]))]
    ends = [sum(lengths[: index + 1]) for index in range(len(lengths))]
    return [told[end - length : end] for length, end in zip(lengths, ends, strict=True)]
