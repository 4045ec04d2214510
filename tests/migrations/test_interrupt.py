"""Ctrl-C, and the SIGTERM of a platform, cancel the running statement and leave nothing half done."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import Cluster, execute
from tests.processes import Popen, run

from .tree import Tree, until

UPGRADE, ALEMBIC = ("flask", "db", "upgrade"), ("alembic", "upgrade", "head")
SLEEP = """op.add_column("system_settings", sa.Column("wanted", sa.Integer())); op.execute("SELECT pg_sleep(600)")"""
FOR_EVER = "WITH RECURSIVE endless(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM endless) SELECT max(n) FROM endless"
# The limit of a test that would hang. What is promised is a second; the statements would take for ever.
LIMIT = 30
LOCKS = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def running(url: str, part: str) -> list[tuple[Any, ...]]:
    return execute(
        url,
        "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state = 'active'"
        f" AND datname = current_database() AND query LIKE '{part}%'",
    )


def interrupted(process: Popen, sent: signal.Signals) -> str:
    """The last line of a command that ends with this signal's code; before it there are Alembic's own alone."""
    process.send_signal(sent)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 128 + sent, output
    lines = output.splitlines()
    assert [line for line in lines[:-1] if not line.startswith("INFO  [alembic.")] == []
    return str(lines[-1]).removeprefix("ERROR [alembic.dop_be] ")


@pytest.mark.parametrize("line", [UPGRADE, ALEMBIC], ids=["flask", "alembic"])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_running_statement(migrated_tree: Tree, line: tuple[str, ...], sent: signal.Signals) -> None:
    url, head = migrated_tree.url, migrated_tree.head
    migrated_tree.add("aaaa00000051", SLEEP)
    process = migrated_tree.start(*line)
    until(lambda: running(url, "SELECT pg_sleep"))
    told = interrupted(process, sent)
    assert told == f"interrupted by {sent.name} in revision aaaa00000051; its transaction was undone"
    # Nothing waits for the server to notice a connection that is gone: the statement itself was cancelled.
    assert running(url, "SELECT pg_sleep") == []
    until(lambda: not execute(url, LOCKS))
    assert execute(url, "SELECT version_num FROM alembic_version") == [(head,)]
    assert execute(url, "SELECT 1 FROM information_schema.columns WHERE column_name = 'wanted'") == []


def test_the_first_upgrade_of_an_empty_database_leaves_it_empty(postgresql_tree: Tree) -> None:
    file = postgresql_tree.path / "migrations" / "versions" / "19176e327d47_enable_uuid_ossp.py"
    file.write_text(
        file.read_text().replace("    context = op.get", "    op.execute('SELECT pg_sleep(600)')\n    context = op.get")
    )
    process = postgresql_tree.start(*UPGRADE)
    until(lambda: running(postgresql_tree.url, "SELECT pg_sleep"))
    assert "in revision 19176e327d47" in interrupted(process, signal.SIGINT)
    assert execute(postgresql_tree.url, "SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []


def test_a_migration_that_waits_for_another(migrated_tree: Tree) -> None:
    migrated_tree.add("aaaa00000052", SLEEP)
    first = migrated_tree.start(*UPGRADE)
    until(lambda: running(migrated_tree.url, "SELECT pg_sleep"))
    second = migrated_tree.start(*UPGRADE)
    assert second.stdout
    line = ""
    while "waiting for migration on " not in line:
        line = second.stdout.readline()
        assert line, "it ended without waiting"
    second.send_signal(signal.SIGINT)
    rest, _ = second.communicate(timeout=LIMIT)
    assert second.returncode == 130
    assert rest == "ERROR [alembic.dop_be] interrupted by SIGINT while no revision was running\n"
    assert running(migrated_tree.url, "SELECT pg_sleep")  # the first is not disturbed
    interrupted(first, signal.SIGTERM)


SLOW_LOG = """
import logging, os, signal, time
from migrations.interrupt import CANCEL_SECONDS, interruptible

class Slow(logging.Handler):
    def createLock(self):
        self.lock = None  # for which the end of the process would wait, if it came second

    def emit(self, record):
        time.sleep(CANCEL_SECONDS + 0.1)
        print(record.getMessage(), flush=True)

logging.getLogger("alembic.dop_be").addHandler(Slow())
with interruptible(lambda: "while it waited"):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(600)
"""


def test_a_line_that_takes_its_time_is_written_before_the_end() -> None:
    """The thread that writes it ends with the process. On a busy machine it may be slower than the main thread."""
    done = run([sys.executable, "-c", SLOW_LOG], check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "interrupted by SIGINT while it waited\n", "")


def test_python_that_does_not_end(migrated_tree: Tree) -> None:
    """A revision that swallows everything: the process ends all the same."""
    url = migrated_tree.url
    migrated_tree.add(
        "aaaa00000053",
        "op.execute('CREATE TABLE begun (id integer)')\n    op.execute(\"SELECT 'here'\")\n    while True:\n"
        "        try:\n            __import__('time').sleep(600)\n        except BaseException: pass",
    )
    process = migrated_tree.start(*UPGRADE)
    until(
        lambda: execute(url, "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT ''here''' AND state LIKE 'idle in%'")
    )
    assert "in revision aaaa00000053" in interrupted(process, signal.SIGINT)
    until(lambda: not execute(url, LOCKS))
    assert execute(url, "SELECT to_regclass('begun')") == [(None,)]


def test_a_server_that_does_not_answer(cluster: Cluster, breakable_url: str, make_tree: Callable[[str], Tree]) -> None:
    """psycopg2's cancellation waits for an answer, and holds the interpreter's lock meanwhile: the kernel ends it."""
    tree = make_tree(breakable_url)
    tree.add("aaaa00000054", SLEEP)
    process = tree.start(*UPGRADE)
    until(lambda: running(breakable_url, "SELECT pg_sleep"))
    cluster.freeze()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=LIMIT)
    cluster.thaw()
    assert process.returncode in {-signal.SIGALRM, 128 + signal.SIGINT}
    assert "interrupted by SIGINT in revision aaaa00000054" in output.splitlines()[-1]
    until(lambda: not running(breakable_url, "SELECT pg_sleep"))


@pytest.fixture
def sqlite_tree(sqlite_url: str, make_tree: Callable[[str], Tree]) -> Tree:
    return make_tree(sqlite_url)


def used_seconds(process: Popen) -> float:
    """The processor's time that it has used: a statement that never ends is the only thing that uses so much."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_statement_of_sqlite(sqlite_tree: Tree) -> None:
    sqlite_tree.add("aaaa00000055", f'op.execute("CREATE TABLE begun (id INTEGER)"); op.execute("{FOR_EVER}")')
    process = sqlite_tree.start(*UPGRADE)
    assert process.stdout
    while "-> aaaa00000055" not in (line := process.stdout.readline()):
        assert line, "it never ran"
    used = used_seconds(process)
    until(lambda: used_seconds(process) > used + 0.5)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert rest.endswith("interrupted by SIGINT in revision aaaa00000055; its transaction was undone\n")
    assert "aaaa00000055" not in sqlite_tree.run("flask", "db", "current")
