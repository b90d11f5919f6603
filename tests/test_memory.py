"""The memory of the process."""

import subprocess
import sys

import pytest

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

SEARCHING = """
import gc, sys
from bot import memory

def clock():  # of collections that take so long
    clock.now += float(sys.argv[1])
    return clock.now

clock.now = 0.0
kept = []
with memory.searched_briefly(most_frozen=int(sys.argv[2]), clock=clock):
    before = gc.get_freeze_count()
    for number in range(memory.COUNTED_EACH):
        kept += [[number] for _ in range(1000)]
        gc.collect()
    print(gc.get_freeze_count() - before)
print(gc.callbacks, gc.get_threshold())
"""

LEAVING = """
import gc
from bot import memory

def clock():  # of collections that take a second
    clock.now += 1.0
    return clock.now

clock.now, most = 0.0, 0
with memory.searched_briefly(most_frozen=10_000, clock=clock):
    before = gc.get_freeze_count()
    for _ in range(6 * memory.COUNTED_EACH):
        rings = [[] for _ in range(1000)]
        for ring in rings:
            ring.append(ring)
        gc.collect()
        del ring, rings
        most = max(most, gc.get_freeze_count() - before)
print(most)
"""


def searched(seconds: float, most_frozen: int) -> tuple[int, str]:
    """Collect garbage again and again, each time in so many seconds, while objects are added. Return how many are not
    looked through any more, and what is left set in the end."""
    program = [sys.executable, "-c", SEARCHING, str(seconds), str(most_frozen)]
    told = subprocess.run(program, check=True, capture_output=True, text=True).stdout.splitlines()
    return int(told[0]), told[1]


def test_long_collections_look_through_the_same_objects_once() -> None:
    """Objects that a full collection took long to look through are kept; others are looked through again."""
    kept, left = searched(1, 1_000_000)
    assert kept == pytest.approx(16_000, abs=100)
    assert left == "[] (700, 10, 10)"
    assert searched(0, 1_000_000)[0] == pytest.approx(0, abs=100)


def test_too_much_that_is_kept_is_looked_through_again() -> None:
    """Once very many objects are kept, all are looked through again."""
    assert searched(1, 10_000)[0] < 0


def test_garbage_that_is_kept_stays_bounded() -> None:
    """Kept objects that only refer to themselves are freed again and again, each time at the same number."""
    kept = subprocess.run([sys.executable, "-c", LEAVING], check=True, capture_output=True)
    assert 10_000 < int(kept.stdout) < 20_000


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
