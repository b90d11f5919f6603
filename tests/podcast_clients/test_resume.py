"""A download that broke off goes on after the episode was given another title, which is written into its file."""

import asyncio

import pytest

from tests.podcast_clients.programs import PODCASTERS, Program
from tests.podcast_clients.station import Broadcast, Station

pytestmark = pytest.mark.podcasts

TITLE = "Soup, and what to do with the rest of it: a title that is longer than the one before"
TAG_HEADER = 10


def frames(file: bytes) -> bytes:
    """Return what follows the ID3v2 tag (its size: four times seven bits)."""
    assert file.startswith(b"ID3")
    size = sum((byte & 0x7F) << shift for byte, shift in zip(file[6:10], (21, 14, 7, 0), strict=True))
    return file[TAG_HEADER + size :]


@pytest.mark.parametrize("killed", [False, True], ids=["cut", "killed"])
@pytest.mark.parametrize(
    "program", [program for program in PODCASTERS if program.resumes], ids=lambda program: program.name, indirect=True
)
async def test_a_resumed_download_is_not_of_two_files(station: Station, program: Program, *, killed: bool) -> None:
    """The connection breaks at half of a download, or the program dies there; the title changes; the program goes on.
    The frames are those of the episode."""
    room = await station.room()
    feed = await station.publish(room)
    before = await station.broadcast(room, 12)
    changed: list[Broadcast] = []
    renamed = asyncio.Event()

    async def rename() -> None:
        changed.append(await station.rename(before, TITLE))
        renamed.set()

    station.gate.cut(".mp3", len(before.audio) // 2, rename)
    if killed:
        await program.subscribe_until(feed, renamed)
    else:
        await program.subscribe(feed)
    assert renamed.is_set()
    whole = {len(before.audio), len(changed[0].audio)}
    if not whole & {len(file) for file in program.episodes().values()}:
        await program.resume()
    if not program.episodes():  # it had noted nothing of the download yet
        await program.update()
    (kept,) = program.episodes().values()
    assert frames(kept) in (frames(before.audio), frames(changed[0].audio)), program.said
