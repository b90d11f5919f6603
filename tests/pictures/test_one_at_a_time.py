"""Work on large pictures, which takes much memory, never overlaps."""

import ast
import asyncio
import threading
from contextlib import suppress
from pathlib import Path

import pytest

import bot
from bot import orders
from bot.pictures.one_at_a_time import apart
from bot.web import covers
from bot.worker import covering
from tests.world import ROOM, World

DRAWING = {"drawn_cover", "fitted", "accepted", "small", "encoded", "own_picture"}


class Easel:
    """A picture that waits a moment for a second one to be drawn beside it."""

    def __init__(self) -> None:
        self.drawn: list[str] = []
        self.most = 0
        self._at_once = 0
        self._two = threading.Event()
        self._lock = threading.Lock()

    def draw(self, name: str, key: str) -> bytes:
        with self._lock:
            self._at_once += 1
            self.most = max(self.most, self._at_once)
            if self._at_once > 1:
                self._two.set()
        self._two.wait(0.03)
        with self._lock:
            self._at_once -= 1
            self.drawn.append(name)
        return name.encode()


async def test_pictures_are_drawn_one_after_the_other() -> None:
    """Five that are asked for at once never overlap, and come in the order in which they were asked for."""
    easel = Easel()
    assert await asyncio.gather(*(apart(easel.draw, str(n), key="") for n in range(5))) == [
        b"0",
        b"1",
        b"2",
        b"3",
        b"4",
    ]
    assert (easel.drawn, easel.most) == (["0", "1", "2", "3", "4"], 1)


async def test_who_no_longer_wants_a_picture_leaves_the_queue() -> None:
    """Work that has not begun is left out when its caller is cancelled; a failure is the caller's alone."""
    easel, begun, go_on = Easel(), threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go_on.wait(10)
        raise ValueError

    first, second = asyncio.create_task(apart(hold)), asyncio.create_task(apart(easel.draw, "second", ""))
    assert await asyncio.to_thread(begun.wait, 10)
    second.cancel()
    with suppress(asyncio.CancelledError):
        await second
    go_on.set()
    with pytest.raises(ValueError):
        await first
    assert await apart(easel.draw, "third", "") == b"third"
    assert easel.drawn == ["third"]


async def test_jobs_and_pages_draw_one_after_the_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The covers of rooms, of feeds and the smaller ones of pages are made by one thread."""
    easel = Easel()
    for module in (covering, covers):
        monkeypatch.setattr(module, "drawn_cover", easel.draw)
    pictures = covers.Covers(world.store, world.settings.feeds)
    await pictures.prepare()
    job = world.handlers[orders.Cover.kind]
    assert isinstance(job, covering.Covering)
    await asyncio.gather(job.of(ROOM), *(pictures.of_server(title) for title in "abc"))
    assert (len(easel.drawn), easel.most) == (4, 1)


def test_nobody_draws_elsewhere() -> None:
    """Each use of a function that works on large pictures, in jobs and in pages, is one by `apart`."""
    used = 0
    for folder in ("worker", "web"):
        for file in (Path(bot.__file__).parent / folder).rglob("*.py"):
            found = list(ast.walk(ast.parse(file.read_text())))
            imports = [each for each in found if isinstance(each, ast.ImportFrom)]
            ours = [each for each in imports if each.module and each.module.startswith("bot.pictures.")]
            drawing = DRAWING & {name.name for each in ours for name in each.names}
            by_apart = {id(part) for each in found if _is_by_apart(each) for part in ast.walk(each)}
            uses = [each for each in found if isinstance(each, ast.Name) and each.id in drawing]
            assert all(id(each) in by_apart for each in uses), file
            used += len(uses)
    assert used >= 7


def _is_by_apart(call: ast.AST) -> bool:
    """Return whether this is `apart(…)` or `partial(apart, …)`."""
    return isinstance(call, ast.Call) and any(
        isinstance(each, ast.Name) and each.id == "apart" for each in (call.func, *call.args[:1])
    )
