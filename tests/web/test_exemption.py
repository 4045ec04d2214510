"""What endpoints declare: exempt, reads, writes; on functions, on MethodViews and their methods, on blueprints."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient
from flask.views import MethodView
from flask_smorest import Blueprint as SmorestBlueprint

from dop_be.live import Live
from dop_be.web.exemption import exempt, reads, writes
from tests.maintenance.states import put_in_force

ROOT = Path(__file__).parents[2]


@pytest.fixture
def app(make_app: Callable[..., Flask], sqlite_url: str) -> Flask:
    app = make_app(sqlite_url)
    assert app.extensions["live"].refresh()
    return app


@pytest.fixture
def maintain(live: Live) -> Callable[[str], None]:
    def maintain(mode: str) -> None:
        put_in_force(live, mode)

    return maintain


def view() -> Callable[[], str]:
    """A view function of its own."""
    return lambda: "passed"


def passing(client: FlaskClient, path: str) -> set[str]:
    """The methods that the gate lets through to the path."""
    methods = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
    return {method for method in methods if client.open(path, method=method).status_code == 200}


ALL = ["GET", "POST"]


class TestFunctions:
    def test_a_view_is_gated_by_default(self, app: Flask, client: FlaskClient, maintain: Callable[[str], None]) -> None:
        app.add_url_rule("/orders", "orders", view(), methods=ALL)
        assert passing(client, "/orders") == {"GET", "HEAD", "OPTIONS", "POST"}
        maintain("read_only")
        assert passing(client, "/orders") == {"GET", "HEAD", "OPTIONS"}
        maintain("full")
        assert passing(client, "/orders") == set()

    def test_an_exempt_view_is_always_let_through(
        self, app: Flask, client: FlaskClient, maintain: Callable[[str], None]
    ) -> None:
        app.add_url_rule("/legal", "legal", exempt(view()), methods=ALL)
        for mode in ("read_only", "full"):
            maintain(mode)
            assert passing(client, "/legal") == {"GET", "HEAD", "OPTIONS", "POST"}

    def test_a_post_that_only_reads_passes_in_read_only_alone(
        self, app: Flask, client: FlaskClient, maintain: Callable[[str], None]
    ) -> None:
        app.add_url_rule("/search", "search", reads(view()), methods=ALL)
        maintain("read_only")
        assert passing(client, "/search") == {"GET", "HEAD", "OPTIONS", "POST"}
        maintain("full")
        assert passing(client, "/search") == set()

    def test_a_get_that_writes_is_refused_in_read_only(
        self, app: Flask, client: FlaskClient, maintain: Callable[[str], None]
    ) -> None:
        app.add_url_rule("/unsubscribe", "unsubscribe", writes(view()), methods=ALL)
        maintain("read_only")
        assert passing(client, "/unsubscribe") == {"OPTIONS"}

    def test_a_declaration_holds_for_its_endpoint_and_not_for_a_part_of_the_path(
        self, app: Flask, client: FlaskClient, maintain: Callable[[str], None]
    ) -> None:
        app.add_url_rule("/legal", "legal", exempt(view()))
        app.add_url_rule("/<path:anything>", "anything", view())
        maintain("full")
        for path in (
            "/legal/orders",
            "/orders/legal",
            "/api/v1/maintenance/orders",
            "/orders/api/v1/maintenance",
            "/livez/orders",
            "/static",
            "//legal",
            "/legal%2f..%2forders",
            "/orders?next=/livez",
            "/gates",
        ):
            assert client.get(path).status_code == 503, path


class TestMethodViews:
    def test_each_method_has_its_own_declaration(
        self, app: Flask, client: FlaskClient, maintain: Callable[[str], None]
    ) -> None:
        class Report(MethodView):
            @writes
            def get(self) -> str:
                return "passed"

            @reads
            def post(self) -> str:
                return "passed"

            def put(self) -> str:
                return "passed"

            @exempt
            def delete(self) -> str:
                return "passed"

        app.add_url_rule("/report", view_func=Report.as_view("report"))
        maintain("read_only")
        assert passing(client, "/report") == {"OPTIONS", "POST", "DELETE"}
        maintain("full")
        assert passing(client, "/report") == {"DELETE"}

    def test_a_method_overrides_its_class(
        self, app: Flask, client: FlaskClient, maintain: Callable[[str], None]
    ) -> None:
        @reads
        class Search(MethodView):
            def post(self) -> str:
                return "passed"

            @writes
            def put(self) -> str:
                return "passed"

        app.add_url_rule("/search", view_func=Search.as_view("search"))
        maintain("read_only")
        assert passing(client, "/search") == {"OPTIONS", "POST"}

    def test_a_head_method_of_its_own_is_asked_itself(
        self, app: Flask, client: FlaskClient, maintain: Callable[[str], None]
    ) -> None:
        class Report(MethodView):
            @writes
            def get(self) -> str:
                return "passed"

            def head(self) -> str:
                return ""

        app.add_url_rule("/report", view_func=Report.as_view("report"))
        maintain("read_only")
        assert passing(client, "/report") == {"HEAD", "OPTIONS"}


class TestBlueprints:
    def test_a_whole_blueprint_is_exempt(
        self, app: Flask, client: FlaskClient, maintain: Callable[[str], None]
    ) -> None:
        shop = exempt(Blueprint("shop", __name__, url_prefix="/shop"))
        inner = Blueprint("inner", __name__, url_prefix="/inner")
        shop.add_url_rule("/a", "a", view(), methods=ALL)
        inner.add_url_rule("/b", "b", view(), methods=ALL)
        shop.register_blueprint(inner)
        app.register_blueprint(shop)
        maintain("full")
        assert passing(client, "/shop/a") == passing(client, "/shop/inner/b") == {"GET", "HEAD", "OPTIONS", "POST"}
        assert client.get("/shop/nowhere").status_code == 503

    def test_a_view_overrides_its_blueprint(
        self, app: Flask, client: FlaskClient, maintain: Callable[[str], None]
    ) -> None:
        shop = reads(Blueprint("shop", __name__))
        shop.add_url_rule("/a", "a", view(), methods=ALL)
        shop.add_url_rule("/b", "b", writes(view()), methods=ALL)
        app.register_blueprint(shop)
        maintain("read_only")
        assert passing(client, "/a") == {"GET", "HEAD", "OPTIONS", "POST"}
        assert passing(client, "/b") == {"OPTIONS"}

    def test_those_of_flask_smorest_too(self, app: Flask, client: FlaskClient, maintain: Callable[[str], None]) -> None:
        bp = SmorestBlueprint("smorest", __name__)

        def method(self: MethodView) -> str:
            return "passed"

        bp.route("/search", methods=["POST"])(reads(bp.response(200)(view())))

        @bp.route("/report")
        class Report(MethodView):
            get = writes(bp.response(200)(method))
            post = bp.response(200)(reads(method))

        app.register_blueprint(bp)
        maintain("read_only")
        assert "POST" in passing(client, "/search")
        assert passing(client, "/report") == {"OPTIONS", "POST"}


def test_the_example_in_the_documentation_does_what_it_says(
    app: Flask, client: FlaskClient, maintain: Callable[[str], None]
) -> None:
    page = (ROOT / "docs" / "endpoints.md").read_text().partition("\n## A table of your own\n")[0]
    [example] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {"__name__": "shop"}
    exec(example, names)
    app.register_blueprint(names["shop"])
    app.register_blueprint(names["webhooks"])
    assert passing(client, "/orders") == {"GET", "HEAD", "OPTIONS", "POST"}
    maintain("read_only")
    assert passing(client, "/orders") == {"GET", "HEAD", "OPTIONS"}
    assert passing(client, "/search") == {"OPTIONS", "POST"}
    assert passing(client, "/unsubscribe") == {"OPTIONS"}
    maintain("full")
    for path in ("/orders", "/search", "/unsubscribe", "/nowhere"):
        assert passing(client, path) == set()
    assert passing(client, "/legal") == {"GET", "HEAD", "OPTIONS"}
    assert passing(client, "/webhooks/payment") == {"OPTIONS", "POST"}
