"""A request sees one state at one moment, however often it looks and whatever happens meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from dop_be.live import Live
from dop_be.maintenance.timeline import Timeline

from ..shared import snapshot_of

HTML = {"Accept": "text/html"}


@pytest.fixture
def flip(app: Flask, live: Live) -> Callable[[bool], None]:
    """Has the state flipped between the gate's check and the view of every request, from `before` to its opposite."""
    snapshot = snapshot_of(live)
    states = {
        on: replace(snapshot, timeline=Timeline({**snapshot.settings, "is_maintain": on}, ())) for on in (False, True)
    }

    def flip(before: bool) -> None:
        live.snapshot = states[before]
        app.before_request_funcs[None].append(lambda: setattr(live, "snapshot", states[not before]))

    return flip


def test_a_flip_between_check_and_view_tells_no_visitor_of_a_bypass(
    client: FlaskClient, flip: Callable[[bool], None], live: Live
) -> None:
    flip(False)
    page = client.get("/", headers=HTML)
    assert snapshot_of(live).at(time.time()).maintenance.active  # it was flipped indeed, before the view ran
    assert page.status_code == 200
    assert "In service" in page.text
    assert "bypass" not in page.text
    assert client.get("/", headers=HTML).status_code == 503  # the next request sees the new state


def test_a_view_answers_with_the_state_that_the_check_saw(client: FlaskClient, flip: Callable[[bool], None]) -> None:
    flip(False)
    body = client.get("/api/v1/maintenance").get_json()
    assert body["active"] is False
    assert client.get("/api/v1/maintenance").get_json()["active"] is True


def test_a_refusal_and_its_headers_are_of_one_moment(
    client: FlaskClient, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is read once for a request: a second look would be an hour later."""
    real = time.time()
    ticks = iter(real + 3600 * step for step in range(100))
    monkeypatch.setattr(live, "now", lambda: next(ticks))
    snapshot = snapshot_of(live)
    live.snapshot = replace(snapshot, timeline=Timeline({**snapshot.settings, "is_maintain": True}, ()))
    assert client.get("/").status_code == 503
    assert next(ticks) == real + 3600


def test_readyz_tells_the_version_that_the_request_began_with(client: FlaskClient, app: Flask, live: Live) -> None:
    snapshot = snapshot_of(live)
    newer = replace(snapshot, mark=replace(snapshot.mark, version=snapshot.version + 1))
    app.before_request_funcs[None].append(lambda: setattr(live, "snapshot", newer))
    assert client.get("/readyz").get_json()["version"] == snapshot.version
    assert client.get("/readyz").get_json()["version"] == newer.version
