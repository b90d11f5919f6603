"""Processes that are stopped while they use their ratchets, and others that take them over; run with a folder. Every
request that a homeserver would have got is a line of the file `sent` in a folder for each step.

Each process is a fork of this one, which has no threads and no loop of its own.
"""

import asyncio
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nio.crypto.sessions import Session as OlmSession

from bot.errors import TryLater
from bot.matrix.key_store import KeyStore
from bot.matrix.keys import Keys
from bot.matrix.olm import CarefulOlm
from bot.matrix.sending import Sending
from bot.matrix.to_device import ToDevice
from bot.matrix.upkeep import Upkeep
from bot.matrix.wire import Wire
from storage.records import RoomId, UserId

BOT, ANN, ROOM = UserId("@bot:hs"), UserId("@ann:hs"), RoomId("!room:hs")
ONE_TIME_KEYS = 50
STEPS = ("sealed", "saved", "account saved", "leaving", "left", "generated", "claimed")
UNFENCED = "unfenced"
ROUNDS = 2


class Steps:
    """The step at which this process stops itself, once."""

    def __init__(self) -> None:
        self.at: str | None = None

    def reach(self, step: str) -> None:
        if step == self.at:
            self.at = None
            os.kill(os.getpid(), signal.SIGSTOP)

    def after(self, holder: Any, method: str, step: str) -> None:
        """Reach the step whenever this method has returned."""
        original: Callable[..., Any] = getattr(holder, method)

        def stepping(*args: Any, **named: Any) -> Any:
            result = original(*args, **named)
            self.reach(step)
            return result

        setattr(holder, method, stepping)


class Recorder(Wire):
    """A wire to a homeserver of files, which knows Ann's device. Each of her one-time keys is handed out once."""

    def __init__(self, folder: Path, who: str, steps: Steps) -> None:
        super().__init__("http://hs")
        self._folder = folder
        self._who = who
        self._steps = steps
        self._ann = json.loads((folder / "ann.json").read_text())

    async def call(self, method: str, path: str, *, body: Any = None, **_: Any) -> dict[str, Any]:
        self._steps.reach("leaving")
        with (self._folder / "sent").open("a") as sent:
            sent.write(json.dumps({"who": self._who, "path": path, "body": body}) + "\n")
        self._steps.reach("left")
        if path.endswith("/joined_members"):
            return {"joined": {BOT: {}, ANN: {}}}
        if path.endswith("/keys/query"):
            return {"device_keys": {ANN: {"ANN": self._ann["device_keys"]}, BOT: {}}}
        if path.endswith("/keys/claim"):
            key = self._claimed()
            self._steps.reach("claimed")
            return {"one_time_keys": {ANN: {"ANN": key}}}
        if path.endswith("/keys/upload"):
            return {"one_time_key_counts": {"signed_curve25519": ONE_TIME_KEYS}}
        if path.endswith("/m.room.create/"):
            return {"creator": ANN}
        return {"event_id": "$event"}

    def _claimed(self) -> dict[str, Any]:
        for name, key in self._ann["one_time_keys"].items():
            try:
                (self._folder / name.replace("/", "_")).touch(exist_ok=False)
            except FileExistsError:
                continue
            return {name: key}
        raise AssertionError("no one-time key is left")


async def open_keys(folder: Path, user_id: str, device: str, epoch: int | None) -> Keys:
    (folder / device).mkdir(exist_ok=True)
    config = SimpleNamespace(pickle_key="secret", store_name="keys.db")
    keys = Keys(lambda: datetime.now(UTC), epoch)
    await keys.open(SimpleNamespace(user_id=user_id, device_id=device, store_path=str(folder / device), config=config))
    return keys


class Device:
    """The bot's device in one process."""

    def __init__(self, folder: Path, who: str, keys: Keys, steps: Steps) -> None:
        self.wire = Recorder(folder, who, steps)
        self.keys = keys
        self.who = who
        self.upkeep = Upkeep(self.wire, keys)
        self.to_device = ToDevice(keys, self.upkeep)

        async def encrypted() -> frozenset[RoomId]:
            return frozenset({ROOM})

        self.sending = Sending(self.wire, keys, self.upkeep, encrypted)

    async def say(self, name: str) -> None:
        txn_id = f"{self.who}-{name}"
        await self.sending.send(ROOM, "m.room.message", {"body": name}, txn_id=txn_id)

    async def signal(self, name: str) -> None:
        txn_id = f"{self.who}-{name}"
        await self.to_device.send(ANN, "ANN", "m.call.candidates", {"call": name}, encrypted=True, txn_id=txn_id)

    async def share_anew(self, name: str) -> None:
        """Share a room key by Olm, as after a member has left."""
        self.keys.olm.outbound_group_sessions.clear()
        await self.say(name)

    async def claim_anew(self, name: str) -> None:
        """Begin another Olm session, as with a device whose session is broken."""
        await self.upkeep.claim({ANN: ["ANN"]})
        await self.signal(name)

    async def upload(self, _: str) -> None:
        self.keys.olm.uploaded_key_count = ONE_TIME_KEYS // 2
        await self.upkeep.upload_keys()

    async def do_all(self) -> int:
        """Do everything that uses a ratchet or a one-time key, several times. Return how many tries failed."""
        failed = 0
        for number in range(ROUNDS):
            for action in (self.signal, self.say, self.share_anew, self.upload, self.claim_anew):
                try:
                    await action(str(number))
                except TryLater:
                    failed += 1
        return failed


async def make_ann(folder: Path) -> None:
    keys = await open_keys(folder, ANN, "ANN", None)
    (folder / "ann.json").write_text(json.dumps(keys.olm.share_keys()))
    keys.close()


def stop_at(steps: Steps) -> None:
    """Have this process reach its steps inside nio too."""
    steps.after(OlmSession, "encrypt", "sealed")
    steps.after(KeyStore, "save_session", "saved")
    steps.after(KeyStore, "save_account", "account saved")
    steps.after(CarefulOlm, "share_keys", "generated")


async def be_first(folder: Path, step: str, epoch: int | None) -> None:
    """Use the ratchets, stop at the step, and go on when woken, as a former owner."""
    steps = Steps()
    stop_at(steps)
    device = Device(folder, "first", await open_keys(folder, BOT, "BOT", epoch), steps)
    await device.upkeep.upload_keys()
    await device.say("hello")
    steps.at = step
    await device.do_all()
    assert steps.at is None


async def be_second(folder: Path, epoch: int | None) -> None:
    device = Device(folder, "second", await open_keys(folder, BOT, "BOT", epoch), Steps())
    await device.say("hello")
    assert await device.do_all() == 0
    device.keys.close()


def fork(work: Coroutine[Any, Any, None]) -> int:
    """Do the work in a process of its own; give its id."""
    child = os.fork()
    if child:
        work.close()
        return child
    code = 1
    try:
        asyncio.run(work)
        code = 0
    except BaseException:  # a fork never returns
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(child: int) -> None:
    _, status = os.waitpid(child, 0)
    assert status == 0, status


def take_over(folder: Path, step: str, *, fenced: bool) -> None:
    """Stop a process at a step, have another take over, and wake the first."""
    folder.mkdir()
    wait(fork(make_ann(folder)))
    stopped = fork(be_first(folder, step, 1 if fenced else None))
    _, status = os.waitpid(stopped, os.WUNTRACED)
    assert os.WIFSTOPPED(status), (step, status)
    wait(fork(be_second(folder, 2 if fenced else None)))
    os.kill(stopped, signal.SIGCONT)
    wait(stopped)


if __name__ == "__main__":
    for name in STEPS:
        take_over(Path(sys.argv[1]) / name, name, fenced=True)
    take_over(Path(sys.argv[1]) / UNFENCED, "sealed", fenced=False)
