"""Doubt whether the homeserver still knows the sync token, and pauses between requests to /sync.

A homeserver that was restored from a backup or replaced refuses the token, or answers early with nothing but the same
token (as Synapse does while its stream is behind it). Neither ends by itself; a sync without a token ends both.
"""

import time
from collections.abc import Callable

from bot.matrix.wire import Backoff

REFUSALS = 4  # with an errcode: the homeserver's own
REFUSALS_OF_OTHERS = 6  # without an errcode, as from a proxy while the homeserver restarts
EARLY_ANSWERS = 4
ANEW_AGAIN_S = 3600.0  # some homeservers always answer early
EARLY = 0.8  # of the time that a long poll may take
LONGEST_PAUSE_S = 10.0


class Standing:
    """The standing of one token, judged by the result of each /sync."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refusals = 0
        self._early = 0
        self._anew_at: float | None = None
        self._pace = self._fresh_pace()
        self.is_doubtful = False
        """Whether the next /sync is to be made without the token."""

    def refused(self, *, errcode: str, with_token: bool) -> None:
        """Note a refusal. One of a request without a token clears the token of doubt."""
        self._refusals = self._refusals + 1 if with_token else 0
        self.is_doubtful = self._refusals >= (REFUSALS if errcode else REFUSALS_OF_OTHERS)

    def accepted(self) -> None:
        """Note an answer to a request that did not wait: the homeserver knows the token."""
        self._refusals = 0
        self.is_doubtful = False

    def answered(self, *, news: bool, same_token: bool, took_s: float, of_s: float) -> float:
        """Note an answer to a long poll of `of_s` seconds; give the seconds to wait before the next request."""
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
