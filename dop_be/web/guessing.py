"""Guessing is slow: failed authentications are counted per client address, in each worker for itself."""

from __future__ import annotations

import math
import time
from functools import cached_property
from ipaddress import ip_address, ip_network

from flask import Flask
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from ..errors import TooManyAttempts

FAILURES = RateLimitItemPerMinute(20)
MOST_ADDRESSES = 10_000  # counted apart; further ones share one counter, so that memory is bounded


class Guessing:
    """Counts failures. Only a failure is ever refused: a valid token passes from whatever address."""

    @cached_property
    def _limiter(self) -> FixedWindowRateLimiter:
        # Made at the first failure: the storage starts a thread, which a process that forks later would lose.
        return FixedWindowRateLimiter(MemoryStorage())

    def failed(self, address: str | None) -> None:
        """Count one failed authentication from this address.

        Raises:
            TooManyAttempts: there were more than FAILURES.
        """
        key = network(address)
        counters = self._limiter.storage.storage  # type: ignore[attr-defined]  # MemoryStorage's
        if len(counters) >= MOST_ADDRESSES and FAILURES.key_for(key) not in counters:
            key = "others"
        if not self._limiter.hit(FAILURES, key):
            reset = self._limiter.get_window_stats(FAILURES, key).reset_time
            raise TooManyAttempts(
                "Too many failed authentications from this address.", max(1, math.ceil(reset - time.time()))
            )


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


def init_app(app: Flask) -> None:
    app.extensions["guessing"] = Guessing()
