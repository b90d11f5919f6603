"""The lag of the event loop: by how much a timer fires after its time, for which others wait just as long."""

import asyncio

from storage.tally import Durations

EVERY_S = 0.5
LAG = Durations(
    "aircheck_event_loop_lag_seconds",
    "Time by which a timer was late, measured twice a second: for so long everything else waited too.",
    bounds=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
)


class LoopLag:
    """The measurement of one loop, from `start` to `stop`."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(EVERY_S, self._note, loop.time() + EVERY_S)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _note(self, due: float) -> None:
        LAG.note(max(0.0, asyncio.get_running_loop().time() - due))
        self.start()
