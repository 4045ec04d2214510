"""What a database far away costs: until a worker is ready, a write, a flip; and the round trips behind them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.client import HTTPException
from statistics import median

from tests.far import Proxy, proxied
from tests.postgres import execute
from tests.secured import SecuredCluster
from tests.wire import Trip

from .flips import by_sql, latencies, probed
from .report import Table
from .servers import ADMIN, Server, flask, gunicorn, migrate, secured_postgresql

ROUND_TRIPS = (0.0, 0.05, 0.1, 0.2)  # seconds
COUNTING = 0.05  # seconds: far enough that what is sent together is seen together
QUIET = {"LOG_LEVEL": "CRITICAL"}
READY = 30.0  # seconds after which a worker counts as never ready
WRITES, FLIPS = 10, 10
NEVER = "never"
MOST = "4"  # round trips of a warm write
JSON = {**ADMIN, "Content-Type": "application/json", "If-Match": "*"}
Write = Callable[[Server, int], int]


def measure(rounds: int) -> Iterator[Table]:
    with secured_postgresql() as cluster:
        migrate(cluster.create("distance"))
        yield seconds(cluster, rounds)
        yield round_trips(cluster, rounds)


# Seconds


def seconds(cluster: SecuredCluster, rounds: int) -> Table:
    rows = []
    for distance in ROUND_TRIPS:
        with proxied(cluster.secured_url("distance"), distance) as proxy:
            cells = [*one_worker(proxy.url, min(rounds, 3)), *flips(cluster, proxy.url)]
        rows.append([f"{distance * 1000:.0f} ms", *cells])
    head = ["round trip", "ready", "PUT, median", "worst", "flip seen, median", "worst"]
    note = (
        "A proxy delays each byte on its way to PostgreSQL and back; TLS and SCRAM. From gunicorn's start, which is in"
        f" it, until `/readyz` says 200; {WRITES} warm PUTs that flip, of one worker; {FLIPS} flips by SQL beside"
        " the server, from COMMIT until the last of 2 workers has swapped its snapshot."
    )
    return Table("A database far away", head, rows, note)


def one_worker(url: str, rounds: int) -> list[str]:
    """Start a worker, again and again, and have the last one write: until it is ready, a PUT's median, the worst."""
    ready = []
    for number in range(rounds):
        began = time.monotonic()
        with gunicorn("wsgi:app", url, variables=QUIET) as server:
            ready.append(until_ready(server, began))
            if number == rounds - 1:
                writes = puts(server)
    known = [each for each in ready if each is not None]
    return [shown(median(known)) if len(known) == rounds else NEVER, *writes]


def until_ready(server: Server, began: float) -> float | None:
    """Return the seconds from then until it is ready; None where that does not come."""
    while (taken := time.monotonic() - began) < READY:
        if request(server, "GET", "/readyz") == 200:
            return taken
        time.sleep(0.02)
    return None


def puts(server: Server) -> list[str]:
    """Return the median and the worst of warm PUTs; in the median's place the answers, where one was not 200."""
    taken, answers = [], Counter[int]()
    for number in range(2 + WRITES):
        began = time.monotonic()
        status = put(server, number)
        if number >= 2:
            taken.append(time.monotonic() - began)
            answers[status] += 1
    if answers[200] < WRITES:
        return [", ".join(f"{count} × {status}" for status, count in answers.items()), shown(max(taken))]
    return [shown(median(taken)), shown(max(taken))]


def flips(cluster: SecuredCluster, url: str) -> list[str]:
    execute(cluster.url("distance"), "UPDATE system_settings SET is_maintain = false")  # the first one flips
    try:
        with probed(url, 2, variables=QUIET) as (_, probe), by_sql(cluster.url("distance")) as flip:
            taken = latencies(probe, 2, FLIPS, flip)
    except TimeoutError:
        return [NEVER, NEVER]
    return [shown(median(taken)), shown(max(taken))]


def shown(taken: float) -> str:
    return f"{taken:.2f} s" if taken >= 1 else f"{taken * 1000:.0f} ms"


# Round trips


def round_trips(cluster: SecuredCluster, rounds: int) -> Table:
    names: dict[str, Write] = {"PUT": put, "PATCH": patch}
    counted: dict[str, list[int]] = {name: [] for name in names}
    with proxied(cluster.secured_url("distance", "disable"), COUNTING) as proxy:
        with gunicorn("wsgi:app", proxy.url, variables=QUIET) as server:
            until_ready(server, time.monotonic())
            for number in range(2 + max(3, rounds)):
                for name, write in names.items():
                    counted[name] += [of_write(proxy, server, write, number)] if number >= 2 else []
        rows = [[f"warm {name}", f"{median(each):.0f}", MOST, "0"] for name, each in counted.items()]
        rows += [of_command(proxy, "maintenance", word) for word in ("on", "off")]
    head = ["", "round trips", "at most", "connecting"]
    note = "Counted on the wire, without TLS, those of the watcher's connection left out; the median for writes."
    return Table("Round trips to the database", head, rows, note)


def of_write(proxy: Proxy, server: Server, write: Write, number: int) -> int:
    time.sleep(6 * COUNTING)  # the watcher may still read what the write before has changed
    with proxy.trips() as trips:
        write(server, number)
    return sum(not trip.conversation.listens for trip in trips)


def of_command(proxy: Proxy, *words: str) -> list[str]:
    trips: list[Trip]
    with proxy.trips() as trips:
        flask(proxy.url, *words)
    connecting = sum(trip.is_connecting for trip in trips)
    return [f"`flask {' '.join(words)}`", f"{len(trips) - connecting}", MOST, f"{connecting}"]


# Requests


def put(server: Server, number: int) -> int:
    return request(server, "PUT", "/api/v1/maintenance", {"active": number % 2 == 0})


def patch(server: Server, number: int) -> int:
    return request(server, "PATCH", "/api/v1/settings", {"maintenance_message": f"number {number}"})


def request(server: Server, method: str, path: str, body: object = None) -> int:
    """Send a request over a connection of its own; the status, 0 where there is no answer."""
    connection = server.connect()
    try:
        connection.request(method, path, None if body is None else json.dumps(body), JSON if body else {})
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()
