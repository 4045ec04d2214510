"""Runs under random faults, from a few seeds; `make soak SEEDS=100` runs more. Each keeps every promise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .attempt import attempt
from .plan import TOPOLOGIES, plan
from .templates import Template, template

SECONDS = 20.0
SEEDS = (3, 6, 7, 14, 24)


@pytest.fixture(scope="module")
def made() -> Iterator[Template]:
    with template() as template_of_all:
        yield template_of_all


def test_the_seeds_have_every_topology_and_both_successions() -> None:
    plans = [plan(seed, SECONDS) for seed in SEEDS]
    assert {each.topology for each in plans} == set(TOPOLOGIES)
    kinds = {trouble.kind for each in plans for troubles in each.troubles.values() for trouble in troubles}
    assert kinds >= {"restore a backup", "fail over"}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_keeps_every_promise(seed: int, made: Template) -> None:
    found = attempt(seed, SECONDS, made)
    assert not found.wrong, str(found)
    assert found.done > 20  # a busy machine does less
    assert found.reads > 200
    assert found.faults > 0
