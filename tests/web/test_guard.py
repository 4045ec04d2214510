"""Every endpoint that changes anything demands a token and a scope, also those that nobody thought of here."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from flask import Flask
from werkzeug.routing import UUIDConverter

from dop_be.access import service
from dop_be.database import Author
from dop_be.maintenance.policy import SAFE_METHODS

from .test_auth import bearer

# Endpoints that take other methods than GET and change nothing, each with its reason.
HARMLESS: dict[str, str] = {}
SAMPLES: dict[type, object] = {UUIDConverter: UUID(int=1)}  # for the parts of URLs that are no numbers


def writes(app: Flask) -> Iterator[tuple[str, str, str]]:
    """Endpoint, method and a URL of everything that is routed and not a safe method."""
    adapter = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        arguments = {name: SAMPLES.get(type(rule._converters[name]), 1) for name in rule.arguments}
        for method in sorted((rule.methods or set()) - SAFE_METHODS):
            if rule.endpoint not in HARMLESS:
                yield rule.endpoint, method, adapter.build(rule.endpoint, arguments, method=method)


def test_every_endpoint_that_changes_anything_demands_a_token_and_a_scope(app: Flask) -> None:
    found = list(writes(app))
    known = {"settings.patch", "settings.restore", "settings.undo", "maintenance.switch", "maintenance.schedule"}
    assert known <= {endpoint for endpoint, _, _ in found}
    with app.app_context():
        reader = bearer(service.create("reader", ["settings:read"], Author("tester", "cli"))[0])
    client = app.test_client()
    for endpoint, method, url in found:
        assert client.open(url, method=method).status_code == 401, endpoint
        assert client.open(url, method=method, headers=reader).status_code == 403, endpoint
