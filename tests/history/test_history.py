"""The history: every change leaves its entry, whoever makes it, and nobody can change an entry."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flask_migrate
import psycopg2
import psycopg2.errors
import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from werkzeug.test import TestResponse

from dop_be.database import Author, writing
from dop_be.extensions import db
from dop_be.history.service import changed_since
from dop_be.live import Live
from dop_be.settings.models import SHOWN, WRITABLE

from ..conftest import ADMIN
from ..postgres import Cluster, execute
from ..shared import RUNTIME_ROLE

Sql = Callable[..., list[Any]]
URL = "/api/v1/settings"
FIELDS = ["id", "kind", "key", "revision", "action", "changed_at", "changed_by", "database_user", "source", "reason"]
FIELDS += ["request_id", "changes"]


def patch(client: FlaskClient, values: dict[str, Any], **headers: str) -> TestResponse:
    return client.patch(URL, json=values, headers={**ADMIN, "If-Match": "*", **headers})


def go_back(client: FlaskClient, how: str, revision: Any, **headers: str) -> TestResponse:
    return client.post(f"{URL}/{how}", json={"revision": revision}, headers={**ADMIN, "If-Match": "*", **headers})


def history(client: FlaskClient, query: str = "") -> list[dict[str, Any]]:
    response = client.get(f"{URL}/history{query}", headers=ADMIN)
    assert response.status_code == 200
    changes: list[dict[str, Any]] = body(response)["changes"]
    return changes


def body(response: TestResponse) -> Any:
    return response.json


def entries(sql: Sql) -> list[dict[str, Any]]:
    """Every entry as the database has it, oldest first; SQLite gives JSON as text."""
    rows = sql("SELECT * FROM changes ORDER BY id")
    for row in rows:
        for name in ("changes", "values"):
            row[name] = json.loads(row[name]) if isinstance(row[name], str) else row[name]
    return rows


def rewrite(sql: Sql, revision: int, values: dict[str, Any], url: str) -> None:
    """Put other values into an entry, as an older release would have left them."""
    if url.startswith("sqlite"):
        sql("DROP TRIGGER changes_no_UPDATE")
    else:
        sql("ALTER TABLE changes DISABLE TRIGGER USER")
    cast = ":v" if url.startswith("sqlite") else "cast(:v AS jsonb)"
    sql(f'UPDATE changes SET "values" = {cast} WHERE revision = :r', v=json.dumps(values), r=revision)


def test_a_change_through_the_api_leaves_an_entry(client: FlaskClient, database_url: str) -> None:
    changed = patch(
        client,
        {"is_maintain": True, "maintenance_message": "back at noon"},
        **{"X-Change-Reason": "Umzug der Datenbank %E2%80%93 50%25", "X-Request-ID": "req-1"},
    )
    newest, first = history(client)
    assert list(newest) == FIELDS
    assert newest == {
        "id": 2,
        "kind": "settings",
        "key": None,
        "revision": 2,
        "action": "update",
        "changed_at": body(changed)["updated_at"],
        "changed_by": "admin",
        "database_user": (RUNTIME_ROLE or "postgres") if database_url.startswith("postgresql") else None,
        "source": "api",
        "reason": "Umzug der Datenbank \N{EN DASH} 50%",
        "request_id": "req-1",
        "changes": {
            "is_maintain": {"from": False, "to": True},
            "maintenance_message": {"from": None, "to": "back at noon"},
        },
    }
    assert (first["revision"], first["source"], first["changes"]) == (1, "migration", {})


def test_a_change_through_the_command_line_leaves_an_entry(cli: FlaskCliRunner, client: FlaskClient) -> None:
    assert cli.invoke(args=["settings", "set", "is_maintain=true", "--reason", "Umzug"]).exit_code == 0
    assert cli.invoke(args=["maintenance", "off", "--reason", "moved"]).exit_code == 0
    assert cli.invoke(args=["maintenance", "on"]).exit_code == 0
    told = [(entry["revision"], entry["source"], entry["reason"]) for entry in history(client)]
    assert told == [(4, "cli", None), (3, "cli", "moved"), (2, "cli", "Umzug"), (1, "migration", None)]


def test_values_are_all_settings_after_the_change(client: FlaskClient, sql: Sql) -> None:
    settings: dict[str, Any] = {"is_maintain": False, "maintenance_mode": "full", "maintenance_message": None}
    for change in ({"is_maintain": True}, {"maintenance_mode": "read_only", "maintenance_message": "ü\u2028"}, {}):
        patch(client, change)
    for entry in entries(sql):
        settings |= {name: sides["to"] for name, sides in entry["changes"].items()}
        assert settings.items() <= entry["values"].items()
    assert set(entries(sql)[-1]["values"]) == {column.key for column in WRITABLE}


def test_what_changes_nothing_leaves_no_entry(client: FlaskClient) -> None:
    patch(client, {"is_maintain": True})
    patch(client, {"is_maintain": True})
    client.put("/api/v1/maintenance", json={"active": True}, headers=ADMIN)
    assert [entry["revision"] for entry in history(client)] == [2, 1]


@pytest.mark.parametrize("verb", ["UPDATE changes SET reason = 'x'", "DELETE FROM changes"])
def test_entries_cannot_be_changed_or_deleted(sql: Sql, verb: str) -> None:
    with pytest.raises(DBAPIError, match="refused on changes"):
        sql(verb)
    assert [entry["reason"] for entry in entries(sql)] == [None]


@pytest.mark.parametrize("table", ["changes", "system_settings", "api_tokens", "maintenance_windows", "live_state"])
def test_truncate_is_refused(postgresql_url: str, table: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match=f"TRUNCATE is refused on {table}"):
        execute(postgresql_url, f"TRUNCATE {table}")


def test_a_change_with_psql_is_recorded_with_the_database_user(postgresql_url: str) -> None:
    execute(postgresql_url, "UPDATE system_settings SET is_maintain = true, revision = 77, updated_by = 'nobody'")
    [(revision, by, source, reason, changes)] = execute(
        postgresql_url,
        "SELECT revision, changed_by, source, reason, changes FROM changes WHERE revision > 1",
    )
    assert (revision, by, source, reason) == (2, "postgres", "sql", None)
    assert changes == {"is_maintain": {"from": False, "to": True}}
    row = execute(postgresql_url, "SELECT revision, updated_by, maintenance_since = updated_at FROM system_settings")
    assert row == [(2, "postgres", True)]


def test_two_updates_in_one_psql_transaction_are_two_entries_and_a_rollback_none(postgresql_url: str) -> None:
    connection = psycopg2.connect(postgresql_url)
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE system_settings SET is_maintain = true")
        connection.rollback()
        cursor.execute("UPDATE system_settings SET is_maintain = true")
        cursor.execute("UPDATE system_settings SET is_maintain = true, maintenance_message = 'x'")
        cursor.execute("UPDATE system_settings SET maintenance_message = 'x', maintenance_since = NULL")
    connection.close()
    rows = execute(postgresql_url, "SELECT revision, changes FROM changes ORDER BY revision")
    assert rows == [
        (1, {}),
        (2, {"is_maintain": {"from": False, "to": True}}),
        (3, {"maintenance_message": {"from": None, "to": "x"}}),
    ]


def test_a_row_inserted_anew_continues_the_revision(client: FlaskClient, live: Live, sql: Sql) -> None:
    patch(client, {"is_maintain": True, "maintenance_message": "x"})
    sql("DELETE FROM system_settings")
    sql("INSERT INTO system_settings (maintenance_message) VALUES ('y')")
    live.refresh()
    assert patch(client, {"maintenance_mode": "read_only"}).status_code == 200
    revisions = [entry["revision"] for entry in entries(sql) if entry["revision"]]
    assert revisions == sorted(set(revisions))
    assert sql("SELECT revision FROM system_settings") == [{"revision": revisions[-1]}]
    assert revisions[-1] > 2


def test_on_postgresql_a_deleted_and_an_inserted_row_leave_an_entry_each(postgresql_url: str) -> None:
    rows = execute(
        postgresql_url,
        "UPDATE system_settings SET is_maintain = true, maintenance_message = 'x'",
        "DELETE FROM system_settings",
        "INSERT INTO system_settings (maintenance_message) VALUES ('x') ON CONFLICT DO NOTHING",
        "INSERT INTO system_settings DEFAULT VALUES ON CONFLICT (singleton) DO NOTHING",
        "SELECT action, revision, changes FROM changes ORDER BY id DESC LIMIT 2",
    )
    values = {"is_maintain": False, "maintenance_mode": "full", "maintenance_message": "x"}
    gone = {"is_maintain": True, "maintenance_mode": "full", "maintenance_message": "x"}
    assert [(action, revision, {name: changes[name] for name in values}) for action, revision, changes in rows] == [
        ("insert", 3, {name: {"from": None, "to": value} for name, value in values.items()}),
        ("delete", None, {name: {"from": value, "to": None} for name, value in gone.items()}),
    ]


def test_a_new_column_is_recorded_without_a_new_trigger(postgresql_url: str) -> None:
    rows = execute(
        postgresql_url,
        "ALTER TABLE system_settings ADD COLUMN upload_limit integer NOT NULL DEFAULT 5, ADD COLUMN day timestamptz",
        "SET timezone = 'Asia/Kolkata'",
        "UPDATE system_settings SET upload_limit = 6, day = '2026-11-23T00:30:00+00:00'",
        "SELECT revision, changes FROM changes ORDER BY id DESC LIMIT 1",
    )
    assert rows == [
        (2, {"upload_limit": {"from": 5, "to": 6}, "day": {"from": None, "to": "2026-11-23T00:30:00+00:00"}})
    ]


def test_the_trigger_leaves_out_what_the_model_calls_read_only(postgresql_url: str) -> None:
    [(values,)] = execute(
        postgresql_url,
        "UPDATE system_settings SET is_maintain = true",
        'SELECT "values" FROM changes WHERE revision = 2',
    )
    assert set(values) == {column.key for column in WRITABLE} < {column.key for column in SHOWN}


def test_a_writer_that_may_make_temporary_tables_does_not_lead_the_entry_astray(postgresql_url: str) -> None:
    rows = execute(
        postgresql_url,
        "CREATE TEMP TABLE changes (LIKE public.changes)",
        "UPDATE system_settings SET is_maintain = true",
        "SELECT revision FROM public.changes ORDER BY revision",
    )
    assert rows == [(1,), (2,)]


def test_pages_follow_one_another_by_revision(client: FlaskClient) -> None:
    for number in range(2, 8):
        patch(client, {"maintenance_message": f"message {number}"})
    path, pages = f"{URL}/history?limit=3", []
    while path:
        page = body(client.get(path, headers=ADMIN))
        pages.append([entry["revision"] for entry in page["changes"]])
        path = page["next"]
    assert pages == [[7, 6, 5], [4, 3, 2], [1]]
    assert history(client, "?before=1") == []
    assert len(history(client, "?limit=200")) == 7


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "limit=1.5", "before=0", "before=9223372036854775808"]
)
def test_a_page_that_cannot_be_is_refused(client: FlaskClient, query: str) -> None:
    response = client.get(f"{URL}/history?{query}", headers=ADMIN)
    assert response.status_code == 422
    assert list(body(response)["errors"]) == [query.partition("=")[0]]


def test_history_on_the_command_line_names_who_what_and_why(cli: FlaskCliRunner, client: FlaskClient) -> None:
    patch(client, {"maintenance_message": "a\nb"}, **{"X-Change-Reason": "why"})
    patch(client, {"maintenance_message": "c"})
    newest, older, first = cli.invoke(args=["settings", "history"]).stdout.splitlines()
    assert newest.startswith("3 ")
    assert re.search(r'admin \(api\) +revision 2 +maintenance_message: null -> "a\\nb"  # why$', older)
    assert first.startswith("1 ")
    [only] = cli.invoke(args=["settings", "history", "--limit", "1", "--before", "3"]).stdout.splitlines()
    assert only.split()[0] == older.split()[0] == "2"
    as_json = cli.invoke(args=["settings", "history", "--json", "--limit", "2"]).stdout
    assert json.loads(as_json) == body(client.get(f"{URL}/history?limit=2", headers=ADMIN))
    assert first == first.rstrip()


@pytest.mark.parametrize("words", ["--limit 1", "--limit 1 --kind settings", "--kind token"])
def test_history_as_json_is_what_the_api_answers(cli: FlaskCliRunner, client: FlaskClient, words: str) -> None:
    patch(client, {"maintenance_message": "a"})
    path = "/api/v1/history?" + words.replace(" --", "&").replace("--", "").replace(" ", "=")
    shown = json.loads(cli.invoke(args=["history", "--json", *words.split()]).stdout)
    assert shown == body(client.get(path, headers=ADMIN))


@pytest.mark.parametrize("path", ["/api/v1/history?kind=nothing", "/api/v1/history?kind="])
def test_a_kind_that_does_not_exist_is_refused(cli: FlaskCliRunner, client: FlaskClient, path: str) -> None:
    response = client.get(path, headers=ADMIN)
    assert (response.status_code, list(body(response)["errors"])) == (422, ["kind"])
    assert cli.invoke(args=["history", "--kind", path.partition("kind=")[2]]).exit_code == 2


@pytest.mark.parametrize(
    ("header", "reason"),
    [("", None), ("  ", None), ("plain", "plain"), ("%E2%82%AC" * 500, "€" * 500), ("x" * 500, "x" * 500)],
)
def test_a_reason_is_recorded(client: FlaskClient, header: str, reason: str | None) -> None:
    assert patch(client, {"is_maintain": True}, **{"X-Change-Reason": header}).status_code == 200
    assert history(client, "?limit=1")[0]["reason"] == reason


@pytest.mark.parametrize("header", ["x" * 501, "%E2%82", "%FF", "50%", "%zz", "Grüße", "a%00b", "a%0Ab", "%ED%A0%80"])
def test_a_reason_that_cannot_be_recorded_is_refused(client: FlaskClient, header: str) -> None:
    for response in (
        patch(client, {"is_maintain": True}, **{"X-Change-Reason": header}),
        go_back(client, "restore", 1, **{"X-Change-Reason": header}),
        client.put("/api/v1/maintenance", json={"active": True}, headers={**ADMIN, "X-Change-Reason": header}),
    ):
        assert response.status_code == 422
        assert list(body(response)["errors"]) == ["X-Change-Reason"]
    assert len(history(client)) == 1


@pytest.mark.parametrize("reason", ["x" * 501, "a\nb", "\udcff"])
def test_the_command_line_refuses_such_a_reason_too(cli: FlaskCliRunner, client: FlaskClient, reason: str) -> None:
    result = cli.invoke(args=["settings", "set", "is_maintain=true", "--reason", reason])
    assert result.exit_code == 2
    assert "--reason" in result.stderr
    assert len(history(client)) == 1


def test_of_64_writers_with_one_etag_one_wins(app: Flask, client: FlaskClient, sql: Sql) -> None:
    etag = client.get(URL, headers=ADMIN).headers["ETag"]

    def write(number: int) -> TestResponse:
        while True:  # a slow machine may not serve all within the time limit; a client tries again
            answer = patch(app.test_client(), {"maintenance_message": f"writer {number}"}, **{"If-Match": etag})
            if answer.status_code != 503:
                return answer

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(write, range(64)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 63
    won = client.get(URL, headers=ADMIN).headers["ETag"]
    assert {answer.headers["ETag"] for answer in answers} == {won}
    assert [entry["revision"] for entry in entries(sql)] == [1, 2]


def test_revisions_have_no_gaps_and_no_doubles(app: Flask, sql: Sql) -> None:
    def write(number: int) -> None:
        while patch(app.test_client(), {"maintenance_message": f"writer {number}"}).status_code == 503:
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(24)))
    assert [entry["revision"] for entry in entries(sql)] == list(range(1, 26))


def test_a_database_that_goes_away_in_the_middle_of_a_restore(make_app: Callable[..., Flask]) -> None:
    cluster = Cluster()
    try:
        cluster.start()
        app = make_app(cluster.url())
        with app.app_context():
            flask_migrate.upgrade()
        client = app.test_client()
        assert patch(client, {"is_maintain": True}).status_code == 200
        holder = psycopg2.connect(cluster.url())
        holder.cursor().execute("SELECT * FROM system_settings FOR UPDATE")
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(go_back, app.test_client(), "restore", 1)
            while not execute(cluster.url(), "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
                pass
            cluster.kill()
            assert answer.result().status_code == 503
            assert body(answer.result())["code"] == "database_unavailable"
        response = client.get(f"{URL}/history", headers=ADMIN)
        assert (response.status_code, body(response)["code"]) == (503, "database_unavailable")
        holder.close()
        cluster.start()
        rows = execute(cluster.url(), "SELECT revision, is_maintain FROM system_settings")
        assert rows == [(2, True)]
        assert execute(cluster.url(), "SELECT max(revision) FROM changes") == [(2,)]
    finally:
        cluster.remove()


def test_a_downgrade_and_an_upgrade_keep_the_history(app: Flask, client: FlaskClient, sql: Sql) -> None:
    patch(client, {"is_maintain": True})
    before = entries(sql)
    with app.app_context():
        flask_migrate.downgrade(revision="4b47f7895f36")
        assert entries(sql) == before
        sql("UPDATE system_settings SET maintenance_message = 'meanwhile', revision = 3")
        flask_migrate.upgrade()
    assert entries(sql)[:2] == before
    last = entries(sql)[2]
    assert (last["revision"], last["source"], last["values"]["maintenance_message"]) == (3, "migration", "meanwhile")
    assert body(patch(client, {"is_maintain": False}))["revision"] == 4
    with pytest.raises(DBAPIError, match="refused"):
        sql("DELETE FROM changes")


def test_a_setting_that_is_gone_does_not_block_an_undo(client: FlaskClient, sql: Sql) -> None:
    for number in (2, 3):
        changed = json.dumps({"ghost": {"from": number, "to": number + 1}})
        sql(
            "INSERT INTO changes (id, kind, revision, action, changed_at, changed_by, source, changes)"
            f" SELECT {number}, 'settings', {number}, 'update', changed_at, 'ada', 'sql', '{changed}'"
            " FROM changes WHERE id = 1"
        )
    answer = go_back(client, "undo", 2)
    assert answer.status_code == 200
    assert body(answer)["undone"] == {"revision": 2, "changed": [], "gone": ["ghost"]}


def test_undo_looks_through_the_later_entries_once(app: Flask, sql: Sql) -> None:
    with app.app_context(), writing(Author("ada", "cli")) as session:
        asked: list[str] = []
        event.listen(db.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
        assert changed_since(session, 0, ["is_maintain", "maintenance_mode", "maintenance_message"]) == set()
        assert changed_since(session, 0, []) == set()
    assert len([statement for statement in asked if "FROM changes \nWHERE changes.kind" in statement]) == 1
