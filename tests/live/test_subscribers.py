"""Whoever subscribes is told of each swap, and stops neither the swap nor the others."""

from __future__ import annotations

import logging

import pytest
from flask.testing import FlaskClient

from dop_be.live import Live
from dop_be.live.snapshot import Snapshot

from ..conftest import ADMIN
from ..shared import snapshot_of


def test_a_subscriber_that_fails_is_logged_and_fails_no_write(
    client: FlaskClient, live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[Snapshot | None, Snapshot]] = []

    def fail(before: Snapshot | None, after: Snapshot) -> None:
        raise ZeroDivisionError

    live.refresh()
    live.subscribe(fail)
    live.subscribe(lambda before, after: told.append((before, after)))
    before = snapshot_of(live)
    with caplog.at_level(logging.ERROR):
        answer = client.put("/api/v1/maintenance", json={"active": True}, headers=ADMIN)
    assert answer.get_json()["active"] is True
    assert told == [(before, snapshot_of(live))]
    assert [record.exc_info is not None for record in caplog.records if "subscriber" in record.message] == [True]
