"""The names that proxies and decorators have for components, and no component has: they count as the platform."""

from __future__ import annotations

import logging
import time
from collections.abc import Container

from ..maintenance.models import NAME_LENGTH

AGAIN = 60.0  # seconds until the same name is logged again
MOST = 20  # names that are kept; who asks chooses them
_asked: dict[str, float] = {}  # by name, when it was logged last, on time.monotonic's clock
logger = logging.getLogger(__name__)


def note(name: str) -> None:
    """Log it, once a minute for each name, that there is no component of this name."""
    name, now = name[:NAME_LENGTH], time.monotonic()
    if now - _asked.get(name, -AGAIN) < AGAIN or (name not in _asked and len(_asked) >= MOST):
        return
    _asked[name] = now
    logger.warning("there is no component %r: what is asked about it is answered for the platform", name)


def notes(known: Container[str]) -> list[str]:
    """Return what /readyz says of it, without a full stop; names that have come to exist are forgotten."""
    for name in [name for name in _asked if name in known]:
        del _asked[name]
    return [f"there is no component {name!r}, which is asked about: it counts as the platform" for name in _asked]
