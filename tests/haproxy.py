"""HAProxy in front of two PostgreSQL servers, with the shipped configuration."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from . import processes
from .clock import eventually
from .ports import free_port
from .postgres import Cluster, execute

SHIPPED = processes.ROOT / "deploy" / "haproxy-postgresql.cfg"
START_SECONDS = 60.0


@dataclass(frozen=True)
class Balancer:
    """A running HAProxy that shows the primary at its port."""

    port: int
    _log: Path

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def says(self, server: str, state: str) -> bool:
        """Whether it has logged that a server, by its name in the file, is UP or DOWN."""
        return f"Server postgresql/{server} is {state}" in self._log.read_text()


@contextmanager
def haproxy(primary: Cluster, replica: Cluster) -> Iterator[Balancer]:
    """Run it for the block."""
    program = shutil.which("haproxy", path=processes.environment()["PATH"])
    if program is None:
        raise RuntimeError("HAProxy is not installed: run `make system`")
    directory = processes.folder("haproxy")
    configuration, log = directory / "haproxy.cfg", directory / "log"
    balancer = Balancer(free_port(), log)
    configuration.write_text(configured(primary, replica, balancer.port))
    with (
        log.open("wb") as output,
        processes.started([program, "-db", "-f", configuration], stdout=output, stderr=output),
    ):
        # It takes both for up until the second check of each, and then shows the replica to nobody.
        eventually(START_SECONDS, lambda: balancer.says("second", "DOWN") and _primary_answers(balancer))
        yield balancer


def configured(first: Cluster, second: Cluster, port: int) -> str:
    text = SHIPPED.read_text()
    for shipped, used in {
        "127.0.0.1:5000": f"127.0.0.1:{port}",
        "10.0.0.5:5432": f"127.0.0.1:{first.port}",
        "10.0.0.6:5432": f"127.0.0.1:{second.port}",
    }.items():
        assert text.count(shipped) == 1, f"{SHIPPED} has no {shipped}"
        text = text.replace(shipped, used)
    return text


def _primary_answers(balancer: Balancer) -> bool:
    with suppress(psycopg2.OperationalError):
        return execute(balancer.url("postgres"), "SELECT pg_is_in_recovery()") == [(False,)]
    return False
