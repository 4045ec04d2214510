"""No input makes the service fail: whatever is sent, the answer is one of the contract's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from dop_be.settings.models import SHOWN
from tests.conftest import ADMIN

NAMES = st.sampled_from([column.key for column in SHOWN] + ["active", "mode", "message", "until"]) | st.text(max_size=9)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=600)
    | st.sampled_from(["full", "read_only"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=4).map(lambda value: json.dumps(value).encode())
BODIES = DOCUMENTS | VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200)
HEADER = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, blacklist_characters="\x7f"), max_size=60)
ANSWERS = {200, 400, 401, 403, 412, 413, 415, 422, 428, 429}


def assert_contractual(response: Any) -> None:
    assert response.status_code in ANSWERS, response.text
    expected = "application/json" if response.status_code == 200 else "application/problem+json"
    assert response.content_type == expected
    response.get_json(force=True)


@given(body=BODIES)
def test_any_body(client: FlaskClient, body: bytes) -> None:
    headers = {**ADMIN, "Content-Type": "application/json", "If-Match": "*"}
    assert_contractual(client.patch("/api/v1/settings", data=body, headers=headers))
    assert_contractual(client.put("/api/v1/maintenance", data=body, headers=headers))


@given(name=st.sampled_from(["If-Match", "Authorization", "Content-Type", "X-Change-Reason", "Accept"]), value=HEADER)
def test_any_header(client: FlaskClient, name: str, value: str) -> None:
    headers = {**ADMIN, "Content-Type": "application/json", "If-Match": "*", name: value}
    assert_contractual(client.patch("/api/v1/settings", data=b"{}", headers=headers))


@given(tag=HEADER)
def test_any_if_none_match(client: FlaskClient, tag: str) -> None:
    assert client.get("/api/v1/settings", headers={"If-None-Match": tag}).status_code in {200, 304}


@pytest.mark.parametrize(
    "path", ["/", "/gate", "/gate/x", "/api/v1/settings", "/%00", "/..%2f", "/gate/bypass/x", "//"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "TRACE", "FOO", "HEAD"])
def test_any_method_on_any_path_is_answered(client: FlaskClient, method: str, path: str) -> None:
    assert client.open(path, method=method).status_code < 500
