"""A service whose database goes over to a replica: the ways to reach the pair, and what is seen meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import requests

from ..conftest import ADMIN, migrate
from ..haproxy import haproxy
from ..pgbouncer import pooler
from ..postgres import Cluster, execute
from ..replication import Replica
from .servers import Server, eventually
from .workers import Answer, watching

DATABASE = "platform"
PAUSE = 0.1  # seconds between two tries to write
LOOK = 0.02  # seconds between two questions to a worker
PATIENCE = 30.0  # seconds for what the service has promised to do in far fewer
LISTENERS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'dop_be listener'"
SETTINGS, READY, GATE = "/api/v1/settings", "/readyz", "/gate"


@dataclass(frozen=True)
class Pair:
    """A primary with its replica."""

    primary: Cluster
    replica: Replica


def in_the_authority(*clusters: Cluster) -> str:
    """The URL of several hosts in libpq's own form."""
    hosts = ",".join(f"127.0.0.1:{cluster.port}" for cluster in clusters)
    return f"postgresql://postgres@{hosts}/{DATABASE}?target_session_attrs=read-write"


def in_the_query(*clusters: Cluster) -> str:
    """The same in SQLAlchemy's form."""
    hosts = "&".join(f"host=127.0.0.1:{cluster.port}" for cluster in clusters)
    return f"postgresql://postgres@/{DATABASE}?{hosts}&target_session_attrs=read-write"


class Succession:
    """One primary after another, with the same migrated database: each replica that is promoted is the next one."""

    def __init__(self) -> None:
        self._primary = Cluster(max_connections="50")
        self._primary.start()
        execute(self._primary.url(), f"CREATE DATABASE {DATABASE}", "CREATE ROLE haproxy LOGIN")
        migrate(self._primary.url(DATABASE))

    @contextmanager
    def pair(self, *, synchronous: bool) -> Iterator[Pair]:
        """Give the primary a new replica for the block; afterwards, one of them is left."""
        primary = self._primary
        primary.repair()
        replica = Replica(primary, synchronous=synchronous)
        try:
            replica.start()
            yield Pair(primary, replica)
        finally:
            if replica.promoted:
                self._primary, left = replica, primary
            else:
                primary.repair()
                replica.release()
                left = replica
            left.remove()

    def remove(self) -> None:
        self._primary.remove()


@dataclass(frozen=True)
class Route:
    """How a service reaches the primary, and what has to be done about that after a promotion."""

    url: str
    repoint: Callable[[], None] = lambda: None


@contextmanager
def directly(pair: Pair) -> Iterator[Route]:
    yield Route(in_the_authority(pair.primary, pair.replica))


@contextmanager
def directly_by_query(pair: Pair) -> Iterator[Route]:
    yield Route(in_the_query(pair.primary, pair.replica))


@contextmanager
def through_haproxy(pair: Pair) -> Iterator[Route]:
    with haproxy(pair.primary, pair.replica) as balancer:
        yield Route(balancer.url(DATABASE))


@contextmanager
def through_pgbouncer(pair: Pair) -> Iterator[Route]:
    with pooler(pair.primary.url(DATABASE)) as pool:
        yield Route(pool.url, partial(pool.point_to, pair.replica.url(DATABASE)))


@dataclass(frozen=True)
class Way:
    """One of the ways by which a primary is lost and its replica found; `listens` where LISTEN works there."""

    name: str
    route: Callable[[Pair], AbstractContextManager[Route]]
    lose: Callable[[Cluster], None]
    listens: bool = True


WAYS = (
    Way("two hosts, primary frozen", directly, Cluster.freeze),
    Way("two hosts, primary killed", directly_by_query, Cluster.kill),
    Way("HAProxy, primary frozen", through_haproxy, Cluster.freeze),
    Way("PgBouncer, primary frozen", through_pgbouncer, Cluster.freeze, listens=False),
)


def listeners(cluster: Cluster) -> int:
    return len(execute(cluster.url(), LISTENERS))


def wait_until_followed(server: Server, primary: Cluster, *, listens: bool = True) -> None:
    """Wait until every worker has the state of the primary, and hears of changes where LISTEN works."""
    workers = len(server.workers())
    if listens:
        eventually(PATIENCE, lambda: listeners(primary) == workers)
    eventually(PATIENCE, lambda: all(is_ready(server) for _ in range(4 * workers)))


def ready(server: Server) -> dict[str, Any]:
    """What /readyz tells whoever may read the settings."""
    body: dict[str, Any] = server.get(READY, headers=ADMIN).json()
    return body


def is_ready(server: Server) -> bool:
    answer = server.get(READY)
    return answer.status_code == 200 and answer.json()["source"] == "database"


class Write(NamedTuple):
    """A write that was acknowledged, between which Unix times."""

    sent: float
    received: float
    revision: int
    message: str


@dataclass
class Seen:
    """What was acknowledged, and what every worker has answered, by worker."""

    writes: list[Write] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)  # status and code of the other writes
    answers: dict[str, dict[int, list[Answer]]] = field(default_factory=dict)  # by path

    def first_write(self, after: float) -> Write | None:
        """The first acknowledged write that was sent after this time."""
        return next((write for write in list(self.writes) if write.sent >= after), None)

    def numbers(self, path: str, name: str) -> dict[int, list[int]]:
        """What each worker has said of a number in its answers, in their order."""
        return {
            worker: [json.loads(answer.body)[name] for answer in answers]
            for worker, answers in self.answers[path].items()
        }

    def fresh_at(self, revision: int) -> float | None:
        """When the last worker served this revision or a later one; None while one does not."""
        at = [
            next((answer.received for answer in list(answers) if has(answer, revision)), None)
            for answers in self.answers[SETTINGS].values()
        ]
        found = [moment for moment in at if moment is not None]
        return max(found) if len(found) == len(at) else None


def has(answer: Answer, revision: int) -> bool:
    return answer.status == 200 and bool(json.loads(answer.body)["revision"] >= revision)


@contextmanager
def observing(server: Server) -> Iterator[Seen]:
    """Write again and again during the block, and ask each worker for its state, its health and its gate."""
    seen, ended, workers = Seen(), threading.Event(), server.workers()

    def write() -> None:
        for number in range(10_000):
            message, sent = f"number {number} of {time.time()}", time.time()
            with suppress(requests.ConnectionError):
                answer = server.patch(maintenance_message=message)
                if answer.status_code == 200:
                    seen.writes.append(Write(sent, time.time(), answer.json()["revision"], message))
                else:
                    seen.refused.append((answer.status_code, answer.json()["code"]))
            if ended.wait(PAUSE):
                return

    writer = threading.Thread(target=write)
    with ExitStack() as stack:
        for path in (SETTINGS, READY, GATE):
            seen.answers[path] = stack.enter_context(watching(server.port, workers, path, pause=LOOK))
        writer.start()
        try:
            yield seen
        finally:
            ended.set()
            writer.join()


class Figures(NamedTuple):
    """Seconds from the promotion's end."""

    first_write: float
    all_fresh: float


def fail_over(way: Way, pair: Pair, route: Route, seen: Seen, outage: float) -> Figures:
    """Lose the primary amid writes, promote the replica, and wait until every worker has a write made after that.

    Args:
        outage: seconds from the one to the other.
    """
    eventually(PATIENCE, lambda: len(seen.writes) >= 5)
    way.lose(pair.primary)
    time.sleep(outage)
    pair.replica.promote()
    promoted = time.time()
    route.repoint()
    eventually(PATIENCE, lambda: seen.first_write(promoted))
    write = seen.first_write(promoted)
    assert write is not None
    eventually(PATIENCE, lambda: seen.fresh_at(write.revision))
    fresh = seen.fresh_at(write.revision)
    assert fresh is not None
    return Figures(write.received - promoted, fresh - promoted)
