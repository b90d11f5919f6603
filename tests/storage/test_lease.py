"""The rules of a lease."""

from storage.lease import LEASE_S, RENEW_EVERY_S, STOP_S, Lease


def test_the_holder_stops_before_others_may_begin() -> None:
    """A lease counts from before it was asked for, is renewed several times in its length, and is believed in for some
    seconds less than others wait."""
    lease = Lease(asked_at=100.0)
    assert lease.left(100.0) == LEASE_S - STOP_S
    assert lease.left(100.0 + LEASE_S - STOP_S) == 0
    assert lease.left(200.0) == 0
    assert lease.renew_at == 100.0 + RENEW_EVERY_S
    assert RENEW_EVERY_S * 2 < LEASE_S - STOP_S
