"""The same incomplete recording in `recordings --json`, in `status`, on its page and in its feed."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from bot.recording import account
from bot.recording.kinds import lay_out
from bot.recording.ledger import fingerprint
from bot.settings import validate
from bot.shell.listings import print_recordings
from bot.web.server import WebServer
from storage import archive, rooms
from storage.place import Place
from storage.records import BlobKey, Chunk, ChunkState, EndedBy, Recording, RecordingState, Visibility
from storage.store import Store
from tests.blobs import folder_of
from tests.commands.world import MEMBER, World
from tests.recording.world import PAGE, absent, mp4, ogg, slices, stored

CODE = "m.unverified"
LACKS = {
    "missing": account.WHY[ChunkState.MISSING],
    "waiting_for_key": f"can't be decrypted: {account.NO_KEY[CODE]}",
    "damaged": account.WHY[ChunkState.DAMAGED],
    "redacted": account.WHY[ChunkState.REDACTED],
}


def chunks() -> list[Chunk]:
    """Make a run with swapped numbers, each kind of failure, and a duplicate at the end."""
    first, second = slices([7, 7], eos=False)
    sealed = absent("$sealed", None, ChunkState.WAITING_FOR_KEY, position=16)
    return [
        stored("$b", 1, second),
        stored("$a", 2, first),
        stored("$c", 3, ogg(16, 7, 14 * PAGE, eos=True)),
        # 4 was never seen
        stored("$5", 5, mp4(5)),
        replace(sealed, reason=f"withheld:{CODE}"),
        stored("$7", 7, mp4(5)),
        absent("$8", 8, ChunkState.DAMAGED, announced_ms=5600),
        stored("$9", 9, mp4(5)),
        replace(absent("$10", 10, ChunkState.REDACTED, announced_ms=61_000), reason="redacted"),
        stored("$11", 11, mp4(5)),
        stored("$twin", 11, mp4(5), position=40),
    ]


@dataclass
class Seen:
    """The same recording as JSON, as notice and as page."""

    recording: Recording
    told: dict[str, Any]  # its JSON
    status: str
    page: str


@pytest.fixture
async def seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Seen]:
    store = await Store.own(Place(tmp_path / "data"))
    world = World(store)
    await world.open(visibility=Visibility.PUBLIC)
    recording = await world.recording(
        state=RecordingState.INCOMPLETE, ended_by=EndedBy.STOPPED, announced_last=11, public=True
    )
    async with store.write() as db:
        for chunk in chunks():
            await archive.save_chunks(db, [replace(chunk, recording_id=recording.id)])
        episode = await archive.episode(db, recording.id)
        assert episode is not None
        ledger = lay_out(recording, chunks())
        audio = store.blobs.part("audio")
        audio.write_bytes(bytes(1000))
        folder_of(store).add(audio, BlobKey("a" * 64))
        made = replace(
            episode,
            blob=BlobKey("a" * 64),
            bytes=1000,
            samples=ledger.samples,
            fingerprint=fingerprint(ledger),
            loss=account.loss_of(ledger),
            published_at=world.clock(),
        )
        await archive.save_episode(db, made)
        await rooms.touch(db, recording.room_id, world.clock())
    settings = validate(
        {
            "matrix": {"homeserver": "https://hs", "user_id": "@bot:hs"},
            "web": {"port": 0},
            "storage": {"directory": str(tmp_path / "data")},
        }
    )
    capsys.readouterr()
    await print_recordings(settings, room_id=None, as_json=True)
    told = json.loads(capsys.readouterr().out)
    server = WebServer(store, settings, lambda: True)
    await server.start()
    room = await world.room()
    async with ClientSession(f"http://127.0.0.1:{server.port}") as client:
        async with client.get(f"/r/{room.key}/{recording.code}") as answer:
            page = await answer.text()
        async with client.get(f"/r/{room.key}/feed.xml") as answer:
            feed = await answer.text()
    await server.stop()
    assert account.silences(made.loss) in feed  # type: ignore[operator]
    yield Seen(recording, told[0], await world.say(MEMBER, "!aircheck status") or "", page)
    await store.close()


def table(page: str, number: int) -> list[tuple[str, list[int], str]]:
    """Parse a table of the page: the text of each row, its machine-readable values, and its last cell."""
    body = re.findall(r"<tbody>(.*?)</tbody>", page, re.DOTALL)[number]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    found = []
    for row in rows:
        cells = [unescape(re.sub(r"<[^>]+>", "", cell)) for cell in re.findall(r"<td>(.*?)</td>", row, re.DOTALL)]
        found.append((cells[0], [int(value) for value in re.findall(r'data value="(\d+)"', row)], cells[-1]))
    return found


async def test_all_name_the_same_missing_things(seen: Seen) -> None:
    """JSON, room and page list the same missing parts with the same reasons."""
    states = [chunk["state"] for chunk in seen.told["chunks"]]
    assert {state for state in states if state not in ("stored", "duplicate")} == set(LACKS)
    told = [line for line in seen.status.splitlines() if line.startswith("1 chunk of ")]
    assert sorted(told) == sorted(f"1 chunk of {seen.recording.code} {why}." for why in LACKS.values())
    rows = [last for _, _, last in table(seen.page, 1) if last not in ("stored", "duplicate")]
    assert sorted(rows) == sorted(f"{state.replace('_', ' ')} {why}" for state, why in LACKS.items())


async def test_all_have_the_same_gaps(seen: Seen) -> None:
    """The page's gaps are the JSON's to the millisecond; the room reads their sum and the first one."""
    gaps = [[gap["position_ms"], gap["duration_ms"]] for gap in seen.told["gaps"]]
    assert len(gaps) == len(LACKS)
    assert [values for _, values, _ in table(seen.page, 0)] == gaps
    assert [why for _, _, why in table(seen.page, 0)] == [LACKS[gap["reason"]] for gap in seen.told["gaps"]]
    missing = account.silences(account.loss_of(lay_out(seen.recording, chunks())))
    assert missing == "1 min 17 s missing in 4 places, the first at 0:16"
    assert f"incomplete, {missing}" in seen.status
    assert f'<p class="missing">{missing}</p>' in seen.page


async def test_the_page_has_every_chunk_in_its_place(seen: Seen) -> None:
    """The page lists chunks in the order of the sound, with the JSON's times, and a duplicate after its original."""
    rows = table(seen.page, 1)
    assert [numbers for numbers, _, _ in rows] == ["2", "1", "3", "4", "5", "no number yet", "7", "8", "9", "10", "11",
                                                   "11"]  # fmt: skip
    assert [values for _, values, _ in rows] == [
        [chunk["position_ms"], chunk["duration_ms"]] for chunk in seen.told["chunks"]
    ]
    for (_, _, last), chunk in zip(rows, seen.told["chunks"], strict=True):
        assert last.startswith(chunk["state"].replace("_", " "))


async def test_the_form_of_the_contract_stays(seen: Seen) -> None:
    """A chunk with a withheld key waits for it, and room and page explain the code in words."""
    (waits,) = [chunk for chunk in seen.told["chunks"] if chunk["state"] == "waiting_for_key"]
    assert set(waits) == {"sequence", "event_id", "state", "position_ms", "duration_ms", "timing", "bytes", "sha256",
                          "container"}  # fmt: skip
    for shown in (seen.status, unescape(seen.page)):
        assert "the speaker can verify this bot" in shown
