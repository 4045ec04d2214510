"""How long the database takes to tell many listeners, and to let them all read again."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import psycopg2
from psycopg2 import extensions
from sqlalchemy import create_engine

from dop_be.deadline import time_limit, wait
from dop_be.live.listener import CHANNEL
from dop_be.live.loader import STATE

from .flips import HEAD, PAUSE, by_sql, row
from .report import Table
from .servers import PATIENCE, new_database, postgresql

FLIPS = 200


def measure(rounds: int) -> Iterator[Table]:
    rows = []
    with postgresql(max_connections="300") as cluster:
        url = new_database(cluster, "fanout")
        for count in (50, 200):
            told, read = fan_out(url, count, FLIPS if rounds > 1 else FLIPS // 10)
            rows.append(row(f"the last of {count} listeners is told", told))
            rows.append(row(f"the last of {count} has read the state again", read))
    note = (
        f"{FLIPS} flips by SQL; plain connections of one process, which reads every notification and then asks through"
        " all of them for the state: what the database and the network give, beside the workers' own time."
    )
    yield Table("Fan-out", HEAD[:4], [line[:4] for line in rows], note)


def fan_out(url: str, count: int, flips: int) -> tuple[list[float], list[float]]:
    """Seconds from each commit until the last listener is told, and until the last has read the state."""
    statement = str(STATE.compile(create_engine(url.replace("postgresql://", "postgresql+psycopg2://"))))
    told, read = [], []
    with ExitStack() as stack:
        listeners = [stack.enter_context(closing(listener(url))) for _ in range(count)]
        flip = stack.enter_context(by_sql(url))
        for number in range(flips):
            began = flip(number % 2 == 0)
            await_notifications(listeners)
            told.append((time.monotonic_ns() - began) / 1e9)
            ask(listeners, statement)
            read.append((time.monotonic_ns() - began) / 1e9)
            time.sleep(PAUSE)
    return told, read


def listener(url: str) -> extensions.connection:
    connection = psycopg2.connect(url, async_=1)
    with time_limit(PATIENCE):
        wait(connection)
    ask([connection], f"LISTEN {CHANNEL}")
    return connection


def ask(connections: list[extensions.connection], statement: str) -> None:
    """Send a statement through each connection, then wait for every answer."""
    cursors = [connection.cursor() for connection in connections]
    for cursor in cursors:
        cursor.execute(statement)
    with time_limit(PATIENCE):
        for connection in connections:
            wait(connection)


def await_notifications(listeners: list[extensions.connection]) -> None:
    """Wait until each listener has been told."""
    waiting = {connection.fileno(): connection for connection in listeners}
    poller = select.poll()
    for descriptor in waiting:
        poller.register(descriptor, select.POLLIN)
    while waiting:
        ready = poller.poll(PATIENCE * 1000)
        if not ready:
            raise TimeoutError(f"{len(waiting)} of {len(listeners)} listeners were not told")
        for descriptor, _ in ready:
            connection = waiting[descriptor]
            connection.poll()
            if connection.notifies:
                connection.notifies.clear()
                poller.unregister(descriptor)
                del waiting[descriptor]
