"""Commands with texts as long as an event may hold, made to take time."""

import time

from bot.commands.registry import VERBS
from storage.records import RoomId, UserId
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
            start = time.thread_time()
            await world.say(MOD, f"\\!aircheck {beginning} {text}", **room)
            took[beginning, text[:8]] = time.thread_time() - start
    assert {key: spent for key, spent in took.items() if spent > MOST} == {}
