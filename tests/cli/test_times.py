"""Times as people read them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from dop_be.cli.times import distance, local, moment_of, span, when

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("later", "shown"),
    [
        ({"seconds": 0.4}, "now"),
        ({"seconds": 45}, "45 s"),
        ({"seconds": 59.6}, "1 min"),
        ({"minutes": 12}, "12 min"),
        ({"minutes": 59, "seconds": 40}, "1 h"),
        ({"hours": 3}, "3 h"),
        ({"minutes": 90}, "1 h 30 min"),
        ({"hours": 23, "minutes": 59, "seconds": 50}, "1 d"),
        ({"days": 2, "hours": 8}, "2 d 8 h"),
        ({"days": 90, "hours": 8}, "90 d"),
    ],
)
def test_a_distance_is_told_in_one_or_two_units(later: dict[str, float], shown: str) -> None:
    far = timedelta(**later)
    assert distance(NOW + far, NOW) == (shown if shown == "now" else f"in {shown}")
    assert distance(NOW - far, NOW) == (shown if shown == "now" else f"{shown} ago")


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        ("2026-12-01T01:00:00Z", "2026-12-01 02:00 CET"),
        ("2026-07-01T01:00:05Z", "2026-07-01 03:00:05 CEST"),
        ("9999-12-31T23:59:59Z", "9999-12-31 23:59:59 UTC"),  # a day later in Berlin, which Python cannot hold
        ("0001-01-01T00:00:00Z", "0001-01-01 00:53:28 LMT"),
    ],
)
def test_a_moment_is_on_this_hosts_clock_with_the_zones_name(moment: str, shown: str) -> None:
    assert local(datetime.fromisoformat(moment)) == shown


def test_a_zone_without_a_name_is_told_by_its_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    time.tzset()
    assert when(NOW, NOW + timedelta(minutes=5)) == "2026-12-01 09:00 UTC-03 (5 min ago)"


@pytest.mark.parametrize(
    ("first", "last", "shown"),
    [
        ("2026-12-01T01:00:00Z", "2026-12-01T03:00:00Z", "2026-12-01 02:00 to 04:00 CET"),
        ("2026-12-01T21:00:00Z", "2026-12-02T05:00:00Z", "2026-12-01 22:00 to 2026-12-02 06:00 CET"),
        ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25 02:30 CEST to 02:30 CET"),
    ],
)
def test_a_span_says_once_what_is_the_same(first: str, last: str, shown: str) -> None:
    assert span(datetime.fromisoformat(first), datetime.fromisoformat(last)) == shown


@pytest.mark.parametrize("value", [None, 5, True, "Z", "2026-12-01", "2026-13-01T00:00:00.000000Z", ["x"]])
def test_what_is_no_moment_stays_as_it_is(value: object) -> None:
    assert moment_of(value) is value
    assert moment_of("2026-12-01T12:00:00.000000Z") == NOW
