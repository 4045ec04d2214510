"""Addresses with ports, origins with brackets, queries to the letter, and slashes at the end."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

import pytest
from flask import Flask
from flask.testing import FlaskClient

from dop_be.live import Live
from tests.conftest import ADMIN
from tests.maintenance.states import put_in_force
from tests.problems import assert_problem

Make = Callable[..., Flask]
HISTORY = "/api/v1/history"
NETWORKS = (ip_network("198.51.100.0/24"), ip_network("2001:db8::/32"))
WITH_PORTS = ["198.51.100.10:4000", "[2001:db8::7]:4000", "[::ffff:198.51.100.10]:4000"]
WITHOUT = ["198.51.100.10", "[2001:db8::7]", "2001:db8::7"]
ORIGINS = ("http://[::1]:3000", "https://app.example")
FOREIGN = ["http://1:3000", "http://::3000", "http://[::1]:30000", "https://appxexample", "https://app.example.evil"]


@pytest.fixture
def make(make_app: Make, sqlite_url: str) -> Make:
    def make(**changes: object) -> Flask:
        app = make_app(sqlite_url, **changes)
        assert app.extensions["live"].refresh()
        return app

    return make


@pytest.mark.parametrize("address", [*WITH_PORTS, *WITHOUT])
def test_a_port_changes_no_address(make: Make, address: str) -> None:
    """Azure's gateways write one: bypass networks and the count of failed logins go by the address alone."""
    app = make(TRUSTED_PROXY_HOPS=1, BYPASS_NETWORKS=NETWORKS)
    put_in_force(app.extensions["live"], "full")
    client = app.test_client()
    told = {"X-Forwarded-For": f"203.0.113.9, {address}"}
    assert client.get("/gate", headers=told).status_code == 200
    assert client.get("/gate", headers={"X-Forwarded-For": "203.0.113.9:4000"}).status_code == 503

    def fail(port: int) -> int:
        headers = {"Authorization": "Bearer wrong", "X-Forwarded-For": address.replace("4000", str(port))}
        return client.get(HISTORY, headers=headers).status_code

    assert [fail(port) for port in range(4000, 4025)] == [401] * 20 + [429] * 5


@pytest.mark.parametrize(
    "address", ["198.51.100.10:x", "198.51.100.10:", "[2001:db8::7", "198.51.100.10:1:2", "unknown"]
)
def test_what_is_no_address_lets_nobody_through(make: Make, address: str) -> None:
    app = make(TRUSTED_PROXY_HOPS=1, BYPASS_NETWORKS=NETWORKS)
    put_in_force(app.extensions["live"], "full")
    assert app.test_client().get("/gate", headers={"X-Forwarded-For": address}).status_code == 503


@pytest.mark.parametrize("path", ["/api/v1/maintenance", "/gate", "/nowhere"])
def test_an_origin_is_no_pattern(make: Make, path: str) -> None:
    app = make(CORS_ORIGINS=ORIGINS)
    put_in_force(app.extensions["live"], "full")
    client = app.test_client()

    def allowed(origin: str) -> str | None:
        return client.get(path, headers={"Origin": origin}).headers.get("Access-Control-Allow-Origin")

    assert [allowed(origin) for origin in ORIGINS] == list(ORIGINS)
    assert [allowed(origin) for origin in FOREIGN] == [None] * len(FOREIGN)


@pytest.mark.parametrize("number", ["1_0", "٣", "+1", " 1", "1 ", "0x1", "1.0", "1e1", "-1", ""])
@pytest.mark.parametrize("name", ["limit", "before"])
def test_a_number_is_written_in_digits(make: Make, name: str, number: str) -> None:
    response = make().test_client().get(HISTORY, query_string={name: number}, headers=ADMIN)
    assert_problem(response, 422, "invalid")
    assert set(response.get_json()["errors"]) == {name}


@pytest.mark.parametrize(
    ("path", "accepted"),
    [
        ("/api/v1/history", "before, by, key, kind, limit"),
        ("/api/v1/settings/history", "before, by, key, limit"),
        ("/api/v1/settings", "none"),
        ("/api/v1/maintenance", "none"),
        ("/api/v1/maintenance/windows", "none"),
    ],
)
def test_an_unknown_name_in_a_query_is_refused(make: Make, path: str, accepted: str) -> None:
    response = make().test_client().get(f"{path}?limits=5&x", headers=ADMIN)
    assert_problem(response, 422, "invalid")
    told = [f"Unknown; accepted: {accepted}."]
    assert response.get_json()["errors"] == {"limits": told, "x": told}


def test_the_token_is_looked_at_before_the_query(make: Make) -> None:
    assert_problem(make().test_client().get(f"{HISTORY}?x=1"), 401, "unauthorized")


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/gate", "/gate/bypass/none", "/nowhere"])
def test_elsewhere_unknown_names_are_ignored(client: FlaskClient, path: str) -> None:
    assert client.get(f"{path}?x=1").status_code == client.get(path).status_code != 422


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/api/v1/settings", "/api/v1/maintenance", HISTORY])
@pytest.mark.parametrize("mode", ["open", "full"])
def test_a_slash_at_the_end_changes_nothing(client: FlaskClient, live: Live, path: str, mode: str) -> None:
    if mode == "full":
        put_in_force(live, mode)
    with_slash, without = client.get(f"{path}/", headers=ADMIN), client.get(path, headers=ADMIN)
    assert (with_slash.status_code, without.status_code) == (200, 200)
    assert with_slash.content_type == without.content_type
