"""What the database itself holds to, whoever writes."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from tests.postgres import execute

SEED = "insert into system_settings (id, is_maintain) values (uuid_generate_v4(), false)"


def test_the_migrations_seed_one_row_out_of_maintenance(sql: Callable[..., list[Any]]) -> None:
    [row] = sql("SELECT * FROM system_settings")
    assert uuid.UUID(str(row["id"])).version == 4
    assert not row["is_maintain"]
    assert row["maintenance_mode"] == "full"
    assert row["revision"] == 1
    assert row["maintenance_since"] is None
    assert row["updated_at"] is not None


@pytest.mark.parametrize("values", ["", " (singleton) VALUES (true)", " (singleton) VALUES (false)"])
def test_the_database_refuses_a_second_row(sql: Callable[..., list[Any]], values: str) -> None:
    with pytest.raises(IntegrityError):
        sql(f"INSERT INTO system_settings{values or ' DEFAULT VALUES'}")
    assert sql("SELECT count(*) AS rows FROM system_settings") == [{"rows": 1}]


def test_the_database_refuses_an_unknown_mode(sql: Callable[..., list[Any]]) -> None:
    with pytest.raises(IntegrityError):
        sql("UPDATE system_settings SET maintenance_mode = 'off'")


def test_an_empty_table_takes_the_shortest_insert(sql: Callable[..., list[Any]]) -> None:
    sql("DELETE FROM system_settings")
    sql("INSERT INTO system_settings DEFAULT VALUES")
    [row] = sql("SELECT * FROM system_settings")
    assert uuid.UUID(str(row["id"])).version == 4


def test_an_empty_table_takes_the_platforms_own_insert(postgresql_url: str) -> None:
    execute(postgresql_url, "DELETE FROM system_settings", SEED)
    assert execute(postgresql_url, "SELECT is_maintain FROM system_settings") == [(False,)]


class TestAnyWriterIsRecorded:
    """On PostgreSQL the database counts and dates by itself."""

    def test_a_change_by_sql_raises_the_revision_and_names_the_user(self, postgresql_url: str) -> None:
        start = datetime.now(UTC)
        execute(postgresql_url, "UPDATE system_settings SET is_maintain = true, revision = 99, updated_by = 'nobody'")
        [(revision, by, at, since)] = execute(
            postgresql_url, "SELECT revision, updated_by, updated_at, maintenance_since FROM system_settings"
        )
        user = sa.engine.make_url(postgresql_url).username
        assert (revision, by) == (2, user)
        assert start < at == since

    def test_what_changes_nothing_raises_nothing(self, postgresql_url: str) -> None:
        before = execute(postgresql_url, "SELECT * FROM system_settings, live_state")
        execute(postgresql_url, "UPDATE system_settings SET is_maintain = is_maintain, maintenance_since = now()")
        assert execute(postgresql_url, "SELECT * FROM system_settings, live_state") == before

    def test_a_change_raises_the_version(self, postgresql_url: str) -> None:
        [(before,)] = execute(postgresql_url, "SELECT version FROM live_state")
        execute(postgresql_url, "UPDATE system_settings SET maintenance_message = 'x'")
        assert execute(postgresql_url, "SELECT version FROM live_state") == [(before + 1,)]
