"""Speakers, homeserver, clock and bot take their steps in any order, and the bot may die at each of its own: when all
has come to rest, the ledger is the truth and the audio is the truth to the sample.

AIRCHECK_INTERLEAVINGS=5000 tries so many stories (about an hour) instead of the usual few.
"""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from storage.records import DeviceId, Episode
from tests.audio.sounds import Studio
from tests.interleaving import verdict
from tests.interleaving.begun import begin, new_loop
from tests.interleaving.homeserver import Fate
from tests.interleaving.machine import Interleavings
from tests.interleaving.sound import Pcm
from tests.interleaving.speaker import Audible
from tests.interleaving.truth import Sound, Truth
from tests.interleaving.world import World
from tests.world import ALICE, find_ffmpeg

STORIES = int(os.environ.get("AIRCHECK_INTERLEAVINGS", "5"))
STEPS = 40
MARGIN = 2400  # samples around a seam: MP3 frames reach over it
QUIET = 0.02


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    yield from new_loop()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, loop: asyncio.AbstractEventLoop) -> Path:
    return begin(tmp_path_factory.mktemp("begun") / "data", loop, replay=True)


def test_whatever_happens_the_archive_is_the_truth(begun: Path, loop: asyncio.AbstractEventLoop) -> None:
    """In any interleaving nothing is lost, doubled, misplaced or left over."""

    class Here(Interleavings):
        def __init__(self) -> None:
            super().__init__(begun, loop)

    run_state_machine_as_test(Here, settings=settings(max_examples=STORIES, stateful_step_count=STEPS))


@pytest.mark.parametrize("web", [True, False], ids=["element web", "phone"])
def test_the_mp3_is_as_long_as_what_was_said(
    begun: Path, loop: asyncio.AbstractEventLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: bool
) -> None:
    """By the real codecs: a lost chunk is silence of its length, a pause is cut, and the file decodes to the sample."""
    world = World(shutil.copytree(begun, tmp_path / "data"), loop, monkeypatch, Audible())
    try:
        (truth, episode), heard = _tell(world, web=web)
    finally:
        world.close()
    at = 0
    for part in truth.parts:
        length = part.samples if isinstance(part, Sound) else part.least
        if length > 2 * MARGIN:
            middle = heard[at + MARGIN : at + length - MARGIN]
            assert bool(np.abs(middle).max() > QUIET) is isinstance(part, Sound)
        at += length
    assert (len(heard), episode.samples) == (at, at)


def _tell(world: World, *, web: bool) -> tuple[tuple[Truth, Episode], Pcm]:
    """Three chunks of which one is lost, a pause, and two more."""
    broadcast = world.start(ALICE, DeviceId("D"), web=web, pages=1).broadcast
    assert broadcast is not None
    for fate in (Fate.HERE, Fate.GONE, Fate.HERE):
        world.send(broadcast, broadcast.cut(700, last=False, announced=True), fate, None)
    world.send(broadcast, broadcast.cut(700, last=True, announced=True), Fate.HERE, None)
    broadcast.resume()
    world.send(broadcast, broadcast.cut(501, last=False, announced=True), Fate.HERE, None)
    world.send(broadcast, broadcast.cut(501, last=True, announced=True), Fate.HERE, None)
    world.change(broadcast, "stopped", broadcast.number)
    world.loop.run_until_complete(world.rest())
    (one,) = world.loop.run_until_complete(verdict.kept(world))
    assert one.episode is not None
    truth = Truth(broadcast, world.homeserver, one.chunks)
    path = world.bot.store.directory / world.bot.store.blobs.relative(one.episode.blob)
    return (truth, one.episode), Studio(find_ffmpeg().exe, path.parent).hear(path)
