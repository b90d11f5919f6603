"""Bounds on what a leg may send: rates, as token buckets. Pure."""


class Bucket:
    """An allowance of `rate` a second, of which `burst` can be saved."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left, self._since = burst, 0.0

    def take(self, amount: float, now_s: float) -> bool:
        """Take from the allowance, if enough is left. `now_s`: seconds of a clock that only rises."""
        self._left = min(self._burst, self._left + (now_s - self._since) * self._rate)
        self._since = now_s
        if self._left < amount:
            return False
        self._left -= amount
        return True
