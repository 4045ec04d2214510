"""Counting failures: by what a client can choose its address from, and in bounded memory."""

from __future__ import annotations

import pytest

from dop_be.errors import TooManyAttempts
from dop_be.web import guessing
from dop_be.web.guessing import FAILURES, Guessing, network


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("", "unknown"),
        (None, "unknown"),
        ("a socket", "a socket"),
    ],
)
def test_an_address_is_counted_with_its_neighbours_of_one_subscriber(address: str | None, counted_as: str) -> None:
    assert network(address) == counted_as


def test_memory_is_bounded_and_further_addresses_share_one_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "MOST_ADDRESSES", 5)
    counter = Guessing()
    for number in range(5 + FAILURES):
        counter.failed(f"192.0.2.{number}")
    with pytest.raises(TooManyAttempts):
        counter.failed("192.0.2.99")
    assert len(counter._counts) == 6
    counter.failed("192.0.2.1")  # has a counter of its own
