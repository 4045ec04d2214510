"""Two servers that were one have each taken writes: revisions are given out twice, and dop_be says so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import requests

from ..conftest import ADMIN
from ..postgres import Cluster, execute
from .failover import (
    DATABASE,
    PATIENCE,
    SETTINGS,
    Pair,
    Succession,
    in_the_query,
    listeners,
    ready,
    wait_until_followed,
)
from .servers import Server, eventually, gunicorn

TOLD = re.compile(r"\btimeline\b|\bchanges?\b")  # what a log line or a note about it names


@pytest.fixture
def pair(succession: Succession) -> Iterator[Pair]:
    with succession.pair(synchronous=False) as pair:
        yield pair


@pytest.fixture
def server(pair: Pair) -> Iterator[Server]:
    """One worker, which follows the primary."""
    with gunicorn(in_the_query(pair.primary, pair.replica), workers=1) as server:
        wait_until_followed(server, pair.primary)
        write(server, "before")
        pair.replica.wait_for_replay()
        yield server


def write(server: Server, message: str) -> requests.Response:
    """Write once the worker has found who takes it."""
    answers: list[requests.Response] = []

    def taken() -> bool:
        answers.append(server.patch(maintenance_message=message))
        return answers[-1].status_code == 200

    eventually(PATIENCE, taken, pause=0.1)
    return answers[-1]


def write_by_sql(cluster: Cluster, message: str) -> int:
    """Change the settings; their revision after it."""
    change = f"UPDATE system_settings SET maintenance_message = '{message}' RETURNING revision"
    [(revision,)] = execute(cluster.url(DATABASE), change)
    return int(revision)


def logged(server: Server, *levels: str) -> list[str]:
    """What the log has at these levels."""
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return [line["event"] for line in lines if line["level"] in levels]


def assert_told(server: Server) -> None:
    eventually(PATIENCE, lambda: any(TOLD.search(line) for line in logged(server, "error")))
    assert [note for note in ready(server)["notes"] if TOLD.search(note)]


def assert_matches_no_more(server: Server, etag: str) -> None:
    """A state of the other server is not that of this one, though their revisions are the same."""
    assert server.get(SETTINGS, headers=ADMIN).json()["revision"] == int(etag.strip('"').partition("-")[0])
    headers = {**ADMIN, "If-Match": etag}
    refused = server.request("PATCH", SETTINGS, json={"maintenance_message": "by mistake"}, headers=headers)
    assert (refused.status_code, refused.headers["ETag"] == etag) == (412, False)
    own = {**ADMIN, "If-Match": refused.headers["ETag"]}
    assert server.request("PATCH", SETTINGS, json={"maintenance_message": "meant"}, headers=own).status_code == 200


def test_an_old_primary_that_comes_back_is_followed_and_told_of(server: Server, pair: Pair) -> None:
    pair.primary.kill()
    pair.replica.promote()
    etag = write(server, "on the new one").headers["ETag"]
    eventually(PATIENCE, lambda: listeners(pair.replica) == 1)
    assert not any(TOLD.search(line) for line in logged(server, "error"))
    pair.primary.start()
    revision = write_by_sql(pair.primary, "on the old one")
    assert etag.startswith(f'"{revision}-')
    pair.replica.kill()
    eventually(PATIENCE, lambda: message(server) == "on the old one")
    assert_told(server)
    assert_matches_no_more(server, etag)


def test_a_service_that_starts_on_the_old_primary_is_told_of_by_its_last_state(pair: Pair, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    start = partial(gunicorn, in_the_query(pair.primary, pair.replica), workers=1, STATE_FILE=str(state))
    pair.replica.wait_for_replay()
    pair.primary.kill()
    pair.replica.promote()
    with start() as server:
        wait_until_followed(server, pair.replica)
        write(server, "on the new one")
        eventually(PATIENCE, lambda: state.exists() and "on the new one" in state.read_text())
    pair.primary.start()
    write_by_sql(pair.primary, "on the old one")
    with start() as server:
        wait_until_followed(server, pair.primary)
        assert message(server) == "on the old one"
        eventually(PATIENCE, lambda: any(TOLD.search(line) for line in logged(server, "error", "warning")))
        eventually(PATIENCE, lambda: any(TOLD.search(note) for note in ready(server)["notes"]))


def message(server: Server) -> str | None:
    text: str | None = server.get(SETTINGS).json()["maintenance_message"]
    return text


def test_a_promoted_replica_that_lacks_acknowledged_writes_is_followed_and_told_of(server: Server, pair: Pair) -> None:
    pair.replica.cut_off()
    write(server, "lost")
    etag = write(server, "lost too").headers["ETag"]
    pair.primary.kill()
    pair.replica.promote()
    eventually(PATIENCE, lambda: message(server) == "before")
    assert_told(server)
    write_by_sql(pair.replica, "another one")
    write_by_sql(pair.replica, "another one again")
    eventually(PATIENCE, lambda: message(server) == "another one again")
    assert_matches_no_more(server, etag)
