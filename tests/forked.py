"""A process that `forkserver` has forked, as tests know any other."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from . import undertaker
from .guard import sitecustomize as guard

COMMANDS = ("flask", "alembic", "gunicorn")
PLAIN = {"PYTHONPATH", "PYTHONWARNINGS"}  # what of Python's own variables a fork can still follow


def suits(command: Sequence[str], env: Mapping[str, str], options: Mapping[str, Any]) -> bool:
    """Whether a fork does the same as the program: nothing that counts at Python's own start is different."""
    return (
        (command[0] in COMMANDS or (command[0] == "python" and command[1] == "-m" and command[2] in COMMANDS))
        and all(name in options and not isatty(options[name]) for name in ("stdout", "stderr"))
        and options.get("stdin") in {None, subprocess.DEVNULL}
        and options.keys() <= {"stdin", "stdout", "stderr", "text"}
        and env.get("PYTHONWARNINGS") in {None, "error"}
        and bool(env.get("PYTHONPATH"))
        and guard.CLOCK not in env
        and not any(name.startswith(("PYTHON", "LC_")) for name in env.keys() - PLAIN)
    )


def isatty(where: Any) -> bool:
    """Whether this is more than a pipe or a file, so that Python would find out at its start."""
    return isinstance(where, int) and where not in {subprocess.PIPE, subprocess.STDOUT}


def _end(where: Any, stack: ExitStack) -> tuple[Any, int]:
    """Our end of a pipe, if one is wanted, and the number of theirs."""
    if where != subprocess.PIPE:
        return None, where.fileno()
    read, write = os.pipe()
    stack.callback(os.close, write)
    return os.fdopen(read, encoding="utf-8"), write


class Forked(subprocess.Popen[Any]):
    """What tests use of Popen, with text from and to pipes."""

    def __init__(
        self, control: socket.socket, command: Sequence[str], cwd: str, env: Mapping[str, str], **to: Any
    ) -> None:
        self.args, self.returncode, self.stdin = command, None, None
        self._status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, ExitStack() as stack:
            self.stdout, output = _end(to["stdout"], stack)
            self.stderr, errors = (None, output) if to["stderr"] == subprocess.STDOUT else _end(to["stderr"], stack)
            nothing = stack.enter_context(open(os.devnull, "rb")).fileno()  # noqa: PTH123
            message = json.dumps({"command": list(command), "cwd": cwd, "env": dict(env)})
            socket.send_fds(control, [message.encode()], [nothing, output, errors, theirs.fileno()])
        self.pid = int(self._status.recv(20))
        self.identity = undertaker.identity(self.pid)
        self._status.send(b"!")

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self.returncode = int(self._status.recv(20) or -signal.SIGKILL)  # else the server was killed with it
            self._status.close()
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has just ended, as Popen lets it
                os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:  # noqa: A002 - Popen's
        read: dict[Any, str] = {}
        pipes = [pipe for pipe in (self.stdout, self.stderr) if pipe is not None]
        threads = [threading.Thread(target=lambda pipe=pipe: read.update({pipe: pipe.read()})) for pipe in pipes]
        for thread in threads:
            thread.start()
        self.wait(timeout)
        for thread in threads:
            thread.join(timeout)
        for pipe in pipes:
            pipe.close()
        return read.get(self.stdout), read.get(self.stderr)

    def __del__(self) -> None:
        self._status.close()
