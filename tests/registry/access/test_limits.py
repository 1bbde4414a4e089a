"""Requests a second, uploads at once, sizes: by a clock that is given."""

from __future__ import annotations

import pytest

from lamina.registry.server.access.limits import Buckets, Throttle, Uploads, check_blob, check_manifest, network
from lamina.registry.server.configured import Limits
from lamina.registry.server.refusal import Refusal
from registry.access.kit import Clock


def test_a_burst_then_the_rate() -> None:
    clock = Clock()
    buckets = Buckets(2, 3, clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("a") == 0.5 and buckets.take("b") == 0  # To be refused costs nothing, and nobody else.
    clock.now = 0.5
    assert [buckets.take("a") for _ in range(2)] == [0, 0.5]
    clock.now = 1000
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_clock_that_is_set_back_gives_nothing() -> None:
    clock = Clock(100)
    buckets = Buckets(1, 1, clock)
    assert buckets.take("a") == 0
    for clock.now in (50, 0, -10):
        assert buckets.take("a") == 1


def test_no_rate_is_no_limit_and_remembers_nobody() -> None:
    buckets = Buckets(0, 1, Clock())
    assert not any(buckets.take(str(number)) for number in range(1000)) and len(buckets) == 0


def test_the_table_is_bounded_and_who_is_busy_stays_in_it() -> None:
    clock = Clock()
    buckets = Buckets(0.001, 2, clock, max_keys=10)
    assert buckets.take("busy") == 0 == buckets.take("busy")
    for number in range(1000):
        assert buckets.take(str(number)) == 0
        assert buckets.take("busy") > 0
    assert len(buckets) == 10


def test_what_a_client_is_told() -> None:
    clock = Clock()
    throttle = Throttle(Limits(requests_per_address=0.1, requests_per_user=2, burst=1), clock)
    throttle.address("192.0.2.1")
    throttle.user("ann")
    with pytest.raises(Refusal) as caught:
        throttle.address("192.0.2.1")
    assert (caught.value.code, caught.value.status, caught.value.headers) == ("TOOMANYREQUESTS", 429, {"Retry-After": "10"})
    with pytest.raises(Refusal) as caught:
        throttle.user("ann")
    assert caught.value.headers == {"Retry-After": "1"}
    throttle.address("192.0.2.2")
    throttle.user("bob")
    for _ in range(5):
        throttle.user("")  # Nobody is many.


@pytest.mark.parametrize(("one", "other", "same"), [
    ("192.0.2.1", "192.0.2.2", False), ("2001:db8::1", "2001:db8::ffff:1:2:3", True), ("2001:db8::1", "2001:db8:0:1::1", False),
    ("::ffff:192.0.2.1", "192.0.2.1", True), ("[2001:db8::1]", "2001:db8::2", True), ("fe80::1%eth0", "fe80::2%eth1", True),
    ("", "x", False),
])
def test_what_counts_as_one_client(one: str, other: str, same: bool) -> None:
    assert (network(one) == network(other)) == same


def test_an_address_that_is_none_is_kept_short() -> None:
    assert len(network("x" * 100_000)) == 255


def test_uploads_at_once_of_one_user() -> None:
    uploads = Uploads(Limits(uploads_per_user=2))
    with uploads.hold("ann"), uploads.hold("ann"), uploads.hold("bob"):
        for _ in range(2):
            with pytest.raises(Refusal) as caught, uploads.hold("ann"):
                pass
            assert caught.value.status == 429 and "Retry-After" in caught.value.headers
    with pytest.raises(RuntimeError), uploads.hold("ann"):
        raise RuntimeError
    assert uploads._held == {}
    with uploads.hold("ann"), uploads.hold("ann"):
        pass


def test_no_limit_of_uploads_is_none() -> None:
    uploads = Uploads(Limits(uploads_per_user=0))
    with uploads.hold("a"), uploads.hold("a"), uploads.hold("a"):
        pass


def test_sizes() -> None:
    limits = Limits(max_blob=10, max_manifest=20)
    check_blob(limits, 10)
    check_manifest(limits, 20)
    check_blob(Limits(), 1 << 60)
    for check, size in ((check_blob, 11), (check_manifest, 21)):
        with pytest.raises(Refusal) as caught:
            check(limits, size)
        assert (caught.value.code, caught.value.status) == ("SIZE_INVALID", 413)
    with pytest.raises(Refusal):
        check_manifest(Limits(), (4 << 20) + 1)
