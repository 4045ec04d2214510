"""A plan from a seed: who asks for what when, and what goes wrong. Pure: the same seed has the same plan."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

QUIET = 6.5  # seconds at the end without writes and faults, in which every reader must come to the last state
CALM = 1.0  # seconds at the beginning without faults
HOSTS = ("A", "B")
WRITERS = ("ada", "bob", "shell", "sql")


@dataclass(frozen=True)
class Step:
    """Something that a client asks for, not before `at`, in seconds since the beginning."""

    at: float
    kind: str
    how: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trouble:
    """Something that goes wrong at `at`, for so many seconds."""

    at: float
    kind: str
    seconds: float
    how: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    seed: int
    seconds: float
    topology: str
    options: Mapping[str, Any]
    steps: Mapping[str, tuple[Step, ...]]
    troubles: Mapping[str, tuple[Trouble, ...]]


@dataclass(frozen=True)
class Topology:
    """Which hosts there are, and what can go wrong with their database and with them; what stands twice is likelier."""

    hosts: tuple[str, ...]
    database: tuple[str, ...]
    processes: tuple[str, ...]


PROCESSES = ("kill a worker", "stop a worker", "kill the master", "stop the master")
CLOCKS = (*PROCESSES, "set a clock")
SERVER = ("kill a backend", "stop a backend", "kill the server", "freeze the server", "restart the server")
LINES = ("terminate sessions", "use up connections", "lock the settings")
NETWORK = ("cut the network", "slow the network", "silence the network")
TOPOLOGIES = {
    "direct": Topology(HOSTS, (*SERVER, *LINES, *NETWORK, "restore a backup", "restore a backup"), CLOCKS),
    "pooler": Topology(
        HOSTS, (*SERVER, *LINES, *NETWORK, "kill the pooler", "restart the pooler", "restore a backup"), CLOCKS
    ),
    "pair": Topology(HOSTS, ("fail over", "fail over", *LINES, *NETWORK, "stop a backend", "kill a backend"), CLOCKS),
    "sqlite": Topology(("A",), ("lock the settings",), PROCESSES),  # its clock is the host's
}
OFTEN = ("direct", "direct", "pooler", "pair", "sqlite")


def plan(seed: int, seconds: float) -> Plan:
    """Return the plan of a seed for a run of so many seconds."""
    dice = random.Random(seed)
    name = dice.choice(OFTEN)
    busy = seconds - QUIET
    options = {"listen": dice.random() < 0.5, "synchronous": dice.random() < 0.7}
    pauses = dice.choice(((0.2, 1.5, 4.5, 6.0), (8.0, 10.0)))
    writers = [writer for writer in WRITERS if writer != "sql" or name != "sqlite"]
    steps = {writer: tuple(_steps(random.Random(dice.random()), STEPS[writer], busy)) for writer in writers}
    troubles = {
        "database": tuple(_troubles(dice, TOPOLOGIES[name].database, busy, TOPOLOGIES[name].hosts, pauses)),
        "processes": tuple(_troubles(dice, TOPOLOGIES[name].processes, busy, TOPOLOGIES[name].hosts, pauses)),
    }
    return Plan(seed, seconds, name, options, steps, troubles)


def _troubles(
    dice: random.Random, kinds: tuple[str, ...], busy: float, hosts: tuple[str, ...], pauses: tuple[float, ...]
) -> Iterator[Trouble]:
    """One after the other; long pauses show that all is well again before the next one comes."""
    at, left = CALM + dice.uniform(0.0, 2.0), list(kinds)
    while at < busy - 1.0:
        seconds = min(dice.choice((0.3, 1.0, 2.5, 4.0)) * dice.uniform(0.7, 1.3), busy - at)
        kind = dice.choice(left)
        how = {
            "host": dice.choice(hosts),
            "hosts": dice.choice(([hosts[0]], [hosts[-1]], list(hosts))),
            "one": dice.random(),  # which of several, as a share of their number
            "round trip": dice.choice((0.02, 0.08, 0.2)),
            "ahead": dice.choice((-3600.0, -30.0, -5.0, 5.0, 30.0, 3600.0)),
            "way": dice.choice(("kill", "freeze")),
            "in place": dice.random() < 0.5,
        }
        yield Trouble(at, kind, seconds, how)
        if kind == "fail over":
            left = [each for each in left if each != kind]  # there is one replica
        at += seconds + dice.choice(pauses)


Make = Callable[[random.Random], dict[str, Any]]


def _steps(dice: random.Random, kinds: Mapping[str, tuple[int, Make]], busy: float) -> Iterator[Step]:
    at, pauses = dice.uniform(0.0, 0.5), PAUSES[len(kinds) > FEW]
    while at < busy:
        [kind] = dice.choices(list(kinds), [weight for weight, _ in kinds.values()])
        yield Step(at, kind, kinds[kind][1](dice))
        at += dice.uniform(*pauses)


FEW = 5
PAUSES = {False: (0.05, 0.4), True: (0.3, 0.9)}  # seconds; commands are processes, and take longer


def _nothing(dice: random.Random) -> dict[str, Any]:
    return {}


def _patch(dice: random.Random) -> dict[str, Any]:
    """With the revision that the client knows, perhaps an old one, or with that which it reads just before."""
    return {"know": dice.choice(("last", "read", "read")), "mode": dice.choice((None, "full", "read_only"))}


def _switch(dice: random.Random) -> dict[str, Any]:
    mode = dice.choice(("full", "read_only"))
    return {"active": dice.random() < 0.5, "mode": mode, "seconds": dice.choice((None, None, 0.8, 2.0))}


def _revision(dice: random.Random) -> dict[str, Any]:
    """Which of the revisions there have been, as a share of them."""
    return {"share": dice.random()}


def _window(dice: random.Random) -> dict[str, Any]:
    soon = dice.random() < 0.6
    begins = dice.uniform(0.4, 2.0) if soon else dice.uniform(60.0, 600.0)
    return {"begins": begins, "lasts": dice.uniform(0.5, 2.5), "mode": dice.choice(("full", "read_only"))}


def _one(dice: random.Random) -> dict[str, Any]:
    """One of those known, the newest more often."""
    return {"share": dice.random() ** 0.5}


def _bypass(dice: random.Random) -> dict[str, Any]:
    return {"lifetime": dice.choice(("2h", "2h", "3s"))}


STEPS: dict[str, dict[str, tuple[int, Make]]] = {
    "ada": {
        "patch": (6, _patch),
        "restore": (1, _revision),
        "undo": (1, _revision),
        "plan": (2, _window),
        "cancel": (2, _one),
    },
    "bob": {"patch any": (3, _nothing), "switch": (5, _switch)},
    "shell": {
        "set": (2, _nothing),
        "switch": (3, _switch),
        "plan": (1, _window),
        "cancel": (1, _one),
        "restore": (1, _revision),
        "undo": (1, _revision),
        "create token": (2, _nothing),
        "revoke token": (2, _one),
        "create bypass": (2, _bypass),
        "revoke bypass": (2, _one),
    },
    "sql": {"patch any": (5, _nothing), "switch": (3, _switch), "plan": (1, _window), "cancel": (1, _one)},
}
