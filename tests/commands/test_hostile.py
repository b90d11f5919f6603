"""Commands with texts as long as an event may hold, and in rooms with many recordings."""

import time
from collections import Counter
from typing import Any

import pytest

from bot import words
from bot.commands.registry import VERBS
from storage import archive, rows
from storage.records import Recording, RecordingState, RoomId, UserId
from tests.commands.world import BOT, MOD, World

CHAT = RoomId("!chat:hs")
MOST = 0.15
"""The most time of a command's thread, in seconds: some ten times what a command takes on a slow machine."""
HOSTILE = ("@a:b.de " * 7500, "[" * 60_000, "\u0130" * 30_000)
BEGINNINGS = (
    *VERBS,
    "title last",
    "describe last",
    *(f"podcast {field}" for field in ("title", "description", "author", "language", "category", "explicit")),
    "retention 30",
    "",
)


async def test_no_text_takes_the_bots_time(world: World) -> None:
    """Each command answers at once, whatever is written behind it."""
    await world.recording()
    for number in range(50):
        await world.member(UserId(f"@m{number}:hs"), name=f"a {number}")
    await world.open(room_id=CHAT, members=(BOT, MOD), direct=True, recording_on=False)
    took = {}
    for beginning in BEGINNINGS:
        for text in HOSTILE:
            room = {"room_id": CHAT} if beginning == "in" else {}
            for _ in range(3):  # a collection of garbage may fall into one of them, slow words are slow each time
                start = time.thread_time()
                await world.say(MOD, f"\\!aircheck {beginning} {text}", **room)
                took[beginning, text[:8]] = time.thread_time() - start
                if took[beginning, text[:8]] <= MOST:
                    break
    assert {key: spent for key, spent in took.items() if spent > MOST} == {}


@pytest.mark.parametrize("command", ["review on", "publish public", "leave"])
async def test_no_command_reads_all_recordings(world: World, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """A command takes no longer because a room has recorded for years."""
    for _ in range(10):
        await world.recording()
    live, made, record = await world.recording(state=RecordingState.LIVE), Counter[type](), rows.record

    def counted(kind: type, row: Any) -> Any:
        made[kind] += 1
        return record(kind, row)

    for module in (rows, archive):
        monkeypatch.setattr(module, "record", counted)
    await world.say(MOD, f"!aircheck {command}", position=live.position)
    assert made[Recording] <= 2


async def test_what_is_not_listed_is_not_described(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those recordings are described that the answer shows; the others that have to go are counted."""
    described, describe = list[str](), words.expiring

    def counted(code: str, *about: Any) -> str:
        described.append(code)
        return describe(code, *about)

    monkeypatch.setattr(words, "expiring", counted)
    for _ in range(words.MOST_LISTED + 3):
        await world.recording()
    answer = await world.say(MOD, "!aircheck retention 1 episode") or ""
    assert "These 32 recordings go:" in answer
    assert "… and 2 older ones" in answer
    assert len(described) == words.MOST_LISTED
