"""Faults of the database's server, of its sessions and locks, and on the way to it."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import psycopg2

from ..clock import eventually
from ..far import Proxy
from ..postgres import connections_used_up, execute
from .faults import PATIENCE, Faults, does, pause, send
from .plan import Trouble
from .system import TERMINATE, System
from .templates import DATABASE

BACKENDS = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = '{}' ORDER BY pid"


def _backend(faults: Faults, trouble: Trouble) -> int | None:
    with suppress(psycopg2.OperationalError):
        found = [pid for (pid,) in execute(faults.system.server.url(), BACKENDS.format(DATABASE))]
        return found[int(trouble.how["one"] * len(found))] if found else None
    return None


@does("kill a backend")
def kill_backend(faults: Faults, trouble: Trouble) -> None:
    """The server ends all others too, and recovers."""
    backend = _backend(faults, trouble)
    if backend is not None:
        with faults.disturbing(trouble, "database"):
            send([backend], signal.SIGKILL)
            time.sleep(0.2)
            eventually(PATIENCE, faults.answers)


@does("stop a backend")
def stop_backend(faults: Faults, trouble: Trouble) -> None:
    """It may be the one that holds the lock."""
    backend = _backend(faults, trouble)
    if backend is not None:
        with faults.disturbing(trouble, "database"):
            pause([backend], trouble.seconds)


@does("kill the server")
def kill_server(faults: Faults, trouble: Trouble) -> None:
    with faults.disturbing(trouble, "database"):
        faults.system.server.kill()
        time.sleep(trouble.seconds / 2)
        faults.system.server.start()
        eventually(PATIENCE, faults.answers)


@does("freeze the server")
def freeze_server(faults: Faults, trouble: Trouble) -> None:
    with faults.disturbing(trouble, "database"):
        faults.system.server.freeze()
        time.sleep(trouble.seconds)
        faults.system.server.thaw()


@does("restart the server")
def restart_server(faults: Faults, trouble: Trouble) -> None:
    with faults.disturbing(trouble, "database"):
        faults.system.server.stop()
        faults.system.server.start()
        eventually(PATIENCE, faults.answers)


@does("terminate sessions")
def terminate(faults: Faults, trouble: Trouble) -> None:
    with faults.disturbing(trouble, "database"):
        execute(faults.system.server.url(), TERMINATE.format(DATABASE))


@does("use up connections")
def use_up(faults: Faults, trouble: Trouble) -> None:
    """Sessions that were open stay; after a while those end too, so that the workers need new ones."""
    with faults.disturbing(trouble, "database"), connections_used_up(faults.system.server.url(DATABASE)) as again:
        time.sleep(trouble.seconds / 2)
        with suppress(psycopg2.OperationalError):
            execute(faults.system.server.url(), TERMINATE.format(DATABASE))
        again()
        time.sleep(trouble.seconds / 2)


@does("lock the settings")
def lock(faults: Faults, trouble: Trouble) -> None:
    with faults.disturbing(trouble, "database"), ExitStack() as stack:
        if faults.system.file is not None:
            _lock_file(faults.system, stack)
        else:
            connection = stack.enter_context(closing(psycopg2.connect(faults.system.url)))
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE system_settings IN ACCESS EXCLUSIVE MODE")
        time.sleep(trouble.seconds)


def _lock_file(system: System, stack: ExitStack) -> None:
    connection = stack.enter_context(closing(sqlite3.connect(str(system.file), isolation_level=None, timeout=30)))
    connection.execute("BEGIN EXCLUSIVE")


@contextmanager
def _network(faults: Faults, trouble: Trouble, *, excuses: bool = True) -> Iterator[list[Proxy]]:
    """The ways to the database of some hosts, which are disturbed for the block; not where nothing `excuses` them."""
    names = [name for name in trouble.how["hosts"] if name in faults.system.networks]
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(faults.disturbing(trouble, f"network {name}" if excuses else "nobody"))
        yield [network for name in names for network in faults.system.networks[name]]


@does("cut the network")
def cut(faults: Faults, trouble: Trouble) -> None:
    with _network(faults, trouble) as networks:
        for network in networks:
            network.go_down()
        time.sleep(trouble.seconds)
        for network in networks:
            network.come_up()


@does("slow the network")
def slow(faults: Faults, trouble: Trouble) -> None:
    """Slow is no excuse."""
    with _network(faults, trouble, excuses=False) as networks:
        for network in networks:
            network.round_trip = trouble.how["round trip"]
        time.sleep(trouble.seconds)
        for network in networks:
            network.round_trip = 0.0


@does("silence the network")
def silence(faults: Faults, trouble: Trouble) -> None:
    with _network(faults, trouble) as networks:
        for network in networks:
            network.freeze()
        time.sleep(trouble.seconds)
        for network in networks:
            network.thaw()


@does("kill the pooler")
def kill_pooler(faults: Faults, trouble: Trouble) -> None:
    assert faults.system.pooler is not None
    with faults.disturbing(trouble, "database"):
        faults.system.pooler.kill()
        time.sleep(trouble.seconds)
        faults.system.pooler.start()


@does("restart the pooler")
def restart_pooler(faults: Faults, trouble: Trouble) -> None:
    assert faults.system.pooler is not None
    with faults.disturbing(trouble, "database"):
        faults.system.pooler.restart()
