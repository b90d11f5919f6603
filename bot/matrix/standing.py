"""Whether the homeserver still knows the sync token, and how soon it is asked again.

A homeserver that was restored or replaced refuses the token, or waits in vain for a place that it has not reached and
answers early, with nothing and the same token (Synapse does). Both go on for ever; a sync without a token ends them.
"""

import time
from collections.abc import Callable

from bot.matrix.wire import Backoff

REFUSALS = 4  # by the homeserver itself
REFUSALS_OF_OTHERS = 6  # without an errcode: a proxy may answer so while the homeserver restarts
EARLY_ANSWERS = 4
ANEW_AGAIN_S = 3600.0  # some homeservers answer early always
EARLY = 0.8  # of the time that they may take
LONGEST_PAUSE_S = 10.0


class Standing:
    """Of one token; it is told what each /sync came to."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refusals = 0
        self._early = 0
        self._anew_at: float | None = None
        self._pace = self._fresh_pace()
        self.is_doubtful = False
        """The next /sync is made without a token."""

    def refused(self, *, errcode: str, with_token: bool) -> None:
        """The homeserver said no. Where it does so without a token too, it is not the token that it minds."""
        self._refusals = self._refusals + 1 if with_token else 0
        self.is_doubtful = self._refusals >= (REFUSALS if errcode else REFUSALS_OF_OTHERS)

    def accepted(self) -> None:
        """An answer came for which nothing was waited: the token, or the new one, is known."""
        self._refusals = 0
        self.is_doubtful = False

    def answered(self, *, news: bool, same_token: bool, took_s: float, of_s: float) -> float:
        """The homeserver gave an answer to a long poll, with news or without; seconds until it is asked again."""
        self._refusals = 0
        self.is_doubtful = False
        if (news and not same_token) or took_s >= of_s * EARLY:
            self._early = 0
            self._pace = self._fresh_pace()
            return 0.0
        self._early = self._early + 1 if same_token else 0
        now = self._clock()
        again = self._anew_at is None or now - self._anew_at >= ANEW_AGAIN_S
        if self._early >= EARLY_ANSWERS and again:
            self._early, self._anew_at = 0, now
            self.is_doubtful = True
        return max(0.0, self._pace.next() - took_s)

    @staticmethod
    def _fresh_pace() -> Backoff:
        return Backoff(first_s=0.5, longest_s=LONGEST_PAUSE_S)
