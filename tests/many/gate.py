"""An ffmpeg that waits while a gate is closed, so that processes are in the middle of their work for as long as a test
wants."""

import stat
from pathlib import Path

from bot.audio.ffmpeg import Ffmpeg
from tests.many.town import until

ANY = "*"
ENCODERS = "*libmp3lame*"


class Gate:
    """An ffmpeg that waits, while the gate is closed, before it begins. `held`: the command lines that wait, as a
    pattern of the shell; questions for its version never do."""

    def __init__(self, folder: Path, held: str = ANY) -> None:
        self.reached, self._closed = folder / "reached", folder / "closed"
        self.path = folder / "ffmpeg"
        self.path.write_text(
            f'#!/bin/sh\ncase "$*" in *-version*|*-encoders*) ;; {held})\n'
            f'if [ -e "{self._closed}" ]; then : > "{self.reached}"; fi\n'
            f'while [ -e "{self._closed}" ]; do sleep 0.02; done\nesac\nexec "{Ffmpeg.find().exe}" "$@"\n'
        )
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)

    def close(self) -> None:
        self.reached.unlink(missing_ok=True)
        self._closed.touch()

    def open(self) -> None:
        self._closed.unlink()

    async def has_been_reached(self) -> None:
        async def reached() -> bool:
            return self.reached.exists()

        await until(reached)
