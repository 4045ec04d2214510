"""Bypass: who is let through during maintenance, by token or network, on both databases."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import flask_migrate
import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner
from sqlalchemy import event

from dop_be.access import service
from dop_be.access.tokens import BYPASS, Token, digest
from dop_be.database import Author
from dop_be.extensions import db
from dop_be.live import Live
from dop_be.web.visitors import bypass, comes_from
from tests.conftest import ADMIN
from tests.problems import assert_problem

NOW = datetime(2030, 3, 6, 9, 0, tzinfo=UTC)
BY = Author("ada", "cli")
COOKIE = "maintenance_bypass"


def maintain(client: FlaskClient, mode: str = "full") -> None:
    body = {"active": True, "mode": mode}
    assert client.put("/api/v1/maintenance", json=body, headers=ADMIN).status_code == 200


@pytest.fixture
def create(app: Flask) -> Callable[..., str]:
    """Makes a bypass and gives its token."""

    def create(name: str = "ada", **lifetime: float) -> str:
        with app.app_context():
            return service.create(name, [BYPASS], BY, lifetime=timedelta(**(lifetime or {"hours": 1})))[0]

    return create


class TestCommandLine:
    def test_create_shows_the_link_and_the_token_once(
        self, cli: FlaskCliRunner, client: FlaskClient, sql: Callable[..., list[Any]]
    ) -> None:
        result = cli.invoke(args=["maintenance", "bypass", "create", "ada", "--for", "30m"])
        assert result.exit_code == 0, result.output
        link, header = re.findall(r"^(?:link|header) +(.+)$", result.output, re.MULTILINE)
        token = link.removeprefix("http://127.0.0.1:8000/gate/bypass/")
        assert re.fullmatch(r"dop_[0-9a-f]{8}_[0-9a-f]{48}", token)  # 192 bits
        assert header == f"X-Maintenance-Bypass: {token}"
        [row] = sql("SELECT * FROM api_tokens")
        assert token not in str(row)
        shown = cli.invoke(args=["maintenance", "bypass", "list"]).output
        assert re.fullmatch(r"ada  expires .+ \(in 30 min\)  created .+ \((now|\d+ s ago)\) by \S+\n", shown)
        assert token not in shown
        maintain(client)
        assert client.get("/", headers={"X-Maintenance-Bypass": token}).status_code == 200

    def test_it_ends_by_itself_after_two_hours_unless_told_otherwise(self, cli: FlaskCliRunner, app: Flask) -> None:
        before = datetime.now(UTC)
        cli.invoke(args=["maintenance", "bypass", "create", "ada"])
        with app.app_context():
            [row], _ = service.all_tokens()
        assert timedelta(hours=2) <= row["expires_at"] - before < timedelta(hours=2, minutes=1)

    def test_a_name_is_given_once_and_can_be_taken_back(self, cli: FlaskCliRunner) -> None:
        def run(*arguments: str) -> tuple[int, str]:
            result = cli.invoke(args=["maintenance", "bypass", *arguments])
            return result.exit_code, result.output

        assert run("list") == (0, "there is no bypass\n")
        assert run("create", "ada")[0] == 0
        code, output = run("create", "ada")
        assert code == 2
        assert "There is a bypass 'ada' already; revoke it first: `flask maintenance bypass revoke ada`." in output
        assert run("revoke", "ada") == (0, "bypass ada is revoked\n")
        assert run("revoke", "ada") == (0, "bypass ada is already revoked\n")
        code, output = run("revoke", "grace")
        assert code == 2
        assert "There is no bypass 'grace'" in output
        assert run("create", "ada")[0] == 0

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (["ada", "--for", "soon"], "'soon' is not a duration; use 90s, 30m, 2h or 1d."),
            (["ada", "--for", "0h"], "'0h' is not a duration; use 90s, 30m, 2h or 1d."),
            (["ada", "--for", "31d"], "--for: A bypass is valid for 30 days at most."),
            ([""], "name: '' is not the name of a bypass; use up to 100 letters, digits"),
            (["a\nb"], r"name: 'a\nb' is not the name of a bypass; use up to 100 letters, digits"),
            (["x" * 101], "xx' is not the name of a bypass; use up to 100 letters, digits"),
            (["admin"], "name: 'admin' is taken by ADMIN_TOKEN; use another name."),
        ],
    )
    def test_a_mistake_is_named_and_makes_nothing(
        self, cli: FlaskCliRunner, sql: Callable[..., list[Any]], arguments: list[str], complaint: str
    ) -> None:
        result = cli.invoke(args=["maintenance", "bypass", "create", *arguments])
        assert result.exit_code == 2
        assert complaint in result.output
        assert sql("SELECT * FROM api_tokens") == []

    def test_the_name_of_an_expired_one_is_free(
        self, cli: FlaskCliRunner, create: Callable[..., str], sql: Callable[..., list[Any]]
    ) -> None:
        create("old")
        sql("UPDATE api_tokens SET expires_at = :then", then="2020-01-01 00:00:00+00:00")
        assert "old  expired" in cli.invoke(args=["maintenance", "bypass", "list"]).output
        create("old")
        [line] = cli.invoke(args=["maintenance", "bypass", "list"]).output.splitlines()
        assert line.startswith("old  expires")

    def test_one_that_sql_made_without_an_end_is_listed_with_the_end_that_the_gate_knows(
        self, cli: FlaskCliRunner, create: Callable[..., str], sql: Callable[..., list[Any]]
    ) -> None:
        create()
        sql("UPDATE api_tokens SET expires_at = NULL, created_at = :then", then="2020-01-01 00:00:00+00:00")
        [line] = cli.invoke(args=["maintenance", "bypass", "list"]).output.splitlines()
        assert line.startswith("ada  expired 20")
        shown = json.loads(cli.invoke(args=["maintenance", "bypass", "list", "--json"]).output)
        assert shown["tokens"][0]["expires_at"] == "2020-01-01T02:00:00.000000Z"

    def test_a_token_is_no_bypass_and_a_bypass_no_token(
        self, app: Flask, cli: FlaskCliRunner, client: FlaskClient, create: Callable[..., str]
    ) -> None:
        bypass = create()
        with app.app_context():
            token, _ = service.create("ci", ["settings:read"], BY)
        refused = [
            cli.invoke(args=["maintenance", "bypass", "revoke", "ci"]),
            cli.invoke(args=["tokens", "revoke", "ada"]),
            cli.invoke(args=["tokens", "create", "ada", "--scope", "settings:read"]),
        ]
        assert [result.exit_code for result in refused] == [2, 2, 2]
        assert [result.output.removeprefix("Error: name: ") for result in refused] == [
            "'ci' is a token, not a bypass; revoke it with `flask tokens revoke ci`.\n",
            "'ada' is a bypass, not a token; revoke it with `flask maintenance bypass revoke ada`.\n",
            "There is a bypass 'ada' already; revoke it first: `flask maintenance bypass revoke ada`.\n",
        ]
        [line] = cli.invoke(args=["tokens", "list"]).output.splitlines()
        assert line.startswith("ci  ")
        assert client.get("/api/v1/settings", headers={"Authorization": f"Bearer {bypass}"}).status_code == 401
        maintain(client)
        assert client.get("/", headers={"X-Maintenance-Bypass": token}).status_code == 503

    def test_who_made_and_revoked_it_is_logged_and_the_token_is_not(
        self, app: Flask, create: Callable[..., str], caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "dop_be"), app.app_context():
            token = create("probe")
            service.revoke("probe", Author("grace", "api"), bypass=True)
        told = [(record.message, vars(record)["actor"], vars(record)["token_name"]) for record in caplog.records]
        assert told == [("token created", "ada", "probe"), ("token revoked", "grace", "probe")]
        assert token not in caplog.text


class TestToken:
    @pytest.mark.parametrize("mode", ["full", "read_only"])
    def test_header_and_cookie_let_through_in_the_application_and_at_the_gate(
        self, client: FlaskClient, create: Callable[..., str], mode: str
    ) -> None:
        token = create()
        maintain(client, mode)
        assert client.delete("/gate/ask/orders").status_code == 503
        assert client.delete("/").status_code == 503
        header = {"X-Maintenance-Bypass": token}
        assert client.delete("/gate/ask/orders", headers=header).status_code == 200
        assert client.delete("/", headers=header).status_code == 405
        client.set_cookie(COOKIE, token)
        client.set_cookie("session", "other")
        assert client.delete("/gate/ask/orders").status_code == 200
        assert client.delete("/").status_code == 405

    def test_nothing_else_lets_through(
        self, app: Flask, client: FlaskClient, create: Callable[..., str], sql: Callable[..., list[Any]]
    ) -> None:
        token = create()
        maintain(client)
        [row] = sql("SELECT digest FROM api_tokens")
        plain = app.test_client(use_cookies=False)  # sends the Cookie header as it is given
        for wrong in ("", "ada", token[:-1], token + "x", token.swapcase(), row["digest"], "ä", "\udcff"):
            assert client.get("/gate", headers={"X-Maintenance-Bypass": wrong}).status_code == 503, wrong
            raw = f"{COOKIE}={wrong}".encode("utf-8", "surrogateescape").decode("latin-1")
            assert plain.get("/gate", headers={"Cookie": raw}).status_code == 503, wrong
        assert plain.get("/gate", headers={"Cookie": f"{COOKIE}={token}"}).status_code == 200
        assert client.get(f"/gate?{COOKIE}={token}").status_code == 503
        assert client.get("/gate", headers={"Authorization": f"Bearer {token}"}).status_code == 503
        client.set_cookie(f"not_{COOKIE}", token)
        assert client.get("/gate").status_code == 503

    def test_a_second_cookie_of_that_name_does_not_shut_out(self, app: Flask, create: Callable[..., str]) -> None:
        client = app.test_client(use_cookies=False)
        maintain(client)
        cookies = f"{COOKIE}=planted; {COOKIE}={create()}"
        assert client.get("/gate", headers={"Cookie": cookies}).status_code == 200

    def test_it_ends_with_its_time(self) -> None:
        text, now = "dop_0000abcd_x", NOW.timestamp()
        tokens = {"0000abcd": Token("0000abcd", "ada", digest(text), frozenset({BYPASS}), NOW)}
        assert bypass(text, tokens, now - 1) == tokens["0000abcd"]
        assert bypass(text, tokens, now) is None
        assert bypass("dop_0000abcd_y", tokens, now - 1) is None

    def test_an_expired_one_lets_nobody_through(
        self, client: FlaskClient, live: Live, create: Callable[..., str], sql: Callable[..., list[Any]]
    ) -> None:
        header = {"X-Maintenance-Bypass": create()}
        maintain(client)
        sql("UPDATE api_tokens SET expires_at = :then", then="2020-01-01 00:00:00+00:00")
        live.refresh()
        assert client.get("/gate", headers=header).status_code == 503

    def test_a_revoked_one_lets_nobody_through(
        self, app: Flask, client: FlaskClient, create: Callable[..., str]
    ) -> None:
        header = {"X-Maintenance-Bypass": create()}
        maintain(client)
        assert client.get("/gate", headers=header).status_code == 200
        with app.app_context():
            service.revoke("ada", BY, bypass=True)
        assert client.get("/gate", headers=header).status_code == 503

    def test_a_running_worker_hears_of_it(
        self, make_app: Callable[..., Flask], database_url: str, app: Flask, create: Callable[..., str]
    ) -> None:
        other = make_app(database_url)
        state: Live = other.extensions["live"]
        state.start()
        token = create()
        maintain(app.test_client())
        header = {"X-Maintenance-Bypass": token}
        wait_until(lambda: other.test_client().get("/gate", headers=header).status_code == 200)
        with app.app_context():
            service.revoke("ada", BY, bypass=True)
        wait_until(lambda: other.test_client().get("/gate", headers=header).status_code == 503)

    def test_the_check_asks_the_database_nothing(
        self, app: Flask, client: FlaskClient, create: Callable[..., str]
    ) -> None:
        header = {"X-Maintenance-Bypass": create()}
        maintain(client)
        asked: list[str] = []
        with app.app_context():
            event.listen(db.engine, "before_cursor_execute", lambda *arguments: asked.append(arguments[2]))
        assert client.get("/gate", headers=header).status_code == 200
        assert client.get("/", headers=header).status_code == 200
        assert asked == []


def wait_until(holds: Callable[[], bool], seconds: float = 20) -> None:
    waited = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if holds():
            return
        waited.wait(0.01)
    raise AssertionError("it never came to hold")


ELSEWHERE = [
    "",
    "orders",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/a\\b",
    "https://evil.example",
    "https:evil.example",
    "javascript:alert(1)",
    " //evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\nSet-Cookie: a=b",
    "/\0",
    "\x01//evil.example",
    "/\x85/evil.example",
]


class TestLink:
    def test_it_sets_the_cookie_and_leads_to_the_front_page(
        self, client: FlaskClient, create: Callable[..., str]
    ) -> None:
        token = create(hours=1)
        maintain(client)
        response = client.get(f"/gate/bypass/{token}")
        assert response.status_code == 303
        assert response.location == "/"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        name, *attributes = response.headers["Set-Cookie"].split("; ")
        assert name == f"{COOKIE}={token}"
        [age] = [int(word.removeprefix("Max-Age=")) for word in attributes if word.startswith("Max-Age=")]
        assert 3500 < age <= 3600
        assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= set(attributes)
        assert not [word for word in attributes if word == "Secure" or word.startswith("Domain")]
        assert client.get("/").status_code == 200  # the client kept the cookie

    @pytest.mark.parametrize("changes", [{"PUBLIC_URL": "https://example.com"}, {"TRUSTED_PROXY_HOPS": 1}])
    def test_the_cookie_is_secure_where_the_visitor_comes_by_https(
        self, make_app: Callable[..., Flask], database_url: str, create: Callable[..., str], changes: dict[str, Any]
    ) -> None:
        token = create()
        app = make_app(database_url, **changes)
        app.extensions["live"].refresh()
        response = app.test_client().get(f"/gate/bypass/{token}", headers={"X-Forwarded-Proto": "https"})
        assert "Secure" in response.headers["Set-Cookie"].split("; ")

    def test_it_leads_to_a_path_of_this_host(self, client: FlaskClient, create: Callable[..., str]) -> None:
        link = f"/gate/bypass/{create()}"
        for target in ("/orders", "/orders?page=2&all=1", "/search?q=a%20b#top", "/a:b", "/x/../y"):
            assert client.get(link, query_string={"next": target}).location == target

    def test_it_leads_nowhere_else(self, client: FlaskClient, create: Callable[..., str]) -> None:
        link = f"/gate/bypass/{create()}"
        for target in ELSEWHERE:
            response = client.get(link, query_string={"next": target})
            assert (response.status_code, response.location) == (303, "/"), target
            assert len(response.headers.getlist("Set-Cookie")) == 1

    def test_one_that_is_not_valid_sets_no_cookie(
        self, client: FlaskClient, live: Live, create: Callable[..., str], sql: Callable[..., list[Any]]
    ) -> None:
        token = create()
        sql("UPDATE api_tokens SET expires_at = :then", then="2020-01-01 00:00:00+00:00")
        live.refresh()
        maintain(client)
        for dead in (token, "unknown", "%FF", "ä"):
            response = client.get(f"/gate/bypass/{dead}?next=/orders")
            assert_problem(response, 404, "not_found")
            assert "Set-Cookie" not in response.headers
            assert response.headers["Cache-Control"] == "no-store"

    def test_only_reading_it_works(self, client: FlaskClient, create: Callable[..., str]) -> None:
        assert client.post(f"/gate/bypass/{create()}").status_code == 405


OFFICE = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))


class TestNetworks:
    @pytest.mark.parametrize(
        ("address", "inside"),
        [
            ("192.0.2.7", True),
            ("192.0.3.7", False),
            ("2001:db8::7", True),
            ("2001:DB8:0:0::7", True),
            ("2001:db9::7", False),
            ("::ffff:192.0.2.7", True),
            ("::ffff:c000:207", True),
            ("::ffff:192.0.3.7", False),
            ("::192.0.2.7", False),
            ("192.0.2.7:4711", False),
            ("0300.0.2.7", False),
            ("unknown", False),
            ("", False),
        ],
    )
    def test_the_address_decides(self, address: str, inside: bool) -> None:
        assert comes_from(OFFICE, {"REMOTE_ADDR": address}, hops=0) is inside

    def test_without_an_address_nobody_comes_from_anywhere(self) -> None:
        assert not comes_from((ip_network("0.0.0.0/0"), ip_network("::/0")), {}, hops=0)

    @pytest.mark.parametrize(
        "case",  # hops, the address that connects, X-Forwarded-For, the answer
        [
            (0, "192.0.2.7", None, 200),
            (0, "203.0.113.1", None, 503),
            (0, "203.0.113.1", "192.0.2.7", 503),  # nobody vouches for it
            (0, "192.0.2.7", "203.0.113.1", 200),
            (1, "10.0.0.1", "192.0.2.7", 200),
            (1, "10.0.0.1", "203.0.113.1", 503),
            (1, "10.0.0.1", "192.0.2.7, 203.0.113.1", 503),  # the visitor wrote the first, the proxy the second
            (1, "10.0.0.1", "192.0.2.7,192.0.2.8 , 203.0.113.1", 503),
            (1, "192.0.2.9", None, 503),  # the proxy itself, which told no address
            (1, "192.0.2.9", "", 503),
            (2, "10.0.0.1", "192.0.2.7, 10.0.0.2", 200),
            (2, "10.0.0.1", "192.0.2.7, 203.0.113.1, 10.0.0.2", 503),
            (2, "192.0.2.9", "203.0.113.1", 503),  # one proxy too few
            (1, "10.0.0.1", "::ffff:192.0.2.7", 200),
            (1, "10.0.0.1", "2001:db8::7", 200),
        ],
    )
    def test_only_as_far_as_proxies_are_trusted(
        self,
        make_app: Callable[..., Flask],
        sqlite_url: str,
        case: tuple[int, str, str | None, int],
    ) -> None:
        hops, peer, forwarded, status = case
        app = make_app(sqlite_url, TRUSTED_PROXY_HOPS=hops, BYPASS_NETWORKS=OFFICE)
        app.extensions["live"].refresh()
        client = app.test_client()
        maintain(client)
        headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
        forged = {"X-Real-IP": "192.0.2.7", "Forwarded": "for=192.0.2.7", "Client-IP": "192.0.2.7"}
        for path in ("/gate", "/"):
            response = client.get(path, headers={**headers, **forged}, environ_base={"REMOTE_ADDR": peer})
            assert response.status_code == status, path

    def test_no_network_is_listed_unless_configured(self, client: FlaskClient) -> None:
        maintain(client)
        assert client.get("/gate", environ_base={"REMOTE_ADDR": "127.0.0.1"}).status_code == 503


def test_a_downgrade_keeps_every_bypass(
    make_app: Callable[..., Flask], database_url: str, create: Callable[..., str]
) -> None:
    """The tables stay where they are, so that the newer release's workers that still run go on serving."""
    token, app = create(), make_app(database_url)
    app.extensions["live"].refresh()
    maintain(app.test_client())
    header = {"X-Maintenance-Bypass": token}
    with app.app_context():
        flask_migrate.downgrade(revision="4b47f7895f36")
        assert app.extensions["live"].refresh()
        assert app.test_client().get("/gate", headers=header).status_code == 200
        flask_migrate.upgrade()
        assert app.extensions["live"].refresh()
        assert app.test_client().get("/gate", headers=header).status_code == 200
        service.revoke("ada", BY, bypass=True)
    assert app.test_client().get("/gate", headers=header).status_code == 503
