"""PgBouncer in transaction mode in front of a test's server, with the shipped configuration."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from . import processes
from .ports import free_port
from .postgres import execute, unprivileged

SHIPPED = processes.ROOT / "deploy" / "pgbouncer.ini"
# any lets everyone in, as the user that is named with the server
AUTHENTICATION = "auth_type = any\nunix_socket_dir =\ndefault_pool_size = 4\nadmin_users = postgres\n"


class Pooler:
    """A PgBouncer whose server may be changed while it runs."""

    def __init__(self, url: str) -> None:
        self._port, self._server = free_port(), make_url(url)
        directory = processes.folder("pgbouncer")
        directory.chmod(0o755)
        self.configuration = directory / "pgbouncer.ini"
        self._configure(self._server)

    @property
    def url(self) -> str:
        """The same database through it."""
        return self._through("")

    def point_to(self, url: str) -> None:
        """Have it go to another server from now on, as an operator does: change the file, and reload."""
        self._configure(make_url(url))
        execute(self._through("pgbouncer"), "RELOAD")

    def _through(self, database: str) -> str:
        url = self._server.set(port=self._port, database=database or self._server.database)
        return url.render_as_string(hide_password=False)

    def _configure(self, server: URL) -> None:
        text = SHIPPED.read_text()
        for shipped, used in {
            "host=10.0.0.5 port=5432": f"host={server.host} port={server.port} user={server.username}",
            "listen_port = 6432\n": f"listen_port = {self._port}\n",
            "auth_type = scram-sha-256\nauth_file = /etc/pgbouncer/userlist.txt\n": AUTHENTICATION,
        }.items():
            assert shipped in text, f"{SHIPPED} has no {shipped}"
            text = text.replace(shipped, used)
        self.configuration.write_text(text)

    def wait(self) -> None:
        """Wait until it takes connections.

        Raises:
            RuntimeError: it does not start.
        """
        for _ in range(3000):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError("PgBouncer did not start")


@contextmanager
def pooler(url: str) -> Iterator[Pooler]:
    """Run a pooler in front of a database for the block."""
    program = shutil.which("pgbouncer", path=processes.environment()["PATH"])
    if program is None:
        raise RuntimeError("PgBouncer is not installed: run `make system`")
    made = Pooler(url)
    with processes.started([Path(program), "--quiet", made.configuration], **unprivileged()):
        made.wait()
        yield made


@contextmanager
def pgbouncer(url: str) -> Iterator[str]:
    """Run a pooler for the block; the URL of the same database through it."""
    with pooler(url) as made:
        yield made.url
