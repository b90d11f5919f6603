"""Windows of a call that are over."""

import pytest

from bot.calls.stems.windows import is_over
from storage.records import SAMPLE_RATE, Samples


@pytest.mark.parametrize(
    ("now", "ends", "over"),
    [
        (9.9, [], False),  # its end has not passed
        (10.0, [], True),  # nobody is in the call any more
        (10.5, [10.4, 10.02], True),
        (10.5, [10.4, 10.0], True),  # reached to the sample
        (10.5, [10.4, 9.9], False),
        (14.9, [14.8, 9.95], False),  # still within the patience
        (15.0, [14.8, 9.95], True),  # the stalled stem is waited for no longer
        (10.5, [10.4, 5.4], True),  # muted since more than 5 s
        (10.5, [10.4, 5.6], False),
        (10.0, [0.0], True),
        (30.0, [0.0, 12.0], True),  # late sound of a window that is long over
    ],
)
def test_a_window_is_over_when_every_stem_reached_its_end_or_is_not_waited_for(
    now: float, ends: list[float], over: bool
) -> None:
    """A window is over when all stems have passed its end, without those that had no sound for 5 s, and 5 s after its
    end in any case."""
    samples = [Samples(round(end * SAMPLE_RATE)) for end in ends]
    assert is_over(0, samples, Samples(round(now * SAMPLE_RATE))) is over
