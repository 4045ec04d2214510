"""Ports for what the tests start: nobody else's, and the only ones that tests may connect to."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

from .guard import sitecustomize as guard

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 10_240
reserved: dict[int, socket.socket] = {}


def free_port() -> int:
    """A loopback port that no other test run on this machine gets while this process lives.

    It lies outside of the range from which the system takes the ports of clients, since one of those could come first.
    """
    highest = int(RANGE.read_text().split()[0]) if RANGE.exists() else 32_768
    ports = range(LOWEST, max(highest, LOWEST + 10_000))
    begin = random.Random(os.getpid()).randrange(len(ports)) + len(reserved)
    for number in range(len(ports)):
        port = ports[(begin + number) % len(ports)]
        if port not in reserved and _reserve(port):
            return port
    raise RuntimeError("no port is free")


def _reserve(port: int) -> bool:
    """Take the port's name among the abstract sockets (unix(7)), which ends with this process; whether all is free."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0dop_be tests, port {port}")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    except OSError:
        name.close()
        return False
    reserved[port] = name
    guard.allowed.add(port)
    return True
