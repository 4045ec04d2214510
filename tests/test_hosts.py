"""How a server is connected to: each host has its time, a silent one holds up nothing, and nothing stays open."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import extensions

from dop_be import hosts
from dop_be.deadline import Timeout, patient, time_limit

from .clock import Clock
from .guard import sitecustomize as guard
from .ports import free_port
from .postgres import Cluster

pytestmark = pytest.mark.limits
SECONDS = 2  # for each host
MANY = 30.0  # seconds, far more than a round of tries takes


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Other tests' good hosts are none of ours; and libpq waits by our rules only where a time limit was set once."""
    hosts._good.clear()
    with time_limit(MANY):
        yield


@contextmanager
def silent() -> Iterator[tuple[int, socket.socket]]:
    """A host that takes connections and says nothing, as a frozen server does."""
    with socket.socket() as listening:
        port = free_port()
        listening.bind(("127.0.0.1", port))
        listening.listen()
        listening.setblocking(False)
        yield port, listening


def connect(*ports: int, **more: Any) -> extensions.connection:
    names = ",".join(["127.0.0.1"] * len(ports))
    given = {"host": names, "port": ",".join(map(str, ports)), "user": "postgres", "dbname": "postgres"}
    return hosts.connect({**given, "connect_timeout": SECONDS, **more}, extensions.connection)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, [{}]),
        ({"port": "5433"}, [{}]),
        ({"host": "/run/a", "port": "5"}, [{"host": "/run/a", "port": "5"}]),
        ({"host": "192.0.2.1", "port": 5}, [{"host": "192.0.2.1", "port": "5"}]),
        ({"host": "192.0.2.1,/b", "port": "5"}, [{"host": "192.0.2.1", "port": "5"}, {"host": "/b", "port": "5"}]),
        ({"host": "192.0.2.1,::1", "port": ",6"}, [{"host": "192.0.2.1"}, {"host": "::1", "port": "6"}]),
        ({"hostaddr": "192.0.2.1,192.0.2.2"}, [{"hostaddr": "192.0.2.1"}, {"hostaddr": "192.0.2.2"}]),
        ({"host": "a", "hostaddr": "192.0.2.1"}, [{"host": "a", "hostaddr": "192.0.2.1"}]),
        ({"host": "no-such-host.invalid"}, [{"host": "no-such-host.invalid"}]),
    ],
)
def test_every_host_of_the_url_is_a_try_of_its_own(given: dict[str, Any], found: list[dict[str, str]]) -> None:
    assert hosts.expand(given) == found


def test_every_address_of_a_name_is_a_try_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = [(0, 0, 0, "", (address, 0)) for address in ("::1", "127.0.0.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: addresses)
    expected = [{"host": "db", "hostaddr": address, "port": "5"} for address in ("::1", "127.0.0.1")]
    assert hosts.expand({"host": "db", "port": "5"}) == expected


@pytest.mark.parametrize("place", [0, 1, 2])
def test_silent_and_closed_hosts_are_passed_over(cluster: Cluster, place: int) -> None:
    with silent() as (port, _):
        ports = [port, free_port()]
        ports.insert(place, cluster.port)
        clock = Clock()
        with closing(connect(*ports)) as connection:
            assert connection.info.port == cluster.port
        assert clock.stop() < SECONDS


def test_the_last_good_host_comes_first(cluster: Cluster) -> None:
    with silent() as (port, listening):
        connect(port, cluster.port).close()
        listening.accept()[0].close()  # it was tried
        connect(port, cluster.port).close()
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_a_good_host_that_falls_silent_is_passed_over_too(cluster: Cluster) -> None:
    with silent() as (port, _):
        hosts._good[hosts._key({"host": "127.0.0.1,127.0.0.1", "port": f"{port},{cluster.port}"})] = {
            "host": "127.0.0.1",
            "port": str(port),
        }
        with closing(connect(port, cluster.port)) as connection:
            assert connection.info.port == cluster.port


def test_a_failure_names_every_host_and_what_it_did(cluster: Cluster) -> None:
    closed = free_port()
    with silent() as (port, _):
        before = open_descriptors()
        clock, began = Clock(), time.monotonic()
        with pytest.raises(Timeout) as caught:
            connect(port, closed)
        assert clock.stop() < 3 * SECONDS
        assert time.monotonic() - began > SECONDS - 0.1
        assert f"127.0.0.1 port {port} did not answer in time" in str(caught.value)
        assert f"127.0.0.1 port {closed}: " in str(caught.value)
        assert "refused" in str(caught.value)
        with pytest.raises(psycopg2.OperationalError, match='database "none" does not exist'):
            connect(cluster.port, closed, dbname="none")
        assert open_descriptors() == before


def test_a_replica_is_passed_over_for_the_primary_and_the_other_way_round(cluster: Cluster) -> None:
    with pytest.raises(psycopg2.OperationalError, match="not in hot standby mode"):
        connect(cluster.port, free_port(), target_session_attrs="standby")
    with closing(connect(free_port(), cluster.port, target_session_attrs="prefer-standby")) as connection:
        assert connection.info.port == cluster.port


@pytest.mark.parametrize("is_patient", [True, False])
def test_connecting_takes_from_a_limit_around_it_unless_the_thread_is_patient(is_patient: bool) -> None:
    with silent() as (port, _):
        token = patient.set(is_patient)
        clock, began = Clock(), time.monotonic()
        with time_limit(0.3), pytest.raises(Timeout):
            connect(port)
        assert clock.stop() < (3 * SECONDS if is_patient else SECONDS)
        assert time.monotonic() - began > (SECONDS - 0.1 if is_patient else 0.2)
        patient.reset(token)


def test_the_hosts_of_a_service_have_their_time_too(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silent() as (port, _):
        services = tmp_path / "services"
        services.write_text(f"[two]\nhost=127.0.0.1,127.0.0.1\nport={port},{cluster.port}\n")
        monkeypatch.setenv("PGSERVICEFILE", str(services))
        monkeypatch.setattr(guard, "check_database", lambda _given: None)  # which sees no host in a service's name
        given = {"service": "two", "user": "postgres", "dbname": "postgres", "connect_timeout": 5}
        with closing(hosts.connect(given, extensions.connection)) as connection:
            assert connection.info.port == cluster.port
