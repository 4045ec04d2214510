"""What the tests of several modules share: servers that take long to make."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .failover import Succession


@pytest.fixture(scope="module")
def succession() -> Iterator[Succession]:
    """Primaries with a replica each, one after the other."""
    succession = Succession()
    yield succession
    succession.remove()
