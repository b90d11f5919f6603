"""Capture what matrix-js-sdk and livekit-client send in calls by MatrixRTC, as data for tests.

`python -m tests.calls_clients.capture` writes `tests/data/matrixrtc/` anew; `make test-calls` installs what it needs.
Names, times, tokens and keys of a run are replaced (see `dummies.py`), so that two runs are alike.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.calls_clients.backend import Backend, backend
from tests.calls_clients.callers import callers
from tests.calls_clients.dummies import Dummies, dummy_key
from tests.calls_clients.rtc_callers import open_members, room_of, rtc_callers
from tests.calls_clients.sounds import microphone
from tests.lab import DATA, People, RtcHomeserver

FOLDER = DATA / "matrixrtc"
RUNS = {
    "legacy": ("legacy", True),
    "compatibility": ("compatibility", True),
    "matrix_2_0": ("matrix_2_0", False),
    "matrix_2_0_encrypted": ("matrix_2_0", True),
}
"""Mode, and whether the room is encrypted, by the name of the file."""

FRAME_KEYS = ((0, 0, 0), (0, 0, 1), (0, 0, 2), (1, 1, 0), (2, 255, 0), (3, 0, 0))
"""Number of the key, its index, and how often it was ratcheted by then."""

DELAY = "org.matrix.msc4140.delay"


async def main() -> None:
    with TemporaryDirectory() as name:
        directory = Path(name)
        homeserver = await RtcHomeserver.start_federated(directory / "homeserver")
        try:
            async with backend(homeserver, directory / "sfu") as rtc:
                for file, (mode, encrypted) in RUNS.items():
                    (directory / file).mkdir()
                    write(file, await capture_call(rtc, directory / file, mode, encrypted=encrypted))
        finally:
            await homeserver.stop()
        write("frames", await capture_frames(directory))


async def capture_call(rtc: Backend, directory: Path, mode: str, *, encrypted: bool) -> dict[str, Any]:
    """Capture what Ann sends in a call with Ben, and what Cem's first sync says of it when she has left."""
    people = People(rtc.homeserver, directory / "people")
    ann, ben, cem = [await people(name) for name in ("ann", "ben", "cem")]
    room = await room_of(ann, [ben, cem], encrypted=encrypted)
    sound = microphone(1, directory / "sound.wav")
    try:
        async with rtc_callers(directory) as made:
            both = [("ann", ann, sound), ("ben", ben, sound)]
            await open_members(made, rtc.homeserver, both, room, encrypts=encrypted)
            for name in ("ben", "ann"):
                await made.do(name, "enter", mode=mode)
            await made.do("ann", "meet", userId=ben.user_id)
            await made.do("ann", "intend", intent="video")
            if encrypted:
                await made.do("ann", "rotate")
            await made.do("ann", "leave")
            await made.do("ben", "alone")
            for number in range(20):  # so that what happened in the call is in no timeline of a first sync
                await ben.say(room, f"word {number}")
            await open_members(made, rtc.homeserver, [("cem", cem, sound)], room, encrypts=encrypted)
            told = {name: await made.do(name, "report") for name in ("ann", "ben", "cem")}
    finally:
        await people.close()
    devices = {report["deviceId"]: f"{name.upper()}DEVICE" for name, report in told.items()}
    return Dummies(room, devices).put(sorted_out(told, ann.user_id))


def sorted_out(told: Mapping[str, Mapping[str, Any]], user_id: str) -> dict[str, Any]:
    """Sort what the callers told by what it is: tests/data/matrixrtc/README.md explains each part."""
    ann, ben = told["ann"], told["ben"]
    requests = [each for each in ann["sent"] if "path" in each]
    return {
        "delayed_leave": next(each for each in requests if DELAY in each["query"]),
        "events": events_of(ben["synced"], user_id),
        "decrypted": [each["told"][-1] for each in ann["sent"] if each.get("call") == "_unstable_sendStickyEvent"],
        "first_sync": told["cem"]["synced"],
        "keys": ben["received"],
        "token": next(each for each in requests if "_matrix" not in each["path"]),
    }


def events_of(synced: Iterable[Mapping[str, Any]], user_id: str) -> list[Mapping[str, Any]]:
    return [each["event"] for each in synced if each["event"]["sender"] == user_id]


async def capture_frames(directory: Path) -> dict[str, Any]:
    """Capture frames that livekit-client's worker encrypted, with keys of known bytes."""
    keys = [{"key": dummy_key(number), "index": index, "ratchets": times} for number, index, times in FRAME_KEYS]
    async with callers("frames.js", directory) as made:
        await made.open("speaker", microphone(1, directory / "sound.wav"))
        return await made.do("speaker", "capture", keys=keys)


def write(name: str, captured: Mapping[str, Any]) -> None:
    text = json.dumps(captured, indent=1, sort_keys=True, ensure_ascii=False)
    (FOLDER / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
