"""Windows in the database, on both kinds."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import DBAPIError

from dop_be.database import Author
from dop_be.errors import InvalidInput, NotFound
from dop_be.live import Live
from dop_be.maintenance import known, service
from dop_be.maintenance.schedule import MOST_WINDOWS
from tests.postgres import execute

from ..shared import snapshot_of

BY = Author("tester", "api")
Sql = Callable[..., list[Any]]


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def hours(number: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=number)


def plan(start: float, end: float, **more: Any) -> uuid.UUID:
    return service.schedule(BY, starts_at=hours(start), ends_at=hours(end), **more)[0].id


def version(sql: Sql) -> int:
    return int(sql("SELECT version FROM live_state")[0]["version"])


def test_every_window_write_raises_the_version_and_no_revision(sql: Sql, live: Live) -> None:
    """Other workers hear of the version; the settings did not change."""
    seen = [version(sql)]
    revision = sql("SELECT revision FROM system_settings")
    identifier = plan(-1, 1)
    seen.append(version(sql))
    service.cancel(BY, identifier)
    seen.append(version(sql))
    service.switch(BY, active=True, until=hours(1))
    seen.append(version(sql))
    service.switch(BY, active=False)
    seen.append(version(sql))
    assert seen == sorted(set(seen))
    assert sql("SELECT revision FROM system_settings") == revision
    assert snapshot_of(live).version == seen[-1]


def test_a_window_from_now_leaves_the_switch_alone_and_is_in_force(sql: Sql, live: Live) -> None:
    until = hours(1)
    outcome = service.switch(BY, active=True, mode="read_only", message="a moment", until=until)
    now = outcome.phase.maintenance
    assert (now.active, now.mode, now.message, now.source, now.until) == (
        True,
        "read_only",
        "a moment",
        "window",
        until,
    )
    assert snapshot_of(live).at(time.time()).maintenance == now
    assert not sql("SELECT is_maintain FROM system_settings")[0]["is_maintain"]


def test_the_same_window_again_changes_nothing(sql: Sql) -> None:
    until = hours(1)
    assert service.switch(BY, active=True, until=until).changed
    seen = version(sql)
    assert not service.switch(BY, active=True, until=until).changed
    assert version(sql) == seen


def test_off_ends_what_is_open_and_nothing_else_and_says_which() -> None:
    single, recurring = plan(-1, 1), plan(-1, 1, rrule="FREQ=DAILY")
    later = plan(2, 3)
    outcome = service.switch(BY, active=False)
    assert {one.window.id for one in outcome.ended} == {single, recurring}
    assert not outcome.phase.maintenance.active
    assert service.switch(BY, active=False).ended == []
    assert outcome.phase.document.body.find(str(later).encode()) > 0  # it is what comes next


def test_a_few_windows_are_read_behind_the_lock_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    plan(-1, 1, rrule="FREQ=DAILY")
    monkeypatch.setattr(known, "look", lambda: pytest.fail("they were read twice"))
    assert len(service.switch(BY, active=False).ended) == 1


def test_what_is_opened_after_many_windows_were_read_ends_too(sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many are read before the lock is taken; the version tells that there is something new."""
    plan(-1, 1, rrule="FREQ=DAILY")
    times, look = [], known.look

    def look_too_early() -> known.Known:
        seen = look()
        insert(sql, -2, 2)
        sql("UPDATE live_state SET version = version + 1")  # as the application does on SQLite
        times.append(seen)
        return seen

    monkeypatch.setattr(known, "look", look_too_early)
    monkeypatch.setattr(known, "MOST_WINDOWS", 0)
    outcome = service.switch(BY, active=False)
    assert len(times) == known.TRIES - 1
    assert len(outcome.ended) == 1 + len(times)
    assert not outcome.phase.maintenance.active


@pytest.mark.parametrize("rrule", [None, "FREQ=DAILY"])
def test_ten_thousand_open_windows_keep_nobody_from_switching_off(sql: Sql, live: Live, rrule: str | None) -> None:
    """SQL may plan more than the API does."""
    count, start, end = 10_000, hours(-1), hours(1)
    identifiers = [uuid.uuid4().hex for _ in range(count)]
    values = ", ".join(f"('{identifier}', :start, :end, :rrule)" for identifier in identifiers)
    sql(
        f"INSERT INTO maintenance_windows (id, starts_at, ends_at, rrule) VALUES {values}",
        start=start,
        end=end,
        rrule=rrule,
    )
    assert live.refresh()
    assert snapshot_of(live).at(live.now()).maintenance.active
    outcome = service.switch(BY, active=False)
    assert len(outcome.ended) == count
    assert not snapshot_of(live).at(live.now()).maintenance.active


def test_off_leaves_the_next_times_of_a_window_that_recurs(live: Live) -> None:
    recurring = plan(-1, 1, rrule="FREQ=DAILY")
    service.switch(BY, active=False)
    assert [window.id for window in snapshot_of(live).windows] == [recurring]
    assert not snapshot_of(live).at(time.time()).maintenance.active
    assert snapshot_of(live).timeline.at(hours(23.5).timestamp()).maintenance.active


def test_off_moves_the_switch_too() -> None:
    service.switch(BY, active=True)
    plan(-1, 1)
    outcome = service.switch(BY, active=False)
    assert (outcome.changed, len(outcome.ended), outcome.phase.maintenance.active) == (True, 1, False)


def test_cancelling_an_open_window_ends_it(live: Live) -> None:
    identifier = plan(-1, 1)
    assert snapshot_of(live).at(time.time()).maintenance.active
    assert service.cancel(BY, identifier)[0] is not None
    assert not snapshot_of(live).at(time.time()).maintenance.active
    assert service.cancel(BY, identifier)[0] is None
    with pytest.raises(NotFound):
        service.cancel(BY, uuid.uuid4())


def test_a_hundred_windows_are_enough(sql: Sql) -> None:
    for number in range(MOST_WINDOWS):
        insert(sql, number + 1, number + 2)
    with pytest.raises(InvalidInput):
        plan(1, 2)
    with pytest.raises(InvalidInput):
        service.switch(BY, active=True, until=hours(1))
    assert len(sql("SELECT id FROM maintenance_windows")) == MOST_WINDOWS


def test_windows_that_are_over_do_not_count_and_go_after_a_day(sql: Sql) -> None:
    for _ in range(MOST_WINDOWS - 1):
        insert(sql, -50, -49)
    insert(sql, -3, -2)
    insert(sql, -30, -29, rrule="FREQ=DAILY;COUNT=2")
    insert(sql, -50, -49, rrule="FREQ=DAILY")
    plan(1, 2)
    assert len(sql("SELECT id FROM maintenance_windows")) == 3 + 1
    # left: the one over for two hours, that with a second time five hours ago, that which goes on, the new one


def test_what_sql_writes_is_seen_with_the_tables_defaults(sql: Sql, live: Live) -> None:
    insert(sql, -1, 1)
    assert live.refresh()
    now = snapshot_of(live).at(time.time()).maintenance
    assert (now.active, now.mode, now.source) == (True, "full", "window")


def test_a_rule_or_zone_that_sql_wrote_wrong_does_not_harm_the_rest(
    sql: Sql, live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    insert(sql, -1, 1, rrule="FREQ=SECONDLY")
    insert(sql, 5, 6, timezone="Nowhere/Land")
    assert live.refresh()
    assert live.refresh()
    assert snapshot_of(live).at(time.time()).maintenance.active
    assert len([record for record in caplog.records if "cannot be read" in record.message]) == 2


def test_the_database_refuses_a_window_that_ends_before_it_starts(sql: Sql) -> None:
    with pytest.raises(Exception, match="starts_before_end"):
        insert(sql, 2, 1)


@pytest.mark.parametrize("ends_at", ["infinity", "9999-12-31 00:00:00"])
def test_the_database_refuses_times_that_would_keep_workers_from_reading(sql: Sql, ends_at: str) -> None:
    with pytest.raises(Exception, match="finite"):
        sql(f"INSERT INTO maintenance_windows (starts_at, ends_at) VALUES ('2031-01-01 00:00:00', '{ends_at}')")


def test_writers_of_windows_and_settings_queue_without_deadlock(app: Flask, sql: Sql) -> None:
    errors: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with app.app_context():
                for _ in range(5):
                    if number % 2:
                        service.cancel(BY, plan(1, 2))
                    else:
                        service.switch(BY, active=True, message=f"{number}")
                        service.switch(BY, active=False)
        except BaseException as error:  # noqa: BLE001 - the assertion below shows it
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sql("SELECT id FROM maintenance_windows") == []


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite has no TRUNCATE
def test_truncate_is_refused_and_announced_where_it_is_done_around_the_triggers(sql: Sql) -> None:
    insert(sql, -1, 1)
    seen = version(sql)
    with pytest.raises(DBAPIError, match="TRUNCATE is refused on maintenance_windows"):
        sql("TRUNCATE maintenance_windows")
    sql("SET session_replication_role = replica; TRUNCATE maintenance_windows; RESET session_replication_role")
    assert version(sql) > seen


def insert(sql: Sql, start: float, end: float, **more: str) -> None:
    """As an operator does, with the columns that have no default."""
    columns = {"starts_at": hours(start), "ends_at": hours(end), **more}
    names, values = ", ".join(columns), ", ".join(f":{name}" for name in columns)
    sql(f"INSERT INTO maintenance_windows ({names}) VALUES ({values})", **columns)


@pytest.mark.parametrize("year", ["20000-01-01", "0044-01-01 BC", "infinity"])
def test_a_date_that_python_cannot_hold_keeps_nobody_from_the_state(
    make_app: Callable[..., Flask], postgresql_url: str, year: str
) -> None:
    app = make_app(postgresql_url)
    assert app.extensions["live"].refresh()
    execute(
        postgresql_url,
        f"INSERT INTO api_tokens VALUES ('aaaaaaaa', 'far', 'x', '', '{year}', 'sql', '{year}')",
        f"INSERT INTO api_tokens VALUES ('bbbbbbbb', 'bypass', 'x', 'maintenance:bypass', '{year}', 'sql', '{year}')",
    )
    assert app.extensions["live"].refresh()
    with app.app_context():
        assert service.switch(Author("tester", "api"), active=True).changed
    assert snapshot_of(app.extensions["live"]).at(time.time()).maintenance.active


@pytest.mark.parametrize("rule", ["FREQ=MONTHLY;BYDAY=+53MO;BYMONTH=0", "FREQ=YEARLY;BYMONTH=13;BYDAY=1MO", "nonsense"])
def test_a_rule_that_sql_wrote_wrong_keeps_nobody_from_the_state(
    live: Live, sql: Callable[..., list[Any]], rule: str
) -> None:
    sql(
        "INSERT INTO maintenance_windows (starts_at, ends_at, rrule)"
        " VALUES ('2031-01-06 02:00:00', '2031-01-06 03:00:00', :rule)",
        rule=rule,
    )
    assert live.refresh()
    assert len(snapshot_of(live).windows) == 1


def test_a_window_that_is_changed_is_not_logged_as_opened(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    end = hours(1)
    with app.app_context(), caplog.at_level("INFO", "dop_be.maintenance.service"):
        for message in ("one", "two", "two"):
            service.switch(BY, active=True, until=end, message=message)
        service.switch(BY, active=False)
    assert [record.message for record in caplog.records] == ["window opened", "window changed", "window ended"]
