"""Every change of every kind leaves one entry with its author and reason, whichever way it was made."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner

from dop_be.access import service as access
from dop_be.database import Author
from dop_be.history import service as history

from ..conftest import ADMIN
from ..postgres import execute
from ..shared import migrate

API = "/api/v1"
START = (datetime.now(UTC) + timedelta(days=400)).replace(microsecond=0).isoformat()
END = (datetime.now(UTC) + timedelta(days=401)).replace(microsecond=0).isoformat()


def changes(client: FlaskClient, query: str = "") -> list[dict[str, Any]]:
    body: Any = client.get(f"{API}/history?{query}", headers=ADMIN).json
    entries: list[dict[str, Any]] = body["changes"]
    return entries


def told(entry: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(entry[name] for name in ("kind", "key", "action", "changed_by", "source", "reason"))


def test_windows_by_the_api(client: FlaskClient) -> None:
    headers = {**ADMIN, "X-Change-Reason": "why"}
    made: Any = client.post(
        f"{API}/maintenance/windows", json={"starts_at": START, "ends_at": END}, headers=headers
    ).json
    assert client.delete(f"{API}/maintenance/windows/{made['id']}", headers=headers).status_code == 204
    deleted, inserted, _ = changes(client)
    assert told(inserted) == ("window", made["id"], "insert", "admin", "api", "why")
    assert told(deleted) == ("window", made["id"], "delete", "admin", "api", "why")
    assert inserted["changes"]["starts_at"] == {"from": None, "to": made["starts_at"]}
    assert deleted["changes"]["starts_at"] == {"from": made["starts_at"], "to": None}
    assert inserted["revision"] is None


def test_a_window_from_now_is_recorded_with_its_reason_and_replaced_not_doubled(
    cli: FlaskCliRunner, client: FlaskClient
) -> None:
    for words in (["on", "--for", "30m", "--reason", "first"], ["on", "--for", "40m", "--reason", "longer"]):
        assert cli.invoke(args=["maintenance", *words]).exit_code == 0
    assert cli.invoke(args=["maintenance", "off", "--reason", "done"]).exit_code == 0
    ended, moved, opened, _ = changes(client)
    user = getpass.getuser()
    assert [told(entry)[2:] for entry in (opened, moved, ended)] == [
        ("insert", user, "cli", "first"),
        ("update", user, "cli", "longer"),
        ("delete", user, "cli", "done"),
    ]
    assert opened["key"] == moved["key"] == ended["key"]
    assert list(moved["changes"]) == ["ends_at"]


def test_tokens_and_bypasses_by_the_command_line_show_no_secret(cli: FlaskCliRunner, client: FlaskClient) -> None:
    made = cli.invoke(args=["tokens", "create", "ci", "--scope", "settings:read", "--reason", "robots"]).stdout.strip()
    bypass = cli.invoke(args=["maintenance", "bypass", "create", "ada", "--reason", "looks"]).stdout
    assert cli.invoke(args=["tokens", "revoke", "ci", "--reason", "gone"]).exit_code == 0
    revoked, let_in, created, _ = changes(client)
    user = getpass.getuser()
    assert told(created) == ("token", "ci", "insert", user, "cli", "robots")
    assert told(let_in) == ("token", "ada", "insert", user, "cli", "looks")
    assert told(revoked) == ("token", "ci", "update", user, "cli", "gone")
    assert created["changes"]["digest"] == {"from": None, "to": "(secret)"}
    assert created["changes"]["scopes"] == {"from": None, "to": "settings:read"}
    assert set(revoked["changes"]) == {"revoked_at", "revoked_by"}
    everything = json.dumps(changes(client))
    assert made.split("_")[2] not in everything
    assert bypass.split("X-Maintenance-Bypass: ")[1].strip() not in everything


def test_psql_leaves_the_same_entries(make_app: Callable[..., Flask], postgresql_url: str) -> None:
    app = make_app(postgresql_url)
    with app.app_context():
        access.create("ci", ["settings:read"], Author("ada", "cli"))
    execute(
        postgresql_url,
        f"INSERT INTO maintenance_windows (starts_at, ends_at) VALUES ('{START}', '{END}')",
        "UPDATE maintenance_windows SET message = 'moved'",
        "DELETE FROM maintenance_windows",
        "DELETE FROM api_tokens",
    )
    state = app.extensions["live"]
    assert state.refresh()
    entries = changes(app.test_client(), "limit=4")
    [key] = {entry["key"] for entry in entries[1:]}
    assert [told(entry) for entry in entries] == [
        ("token", "ci", "delete", "postgres", "sql", None),
        ("window", key, "delete", "postgres", "sql", None),
        ("window", key, "update", "postgres", "sql", None),
        ("window", key, "insert", "postgres", "sql", None),
    ]
    assert entries[2]["changes"] == {"message": {"from": None, "to": "moved"}}
    assert entries[0]["changes"]["digest"] == {"from": "(secret)", "to": None}


def test_an_author_can_be_claimed_on_postgresql_and_the_database_user_cannot(
    make_app: Callable[..., Flask], postgresql_url: str
) -> None:
    app = make_app(postgresql_url)
    execute(
        postgresql_url,
        "SELECT set_config('dop_be.actor', 'somebody', false), set_config('dop_be.source', 'api', false);"
        "UPDATE system_settings SET is_maintain = true",
    )
    assert app.extensions["live"].refresh()
    [entry] = changes(app.test_client(), "limit=1")
    assert (entry["changed_by"], entry["source"], entry["database_user"]) == ("somebody", "api", "postgres")


@pytest.fixture
def busy(client: FlaskClient, cli: FlaskCliRunner) -> FlaskClient:
    """An application with changes of every kind."""
    for number in range(3):
        values = {"maintenance_message": f"message {number}"}
        assert client.patch(f"{API}/settings", json=values, headers={**ADMIN, "If-Match": "*"}).status_code == 200
        cli.invoke(args=["tokens", "create", f"ci{number}", "--scope", "settings:read"])
        assert cli.invoke(args=["maintenance", "schedule", START, END]).exit_code == 0
    return client


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("kind=settings", {("settings", None)}),
        ("kind=token", {("token", "ci0"), ("token", "ci1"), ("token", "ci2")}),
        ("key=ci1", {("token", "ci1")}),
        ("kind=window&key=ci1", set()),
        ("by=admin", {("settings", None)}),
        (f"by={getpass.getuser()}&kind=token", {("token", "ci0"), ("token", "ci1"), ("token", "ci2")}),
    ],
)
def test_the_history_is_filtered(busy: FlaskClient, query: str, expected: set[tuple[str, Any]]) -> None:
    assert {(entry["kind"], entry["key"]) for entry in changes(busy, query)} == expected


def test_the_pages_of_a_filtered_history_follow_one_another(busy: FlaskClient) -> None:
    path: str | None = f"{API}/history?kind=token&limit=2"
    keys: list[list[str]] = []
    while path:
        page: Any = busy.get(path, headers=ADMIN).json
        keys.append([entry["key"] for entry in page["changes"]])
        path = page["next"]
    assert keys == [["ci2", "ci1"], ["ci0"]]


@pytest.mark.parametrize("query", ["kind=other", "kind=", "key=" + "x" * 201, "by=%00"])
def test_a_filter_that_cannot_be_is_refused(client: FlaskClient, query: str) -> None:
    response = client.get(f"{API}/history?{query}", headers=ADMIN)
    assert response.status_code == 422
    body: Any = response.json
    assert list(body["errors"]) == [query.partition("=")[0]]


def test_the_command_line_shows_every_kind(busy: FlaskClient, cli: FlaskCliRunner) -> None:
    lines = cli.invoke(args=["history", "--kind", "token"]).stdout.splitlines()
    told = [re.split(" {2,}", line)[3] for line in lines]
    assert told == ["token ci2 insert", "token ci1 insert", "token ci0 insert"]
    shown = json.loads(cli.invoke(args=["history", "--json", "--limit", "200"]).stdout)
    assert shown["changes"] == changes(busy, "limit=200")


def prune(cli: FlaskCliRunner, *words: str, before: str = "") -> str:
    moment = before or datetime.now(UTC).isoformat()
    return str(cli.invoke(args=["history", "prune", "--before", moment, *words]).stdout)


def test_prune_shortens_the_history_and_is_recorded(busy: FlaskClient, cli: FlaskCliRunner) -> None:
    before = changes(busy, "limit=200")
    moment = datetime.now(UTC).isoformat(timespec="microseconds")
    assert prune(cli, "--reason", "the law", before=moment) == f"deleted {len(before) - 1} entries of the history\n"
    entry, kept = changes(busy)
    assert (entry["id"], entry["action"], entry["reason"]) == (before[0]["id"] + 1, "delete", "the law")
    said = f"{len(before) - 1} entries from before {moment.replace('+00:00', 'Z')}"
    assert entry["changes"] == {"history": {"from": said, "to": None}}
    assert kept == next(entry for entry in before if entry["revision"])
    assert prune(cli) == "deleted 0 entries of the history\n"
    assert changes(busy) == [entry, kept]
    headers = {**ADMIN, "If-Match": "*"}
    changed = busy.patch(f"{API}/settings", json={"maintenance_message": "x"}, headers=headers)
    assert changed.status_code == 200
    newest = changes(busy)[0]
    assert (newest["id"], newest["revision"]) == (entry["id"] + 1, kept["revision"] + 1)
    assert cli.invoke(args=["settings", "restore", "2"]).exit_code == 2
    assert cli.invoke(args=["settings", "restore", str(kept["revision"])]).exit_code == 0


def test_a_pruning_in_batches_records_each(
    busy: FlaskClient, cli: FlaskCliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "BATCH", 3)
    before = len(changes(busy, "limit=200")) - 1
    assert prune(cli) == f"deleted {before} entries of the history\n"
    told = [entry["changes"]["history"]["from"] for entry in changes(busy) if "history" in entry["changes"]]
    assert sum(int(text.split()[0]) for text in told) == before
    assert len(told) == -(-before // 3)


def test_the_numbers_go_on_after_a_pruning_though_the_row_is_inserted_anew(
    client: FlaskClient, cli: FlaskCliRunner, sql: Callable[..., Any]
) -> None:
    for message in ("a", "b"):
        assert cli.invoke(args=["settings", "set", f"maintenance_message={message}"]).exit_code == 0
    prune(cli)
    sql("DELETE FROM system_settings")
    sql("INSERT INTO system_settings (is_maintain) VALUES (false)")
    assert cli.invoke(args=["settings", "set", "maintenance_message=c"]).exit_code == 0
    numbers = [entry["revision"] for entry in changes(client) if entry["revision"]]
    assert numbers == sorted(set(numbers), reverse=True)
    assert numbers[-1] == 3
    assert numbers[0] > 3


def test_a_pruning_is_announced_and_makes_a_missing_version_again(postgresql_url: str) -> None:
    execute(postgresql_url, *["UPDATE system_settings SET is_maintain = NOT is_maintain"] * 6)
    execute(postgresql_url, "SET session_replication_role = replica; DELETE FROM live_state")
    listener = psycopg2.connect(postgresql_url)
    try:
        listener.autocommit = True
        listener.cursor().execute("LISTEN dop_be")
        execute(postgresql_url, "SELECT prune_changes(now(), 3)")
        listener.cursor().execute("SELECT 1")
        assert [notify.payload for notify in listener.notifies] == ["9"]
    finally:
        listener.close()
    assert execute(postgresql_url, "SELECT version FROM live_state") == [(9,)]


def test_a_row_that_was_deleted_is_pruned_and_a_pruning_is_not(postgresql_url: str) -> None:
    execute(postgresql_url, "ALTER TABLE system_settings ADD history text DEFAULT 'x'")
    execute(postgresql_url, "DELETE FROM system_settings", "INSERT INTO system_settings DEFAULT VALUES")
    for _ in range(2):
        execute(postgresql_url, "SELECT prune_changes(clock_timestamp(), 10)")
    rows = execute(postgresql_url, "SELECT action, revision FROM changes ORDER BY id")
    assert rows == [("insert", 2), ("delete", None)]


def test_prune_works_in_a_schema_with_any_name(own_postgresql: str) -> None:
    name = own_postgresql.rpartition("/")[2]
    execute(own_postgresql, """CREATE SCHEMA "It's mine\"""")
    execute(own_postgresql, f"""ALTER DATABASE "{name}" SET search_path = "It's mine\"""")
    migrate(own_postgresql)
    execute(own_postgresql, *["UPDATE system_settings SET is_maintain = NOT is_maintain"] * 2)
    assert execute(own_postgresql, "SELECT prune_changes(now(), 10)") == [(2,)]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        execute(own_postgresql, "DELETE FROM changes")


NAMESAKE = """
CREATE FUNCTION pg_temp.prune_changes(timestamptz, integer) RETURNS void LANGUAGE plpgsql
AS $$ BEGIN DELETE FROM public.changes; END $$;
SELECT pg_temp.prune_changes(now(), 1)
"""


@pytest.mark.parametrize("statement", ["SET dop_be.pruning = 'yes'; DELETE FROM changes", NAMESAKE])
def test_nothing_but_prune_deletes_entries(postgresql_url: str, statement: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="DELETE is refused on changes"):
        execute(postgresql_url, statement)


def test_prune_needs_a_date_that_has_passed(cli: FlaskCliRunner, client: FlaskClient) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    result = cli.invoke(args=["history", "prune", "--before", tomorrow])
    assert result.exit_code == 2
    assert result.output.strip().endswith("Error: --before: Expected a date that has passed.")
    assert len(changes(client)) == 1


@pytest.mark.parametrize("moment", ["yesterday", "2026-13-01", ""])
def test_prune_needs_a_date(cli: FlaskCliRunner, client: FlaskClient, moment: str) -> None:
    assert cli.invoke(args=["history", "prune", "--before", moment]).exit_code == 2
    assert cli.invoke(args=["history", "prune"]).exit_code == 2
    assert len(changes(client)) == 1
