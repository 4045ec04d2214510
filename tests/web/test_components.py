"""Components at the gate and in the application: what is closed, for whom, and what a refusal says of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient

from dop_be.access.tokens import BYPASS, Token, digest
from dop_be.live import Live
from dop_be.web import unknown
from dop_be.web.exemption import component, exempt, reads
from tests.maintenance.states import put_components, put_in_force

LATER = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.fixture
def app(make_app: Callable[..., Flask], sqlite_url: str) -> Flask:
    app = make_app(sqlite_url)
    assert app.extensions["live"].refresh()
    return app


@pytest.fixture(autouse=True)
def nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown, "_asked", {})


def gates(client: FlaskClient, *names: str, **headers: str) -> dict[str, int]:
    return {name: client.get(f"/gate/component/{name}", headers=headers).status_code for name in names}


def hold(live: Live, components: frozenset[str] | None) -> str:
    """Give out a bypass that is limited to these components; return its text."""
    assert live.snapshot is not None
    text = f"dop_{'0' * 8}_{'a' * 48}"
    token = Token("0" * 8, "guest", digest(text), frozenset({BYPASS}), LATER, components)
    live.snapshot = replace(live.snapshot, tokens={token.id: token})
    return text


class TestGate:
    def test_the_closed_component_is_closed_alone(self, client: FlaskClient, live: Live) -> None:
        put_components(live, billing="full", search=None)
        assert gates(client, "billing", "search") == {"billing": 503, "search": 200}
        assert client.get("/gate").status_code == 200

    def test_a_closed_platform_closes_all(self, client: FlaskClient, live: Live) -> None:
        put_in_force(live, "full")
        put_components(live, billing=None)
        assert gates(client, "billing", "nobody") == {"billing": 503, "nobody": 503}

    def test_read_only_lets_reads_pass(self, client: FlaskClient, live: Live) -> None:
        put_components(live, billing="read_only")
        assert gates(client, "billing", **{"X-Forwarded-Method": "GET"}) == {"billing": 200}
        assert gates(client, "billing", **{"X-Forwarded-Method": "PUT"}) == {"billing": 503}

    @pytest.mark.parametrize("path", ["", "/", "/invoices/7", "/..%2fsearch", "/a?b=c"])
    def test_a_visitors_path_below_the_name_changes_nothing(self, client: FlaskClient, live: Live, path: str) -> None:
        put_components(live, billing="full")
        assert client.get(f"/gate/component/billing{path}").status_code == 503
        assert client.get(f"/gate/deny-403/component/billing{path}").status_code == 403

    @pytest.mark.parametrize("path", ["/gate/component", "/gate/component/", "/gate/components/billing", "/gate/x"])
    def test_other_paths_are_no_question(self, client: FlaskClient, live: Live, path: str) -> None:
        put_components(live, billing="full")
        assert client.get(path).status_code == 404

    def test_the_refusal_names_the_component(self, client: FlaskClient, live: Live) -> None:
        put_components(live, billing="full")
        refused = client.get("/gate/component/billing")
        assert refused.get_json()["component"] == "billing"
        assert refused.get_json()["detail"] == "The billing is in maintenance."
        page = client.get("/gate/component/billing", headers={"Accept": "text/html"}).get_data(as_text=True)
        assert "<title>The billing: down for maintenance</title>" in page

    def test_the_platforms_refusal_names_none(self, client: FlaskClient, live: Live) -> None:
        put_in_force(live, "full")
        assert client.get("/gate").get_json()["component"] is None

    def test_a_verdict_may_be_kept_where_it_is_everybodys(self, client: FlaskClient, live: Live) -> None:
        put_components(live, billing="full", search=None)
        kept = {
            name: client.get(f"/gate/component/{name}?keep=9").headers["Cache-Control"]
            for name in ("billing", "search")
        }
        assert set(kept.values()) == {"max-age=1, stale-if-error=9"}
        header = {"X-Maintenance-Bypass": hold(live, None)}
        let_through = client.get("/gate/component/billing?keep=9", headers=header)
        assert (let_through.status_code, let_through.headers["Cache-Control"]) == (200, "no-store")

    def test_an_unknown_name_is_told_once(
        self, client: FlaskClient, live: Live, caplog: pytest.LogCaptureFixture
    ) -> None:
        put_components(live, billing=None)
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                gates(client, "nobody")
        assert [record.message for record in caplog.records] == [
            "there is no component 'nobody': what is asked about it is answered for the platform"
        ]
        [note] = [note for note in client.get("/readyz").get_json()["notes"] if "nobody" in note]
        assert note == "there is no component 'nobody', which is asked about: it counts as the platform"
        put_components(live, nobody=None)
        assert not any("nobody" in note for note in client.get("/readyz").get_json()["notes"])

    def test_unknown_names_are_bounded(self, client: FlaskClient, live: Live) -> None:
        put_components(live, billing=None)
        for number in range(100):
            gates(client, f"{'x' * 500}{number}", f"n{number}")
        assert len(unknown.notes(())) == unknown.MOST


class TestBypass:
    @pytest.mark.parametrize(
        ("limits", "expected"),
        [
            (None, {"billing": 200, "search": 200, "platform": 200}),
            (frozenset({"billing"}), {"billing": 200, "search": 503, "platform": 503}),
            (frozenset[str](), {"billing": 503, "search": 503, "platform": 503}),
        ],
    )
    @pytest.mark.parametrize("closed", ["platform", "components"])
    def test_a_limited_one_passes_at_its_components_whatever_closed_them(
        self, client: FlaskClient, live: Live, limits: frozenset[str] | None, expected: dict[str, int], closed: str
    ) -> None:
        mode = "full" if closed == "components" else None
        if closed == "platform":
            put_in_force(live, "full")
        put_components(live, billing=mode, search=mode)
        header = {"X-Maintenance-Bypass": hold(live, limits)}
        found = gates(client, "billing", "search", **header)
        if closed == "platform":
            found["platform"] = client.get("/gate", headers=header).status_code
        assert found == {name: status for name, status in expected.items() if name in found}


class TestApplication:
    def build(self, app: Flask, *decorators: Callable[[Any], Any]) -> None:
        def view() -> str:
            return "passed"

        for decorate in decorators:
            view = decorate(view)
        app.add_url_rule("/pay", "pay", view, methods=["GET", "POST"])

    def test_a_view_of_a_closed_component_is_refused(self, app: Flask, client: FlaskClient, live: Live) -> None:
        self.build(app, component("billing"))
        put_components(live, billing=None)
        assert client.get("/pay").status_code == 200
        put_components(live, billing="full")
        assert client.get("/pay").status_code == 503
        assert json.loads(client.get("/pay").data)["component"] == "billing"
        assert client.get("/nowhere").status_code == 404  # which knows no component

    def test_exempt_wins(self, app: Flask, client: FlaskClient, live: Live) -> None:
        self.build(app, component("billing"), exempt)
        put_components(live, billing="full")
        assert client.get("/pay").status_code == 200

    def test_what_a_view_counts_as_counts_for_the_component_too(
        self, app: Flask, client: FlaskClient, live: Live
    ) -> None:
        self.build(app, component("billing"), reads)
        put_components(live, billing="read_only")
        assert client.post("/pay").status_code == 200
        put_components(live, billing="full")
        assert client.post("/pay").status_code == 503

    def test_the_strictest_of_several_counts(self, app: Flask, client: FlaskClient, live: Live) -> None:
        self.build(app, component("billing"), component("search"))
        put_components(live, billing="read_only", search="full")
        assert client.post("/pay").get_json()["component"] == "search"
        put_components(live, billing="read_only", search=None)
        assert client.post("/pay").get_json()["component"] == "billing"
        assert client.get("/pay").status_code == 200

    def test_a_blueprint_has_its_component_and_its_views_more(
        self, app: Flask, client: FlaskClient, live: Live
    ) -> None:
        bp = component("shop")(Blueprint("shop", __name__, url_prefix="/shop"))
        bp.add_url_rule("/list", "list", lambda: "passed")
        bp.add_url_rule("/pay", "pay", component("billing")(lambda: "passed"))
        app.register_blueprint(bp)
        put_components(live, billing="full", shop=None)
        assert [client.get(f"/shop/{path}").status_code for path in ("list", "pay")] == [200, 503]
        put_components(live, billing=None, shop="full")
        assert [client.get(f"/shop/{path}").status_code for path in ("list", "pay")] == [503, 503]

    def test_a_limited_bypass_passes_at_a_view_where_it_covers_what_closes_it(
        self, app: Flask, client: FlaskClient, live: Live
    ) -> None:
        self.build(app, component("billing"), component("search"))
        put_components(live, billing="full", search=None)
        header = {"X-Maintenance-Bypass": hold(live, frozenset({"billing"}))}
        assert client.get("/pay", headers=header).status_code == 200
        put_components(live, billing="full", search="full")
        hold(live, frozenset({"billing"}))
        assert client.get("/pay", headers=header).status_code == 503

    @pytest.mark.parametrize("name", ["", "-a", "Billing", "a_b", "a/b", "a.b", "a" * 64, "ä", "a\n"])
    def test_a_name_that_no_component_can_have_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="is not the name of a component"):
            component(name)


class TestStatusPage:
    def test_it_lists_the_closed_ones_first(self, client: FlaskClient, live: Live) -> None:
        put_components(live, billing=None, search="full", zoo="read_only")
        page = client.get("/").get_data(as_text=True)
        shown = [page.index(text) for text in ("The search", "In maintenance", "The zoo", "Read-only", "The billing")]
        assert shown == sorted(shown)
        assert page.count("In service") == 2  # of the platform, and of billing

    def test_without_components_it_says_nothing_of_them(self, client: FlaskClient) -> None:
        assert "Components" not in client.get("/").get_data(as_text=True)

    def test_a_title_is_text(self, client: FlaskClient, live: Live) -> None:
        put_components(live, billing="full")
        assert live.snapshot is not None
        rows = {"billing": {**live.snapshot.components["billing"], "title": "<script>x()</script>"}}
        live.snapshot = replace(live.snapshot, components=rows)
        assert "<script>x()" not in client.get("/").get_data(as_text=True)
        refused = client.get("/gate/component/billing", headers={"Accept": "text/html"}).get_data(as_text=True)
        assert "<script>x()" not in refused
