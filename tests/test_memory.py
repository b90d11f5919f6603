"""The memory of the process."""

import subprocess
import sys

CHILD = """
import asyncio, re
from pathlib import Path
from bot import memory
from bot.pictures.cover import drawn_cover
from bot.pictures.one_at_a_time import apart

def mib():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

async def main():
    before = mib()
    for number in range(3):
        await apart(drawn_cover, "Kitchen radio", str(number))
    print(mib() - before)

assert memory.give_back_large_pieces()
asyncio.run(main())
"""

FREEING = """
import re
from pathlib import Path
from bot import memory

def mib():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

start = mib()
pieces = [bytearray(2000) for _ in range(16_000)]
last = bytearray(2000)  # holds the end of the heap
pieces.clear()
print(mib() - start)
memory.give_back_what_is_free()
print(mib() - start)
"""


def test_what_covers_took_is_given_back() -> None:
    """A process that has drawn covers is larger by some MiB, not by a part of a cover."""
    kept = subprocess.run([sys.executable, "-c", CHILD], check=True, capture_output=True)
    assert float(kept.stdout) < 15


def test_what_lies_free_is_given_back() -> None:
    """A process that freed most of many small pieces keeps some MiB of them, not all."""
    kept = subprocess.run([sys.executable, "-c", FREEING], check=True, capture_output=True)
    before, after = map(float, kept.stdout.split())
    assert before > 20
    assert after < before / 2
