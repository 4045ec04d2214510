"""Columns that mean the same on both kinds of database."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Date, insert, literal_column, select

from dop_be.access.models import ApiToken
from dop_be.columns import UtcDateTime, enumeration, rows
from dop_be.database import reading
from dop_be.extensions import db
from dop_be.maintenance.models import MaintenanceWindow
from dop_be.settings.models import SystemSettings

START = datetime(2027, 3, 1, 22, 30, 0, 123456, UTC)
END = datetime(2027, 3, 2, tzinfo=UTC)
WINDOW = {"id": uuid.uuid4(), "starts_at": START, "ends_at": END, "mode": "full", "timezone": "UTC"}
COLUMNS = (MaintenanceWindow.id, MaintenanceWindow.starts_at, MaintenanceWindow.mode, MaintenanceWindow.message)


def read(app: Flask, statement: Any) -> Any:
    with app.app_context(), reading(db.engine) as connection:
        return connection.scalar(select(rows(statement)))


@pytest.fixture
def window(app: Flask) -> dict[str, Any]:
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(insert(MaintenanceWindow), WINDOW | {"message": 'quoted "text", größer\n'})
    return WINDOW


def test_rows_come_as_their_columns_types(app: Flask, window: dict[str, Any]) -> None:
    assert read(app, select(*COLUMNS)) == [
        {"id": window["id"], "starts_at": START, "mode": "full", "message": 'quoted "text", größer\n'}
    ]


def test_rows_agree_with_what_the_statement_itself_reads(app: Flask, window: dict[str, Any]) -> None:
    for statement in (select(MaintenanceWindow.__table__), select(SystemSettings.__table__)):
        with app.app_context(), reading(db.engine) as connection:
            assert read(app, statement) == [dict(row) for row in connection.execute(statement).mappings()]


def test_no_rows_are_an_empty_list(app: Flask) -> None:
    assert read(app, select(*COLUMNS)) == []


def test_rows_keep_the_order_of_their_statement(app: Flask) -> None:
    starts = [START.replace(day=day) for day in (3, 1, 2)]
    with app.app_context(), db.engine.begin() as connection:
        windows = [WINDOW | {"id": uuid.uuid4(), "starts_at": at, "ends_at": at.replace(hour=23)} for at in starts]
        connection.execute(insert(MaintenanceWindow), windows)
    ordered = select(MaintenanceWindow.starts_at).order_by(MaintenanceWindow.starts_at)
    assert read(app, ordered) == [{"starts_at": at} for at in sorted(starts)]


def test_a_moment_is_read_in_utc_whatever_the_servers_zone_is(
    make_app: Callable[..., Flask], postgresql_url: str, window_in_kathmandu: None
) -> None:
    assert read(make_app(postgresql_url), select(MaintenanceWindow.starts_at)) == [{"starts_at": START}]


@pytest.fixture
def window_in_kathmandu(make_app: Callable[..., Flask], postgresql_url: str) -> None:
    app = make_app(postgresql_url)
    with app.app_context(), db.engine.begin() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'")
        connection.execute(insert(MaintenanceWindow), WINDOW)


def test_a_token_that_sql_lets_expire_at_infinity_never_does(
    make_app: Callable[..., Flask], postgresql_url: str
) -> None:
    app = make_app(postgresql_url)
    with app.app_context(), db.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO api_tokens (id, name, digest, scopes, created_at, created_by, expires_at)"
            " VALUES ('01234567', 'sql', 'digest', 'settings:read', now(), 'sql', 'infinity')"
        )
    assert read(app, select(ApiToken.expires_at)) == [{"expires_at": datetime.max.replace(tzinfo=UTC)}]
    assert app.extensions["live"].refresh()


FARTHEST = {
    "infinity": (datetime.max.replace(tzinfo=UTC), date.max),
    "-infinity": (datetime.min.replace(tzinfo=UTC), date.min),
    "0044-03-15 BC": (datetime.min.replace(tzinfo=UTC), date.min),
    "20000-01-01": (datetime.max.replace(tzinfo=UTC), date.max),
    "9999-12-31": (datetime(9999, 12, 31, tzinfo=UTC), date.max),
    "0001-01-01": (datetime(1, 1, 1, tzinfo=UTC), date.min),
    "2027-03-01": (datetime(2027, 3, 1, tzinfo=UTC), date(2027, 3, 1)),
}


@pytest.mark.parametrize("text", FARTHEST)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/New_York"])
def test_a_year_that_python_cannot_hold_is_read_as_the_farthest_that_it_can(
    make_app: Callable[..., Flask], postgresql_url: str, zone: str, text: str
) -> None:
    moment = literal_column(f"'{text}'::timestamp AT TIME ZONE 'UTC'", UtcDateTime())
    day = literal_column(f"'{text}'::date", Date())
    with make_app(postgresql_url).app_context(), db.engine.connect() as connection:
        connection.exec_driver_sql(f"SET timezone = '{zone}'")
        assert connection.execute(select(moment, day)).one() == FARTHEST[text]
        assert connection.scalar(select(literal_column("NULL::timestamptz", UtcDateTime()))) is None


def test_a_value_that_only_a_newer_release_knows_is_read_as_it_is(app: Flask) -> None:
    stored = literal_column("'blue'", enumeration("colour", "red", "green"))
    with app.app_context(), db.engine.connect() as connection:
        assert connection.scalar(select(stored)) == "blue"
