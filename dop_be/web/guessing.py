"""Limits failed logins per client address; each worker counts separately."""

from __future__ import annotations

import math
import threading
import time
from ipaddress import ip_address, ip_network

from flask import Flask, current_app

from ..errors import TooManyAttempts

FAILURES, PERIOD = 20, 60  # at most so many in so many seconds
MOST_ADDRESSES = 10_000  # counted apart; further ones share one counter, so that memory is bounded


class Guessing:
    """Counts failures in fixed periods. Only a failure is ever refused: a valid token passes from any address."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._ends_at = 0.0  # when this period ends, on the monotonic clock
        self._lock = threading.Lock()

    def failed(self, address: str | None) -> None:
        """Count one failed authentication from this address.

        Raises:
            TooManyAttempts: there were more than FAILURES in this period.
        """
        key, now = network(address), time.monotonic()
        with self._lock:
            if now >= self._ends_at:
                self._counts, self._ends_at = {}, now + PERIOD
            if key not in self._counts and len(self._counts) >= MOST_ADDRESSES:
                key = "others"
            count = self._counts[key] = self._counts.get(key, 0) + 1
        if count > FAILURES:
            wait = max(1, math.ceil(self._ends_at - now))
            raise TooManyAttempts("Too many failed authentications from this address.", wait)


def network(address: str | None) -> str:
    """Return what one client can choose its address from: an IPv6 subscriber has 2^64 of them (RFC 6177).

    An IPv4 client of an IPv6 socket comes as ::ffff:192.0.2.1.
    """
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return address or "unknown"
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return str(parsed) if parsed.version == 4 else str(ip_network((parsed, 64), strict=False))


def guessing() -> Guessing:
    """Return the counters of the current application."""
    found: Guessing = current_app.extensions["guessing"]
    return found


def init_app(app: Flask) -> None:
    """Count the failures of this application."""
    app.extensions["guessing"] = Guessing()
