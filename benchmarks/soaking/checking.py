"""A broadcast's episode as a podcast app gets it, compared with what was sent."""

import asyncio

from imageio_ffmpeg import get_ffmpeg_exe

from benchmarks.soaking.crowd import Truth
from benchmarks.soaking.ways import FATES
from bot.demo import verification
from bot.demo.listener import FeedError, listen, subscribe


async def compare_episode(truth: Truth) -> str | None:
    """Compare a broadcast's feed and episode to the sample; return what is wrong, or None."""
    name = f"{truth.way} {truth.broadcast_id}"
    try:
        listed = await subscribe(truth.feed)
        if len(listed) != int(FATES[truth.way].episode):
            return f"{name}: its feed lists {len(listed)} episodes"
        if not listed:
            return None
        audio = await listen(listed[0])
    except FeedError as error:
        return f"{name}: {error.sentence}"
    found = await asyncio.to_thread(verification.verify_episode, audio, truth.runs, get_ffmpeg_exe())
    if found.actual != truth.samples:
        return f"{name}: the episode has {found.actual} samples, {truth.samples} were broadcast"
    if not found.ok and not truth.taken_back:  # a redacted chunk is silence
        return f"{name}: {found.problems[0]}"
    return None
