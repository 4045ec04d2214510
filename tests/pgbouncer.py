"""PgBouncer in transaction mode in front of a test's server."""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from . import processes
from .ports import free_port
from .postgres import unprivileged

CONFIGURATION = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
; any lets everyone in as the user above
auth_type = any
pool_mode = transaction
default_pool_size = 4
"""


@contextmanager
def pgbouncer(url: str) -> Iterator[str]:
    """Run a pooler for the block; the URL of the same database through it."""
    server, port = make_url(url), free_port()
    program = shutil.which("pgbouncer", path=processes.environment()["PATH"])
    if program is None:
        raise RuntimeError("PgBouncer is not installed: run `make system`")
    with tempfile.TemporaryDirectory(prefix="dop_be-pgbouncer-") as directory:
        Path(directory).chmod(0o755)
        configuration = Path(directory) / "pgbouncer.ini"
        target = {"host": server.host, "port": server.port, "user": server.username, "listen_port": port}
        configuration.write_text(CONFIGURATION.format(**target))
        with processes.started([program, "--quiet", configuration], **unprivileged()):
            _wait_for(port)
            yield server.set(port=port).render_as_string(hide_password=False)


def _wait_for(port: int) -> None:
    for _ in range(3000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("PgBouncer did not start")
