"""The plan of a soak's faults."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.soaking.faults import LASTS_S, Fault, plan

COUNTS = st.dictionaries(st.sampled_from(Fault), st.integers(0, 5))


@given(st.integers(), st.floats(1, 10_000), COUNTS)
def test_every_fault_has_its_slot(seed: int, seconds: float, counts: dict[Fault, int]) -> None:
    """Each fault has a slot of its own, and the last is over before the end."""
    troubles = plan(seed, seconds, counts)
    assert Counter(trouble.fault for trouble in troubles) == Counter(counts)
    assert all(0 < trouble.for_s <= LASTS_S[1] for trouble in troubles)
    assert all(before.at_s + before.for_s <= after.at_s + 1e-6 for before, after in pairwise(troubles))
    assert all(0 <= trouble.at_s <= seconds - trouble.for_s + 1e-6 for trouble in troubles)


def test_a_seed_is_a_plan() -> None:
    """The same seed gives the same plan, another seed another one."""
    counts = dict.fromkeys(Fault, 3)
    assert plan(1, 100, counts) == plan(1, 100, counts)
    assert plan(1, 100, counts) != plan(2, 100, counts)
