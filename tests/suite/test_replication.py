"""A replica follows, is held back, is promoted, and what was acknowledged is on it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg2
import pytest

from ..clock import eventually
from ..postgres import Cluster, execute, is_running, state
from ..replication import Replica, timeline

READ = "SELECT coalesce(max(id), 0) FROM things"


@pytest.fixture
def primary() -> Iterator[Cluster]:
    primary = Cluster()
    try:
        primary.start()
        execute(primary.url(), "CREATE TABLE things (id int)")
        yield primary
    finally:
        primary.remove()


@pytest.fixture
def replica(primary: Cluster) -> Iterator[Replica]:
    yield from made(primary, synchronous=False)


@pytest.fixture
def synchronous(primary: Cluster) -> Iterator[Replica]:
    yield from made(primary, synchronous=True)


def made(primary: Cluster, *, synchronous: bool) -> Iterator[Replica]:
    replica = Replica(primary, synchronous=synchronous)
    try:
        replica.start()
        yield replica
    finally:
        replica.remove()


def add(cluster: Cluster, number: int) -> None:
    execute(cluster.url(), f"INSERT INTO things VALUES ({number})")


def last(cluster: Cluster) -> int:
    [(number,)] = execute(cluster.url(), READ)
    return int(number)


def test_a_replica_shows_what_the_primary_has_and_takes_no_writes(primary: Cluster, replica: Replica) -> None:
    add(primary, 1)
    replica.wait_for_replay()
    assert last(replica) == 1
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        add(replica, 2)


def test_paused_replay_hides_what_is_new_until_it_is_resumed(primary: Cluster, replica: Replica) -> None:
    replica.pause_replay()
    add(primary, 1)
    received = "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()"
    eventually(30, lambda: execute(replica.url(), received) == [(True,)])
    assert last(replica) == 0
    replica.resume_replay()
    replica.wait_for_replay()
    assert last(replica) == 1


def test_a_promoted_replica_takes_writes_on_a_timeline_of_its_own(primary: Cluster, replica: Replica) -> None:
    add(primary, 1)
    replica.wait_for_replay()
    replica.promote()
    add(replica, 2)
    add(primary, 3)
    assert (last(replica), last(primary)) == (2, 3)
    assert (timeline(replica), timeline(primary)) == (2, 1)


def test_a_frozen_primary_is_frozen_as_a_whole_and_its_replica_is_promoted(primary: Cluster, replica: Replica) -> None:
    add(primary, 1)
    replica.wait_for_replay()
    primary.freeze()
    assert {state(process) for process in primary.processes()} == {"T"}
    replica.promote()
    add(replica, 2)
    primary.thaw()
    assert (last(replica), last(primary)) == (2, 1)


def test_a_killed_primary_comes_back_as_it_was(primary: Cluster, replica: Replica) -> None:
    add(primary, 1)
    replica.wait_for_replay()
    killed = primary.processes()
    primary.kill()
    assert not any(map(is_running, killed))
    replica.promote()
    add(replica, 2)
    primary.start()
    add(primary, 3)
    assert (last(replica), last(primary), timeline(primary)) == (2, 3, 1)


def test_a_promoted_replica_that_was_killed_starts_as_a_primary(primary: Cluster, replica: Replica) -> None:
    replica.promote()
    add(replica, 1)
    replica.kill()
    replica.start()
    add(replica, 2)
    assert timeline(replica) == 2


def test_a_replica_that_was_cut_off_lacks_what_came_later(primary: Cluster, replica: Replica) -> None:
    add(primary, 1)
    replica.wait_for_replay()
    replica.cut_off()
    add(primary, 2)
    replica.promote()
    assert last(replica) == 1


def test_nothing_is_acknowledged_that_a_synchronous_replica_lacks(primary: Cluster, synchronous: Replica) -> None:
    acknowledged: list[int] = []
    stopping = threading.Event()

    def write() -> None:
        connection = psycopg2.connect(primary.url())
        connection.autocommit = True
        with suppress(psycopg2.OperationalError), connection.cursor() as cursor:
            for number in range(1, 100_000):
                if stopping.is_set():
                    break
                cursor.execute("INSERT INTO things VALUES (%s)", (number,))
                acknowledged.append(number)
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        eventually(30, lambda: len(acknowledged) > 50)
        primary.kill()
    finally:
        stopping.set()
        writer.join()
    synchronous.promote()
    # A commit whose answer was lost with the primary may be there besides.
    assert max(acknowledged) <= last(synchronous) <= max(acknowledged) + 1


def test_a_synchronous_primary_waits_for_its_replica_until_it_is_released(
    primary: Cluster, synchronous: Replica
) -> None:
    synchronous.freeze()
    writer = threading.Thread(target=add, args=(primary, 1))
    writer.start()
    try:
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        eventually(30, lambda: execute(primary.url(), waits))
        assert last(primary) == 0
        synchronous.release()
        writer.join(30)
        assert last(primary) == 1
    finally:
        synchronous.thaw()
        writer.join()


def test_a_promoted_replica_has_a_replica_of_its_own(primary: Cluster, synchronous: Replica) -> None:
    add(primary, 1)
    synchronous.promote()
    for second in made(synchronous, synchronous=True):
        add(synchronous, 2)
        second.wait_for_replay()
        assert last(second) == 2
        second.promote()
        assert timeline(second) == 3


def test_a_killed_or_removed_server_leaves_no_shared_memory() -> None:
    killed, removed = Cluster(), Cluster()
    for cluster in (killed, removed):
        cluster.start()
    numbers = {segment(killed), segment(removed)}
    assert numbers <= segments()
    killed.kill()
    for cluster in (killed, removed):
        cluster.remove()
    assert not numbers & segments()


def segment(cluster: Cluster) -> str:
    """The number of a running server's System V shared memory, as its postmaster.pid says."""
    return (cluster._data / "postmaster.pid").read_text().splitlines()[6].split()[1]


def segments() -> set[str]:
    """The numbers of all that there are (proc(5), /proc/sysvipc/shm)."""
    return {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}
