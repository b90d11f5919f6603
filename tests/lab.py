"""People on the real homeserver and decoding by the real ffmpeg, for tests of several folders."""

import itertools
import os
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from bot.demo.people import Person
from bot.demo.synapse import Homeserver

DATA = Path(__file__).parent / "data"
PASSWORD = "correct horse"

_numbers = itertools.count(1)


class People:
    """The people of a test on one homeserver, with names of their own; closed at the end."""

    def __init__(self, homeserver: Homeserver, directory: Path) -> None:
        self.homeserver = homeserver
        self._directory = directory
        self._people: list[Person] = []

    async def __call__(self, name: str = "alice", *, account: str | None = None) -> Person:
        """Log a new account in with one device, or another device of `account` (a user id)."""
        number = next(_numbers)
        if account is None:
            account = await self.homeserver.register(f"{name}{number}-{os.getpid()}", PASSWORD)
        directory = self._directory / f"{name}{number}"
        person = await Person.log_in(self.homeserver.address, account, PASSWORD, directory, device_name=name)
        self._people.append(person)
        return person

    async def close(self) -> None:
        for person in self._people:
            await person.close()


def decode(data: bytes) -> NDArray[np.float32]:
    """Decode a file to mono floats at 48 kHz with the ffmpeg of the wheel."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        "-",
        "-f",
        "f32le",
        "-ac",
        "1",
        "-ar",
        "48000",
        "-",
    ]
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32)
