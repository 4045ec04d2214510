"""Components written by psql, and by several at once: the database keeps them, their windows and tokens together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2.errors
import pytest
from flask import Flask

from ..clock import eventually
from ..conftest import ADMIN
from ..postgres import WAITING, execute

AT_ONCE = 8
WITHIN = 30.0  # seconds
SOON = "now() + interval '1 hour', now() + interval '2 hours'"


def listed(app: Flask) -> dict[str, bool]:
    """The components of this process's snapshot, and whether each is closed."""
    body = app.test_client().get("/api/v1/components").get_json()
    return {each["name"]: each["maintenance"]["active"] for each in body["components"]}


def put(app: Flask, path: str, body: dict[str, Any]) -> int:
    return app.test_client().put(f"/api/v1/components/{path}", json=body, headers=ADMIN).status_code


def test_what_psql_writes_works_like_the_api(make_app: Callable[..., Flask], postgresql_url: str) -> None:
    app = make_app(postgresql_url)
    app.extensions["live"].start()
    execute(postgresql_url, "INSERT INTO components (name, title, is_maintain) VALUES ('billing', 'Payments', true)")
    eventually(WITHIN, lambda: listed(app) == {"billing": True})
    execute(postgresql_url, "UPDATE components SET is_maintain = false WHERE name = 'billing'")
    eventually(WITHIN, lambda: listed(app) == {"billing": False})
    execute(
        postgresql_url,
        "INSERT INTO maintenance_windows (component, starts_at, ends_at)"
        " VALUES ('billing', now() - interval '1 hour', now() + interval '1 hour')",
    )
    eventually(WITHIN, lambda: listed(app) == {"billing": True})
    execute(postgresql_url, "DELETE FROM components")
    eventually(WITHIN, lambda: listed(app) == {})
    assert execute(postgresql_url, "SELECT count(*) FROM maintenance_windows") == [(0,)]
    kinds = execute(postgresql_url, "SELECT kind, action FROM changes WHERE kind <> 'settings' ORDER BY id")
    assert [kind for kind in kinds if kind[0] == "component"] == [
        ("component", each) for each in ("insert", "update", "delete")
    ]
    assert [kind for kind in kinds if kind[0] == "window"] == [("window", "insert"), ("window", "delete")]


@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT INTO maintenance_windows (component, starts_at, ends_at) VALUES ('nobody', {SOON})",
        "UPDATE maintenance_windows SET component = 'nobody'",
    ],
)
def test_a_window_of_no_component_is_refused_by_the_database(postgresql_url: str, statement: str) -> None:
    execute(postgresql_url, f"INSERT INTO maintenance_windows (starts_at, ends_at) VALUES ({SOON})")
    with pytest.raises(psycopg2.errors.ForeignKeyViolation, match="there is no component nobody"):
        execute(postgresql_url, statement)


@pytest.mark.parametrize("first", ["the window", "the removal"])
def test_no_window_outlives_its_component_whoever_commits_first(postgresql_url: str, first: str) -> None:
    execute(postgresql_url, "INSERT INTO components (name) VALUES ('billing')")
    statements = {
        "the window": f"INSERT INTO maintenance_windows (component, starts_at, ends_at) VALUES ('billing', {SOON})",
        "the removal": "DELETE FROM components WHERE name = 'billing'",
    }
    [second] = statements.keys() - {first}
    holder = psycopg2.connect(postgresql_url)
    holder.cursor().execute(statements[first])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(execute, postgresql_url, statements[second])
        eventually(WITHIN, lambda: execute(postgresql_url, WAITING))
        holder.commit()
        if first == "the removal":
            with pytest.raises(psycopg2.errors.ForeignKeyViolation):
                waiting.result(WITHIN)
        else:
            waiting.result(WITHIN)
    holder.close()
    assert execute(postgresql_url, "SELECT (SELECT count(*) FROM components), count(*) FROM maintenance_windows") == [
        (0, 0)
    ]


def test_a_renamed_component_leaves_nothing_under_its_old_name(postgresql_url: str) -> None:
    execute(
        postgresql_url,
        "INSERT INTO components (name) VALUES ('billing')",
        f"INSERT INTO maintenance_windows (component, starts_at, ends_at) VALUES ('billing', {SOON})",
        "UPDATE components SET name = 'payments'",
    )
    assert execute(postgresql_url, "SELECT count(*) FROM maintenance_windows") == [(0,)]


def test_one_name_made_by_many_at_once_is_made_once(app: Flask) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda _: put(app, "billing", {}), range(AT_ONCE)))
    assert sorted(found) == [200] * (AT_ONCE - 1) + [201]


def test_removing_one_while_others_switch_it_leaves_nothing_half_done(app: Flask, sql: Callable[..., Any]) -> None:
    assert put(app, "billing", {}) == 201
    statuses: list[int] = []

    def switch(number: int) -> None:
        until = (datetime.now(UTC) + timedelta(minutes=number + 1)).isoformat() if number % 2 else None
        statuses.append(put(app, "billing/maintenance", {"active": True, "until": until}))

    def remove() -> int:
        return app.test_client().delete("/api/v1/components/billing", headers=ADMIN).status_code

    with ThreadPoolExecutor(AT_ONCE) as pool:
        switching = [pool.submit(switch, number) for number in range(3 * AT_ONCE)]
        removed = pool.submit(remove)
        assert removed.result(WITHIN) == 204
        for each in switching:
            each.result(WITHIN)
    assert set(statuses) <= {200, 404}
    assert sql("SELECT * FROM components") == []
    assert sql("SELECT * FROM maintenance_windows") == []
