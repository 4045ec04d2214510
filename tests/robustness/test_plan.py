"""The plan of a seed is the same each time, and says all that is going to happen."""

from __future__ import annotations

from .plan import OFTEN, QUIET, STEPS, TOPOLOGIES, plan

SECONDS = 20.0
MANY = [plan(seed, SECONDS) for seed in range(300)]


def test_a_seed_has_one_plan() -> None:
    assert plan(7, SECONDS) == plan(7, SECONDS)
    assert plan(7, SECONDS) != plan(8, SECONDS)


def test_every_kind_occurs() -> None:
    """What no plan has would be covered by no run."""
    assert {each.topology for each in MANY} == set(OFTEN) == set(TOPOLOGIES)
    done = {(writer, step.kind) for each in MANY for writer, steps in each.steps.items() for step in steps}
    assert done == {(writer, kind) for writer, kinds in STEPS.items() for kind in kinds}
    faults = {trouble.kind for each in MANY for troubles in each.troubles.values() for trouble in troubles}
    assert faults == {kind for each in TOPOLOGIES.values() for kind in (*each.database, *each.processes)}


def test_nothing_is_planned_for_the_end() -> None:
    """There all readers have to come to the last state."""
    for each in MANY:
        for steps in each.steps.values():
            assert [step.at for step in steps] == sorted(step.at for step in steps)
            assert steps[-1].at < SECONDS - QUIET
        for troubles in each.troubles.values():
            assert all(trouble.at + trouble.seconds <= SECONDS - QUIET for trouble in troubles)
