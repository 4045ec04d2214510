"""Hosts whose clocks are wrong: the database's counts, for what is stored and for what is in force."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ADMIN

from .. import processes
from ..guard import sitecustomize as guard
from ..postgres import Cluster
from .servers import Server, eventually, gunicorn

HOUR = 3600
OFFSETS = {"an hour ahead": HOUR, "an hour behind": -HOUR, "8 s behind": -8}


def clock(seconds: int) -> dict[str, Any]:
    """The environment of a host whose clock is so far ahead."""
    path = processes.folder("clock") / "ahead"
    path.write_text(str(seconds))
    return {guard.CLOCK: str(path)}


class Hosts:
    """Servers and command lines by the offsets of their clocks, over one database; 0 is the database's own."""

    def __init__(self, url: str, servers: dict[int, Server]) -> None:
        self._url, self.servers = url, servers

    def flask(self, offset: int, *words: str, code: int = 0) -> str:
        environment = processes.environment(DATABASE_URL=self._url, **clock(offset))
        ended = processes.run(["flask", "--app", "wsgi", *words], check=False, env=environment)
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def gates(self) -> dict[int, int]:
        return {offset: server.get("/gate").status_code for offset, server in self.servers.items()}


@pytest.fixture(scope="module")
def hosts(empty_postgresql: Callable[..., str], migrated_postgresql: str) -> Iterator[Hosts]:
    url = empty_postgresql(template=migrated_postgresql)
    with (
        gunicorn(url) as right,
        gunicorn(url, **clock(HOUR)) as ahead,
        gunicorn(url, **clock(-HOUR)) as behind,
        gunicorn(url, **clock(-8)) as slightly,
    ):
        yield Hosts(url, {0: right, HOUR: ahead, -HOUR: behind, -8: slightly})


@pytest.fixture(autouse=True)
def open_again(hosts: Hosts) -> Iterator[None]:
    yield
    hosts.servers[0].request("PUT", "/api/v1/maintenance", json={"active": False}, headers=ADMIN).raise_for_status()


@pytest.mark.parametrize(("offset", "other"), [(HOUR, 0), (-HOUR, 0), (HOUR, -HOUR), (-HOUR, HOUR), (0, -8)])
def test_any_host_ends_what_another_one_opened(hosts: Hosts, offset: int, other: int) -> None:
    before = datetime.now(UTC)
    opened = json.loads(hosts.flask(offset, "maintenance", "on", "--for", "30m", "--json").splitlines()[0])
    assert (
        timedelta(0) <= datetime.fromisoformat(opened["until"]) - before - timedelta(minutes=30) < timedelta(minutes=1)
    )
    eventually(5, lambda: set(hosts.gates().values()) == {503})
    said = hosts.flask(other, "maintenance", "off")
    assert said.startswith("maintenance is off; ended window ")
    eventually(5, lambda: set(hosts.gates().values()) == {200})


@pytest.mark.parametrize("offset", OFFSETS.values(), ids=OFFSETS)
def test_any_host_switches_by_http(hosts: Hosts, offset: int) -> None:
    server = hosts.servers[offset]
    until = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    opened = server.request("PUT", "/api/v1/maintenance", json={"active": True, "until": until}, headers=ADMIN)
    assert opened.json()["active"] is True
    eventually(5, lambda: set(hosts.gates().values()) == {503})
    refused = server.get("/")
    assert 200 < int(refused.headers["Retry-After"]) <= 331  # the rest of the five minutes, and the spread
    closed = server.request("PUT", "/api/v1/maintenance", json={"active": False}, headers=ADMIN)
    assert closed.json()["active"] is False
    assert len(closed.json()["ended"]) == 1
    eventually(5, lambda: set(hosts.gates().values()) == {200})


@pytest.mark.parametrize("offset", OFFSETS.values(), ids=OFFSETS)
def test_a_window_opens_and_closes_by_the_databases_clock(hosts: Hosts, offset: int) -> None:
    begins = datetime.now(UTC) + timedelta(seconds=3)
    window = {"starts_at": begins.isoformat(), "ends_at": (begins + timedelta(seconds=8)).isoformat()}
    planned = hosts.servers[offset].request("POST", "/api/v1/maintenance/windows", json=window, headers=ADMIN)
    assert planned.status_code == 201, planned.text
    eventually(20, lambda: set(hosts.gates().values()) == {503})
    assert datetime.now(UTC) >= begins
    eventually(20, lambda: set(hosts.gates().values()) == {200})
    assert datetime.now(UTC) >= begins + timedelta(seconds=8)


@pytest.mark.parametrize("offset", OFFSETS.values(), ids=OFFSETS)
def test_a_bypass_lives_by_the_databases_clock(hosts: Hosts, offset: int) -> None:
    name = f"ada{offset}"
    said = hosts.flask(offset, "maintenance", "bypass", "create", name, "--for", "30m")
    token = re.search(r"X-Maintenance-Bypass: (\S+)", said)
    assert token
    hosts.servers[0].request("PUT", "/api/v1/maintenance", json={"active": True}, headers=ADMIN)
    eventually(5, lambda: set(hosts.gates().values()) == {503})
    for server in hosts.servers.values():
        assert server.get("/gate", headers={"X-Maintenance-Bypass": token[1]}).status_code == 200
    assert "expires" in hosts.flask(offset, "maintenance", "bypass", "list")


@pytest.mark.parametrize("offset", OFFSETS.values(), ids=OFFSETS)
def test_a_wrong_clock_is_told(hosts: Hosts, offset: int) -> None:
    ready = hosts.servers[offset].get("/readyz").json()
    assert abs(ready["clock_offset"] + offset) < 1
    [note] = ready["notes"]
    # Each measures for itself, and a busy machine takes a moment to ask.
    for text in (note, hosts.flask(offset, "maintenance", "status")):
        side = "ahead of" if offset > 0 else "behind"
        found = re.search(rf"this host's clock is (\d+\.\d) s {side} the database's, whose time counts", text)
        assert found
        assert abs(float(found[1]) - abs(offset)) < 1
    assert hosts.servers[0].get("/readyz").json()["notes"] == []


def test_a_clock_that_is_set_is_noticed_though_nothing_changes(
    empty_postgresql: Callable[..., str], migrated_postgresql: str
) -> None:
    environment = clock(0)
    given = Path(environment[guard.CLOCK])
    with gunicorn(empty_postgresql(template=migrated_postgresql), **environment) as server:
        assert server.get("/readyz").json()["notes"] == []
        given.write_text(str(HOUR))
        eventually(10, lambda: "ahead of" in json.dumps(server.get("/readyz").json()["notes"]))
        given.write_text("0")
        eventually(10, lambda: server.get("/readyz").json()["notes"] == [])


@pytest.mark.parametrize("offset", [HOUR, -HOUR])
def test_a_clock_that_is_set_right_without_the_database_opens_nothing(
    breakable_url: str, cluster: Cluster, tmp_path: Path, offset: int
) -> None:
    """Neither while it runs nor with a restart."""
    environment = clock(offset) | {"STATE_FILE": str(tmp_path / "state.json")}
    with gunicorn(breakable_url, **environment) as server:
        until = (datetime.now(UTC) + timedelta(minutes=20)).isoformat()
        wanted = {"active": True, "until": until}
        server.request("PUT", "/api/v1/maintenance", json=wanted, headers=ADMIN).raise_for_status()
        state = tmp_path / "state.json"
        eventually(10, lambda: state.exists() and until[:16] in state.read_text())
        cluster.kill()
        eventually(10, lambda: "the database does not answer" in server.get("/readyz").text)
        Path(environment[guard.CLOCK]).write_text("0")
        for _ in range(20):
            assert server.get("/gate").status_code == 503
            time.sleep(0.1)
    with gunicorn(breakable_url, **environment) as server:
        ready = server.get("/readyz").json()
        assert ready["source"] == "last_state"
        assert 0 <= ready["state_age"] < 300
        assert abs(ready["clock_offset"]) < 1
        assert server.get("/gate").status_code == 503
        assert int(server.get("/").headers["Retry-After"]) < 1300
