"""The snapshot: immutable and complete, with answers made once per state."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, cast

import pytest
from flask.testing import FlaskClient

from dop_be.live import Live
from dop_be.live.snapshot import Snapshot

from ..conftest import ADMIN


@pytest.fixture
def snapshot(live: Live) -> Snapshot:
    return live.require()


def test_nothing_in_it_can_be_changed(snapshot: Snapshot) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.version = 2  # type: ignore[misc]  # that is the point
    with pytest.raises(TypeError):
        cast("dict[str, Any]", snapshot.settings)["is_maintain"] = True
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.public.body = b""  # type: ignore[misc]
    assert isinstance(snapshot.public.body, bytes)


def test_the_etag_is_the_revision_and_the_digest_of_the_body(snapshot: Snapshot) -> None:
    for document in (snapshot.public, snapshot.private, snapshot.phase.document):
        digest = hashlib.sha256(document.body).hexdigest()
        assert document.etag == f'"{snapshot.revision}-{digest[:8]}"'
        assert json.loads(document.body)["revision"] == snapshot.revision


def test_reads_answer_with_the_bytes_made_ready(client: FlaskClient, snapshot: Snapshot) -> None:
    assert client.get("/api/v1/settings").data == snapshot.public.body
    assert client.get("/api/v1/settings", headers=ADMIN).data == snapshot.private.body
    assert client.get("/api/v1/maintenance").data == snapshot.phase.document.body


def test_a_reading_without_a_change_is_the_same_state(live: Live, snapshot: Snapshot) -> None:
    assert live.refresh()
    again = live.require()
    assert (again.public, again.private, again.phase) == (snapshot.public, snapshot.private, snapshot.phase)
