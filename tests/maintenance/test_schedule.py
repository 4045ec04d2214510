"""When windows are open. Expected times are written out by hand, or come from dateutil asked in its slow, plain way."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import dropwhile, islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from dop_be.errors import InvalidInput
from dop_be.maintenance.schedule import (
    HORIZON,
    MOST_WINDOWS,
    Window,
    current,
    expand_all,
    is_sound,
    occurrences,
    plan,
    utc,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def window(start: str, end: str, rrule: str | None = None, timezone: str = "UTC", **more: Any) -> Window:
    """A stored window whose naive times are on its zone's clock."""
    place = ZoneInfo(timezone)
    return Window(uuid.uuid4(), utc(at(start), place), utc(at(end), place), "full", None, timezone, rrule, **more)


def shown(found: Window, since: str, count: int) -> list[tuple[str, str]]:
    """The next occurrences, as the clock of the window's zone shows them, with its offset."""
    place = ZoneInfo(found.timezone)
    return [
        (one.starts_at.astimezone(place).isoformat(), one.ends_at.astimezone(place).isoformat())
        for one in islice(occurrences(found, at(since)), count)
    ]


def refused(**planned: Any) -> dict[str, list[str]]:
    given: dict[str, Any] = {
        "starts_at": at("2026-12-01T02:00"),
        "ends_at": at("2026-12-01T04:00"),
        "timezone": "Europe/Berlin",
    }
    with pytest.raises(InvalidInput) as caught:
        plan(NOW, **(given | planned))
    return dict(caught.value.errors)


def test_a_single_window_occurs_once() -> None:
    once = window("2026-12-01T02:00Z", "2026-12-01T04:00Z")
    [only] = occurrences(once, NOW)
    assert (only.starts_at, only.ends_at) == (once.starts_at, once.ends_at)


def test_a_window_is_open_from_its_start_to_before_its_end() -> None:
    once = window("2026-12-01T02:00Z", "2026-12-01T04:00Z")
    [only] = occurrences(once, NOW)
    assert not only.is_open(once.starts_at - timedelta(microseconds=1))
    assert only.is_open(once.starts_at)
    assert only.is_open(once.ends_at - timedelta(microseconds=1))
    assert not only.is_open(once.ends_at)
    assert current(once, once.ends_at) is None


def test_a_daily_window_keeps_its_wall_clock_times_when_summer_time_ends_and_begins() -> None:
    nightly = window("2026-10-23T22:00", "2026-10-24T06:00", "FREQ=DAILY", "Europe/Berlin")
    assert shown(nightly, "2026-10-24T12:00Z", 2) == [
        ("2026-10-24T22:00:00+02:00", "2026-10-25T06:00:00+01:00"),
        ("2026-10-25T22:00:00+01:00", "2026-10-26T06:00:00+01:00"),
    ]
    assert shown(nightly, "2027-03-27T12:00Z", 2) == [
        ("2027-03-27T22:00:00+01:00", "2027-03-28T06:00:00+02:00"),
        ("2027-03-28T22:00:00+02:00", "2027-03-29T06:00:00+02:00"),
    ]


def test_a_start_that_the_clock_jumps_over_moves_forward_by_the_gap() -> None:
    early = window("2026-03-07T02:30", "2026-03-07T04:00", "FREQ=DAILY", "America/New_York")
    assert shown(early, "2026-03-08T00:00Z", 2) == [
        ("2026-03-08T03:30:00-04:00", "2026-03-08T04:00:00-04:00"),
        ("2026-03-09T02:30:00-04:00", "2026-03-09T04:00:00-04:00"),
    ]


def test_a_window_that_the_clock_jumps_over_as_a_whole_keeps_its_length() -> None:
    early = window("2026-03-07T02:00", "2026-03-07T03:00", "FREQ=DAILY", "America/New_York")
    assert shown(early, "2026-03-08T00:00Z", 1) == [("2026-03-08T03:00:00-04:00", "2026-03-08T04:00:00-04:00")]


def test_of_a_start_that_the_clock_shows_twice_the_first_counts() -> None:
    early = window("2026-10-31T01:30", "2026-10-31T01:45", "FREQ=DAILY", "America/New_York")
    assert shown(early, "2026-11-01T00:00Z", 2) == [
        ("2026-11-01T01:30:00-04:00", "2026-11-01T01:45:00-04:00"),
        ("2026-11-02T01:30:00-05:00", "2026-11-02T01:45:00-05:00"),
    ]


def test_a_change_by_half_an_hour_moves_a_start_by_half_an_hour() -> None:
    early = window("2026-10-03T02:15", "2026-10-03T05:00", "FREQ=DAILY", "Australia/Lord_Howe")
    assert shown(early, "2026-10-03T12:00Z", 1) == [("2026-10-04T02:45:00+11:00", "2026-10-04T05:00:00+11:00")]


def test_times_with_an_offset_recur_on_the_clock_of_the_zone() -> None:
    planned = plan(
        NOW,
        starts_at=at("2027-03-26T21:00:00Z"),
        ends_at=at("2027-03-26T22:00:00Z"),
        timezone="Europe/Berlin",
        rrule="FREQ=DAILY",
    )
    assert [start for start, _ in shown(planned, "2027-03-27T12:00Z", 2)] == [
        "2027-03-27T22:00:00+01:00",
        "2027-03-28T22:00:00+02:00",
    ]


@pytest.mark.parametrize(
    ("start", "rrule", "since", "expected"),
    [
        ("2026-01-31T02:00", "FREQ=MONTHLY", "2026-02-01T00:00Z", ["2026-03-31", "2026-05-31"]),
        ("2026-01-30T02:00", "FREQ=MONTHLY;BYDAY=-1FR", "2026-11-01T00:00Z", ["2026-11-27", "2026-12-25"]),
        ("2024-02-29T02:00", "FREQ=YEARLY", "2026-11-01T00:00Z", ["2028-02-29", "2032-02-29"]),
        ("2026-11-03T02:00", "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,FR", "2026-11-08T00:00Z", ["2026-11-17", "2026-11-20"]),
        ("2026-11-20T02:00", "FREQ=DAILY;COUNT=3", "2026-11-01T00:00Z", ["2026-11-20", "2026-11-21", "2026-11-22"]),
        ("2026-11-20T02:00", "FREQ=DAILY;UNTIL=20261121", "2026-11-01T00:00Z", ["2026-11-20", "2026-11-21"]),
        ("2026-11-20T02:00", "FREQ=DAILY;UNTIL=20261121T010000", "2026-11-01T00:00Z", ["2026-11-20"]),
        ("2026-11-20T02:00", "FREQ=DAILY;UNTIL=20261121T020000Z", "2026-11-01T00:00Z", ["2026-11-20", "2026-11-21"]),
    ],
)
def test_rules_pick_their_days(start: str, rrule: str, since: str, expected: list[str]) -> None:
    end = (at(start) + timedelta(hours=1)).isoformat()
    assert [day[:10] for day, _ in shown(window(start, end, rrule), since, len(expected))] == expected


def test_an_until_in_utc_is_compared_with_the_zones_clock() -> None:
    """RFC 5545 section 3.3.10: 01:00 UTC is 02:00 in Berlin, and that start still counts."""
    nightly = window("2026-11-20T02:00", "2026-11-20T03:00", "FREQ=DAILY;UNTIL=20261121T010000Z", "Europe/Berlin")
    assert len(list(occurrences(nightly, at("2026-11-01T00:00Z")))) == 2


RULES = st.builds(
    # 1 and 5 go with every rule; with 2, a rule of every second month from an odd one would never reach October.
    lambda frequency, interval, more: f"FREQ={frequency};INTERVAL={interval}{more}",
    st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]),
    st.sampled_from([1, 5]),
    st.sampled_from(["", ";BYHOUR=0,6,12,18", ";BYMONTHDAY=-1,1,15", ";BYMONTH=3,10", ";BYDAY=MO,SU", ";WKST=SU"]),
) | st.sampled_from(["FREQ=DAILY;INTERVAL=3", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH", "FREQ=MONTHLY;INTERVAL=4"])


def local_times(first: str, last: str) -> st.SearchStrategy[datetime]:
    """Naive ones, in whole seconds."""
    return st.datetimes(at(first), at(last)).map(lambda moment: moment.replace(microsecond=0))


@settings(deadline=None)
@given(rrule=RULES, start=local_times("2015-01-01", "2026-01-01"), days=st.integers(0, 3000))
def test_skipping_old_periods_gives_what_going_through_all_of_them_gives(
    rrule: str, start: datetime, days: int
) -> None:
    first = next(iter(rrulestr(rrule, dtstart=start)))  # a start that the rule picks
    since = first + timedelta(days=days)
    slowly = dropwhile(lambda moment: moment + timedelta(hours=1) <= since, rrulestr(rrule, dtstart=first))
    found = window(first.isoformat(), (first + timedelta(hours=1)).isoformat(), rrule)
    quickly = islice(occurrences(found, since.replace(tzinfo=UTC)), 5)
    assert [one.starts_at.replace(tzinfo=None) for one in quickly] == list(islice(slowly, 5))


@settings(deadline=None, max_examples=50)
@given(
    timezone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"]),
    start=local_times("2026-01-01", "2028-01-01"),
    minutes=st.integers(1, 20 * 60),
)
def test_every_occurrence_shows_its_wall_clock_time_unless_the_clock_jumps_over_it(
    timezone: str, start: datetime, minutes: int
) -> None:
    place = ZoneInfo(timezone)
    daily = window(start.isoformat(), (start + timedelta(minutes=minutes)).isoformat(), "FREQ=DAILY", timezone)
    wanted = daily.starts_at.astimezone(place).time()
    for one in islice(occurrences(daily, daily.starts_at), 400):
        assert one.starts_at < one.ends_at
        clock = one.starts_at.astimezone(place)
        if clock.time() != wanted:
            before = (one.starts_at - timedelta(hours=3)).astimezone(place).utcoffset()
            jump = (clock.utcoffset() or timedelta()) - (before or timedelta())
            assert jump > timedelta(0)
            assert (clock.replace(tzinfo=None) - jump).time() == wanted


def test_an_occurrence_ended_early_is_over_and_the_next_one_comes() -> None:
    nightly = window("2026-11-20T02:00", "2026-11-20T06:00", "FREQ=DAILY", ended_at=at("2026-11-23T03:00Z"))
    assert shown(nightly, "2026-11-23T02:30Z", 2) == [
        ("2026-11-23T02:00:00+00:00", "2026-11-23T03:00:00+00:00"),
        ("2026-11-24T02:00:00+00:00", "2026-11-24T06:00:00+00:00"),
    ]


def test_expansion_holds_the_day_the_horizon_and_one_occurrence_after_it() -> None:
    daily = window("2021-01-01T02:00", "2021-01-01T03:00", "FREQ=DAILY")
    yearly = window("2021-01-01T05:00", "2021-01-01T06:00", "FREQ=YEARLY")
    day = NOW.replace(hour=0)
    found = expand_all([yearly, daily], NOW).occurrences
    nights = [day + timedelta(days=days, hours=2) for days in range(HORIZON.days + 1)]
    assert [one.starts_at for one in found] == [*nights, at("2027-01-01T05:00Z")]


def test_a_rule_that_only_sql_can_have_stored_leaves_the_first_occurrence() -> None:
    for rrule in ("FREQ=SECONDLY", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "nonsense"):
        broken = window("2026-12-01T02:00", "2026-12-01T04:00", rrule)
        assert not is_sound(broken)
        assert len(list(occurrences(broken, NOW))) == 1


def test_a_plan_is_stored_in_utc_with_its_rule_in_upper_case() -> None:
    planned = plan(
        NOW,
        starts_at=at("2026-12-01T02:00"),
        ends_at=at("2026-12-01T04:00"),
        timezone="Europe/Berlin",
        rrule="rrule:freq=weekly;byday=tu",
    )
    assert (planned.starts_at, planned.ends_at) == (at("2026-12-01T01:00Z"), at("2026-12-01T03:00Z"))
    assert planned.rrule == "FREQ=WEEKLY;BYDAY=TU"


@pytest.mark.parametrize(
    ("start", "rrule", "stored"),
    [
        ("2026-12-01T02:00", "FREQ=DAILY;COUNT=3", "FREQ=DAILY;UNTIL=20261203T020000"),
        ("2026-12-01T02:00", "COUNT=1;FREQ=DAILY", "UNTIL=20261201T020000;FREQ=DAILY"),
        ("2026-12-07T02:00", "FREQ=MONTHLY;COUNT=4;BYDAY=1MO", "FREQ=MONTHLY;UNTIL=20270301T020000;BYDAY=1MO"),
        ("2027-03-27T02:30", "FREQ=DAILY;COUNT=2", "FREQ=DAILY;UNTIL=20270328T023000"),  # a time that the clock skips
    ],
)
def test_a_count_is_stored_as_the_end_that_it_means(start: str, rrule: str, stored: str) -> None:
    times: dict[str, Any] = {"starts_at": at(start), "ends_at": at(start) + timedelta(hours=1)}
    planned = plan(NOW, timezone="Europe/Berlin", rrule=rrule, **times)
    assert planned.rrule == stored
    counted = occurrences(replace(planned, rrule=rrule), NOW)
    assert [one.starts_at for one in occurrences(planned, NOW)] == [one.starts_at for one in counted]


@pytest.mark.parametrize(
    ("rrule", "end"),
    [
        ("FREQ=DAILY;COUNT=999", "2029-08-25T02:00Z"),
        ("FREQ=DAILY;BYMONTH=12;COUNT=32", "2027-12-01T02:00Z"),
        ("FREQ=WEEKLY;INTERVAL=2;COUNT=27", "2027-11-30T02:00Z"),
        ("FREQ=YEARLY;INTERVAL=999;COUNT=999", "8020-12-01T02:00Z"),  # dates have no year 9019 here
    ],
)
def test_a_long_count_is_one_too_also_where_sql_wrote_it(rrule: str, end: str) -> None:
    times: dict[str, Any] = {"starts_at": at("2026-12-01T02:00Z"), "ends_at": at("2026-12-01T04:00Z")}
    planned = plan(NOW, rrule=rrule, **times)
    assert "COUNT" not in (planned.rrule or "")
    for one in (planned, replace(planned, rrule=rrule)):
        *_, last = occurrences(one, NOW)
        assert last.starts_at == at(end)


def test_a_recurring_window_may_have_begun_long_ago() -> None:
    long_ago: dict[str, Any] = {"starts_at": at("2021-12-01T02:00Z"), "ends_at": at("2021-12-01T04:00Z")}
    assert plan(NOW, **long_ago, rrule="FREQ=DAILY").timezone == "UTC"


@pytest.mark.parametrize(
    ("planned", "field"),
    [
        ({"timezone": None}, "starts_at"),  # naive without a zone
        ({"starts_at": at("2026-12-01T02:00Z"), "timezone": None}, "ends_at"),
        ({"timezone": "Europe/Atlantis"}, "timezone"),
        ({"timezone": "America"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"timezone": "a\0b"}, "timezone"),
        ({"ends_at": at("2026-12-01T02:00")}, "ends_at"),
        ({"ends_at": at("2026-12-01T01:00")}, "ends_at"),
        ({"ends_at": at("2027-12-01T02:00")}, "ends_at"),  # longer than a month
        ({"starts_at": at("2026-11-01T02:00"), "ends_at": at("2026-11-01T04:00")}, "ends_at"),  # wholly in the past
        ({"starts_at": at("2046-11-01T02:00"), "ends_at": at("2046-11-01T04:00")}, "starts_at"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(planned: dict[str, Any], field: str) -> None:
    assert list(refused(**planned)) == [field]


@pytest.mark.parametrize(
    "rrule",
    [
        "",
        "FREQ=SECONDLY",
        "FREQ=MINUTELY",
        "FREQ=HOURLY",
        "FREQ=DAILY;BYSECOND=0,1,2",
        "FREQ=DAILY;BYMINUTE=0,30",
        "FREQ=DAILY;BYEASTER=0",
        "INTERVAL=2",
        "FREQ=DAILY;FREQ=DAILY",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;INTERVAL=-1",
        "FREQ=DAILY;INTERVAL=99999999999",
        "FREQ=DAILY;COUNT=0",
        "FREQ=DAILY;COUNT=1000000000",
        "FREQ=DAILY;COUNT=3;UNTIL=20270101",
        "FREQ=DAILY;UNTIL=20270231",
        "FREQ=DAILY;UNTIL=tomorrow",
        "FREQ=DAILY;UNTIL=20261101",  # before the start
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",  # never
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",  # never
        "FREQ=DAILY;INTERVAL=7;BYDAY=MO",  # never: the start is a Tuesday
        "FREQ=WEEKLY;BYDAY=MO",  # not at the start
        "FREQ=WEEKLY;BYDAY=1MO",
        "FREQ=MONTHLY;BYDAY=0TU",
        "FREQ=DAILY;BYHOUR=25",
        "FREQ=DAILY;BYSETPOS=0",
        "DTSTART:20260101T000000\nRRULE:FREQ=DAILY",
        "RRULE:FREQ=DAILY\nRRULE:FREQ=WEEKLY",
        "FREQ=DAILY;X",
    ],
)
def test_a_rule_that_never_occurs_or_too_often_or_oddly_is_refused(rrule: str) -> None:
    assert list(refused(rrule=rrule)) == ["rrule"]


@pytest.mark.parametrize(
    ("ends_at", "rrule"),
    [
        ("2026-12-02T02:00", "FREQ=DAILY"),
        ("2026-12-01T08:00", "FREQ=DAILY;BYHOUR=2,8"),
        ("2026-12-10T02:00", "FREQ=WEEKLY"),
    ],
)
def test_a_rule_that_begins_again_before_the_window_is_over_is_refused(ends_at: str, rrule: str) -> None:
    assert list(refused(ends_at=at(ends_at), rrule=rrule)) == ["rrule"]


@pytest.mark.parametrize(
    "start",
    [
        "2027-03-28T02:30",  # the clock jumps over it
        "2026-10-25T01:30:00Z",  # the second 02:30 of that night
    ],
)
def test_a_rule_may_not_begin_at_a_time_that_its_clock_does_not_show_for_the_first_time(start: str) -> None:
    now = at("2026-10-01T00:00Z")
    moment = at(start)
    times: dict[str, Any] = {
        "starts_at": moment,
        "ends_at": moment + timedelta(minutes=10),
        "timezone": "Europe/Berlin",
    }
    assert plan(now, **times)
    with pytest.raises(InvalidInput) as caught:
        plan(now, **times, rrule="FREQ=DAILY")
    assert list(caught.value.errors) == ["starts_at"]


def test_a_hundred_windows_are_the_most() -> None:
    assert MOST_WINDOWS == 100
