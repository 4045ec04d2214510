"""The snapshot: immutable and complete, with answers made once per state."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from typing import Any, cast

import pytest
from flask.testing import FlaskClient

from dop_be.live import Live
from dop_be.live.snapshot import Snapshot

from ..conftest import ADMIN
from ..shared import snapshot_of


@pytest.fixture
def snapshot(live: Live) -> Snapshot:
    return snapshot_of(live)


def test_nothing_in_it_can_be_changed(snapshot: Snapshot) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.mark = None  # type: ignore[misc, assignment]  # that is the point
    with pytest.raises(TypeError):
        cast("dict[str, Any]", snapshot.settings)["is_maintain"] = True
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.public.body = b""  # type: ignore[misc]
    assert isinstance(snapshot.public.body, bytes)


def test_the_etag_is_the_revision_and_the_digest_of_the_body(snapshot: Snapshot) -> None:
    revision = snapshot.settings["revision"]
    for document in (snapshot.public, snapshot.private):
        digest = hashlib.sha256(document.body).hexdigest()
        assert document.etag == f'"{revision}-{digest[:8]}"'
        assert json.loads(document.body)["revision"] == revision


def test_the_etag_of_maintenance_tells_what_is_in_force_alone(snapshot: Snapshot) -> None:
    document = snapshot.at(time.time()).document
    state = {name: value for name, value in json.loads(document.body).items() if name not in {"next", "revision"}}
    expected = hashlib.sha256(json.dumps(state, separators=(",", ":")).encode() + b"\n").hexdigest()
    assert document.etag == f'"{expected[:8]}"'


def test_reads_answer_with_the_bytes_made_ready(client: FlaskClient, snapshot: Snapshot) -> None:
    assert client.get("/api/v1/settings").data == snapshot.public.body
    assert client.get("/api/v1/settings", headers=ADMIN).data == snapshot.private.body
    assert client.get("/api/v1/maintenance").data == snapshot.at(time.time()).document.body


def test_a_reading_without_a_change_is_the_same_state(live: Live, snapshot: Snapshot) -> None:
    assert live.refresh()
    again = snapshot_of(live)
    now = time.time()
    assert (again.public, again.private, again.at(now)) == (snapshot.public, snapshot.private, snapshot.at(now))
