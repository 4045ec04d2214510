"""Faults after which another copy of the database is in force."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg2

from .. import processes
from ..clock import eventually
from ..postgres import Cluster, binaries, execute, unprivileged
from .faults import PATIENCE, Faults, does
from .plan import Trouble
from .record import now
from .system import TERMINATE, changes
from .templates import DATABASE


@does("restore a backup")
def restore(faults: Faults, trouble: Trouble) -> None:
    """Take a backup, and some time later put the database that it has in place of the one there is."""
    system, server = faults.system, faults.system.server
    kept, backup = now(), system.folder / "backup"
    admin, options = server.url(), unprivileged()
    backup.mkdir(mode=0o777, exist_ok=True)
    backup.chmod(0o777)
    file = backup / f"{len(system.lives)}"
    processes.run([binaries() / "pg_dump", "-Fc", "-f", file, system.url], **options)
    time.sleep(trouble.seconds)
    old, new = f"old_{len(system.lives)}", DATABASE if trouble.how["in place"] else f"new_{len(system.lives)}"
    restore: list[str | Path] = [binaries() / "pg_restore", "--single-transaction", "-d", server.url(new), file]
    with faults.disturbing(trouble, "database", "in place" if new == DATABASE else "beside"):
        began = now()
        if new != DATABASE:
            execute(admin, f"CREATE DATABASE {new}")
            processes.run(restore, **options)
        _rename(admin, DATABASE, old)
        system.lives[-1].changes = lambda: changes(server.url(old))
        if new == DATABASE:
            execute(admin, f"CREATE DATABASE {new}")
            processes.run(restore, **options)
        else:
            _rename(admin, new, DATABASE)
        system.begin_life("restored", began, kept)


def _rename(admin: str, old: str, new: str) -> None:
    """Rename a database that others use."""
    execute(admin, f"ALTER DATABASE {old} ALLOW_CONNECTIONS false")

    def renamed() -> bool:
        execute(admin, TERMINATE.format(old))
        with suppress(psycopg2.OperationalError):
            execute(admin, f"ALTER DATABASE {old} RENAME TO {new}")
            return True
        return False

    eventually(PATIENCE, renamed)
    execute(admin, f"ALTER DATABASE {new} ALLOW_CONNECTIONS true")


@does("fail over")
def fail_over(faults: Faults, trouble: Trouble) -> None:
    """Lose the primary, promote its replica after a while, and keep the old one out for good."""
    system, lost, replica = faults.system, faults.system.server, faults.system.replica
    assert replica is not None
    replica.wait_for_replay()
    kept = now()
    time.sleep(random.Random(trouble.at).uniform(0.0, 0.3))
    with faults.disturbing(trouble, "database", trouble.how["way"]):
        began = now()
        if trouble.how["way"] == "kill":
            lost.kill()
        else:
            lost.freeze()
        time.sleep(trouble.seconds)
        replica.promote()
        if trouble.how["way"] == "freeze":
            lost.kill()
        system.lives[-1].changes = lambda: _of_the_lost(lost)
        system.primary = replica
        system.begin_life("promoted", began, kept, lossless=replica._synchronous)


def _of_the_lost(lost: Cluster) -> list[dict[str, Any]]:
    """What the old primary had, when nobody is there any more to be misled by it."""
    lost.start()
    return changes(lost.url(DATABASE))
