"""Becomes `flask`, `alembic` or `gunicorn` without importing their libraries, which takes most of their time.

It has imported the libraries, and forks for each command. The child imports the project anew, in its own folder and
with its own environment, and ends like any process. `forked` is the other side.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import selectors
import shutil
import socket
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

LIBRARIES = (  # none that looks at the environment when it is imported, as gunicorn does
    *("alembic.command", "alembic.ddl.postgresql", "dateutil.rrule", "dotenv", "environs", "flask.cli", "flask_cors"),
    *("flask_migrate", "flask_smorest", "flask_sqlalchemy", "logging.config"),
    *("marshmallow", "psycopg2.extras", "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite"),
    *("structlog", "zoneinfo"),
)
DESCRIPTORS = 4  # standard input, output and error, and the socket that is told number and exit code


class Children:
    """The commands that run, each with the socket that waits for its exit code."""

    def __init__(self, control: socket.socket) -> None:
        self._control, self._selector = control, selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)

    def serve(self) -> dict[str, Any] | None:
        """Fork until the tests end; in each child, return what it has to become."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is not self._control:
                    self._bury(key)
                    continue
                message, descriptors, _, _ = socket.recv_fds(self._control, 2**20, DESCRIPTORS)
                if not message:
                    return None
                if self._fork(descriptors):
                    return dict(json.loads(message))

    def _fork(self, descriptors: list[int]) -> bool:
        """Whether this is the child."""
        status = socket.socket(fileno=descriptors.pop())
        pid = os.fork()
        if pid == 0:
            status.close()
            self._leave()
            for number, descriptor in enumerate(descriptors):
                os.dup2(descriptor, number)
        else:
            status.send(str(pid).encode())
            self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))
        for descriptor in descriptors:
            os.close(descriptor)
        return pid == 0

    def _bury(self, key: selectors.SelectorKey) -> None:
        pid, status = key.data
        self._selector.unregister(key.fileobj)
        os.close(key.fd)
        with suppress(OSError):
            status.recv(1)  # until the tests have looked at the process, which is there as long as nobody waits for it
        _, code = os.waitpid(pid, 0)
        with suppress(OSError), status:
            status.send(str(os.waitstatus_to_exitcode(code)).encode())

    def _leave(self) -> None:
        """Close in a child what belongs to its parent."""
        for key in list(self._selector.get_map().values()):
            if key.fileobj is not self._control:
                os.close(key.fd)
                key.data[1].close()
        self._selector.close()
        self._control.close()


def become(command: list[str], cwd: str, env: dict[str, str]) -> None:
    """Run a command's console script as Python would."""
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.modules["sitecustomize"].take(env)
    if env.get("PYTHONWARNINGS") == "error":
        warnings.simplefilter("error")
        sys.warnoptions.append("error")
    if command[0] == "python":  # python -m …
        sys.argv, sys.path[0] = command[2:], cwd
        runpy.run_module(command[2], run_name="__main__", alter_sys=True)
        return
    script = shutil.which(command[0])
    assert script is not None, command
    sys.argv, sys.path[0] = [script, *command[1:]], str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")


def main() -> None:
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    if wanted := Children(socket.socket(fileno=int(sys.argv[1]))).serve():
        become(**wanted)


if __name__ == "__main__":
    main()
