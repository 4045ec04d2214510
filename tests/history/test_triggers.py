"""On PostgreSQL no writer can forget, fool or stop the record, and no change goes unnoticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from flask import Flask
from flask.testing import FlaskClient

from dop_be import sentences

from ..conftest import ADMIN
from ..e2e.servers import eventually
from ..postgres import Cluster, execute
from ..shared import grant, migrate

WITHIN = 10.0  # seconds; the poll looks every two
TRIGGERS = """
SELECT tgrelid::regclass::text, tgname, tgenabled::text FROM pg_trigger
WHERE NOT tgisinternal ORDER BY 1, 2
"""


def patch(client: FlaskClient, **values: Any) -> tuple[int, Any]:
    response = client.patch("/api/v1/settings", json=values, headers={**ADMIN, "If-Match": "*"})
    return response.status_code, response.json


def message(app: Flask) -> Any:
    body: Any = app.test_client().get("/api/v1/settings").json
    return body["maintenance_message"]


@pytest.fixture
def app(make_app: Callable[..., Flask], postgresql_url: str) -> Flask:
    app = make_app(postgresql_url)
    assert app.extensions["live"].refresh()
    return app


@pytest.fixture
def watched(app: Flask) -> Flask:
    app.extensions["live"].start()
    return app


def test_every_table_that_requests_depend_on_is_watched(postgresql_url: str) -> None:
    watched = [("raise_version", "A"), ("raise_version_emptied", "A"), ("record_change", "O"), ("refuse_truncate", "O")]
    expected = [
        *(("api_tokens", *trigger) for trigger in watched),
        ("changes", "refuse_change", "O"),
        ("components", "note_flip", "O"),
        *(("components", *trigger) for trigger in watched),
        ("components", "removed", "O"),
        ("components", "renamed", "O"),
        ("live_state", "refuse_change", "O"),
        *(("maintenance_windows", *trigger) for trigger in watched),
        ("maintenance_windows", "refers", "O"),
        ("system_settings", "count_revision", "O"),
        *(("system_settings", *trigger) for trigger in watched),
    ]
    assert execute(postgresql_url, TRIGGERS) == sorted(expected)


def test_every_function_that_runs_as_the_owner_has_a_fixed_path_and_is_nobodys_to_call(postgresql_url: str) -> None:
    rows = execute(
        postgresql_url,
        "SELECT proname, 'search_path=pg_catalog, pg_temp' = ANY (proconfig),"
        " coalesce(array_to_string(proacl, ' '), '=X') ~ '(^| )=X'"
        " FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace ORDER BY proname",
    )
    ours = ("count_revision", "forget_component", "know_component", "note_flip", "prune_changes", "raise_version")
    assert rows == [(name, True, False) for name in (*ours, "record_change")]


@pytest.mark.parametrize("statement", ["DELETE FROM live_state", "TRUNCATE live_state"])
def test_the_version_cannot_be_deleted(postgresql_url: str, statement: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="is refused on live_state"):
        execute(postgresql_url, statement)


def test_a_version_that_was_deleted_all_the_same_is_made_again_by_the_next_change(
    app: Flask, postgresql_url: str
) -> None:
    execute(postgresql_url, "SET session_replication_role = replica; DELETE FROM live_state")
    assert patch(app.test_client(), maintenance_message="heard")[0] == 200
    assert message(app) == "heard"
    assert execute(postgresql_url, "SELECT count(*) FROM live_state") == [(1,)]


@pytest.mark.parametrize(
    ("statements", "raised"),
    [
        (["{settings}", "{window}", "{window}"], 1),
        (["{settings}", "SAVEPOINT a", "{window}", "ROLLBACK TO a"], 1),
        (["SAVEPOINT a", "{settings}", "ROLLBACK TO a", "{window}"], 1),
        (["SAVEPOINT a", "{settings}", "RELEASE a", "{window}"], 2),
        (["UPDATE live_state SET version = version + 5", "{window}"], 5),
        (["DELETE FROM maintenance_windows"], 0),
    ],
    ids=str,
)
def test_a_transaction_announces_once_the_version_that_it_commits(
    postgresql_url: str, statements: list[str], raised: int
) -> None:
    written = {
        "settings": "UPDATE system_settings SET maintenance_message = clock_timestamp()",
        "window": "INSERT INTO maintenance_windows (starts_at, ends_at) VALUES (now(), now() + interval '1 hour')",
    }
    before: int = execute(postgresql_url, "SELECT version FROM live_state")[0][0]
    listener = psycopg2.connect(postgresql_url)
    listener.autocommit = True
    listener.cursor().execute("LISTEN dop_be")
    execute(postgresql_url, "BEGIN; " + "; ".join(statements).format(**written) + "; COMMIT")
    assert execute(postgresql_url, "SELECT version FROM live_state") == [(before + raised,)]
    listener.cursor().execute("SELECT 1")  # what was sent before it has come
    assert [notify.payload for notify in listener.notifies][-1:] == [str(before + raised)] * (raised > 0)
    assert len(listener.notifies) == min(raised, 2 if "RELEASE a" in statements else 1)
    listener.close()


def test_a_row_older_than_its_record_blocks_no_writer(app: Flask, postgresql_url: str) -> None:
    for number in range(4):
        assert patch(app.test_client(), maintenance_message=f"{number}")[0] == 200
    execute(postgresql_url, "SET session_replication_role = replica; UPDATE system_settings SET revision = 2")
    status, body = patch(app.test_client(), maintenance_message="goes on")
    assert (status, body["revision"]) == (200, 6)


def test_a_record_that_was_copied_without_its_newest_entries_blocks_no_writer(app: Flask, postgresql_url: str) -> None:
    for number in range(3):
        assert patch(app.test_client(), maintenance_message=f"{number}")[0] == 200
    execute(postgresql_url, "SET session_replication_role = replica; DELETE FROM changes WHERE id > 2")
    status, body = patch(app.test_client(), maintenance_message="goes on")
    assert (status, body["revision"]) == (200, 5)
    assert execute(postgresql_url, "SELECT id, revision FROM changes ORDER BY id") == [(1, 1), (2, 2), (3, 5)]


@pytest.mark.parametrize(
    "around",
    [
        "SET session_replication_role = replica",
        "CREATE TEMP TABLE live_state (singleton bool PRIMARY KEY, version bigint)",
        "CREATE TEMP TABLE changes (LIKE public.changes)",
        "ALTER TABLE system_settings DISABLE TRIGGER ALL",
    ],
)
def test_a_change_around_the_triggers_reaches_every_worker_all_the_same(
    watched: Flask, postgresql_url: str, around: str
) -> None:
    execute(postgresql_url, f"{around}; UPDATE system_settings SET maintenance_message = 'around'")
    eventually(WITHIN, lambda: message(watched) == "around")


def test_what_nothing_would_record_is_not_written(app: Flask, postgresql_url: str) -> None:
    execute(postgresql_url, "ALTER TABLE system_settings DISABLE TRIGGER ALL")
    status, body = patch(app.test_client(), maintenance_message="unrecorded")
    assert (status, body["code"], body["detail"]) == (503, "database_unavailable", sentences.UNRECORDED)
    assert execute(postgresql_url, "SELECT maintenance_message FROM system_settings") == [(None,)]


def test_a_fault_of_the_database_is_not_blamed_on_the_caller(app: Flask, postgresql_url: str) -> None:
    execute(
        postgresql_url,
        "CREATE FUNCTION stumble() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM 'x'::integer; RETURN NEW; END $$",
        "CREATE TRIGGER stumble BEFORE UPDATE ON system_settings FOR EACH ROW EXECUTE FUNCTION stumble()",
    )
    status, body = patch(app.test_client(), maintenance_message="fine")
    assert (status, body["code"]) == (503, "database_unavailable")


def test_a_key_that_is_there_twice_is_not_blamed_on_the_caller(app: Flask, postgresql_url: str) -> None:
    execute(
        postgresql_url,
        "CREATE TABLE log (id integer PRIMARY KEY)",
        "CREATE FUNCTION twice() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO public.log VALUES (1), (1); RETURN NEW; END $$",
        "CREATE TRIGGER twice BEFORE UPDATE ON system_settings FOR EACH ROW EXECUTE FUNCTION twice()",
    )
    status, body = patch(app.test_client(), maintenance_message="fine")
    assert (status, body["code"]) == (503, "database_unavailable")


def test_values_that_a_constraint_refuses_are_the_callers(app: Flask, postgresql_url: str) -> None:
    execute(postgresql_url, "ALTER TABLE system_settings ADD CHECK (maintenance_message <> 'forbidden')")
    status, body = patch(app.test_client(), maintenance_message="forbidden")
    assert (status, body["code"]) == (422, "invalid")


@pytest.mark.parametrize("digits", [-12, 0])
def test_a_number_is_recorded_with_all_digits_whatever_the_session_prints(postgresql_url: str, digits: int) -> None:
    execute(postgresql_url, "ALTER TABLE system_settings ADD ratio double precision NOT NULL DEFAULT 0.5")
    for value in ("0.5001", "0.1::float8 + 0.2"):
        execute(postgresql_url, f"SET extra_float_digits = {digits}; UPDATE system_settings SET ratio = {value}")
    assert execute(postgresql_url, "SELECT revision, changes ->> 'ratio', \"values\" ->> 'ratio' FROM changes") == [
        (1, None, None),
        (2, '{"to": 0.5001, "from": 0.5}', "0.5001"),
        (3, '{"to": 0.30000000000000004, "from": 0.5001}', "0.30000000000000004"),
    ]
    assert execute(postgresql_url, "SELECT revision FROM system_settings") == [(3,)]
    assert execute(postgresql_url, "SELECT version FROM live_state") == [(3,)]


def test_a_value_is_recorded_as_the_same_text_whatever_the_session_prints(postgresql_url: str) -> None:
    execute(
        postgresql_url,
        "ALTER TABLE system_settings ADD span interval, ADD days daterange, ADD raw bytea, ADD at tstzrange",
    )
    execute(
        postgresql_url,
        "SET intervalstyle = iso_8601; SET datestyle = German; SET bytea_output = escape; SET timezone = Japan;"
        " UPDATE system_settings SET span = '1 day 2 hours', days = '[2026-02-01,2026-02-03)', raw = '\\x00ff',"
        " at = '[2026-02-01 00:00+00,)'",
    )
    [(recorded,)] = execute(postgresql_url, 'SELECT "values" FROM changes WHERE revision = 2')
    assert {name: recorded[name] for name in ("span", "days", "raw", "at")} == {
        "span": "1 day 02:00:00",
        "days": "[2026-02-01,2026-02-03)",
        "raw": "\\x00ff",
        "at": '["2026-02-01 00:00:00+00",)',
    }


@pytest.mark.parametrize(
    ("kind", "statement", "key", "changed"),
    [
        ("token", "UPDATE api_tokens SET name = 'other'", "other", {"name": {"from": "ci", "to": "other"}}),
        ("token", "UPDATE api_tokens SET id = 'other'", "ci", {"id": {"from": "abcd", "to": "other"}}),
        (
            "token",
            "UPDATE api_tokens SET created_at = '2026-01-02 00:00+00'",
            "ci",
            {"created_at": {"from": "2026-01-01T00:00:00+00:00", "to": "2026-01-02T00:00:00+00:00"}},
        ),
        (
            "window",
            "UPDATE maintenance_windows SET id = '00000000-0000-4000-8000-000000000002'",
            "00000000-0000-4000-8000-000000000002",
            {
                "id": {
                    "from": "00000000-0000-4000-8000-000000000001",
                    "to": "00000000-0000-4000-8000-000000000002",
                }
            },
        ),
    ],
)
def test_no_column_of_a_token_or_window_changes_unrecorded(
    postgresql_url: str, kind: str, statement: str, key: str, changed: dict[str, Any]
) -> None:
    execute(
        postgresql_url,
        "INSERT INTO api_tokens (id, name, digest, scopes, created_at, created_by)"
        " VALUES ('abcd', 'ci', 'x', 'settings:read', '2026-01-01 00:00+00', 'ada')",
        "INSERT INTO maintenance_windows (id, starts_at, ends_at)"
        " VALUES ('00000000-0000-4000-8000-000000000001', '2026-01-01', '2026-01-02')",
        statement,
    )
    rows = execute(postgresql_url, f"SELECT action, key, changes FROM changes WHERE kind = '{kind}' ORDER BY id")
    assert rows[1:] == [("update", key, changed)]
    assert not {"id", "name", "created_at"} & rows[0][2].keys()


@pytest.mark.parametrize(("claimed", "recorded"), [("nonsense", "sql"), ("", "sql"), ("panel", "panel")])
def test_a_source_that_there_is_not_is_sql(postgresql_url: str, claimed: str, recorded: str) -> None:
    execute(postgresql_url, f"SET dop_be.source = '{claimed}'; UPDATE system_settings SET maintenance_message = 'x'")
    assert execute(postgresql_url, "SELECT source FROM changes WHERE revision = 2") == [(recorded,)]


@pytest.fixture(scope="module")
def two_roles() -> Any:
    """A server of its own on which `migrator` owns the database, and `runtime` runs the service."""
    cluster = Cluster(wal_level="logical")
    try:
        cluster.start()
        execute(cluster.url(), "CREATE ROLE migrator LOGIN", "CREATE ROLE runtime LOGIN")
        execute(cluster.url(), "CREATE DATABASE platform OWNER migrator", "CREATE DATABASE subscriber")
        migrate(cluster.url("platform", "migrator"))
        yield cluster
    finally:
        cluster.remove()


def test_a_function_that_the_runtime_role_planted_gains_nothing(two_roles: Cluster) -> None:
    """Before the grants, when anybody might create something in the schema, as on PostgreSQL 14."""
    url = two_roles.url("platform")
    execute(url, "GRANT CREATE ON SCHEMA public TO PUBLIC", "GRANT SELECT, UPDATE ON system_settings TO runtime")
    execute(
        two_roles.url("platform", "runtime"),
        "CREATE FUNCTION public.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS"
        " $$ BEGIN EXECUTE 'ALTER ROLE runtime SUPERUSER'; END $$",
        "CREATE FUNCTION public.to_jsonb(public.system_settings) RETURNS jsonb LANGUAGE sql AS"
        " $$ SELECT 'null'::jsonb $$",
        "SET search_path = public, pg_catalog; UPDATE system_settings SET maintenance_message = 'planted'",
    )
    assert execute(url, "SELECT rolsuper FROM pg_roles WHERE rolname = 'runtime'") == [(False,)]
    newest = execute(url, "SELECT changes #>> '{maintenance_message,to}', database_user FROM changes ORDER BY id DESC")
    assert newest[0] == ("planted", "runtime")

    execute(url, "DROP FUNCTION public.pg_notify(text, text), public.to_jsonb(public.system_settings)")
    execute(url, "REVOKE CREATE ON SCHEMA public FROM PUBLIC", "GRANT CREATE ON SCHEMA public TO PUBLIC")
    grant(two_roles.url("platform"), "runtime")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        execute(
            two_roles.url("platform", "runtime"), "CREATE FUNCTION planted() RETURNS int LANGUAGE sql AS 'SELECT 1'"
        )


def test_a_logical_subscriber_keeps_applying_and_its_workers_hear(
    two_roles: Cluster, make_app: Callable[..., Flask]
) -> None:
    publisher, subscriber = two_roles.url("platform"), two_roles.url("subscriber")
    migrate(subscriber)
    [(identifier,)] = execute(publisher, "SELECT id FROM system_settings")
    execute(
        subscriber,
        f"SET session_replication_role = replica; DELETE FROM changes; UPDATE system_settings SET id = '{identifier}'",
    )
    execute(publisher, "CREATE PUBLICATION everything FOR ALL TABLES")
    execute(publisher, "SELECT pg_create_logical_replication_slot('everything', 'pgoutput')")
    execute(
        subscriber,
        f"CREATE SUBSCRIPTION everything CONNECTION '{publisher}' PUBLICATION everything"
        " WITH (copy_data = false, create_slot = false, slot_name = 'everything')",
    )
    app = make_app(subscriber)
    app.extensions["live"].start()
    try:
        for number in range(3):
            execute(publisher, f"UPDATE system_settings SET maintenance_message = 'published {number}'")
            eventually(WITHIN, lambda text=f"published {number}": message(app) == text)
        ids = "SELECT id, changes FROM changes ORDER BY id DESC LIMIT 3"
        eventually(WITHIN, lambda: execute(subscriber, ids) == execute(publisher, ids))
        # A subscriber that is written to itself goes on with its own numbers.
        execute(subscriber, "UPDATE system_settings SET maintenance_message = 'own'")
        eventually(WITHIN, lambda: message(app) == "own")
    finally:
        app.extensions["live"].stop()
        execute(subscriber, "ALTER SUBSCRIPTION everything DISABLE")
        execute(subscriber, "ALTER SUBSCRIPTION everything SET (slot_name = NONE)")
        execute(subscriber, "DROP SUBSCRIPTION everything")
