"""The gate: what passes and what does not, by method and endpoint, in the application and at `/gate`."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from dop_be.live import Live
from tests import processes
from tests.conftest import ADMIN
from tests.maintenance.states import put_in_force
from tests.problems import assert_problem

ORIGIN = "https://app.example.com"
DENYING = ["/gate/deny-403", "/gate/deny-403/ask", "/gate/deny-403/ask/", "/gate/deny-403/ask/bypass/x"]
QUESTIONS = [
    "/gate",
    "/gate/ask",
    "/gate/ask/",
    "/gate/ask/orders/7",
    "/gate/ask/%0A",
    "/gate/ask/" + "x" * 8_000,
    *DENYING,
]
NO_QUESTIONS = [
    "/gate/", "/gate/orders/7", "/gate/asks", "/gate//ask", "/gate/ASK", "/gate/component", "/gate/deny-403/",
    "/gate/deny-403/orders", "/gate/deny-403/bypass/x", "/gate/deny-403/deny-403", "/gate/deny-403x", "/gate/bypass",
]  # fmt: skip
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}


@pytest.fixture
def app(make_app: Callable[..., Flask], sqlite_url: str, request: pytest.FixtureRequest) -> Flask:
    """Parametrize indirectly to change the configuration."""
    app = make_app(sqlite_url, **getattr(request, "param", {}))
    assert app.extensions["live"].refresh()
    return app


@pytest.fixture
def maintain(live: Live) -> Callable[..., None]:
    def maintain(mode: str) -> None:
        put_in_force(live, mode)

    return maintain


def vary(response: TestResponse) -> set[str]:
    """The names in all Vary headers."""
    return {name.strip() for header in response.headers.getlist("Vary") for name in header.split(",")}


with_cors = pytest.mark.parametrize("app", [{"CORS_ORIGINS": (ORIGIN, "https://admin.example.com")}], indirect=True)


class TestApplication:
    @pytest.mark.parametrize("method", ["get", "Get", "head", "QUERY", "PROPFIND", "X", "OPTIONS2"])
    def test_only_get_head_and_options_read(
        self, client: FlaskClient, maintain: Callable[..., None], method: str
    ) -> None:
        maintain("read_only")
        assert client.open("/", method=method).status_code == 503

    def test_the_status_page_and_the_page_of_a_refusal_have_the_same_heading(
        self, client: FlaskClient, maintain: Callable[..., None]
    ) -> None:
        maintain("read_only")
        for method in ("GET", "POST"):
            page = client.open("/", method=method, headers={"Accept": "text/html"}).text
            assert "<h1>Read-only for maintenance</h1>" in page

    def test_what_no_endpoint_answers_is_gated_too(self, client: FlaskClient, maintain: Callable[..., None]) -> None:
        maintain("read_only")
        assert client.get("/nowhere").status_code == 404
        assert client.post("/nowhere").status_code == 503
        assert client.delete("/livez").status_code == 503
        maintain("full")
        assert client.get("/nowhere").status_code == 503

    def test_static_files_are_exempt(
        self, app: Flask, client: FlaskClient, maintain: Callable[..., None], tmp_path: Path
    ) -> None:
        (tmp_path / "app.css").write_text("p {}")
        app.static_folder = str(tmp_path)
        maintain("full")
        with client.get("/static/app.css") as response:
            assert (response.status_code, response.data) == (200, b"p {}")

    def test_nobody_is_locked_out(self, app: Flask, client: FlaskClient, maintain: Callable[..., None]) -> None:
        maintain("full")
        for path in ("/livez", "/readyz", "/api/v1/settings", "/api/v1/maintenance"):
            assert client.get(path).status_code == 200, path
            assert client.head(path).status_code == 200, path
        changed = client.patch(
            "/api/v1/settings", json={"maintenance_message": "x"}, headers={**ADMIN, "If-Match": "*"}
        )
        assert changed.status_code == 200
        maintain("full")
        assert client.put("/api/v1/maintenance", json={"active": False}, headers=ADMIN).status_code == 200
        assert client.get("/").status_code == 200

    def test_a_shell_ends_it_with_no_web_process(self, sqlite_url: str) -> None:
        def flask(*arguments: str) -> CompletedProcess[str]:
            command = ["flask", "maintenance", *arguments]
            return processes.run(command, env=processes.environment(DATABASE_URL=sqlite_url), check=False)

        assert flask("on").returncode == 0
        assert flask("status").returncode == 1
        assert flask("off").stdout == "maintenance is off\n"
        assert flask("status").returncode == 0

    @with_cors
    def test_a_page_of_an_allowed_origin_can_read_the_refusal(
        self, client: FlaskClient, maintain: Callable[..., None]
    ) -> None:
        maintain("full")
        response = client.get("/orders", headers={"Origin": ORIGIN})
        assert_problem(response, 503, "maintenance")
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        exposed = response.headers["Access-Control-Expose-Headers"]
        assert {"Retry-After", "X-Maintenance-Mode"} <= set(exposed.split(", "))
        assert {"Accept", "Origin"} <= vary(response)
        foreign = client.get("/orders", headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in foreign.headers

    @with_cors
    @pytest.mark.parametrize("mode", ["full", "read_only"])
    def test_a_preflight_always_passes(self, client: FlaskClient, maintain: Callable[..., None], mode: str) -> None:
        maintain(mode)
        response = client.options("/", headers=PREFLIGHT)
        assert response.status_code == 200
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "POST" in response.headers["Access-Control-Allow-Methods"]

    def test_only_options_makes_a_preflight(self, client: FlaskClient, maintain: Callable[..., None]) -> None:
        maintain("full")
        assert client.post("/", headers=PREFLIGHT).status_code == 503
        assert client.options("/", headers={"Origin": ORIGIN}).status_code == 503


class TestEndpoint:
    """`/gate`, which proxies ask."""

    @pytest.mark.parametrize("path", QUESTIONS)
    def test_it_says_200_while_open_to_every_method(self, client: FlaskClient, path: str) -> None:
        for method in ("GET", "HEAD", "POST", "DELETE", "PROPFIND"):
            response = client.open(path, method=method)
            assert (response.status_code, response.data) == (200, b"")
            assert response.headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize("accept", ["text/html", "application/json"])
    def test_it_refuses_with_the_very_same_answer(
        self, client: FlaskClient, maintain: Callable[..., None], accept: str
    ) -> None:
        maintain("full")
        ours = client.get("/orders", headers={"Accept": accept})
        gates = client.get("/gate", headers={"Accept": accept})
        assert gates.status_code == ours.status_code == 503
        assert gates.data == ours.data
        assert sorted(gates.headers) == sorted(ours.headers)

    def test_it_goes_by_the_forwarded_method_alone(self, client: FlaskClient, maintain: Callable[..., None]) -> None:
        maintain("read_only")

        def ask(method: str, **headers: str) -> int:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return client.open("/gate", method=method, headers=named).status_code

        assert ask("GET", X_Forwarded_Method="POST") == 503
        assert ask("POST", X_Forwarded_Method="GET") == 200
        assert ask("GET", X_Forwarded_Method="get") == 503
        assert ask("POST", X_HTTP_Method_Override="GET", X_Original_Method="GET", X_Method="GET") == 503
        assert ask("GET") == 200

    @pytest.mark.parametrize("path", ["/gate?deny=403", "/gate/ask?x&deny=403", *(f"{path}?x=1" for path in DENYING)])
    def test_it_can_deny_with_403_for_proxies_that_take_no_503(
        self, client: FlaskClient, maintain: Callable[..., None], path: str
    ) -> None:
        assert client.get(path).status_code == 200
        maintain("full")
        response = client.get(path)
        assert response.status_code == 403
        assert response.headers["Retry-After"] == "120"
        assert response.data == client.get("/gate").data

    @pytest.mark.parametrize("mode", ["open", "full"])
    @pytest.mark.parametrize("path", NO_QUESTIONS)
    def test_no_other_path_below_it_is_a_question(
        self, client: FlaskClient, maintain: Callable[..., None], path: str, mode: str
    ) -> None:
        """Else a proxy's mistake, or a part of a visitor's path, would be asked about in silence."""
        if mode == "full":
            maintain("full")
        assert_problem(client.get(path), 404, "not_found")

    @pytest.mark.parametrize("path", ["/gate?keep=5", "/gate/deny-403?deny=403&keep=5"])
    def test_a_proxy_may_keep_what_holds_for_everybody(
        self, client: FlaskClient, maintain: Callable[..., None], path: str
    ) -> None:
        kept = "max-age=1, stale-if-error=5"
        assert client.get(path).headers.getlist("Cache-Control") == [kept]
        maintain("read_only")
        for method, passes in (("GET", True), ("POST", False)):
            response = client.get(path, headers={"X-Forwarded-Method": method})
            assert ((response.status_code == 200), response.headers.getlist("Cache-Control")) == (passes, [kept])

    @pytest.mark.parametrize("keep", ["", "-1", "1.5", "x", "٣", "5,5", "1" * 10])
    def test_what_is_no_number_of_seconds_keeps_nothing(self, client: FlaskClient, keep: str) -> None:
        assert client.get("/gate", query_string={"keep": keep}).headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize("app", [{"BYPASS_NETWORKS": [ip_network("127.0.0.0/8")]}], indirect=True)
    def test_what_a_bypass_decided_is_not_kept(self, client: FlaskClient, maintain: Callable[..., None]) -> None:
        outside = {"REMOTE_ADDR": "192.0.2.1"}
        assert client.get("/gate?keep=5").headers["Cache-Control"] != "no-store"  # open, whoever asks
        maintain("full")
        insiders, others = client.get("/gate?keep=5"), client.get("/gate?keep=5", environ_overrides=outside)
        assert (insiders.status_code, insiders.headers["Cache-Control"]) == (200, "no-store")
        assert (others.status_code, others.headers["Cache-Control"]) == (503, "max-age=1, stale-if-error=5")

    def test_head_gets_the_headers_alone(self, client: FlaskClient, maintain: Callable[..., None]) -> None:
        maintain("full")
        response = client.head("/gate")
        assert (response.status_code, response.data) == (503, b"")
        assert response.content_length == len(client.get("/gate").data)

    @with_cors
    def test_its_refusal_carries_the_origins_headers(self, client: FlaskClient, maintain: Callable[..., None]) -> None:
        maintain("full")
        response = client.get("/gate", headers={"Origin": ORIGIN})
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert {"Accept", "Origin"} <= vary(response)
        assert (
            "Access-Control-Allow-Origin" not in client.get("/gate", headers={"Origin": "https://evil.example"}).headers
        )

    def test_a_preflight_passes(self, client: FlaskClient, maintain: Callable[..., None]) -> None:
        maintain("full")
        assert client.get("/gate", headers={**PREFLIGHT, "X-Forwarded-Method": "OPTIONS"}).status_code == 200
        assert client.get("/gate", headers={**PREFLIGHT, "X-Forwarded-Method": "POST"}).status_code == 503

    def test_nothing_that_only_begins_like_it_is_answered_by_it(
        self, client: FlaskClient, maintain: Callable[..., None]
    ) -> None:
        assert client.get("/gates").status_code == 404
        assert client.get("/gate.html").status_code == 404


def test_a_check_while_open_looks_nothing_up(app: Flask, live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: Any) -> None:
        raise AssertionError("looked up while open")

    monkeypatch.setattr("dop_be.web.gate.declared", never)
    monkeypatch.setattr("dop_be.web.gate.carries_bypass", never)
    assert app.test_client().get("/", headers={"X-Maintenance-Bypass": "x"}).status_code == 200
