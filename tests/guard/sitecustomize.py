"""Refuses to connect to anything that the tests did not start, and to read the developer's .env or databases.

Python imports it at the start of each process that a test starts, since its folder is in their PYTHONPATH; pytest's own
processes install it from conftest.py. libpq connects outside of Python's sight, so psycopg2 is guarded by itself.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

ALLOWED, FOLDER = "DOP_BE_TESTS_ALLOWED", "DOP_BE_TESTS_FORBIDDEN"  # ports and servers, with commas; a folder
CLOCK = "DOP_BE_TESTS_CLOCK"  # a file with the seconds by which a host's clock is ahead
NOWHERE = 1  # a port at which nobody listens
LOOPBACK = ("127.", "::1", "localhost")
allowed: set[int] = {NOWHERE}  # ports on loopback
servers: set[str] = set()  # "host:port" of a database server that TEST_DATABASE_URL names


class Refused(BaseException):
    """A test, or a process that it started, reached for what is not the suite's. No `except Exception` hides it."""


def refuse(what: str) -> None:
    raise Refused(f"the tests may use only what they started, and not {what}")


def install(forbidden: Path) -> None:
    """Guard this process for good: an audit hook cannot be taken back."""

    def no_file(path: Any, mode: str | None, *_: object) -> None:
        # Without a mode it is os.open, whose path may be relative to some other folder.
        if mode is not None and str(path).endswith(".env") and Path(path).absolute() == forbidden / ".env":
            refuse(str(path))

    def no_database(path: Any, *_: object) -> None:
        name = unquote(os.fsdecode(path).removeprefix("file:").partition("?")[0])
        if Path(name).absolute().is_relative_to(forbidden):
            refuse(name)

    handlers: dict[str, Callable[..., None]] = {
        "open": no_file,
        "sqlite3.connect": no_database,
        "socket.connect": check_socket,
    }

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if (handler := handlers.get(event)) is not None:
            handler(*arguments)

    sys.addaudithook(hook)
    if "psycopg2" in sys.modules:
        guard_psycopg2(sys.modules["psycopg2"])
    else:
        sys.meta_path.insert(0, Finder())


def check_socket(connecting: socket.socket, address: Any) -> None:
    if connecting.family in {socket.AF_INET, socket.AF_INET6} and not (
        str(address[0]).startswith(LOOPBACK) and (address[1] in allowed or listens(address[1]))
    ):
        refuse(f"{address[0]}:{address[1]}")


def listens(port: int) -> bool:
    """Whether this very process listens at the port, which it may have had from the system."""
    ends = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    inodes = {f"socket:[{end[9]}]" for end in ends if end[3] == "0A" and int(end[1].rpartition(":")[2], 16) == port}
    found = any(descriptor in inodes for descriptor in map(_link, Path("/proc/self/fd").iterdir()))
    if found:
        allowed.add(port)
    return found


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def guard_psycopg2(psycopg2: Any) -> None:
    connect = psycopg2._connect  # what psycopg2.connect calls with the whole connection string

    def guarded(dsn: str, *arguments: Any, **named: Any) -> Any:
        check_database(psycopg2.extensions.parse_dsn(dsn))
        return connect(dsn, *arguments, **named)

    psycopg2._connect = guarded


def check_database(given: dict[str, str]) -> None:
    """Refuse a server that is not on loopback, or not at one of the allowed ports.

    Where no host is given libpq would look for the machine's own server. No server listens beyond port 65,535.
    """
    hosts = (given.get("hostaddr") or given.get("host") or "").split(",")
    ports = (given.get("port") or "5432").split(",")
    for number, host in enumerate(hosts):
        port = ports[number] if len(ports) > 1 else ports[0]
        ours = host.startswith(("/", *LOOPBACK)) and port.isdecimal() and (int(port) in allowed or int(port) > 65_535)
        if not ours and f"{host}:{port}" not in servers:
            refuse(f"the database server {host or '(none named)'}:{port}")


class Finder(MetaPathFinder):
    """Guards psycopg2 when it is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "psycopg2":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def executed(module: ModuleType) -> None:
                execute(module)
                guard_psycopg2(module)

            spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec


def variables(forbidden: Path) -> dict[str, str]:
    """What hands the guard on to a process."""
    return {
        "PYTHONPATH": str(Path(__file__).parent),
        ALLOWED: ",".join([*map(str, sorted(allowed)), *servers]),
        FOLDER: str(forbidden),
    }


def take(given: Mapping[str, str]) -> None:
    """Allow what the variables of a process allow it."""
    for each in given.get(ALLOWED, "").split(","):
        if each.isdecimal():
            allowed.add(int(each))
        elif each:
            servers.add(each)


def set_clock(given: str) -> None:
    """Have this process's clock go wrong by the seconds that a file holds; libfaketime breaks Python's time.sleep."""
    real, path = time.time, Path(given)
    time.time = lambda: real() + float(path.read_text())


if CLOCK in os.environ:
    set_clock(os.environ[CLOCK])
if ALLOWED in os.environ:
    take(os.environ)
    install(Path(os.environ[FOLDER]))
