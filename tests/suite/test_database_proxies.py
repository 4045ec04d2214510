"""What stands before a database goes to another one when it shall, and to no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .. import processes
from ..clock import eventually
from ..haproxy import haproxy
from ..pgbouncer import pooler
from ..postgres import Cluster, execute
from ..replication import Replica

PORT = "SELECT current_setting('port')::int"
ROLE = "CREATE ROLE haproxy LOGIN"  # as the shipped file says


@pytest.fixture
def primary() -> Iterator[Cluster]:
    primary = Cluster()
    try:
        primary.start()
        execute(primary.url(), ROLE)
        yield primary
    finally:
        primary.remove()


@pytest.fixture
def replica(primary: Cluster) -> Iterator[Replica]:
    replica = Replica(primary)
    try:
        replica.start()
        replica.wait_for_replay()
        yield replica
    finally:
        replica.remove()


def reached(url: str) -> int | None:
    """The port of the server that answers behind a proxy; None where none does within two seconds."""
    command = ["timeout", "--kill-after=1", "2", "psql", "--no-psqlrc", "--tuples-only", "--command", PORT, url]
    said = processes.run(command, check=False).stdout.strip()
    return int(said) if said else None


def test_haproxy_goes_to_the_promoted_replica_and_not_back(primary: Cluster, replica: Replica) -> None:
    with haproxy(primary, replica) as balancer:
        url = balancer.url("postgres")
        assert {reached(url) for _ in range(6)} == {primary.port}
        primary.freeze()
        replica.promote()
        eventually(10, lambda: reached(url) == replica.port)
        primary.thaw()
        eventually(10, lambda: balancer.says("first", "UP"))  # now both say that they are the primary
        assert {reached(url) for _ in range(20)} == {replica.port}


def test_pgbouncer_goes_to_where_it_is_pointed(primary: Cluster, replica: Replica) -> None:
    with pooler(primary.url()) as pool:
        assert reached(pool.url) == primary.port
        primary.freeze()
        assert reached(pool.url) is None
        replica.promote()
        pool.point_to(replica.url())
        eventually(10, lambda: reached(pool.url) == replica.port)
