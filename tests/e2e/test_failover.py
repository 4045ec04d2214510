"""The primary is lost and its replica promoted, in each way to reach them: real servers, proxies and workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..clock import Clock
from ..postgres import execute
from ..replication import timeline
from .failover import (
    DATABASE,
    GATE,
    PATIENCE,
    READY,
    SETTINGS,
    WAYS,
    Pair,
    Seen,
    Succession,
    Way,
    fail_over,
    in_the_authority,
    is_ready,
    listeners,
    observing,
    ready,
    through_pgbouncer,
    wait_until_followed,
)
from .servers import Server, eventually, gunicorn

WORKERS = 2
NOTICED = 5.0  # seconds after which every worker has lost its connections
SOON = 10.0  # seconds; 5 are promised, on a machine that has nothing else to do
WRITE = 2.0  # seconds for a write, whatever happens
OURS = "FROM pg_stat_activity WHERE application_name LIKE 'dop_be%'"
# With it the first checkpoint after a promotion takes minutes: until then pg_control_checkpoint() has the old timeline.
BALLAST = ("DROP TABLE IF EXISTS ballast", "CREATE TABLE ballast AS SELECT generate_series(1, 300000)")
# Every revision of the settings with the message that it had.
REVISIONS = "SELECT revision, \"values\"->>'maintenance_message' FROM changes WHERE kind = 'settings'"


@pytest.fixture
def pair(succession: Succession) -> Iterator[Pair]:
    """A primary that acknowledges nothing that its replica does not have."""
    with succession.pair(synchronous=True) as pair:
        yield pair


@pytest.mark.parametrize("outage", [0, NOTICED], ids=["at once", "noticed"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_every_worker_follows_to_the_promoted_replica_and_nothing_is_lost(way: Way, outage: float, pair: Pair) -> None:
    with way.route(pair) as route, gunicorn(route.url, workers=WORKERS) as server:
        wait_until_followed(server, pair.primary, listens=way.listens)
        with observing(server) as seen:
            figures = fail_over(way, pair, route, seen, outage)
        assert figures.first_write < SOON
        assert figures.all_fresh < SOON
        if way.listens:
            eventually(PATIENCE, lambda: listeners(pair.replica) == WORKERS)
            asked = "SELECT DISTINCT application_name " + OURS
            both = {("dop_be",), ("dop_be listener",)}
            eventually(PATIENCE, lambda: set(execute(pair.replica.url(), asked)) == both)
        assert_nothing_acknowledged_is_lost(seen, pair)
        assert_nothing_goes_back(seen)
        assert_reads_go_on(seen)
        assert set(seen.refused) <= {(503, "database_unavailable"), (503, "database_read_only")}
        assert "Traceback" not in server.log()


def assert_nothing_acknowledged_is_lost(seen: Seen, pair: Pair) -> None:
    kept = set(execute(pair.replica.url(DATABASE), REVISIONS))
    assert {(write.revision, write.message) for write in seen.writes} - kept == set()
    assert len({write.revision for write in seen.writes}) == len(seen.writes)


def assert_nothing_goes_back(seen: Seen) -> None:
    for path, name in ((READY, "version"), (SETTINGS, "revision")):
        for worker, numbers in seen.numbers(path, name).items():
            assert len(numbers) > 10
            assert numbers == sorted(numbers), f"{name} of worker {worker}"


def assert_reads_go_on(seen: Seen) -> None:
    for path in (SETTINGS, GATE, READY):
        statuses = {answer.status for answers in seen.answers[path].values() for answer in answers}
        assert statuses == {200}, path


@pytest.mark.parametrize("way", WAYS[1:], ids=lambda way: way.name)
def test_the_log_and_readyz_name_the_server_behind_whatever_stands_between(way: Way, pair: Pair) -> None:
    with way.route(pair) as route, gunicorn(route.url, workers=WORKERS) as server:
        wait_until_followed(server, pair.primary, listens=way.listens)
        assert_named(server, pair.primary.port, timeline(pair.primary))
        execute(pair.primary.url(), *BALLAST)
        pair.replica.wait_for_replay()
        way.lose(pair.primary)
        pair.replica.promote()
        route.repoint()
        eventually(PATIENCE, lambda: server.patch(maintenance_message="after").status_code == 200, pause=0.1)
        assert_named(server, pair.replica.port, timeline(pair.replica))


def test_a_server_that_a_pooler_changes_under_open_connections_is_named(pair: Pair) -> None:
    """No connection of a worker breaks: the pooler has another one behind it from now on."""
    with through_pgbouncer(pair) as route, gunicorn(route.url, workers=WORKERS) as server:
        wait_until_followed(server, pair.primary, listens=False)
        assert_named(server, pair.primary.port, timeline(pair.primary))
        pair.replica.promote()
        route.repoint()
        assert_named(server, pair.replica.port, timeline(pair.replica))
        assert "lost the database" not in server.log()


def assert_named(server: Server, port: int, number: int) -> None:
    said = f"the database is 127.0.0.1:{port}, primary, timeline {number}"
    eventually(PATIENCE, lambda: server.log().count(said) == WORKERS)
    expected = {"address": f"127.0.0.1:{port}", "role": "primary", "timeline": number}
    for _ in range(4 * WORKERS):
        found = ready(server)["database"]
        assert {name: found[name] for name in expected} == expected
    assert "database" not in server.get(READY).json()


def test_a_worker_that_starts_while_the_first_host_is_frozen_takes_the_second(pair: Pair) -> None:
    pair.primary.freeze()
    pair.replica.promote()
    with gunicorn(in_the_authority(pair.primary, pair.replica), workers=WORKERS) as server:
        eventually(SOON, lambda: all(is_ready(server) for _ in range(4 * WORKERS)))
        assert server.patch(maintenance_message="on the second").status_code == 200
        # The last good host is tried first: nothing waits for the frozen one again.
        execute(pair.replica.url(), "SELECT pg_terminate_backend(pid) " + OURS)
        clock = Clock()
        eventually(SOON, lambda: server.patch(maintenance_message="after that").status_code == 200, pause=0.1)
        assert clock.stop() < WRITE
        eventually(SOON, lambda: listeners(pair.replica) == WORKERS)


def test_a_replica_that_is_named_first_is_passed_over(pair: Pair) -> None:
    with gunicorn(in_the_authority(pair.replica, pair.primary), workers=WORKERS) as server:
        wait_until_followed(server, pair.primary)
        assert server.patch(maintenance_message="on the primary").status_code == 200
        assert execute(pair.replica.url(), "SELECT pid " + OURS) == []


def test_a_write_that_no_replica_has_is_not_acknowledged_and_made_when_one_is_back(pair: Pair) -> None:
    with gunicorn(pair.primary.url(DATABASE), workers=WORKERS) as server:
        wait_until_followed(server, pair.primary)
        assert server.patch(maintenance_message="before").status_code == 200
        pair.replica.freeze()
        refused = server.patch(maintenance_message="not acknowledged")
        assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
        assert {server.get(path).status_code for path in (SETTINGS, GATE, READY)} == {200}
        assert server.get(SETTINGS).json()["maintenance_message"] == "before"
        pair.replica.thaw()
        eventually(PATIENCE, lambda: server.get(SETTINGS).json()["maintenance_message"] == "not acknowledged")


def test_a_replica_that_is_promoted_under_its_workers_takes_writes(pair: Pair) -> None:
    with gunicorn(pair.replica.url(DATABASE), workers=WORKERS) as server:
        wait_until_followed(server, pair.replica, listens=False)
        assert server.patch(maintenance_message="refused").json()["code"] == "database_read_only"
        pair.primary.freeze()
        pair.replica.promote()
        eventually(SOON, lambda: server.patch(maintenance_message="taken").status_code == 200, pause=0.1)
        eventually(PATIENCE, lambda: listeners(pair.replica) == WORKERS)
        assert_named(server, pair.replica.port, timeline(pair.replica))
