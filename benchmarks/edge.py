"""nginx without a gate, asking dop_be about every request, and keeping the last verdict."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.postgres import free_port

from .report import Table, milliseconds
from .servers import ADMIN, PATIENCE, ROOT, Server, gunicorn, new_database, postgresql

CONNECTIONS, SECONDS, FLIPS = 16, 2, 20
# wrk's own way of printing a time
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
PLATFORM = "server { listen 127.0.0.1:%d; access_log off; keepalive_requests 1000000; location / { return 200 'ok'; } }"
KINDS: dict[str, Callable[[str], str]] = {
    "no gate": lambda text: re.sub(r"\n +(auth_request|error_page 403|add_header X-Maint).*", "", text),
    "asking every time": lambda text: text.replace('    "" "";\n    default yes;', "    default yes;"),
    "keeping the last verdict": lambda text: text,
}


@dataclass(frozen=True)
class Edge:
    """A running nginx."""

    port: int

    def load(self) -> tuple[float, float]:
        """Load it over kept-alive connections; requests per second, and the 99th percentile of their seconds."""
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", f"http://127.0.0.1:{self.port}/"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in said or "Socket errors" in said:
            raise RuntimeError(said)
        ninety_ninth = re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
        throughput = re.search(r"Requests/sec:\s+([\d.]+)", said)
        if ninety_ninth is None or throughput is None:
            raise RuntimeError(said)
        return float(throughput[1]), float(ninety_ninth[1]) * UNITS[ninety_ninth[2]]

    def until(self, status: int) -> float:
        """Seconds until a visitor who asks all the while gets this status."""
        began = time.perf_counter()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        while time.perf_counter() - began < PATIENCE:
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            if answer.status == status:
                connection.close()
                return time.perf_counter() - began
        raise RuntimeError(f"nginx does not come to answer {status}")


@contextmanager
def nginx(dop_be: int, changed: Callable[[str], str]) -> Iterator[Edge]:
    """Run the shipped configuration with its addresses set, changed so, before a platform that does nothing."""
    port, platform = free_port(), free_port()
    with TemporaryDirectory() as directory:
        text = changed((ROOT / "deploy/nginx.conf").read_text())
        for shipped, used in {
            "127.0.0.1:8080": f"127.0.0.1:{platform}",
            "127.0.0.1:8000": f"127.0.0.1:{dop_be}",
            "listen 80;": f"listen 127.0.0.1:{port}; access_log off; keepalive_requests 1000000;",
            "/var/lib/nginx/": f"{directory}/",
        }.items():
            text = text.replace(shipped, used)
        user = "user root;" if os.geteuid() == 0 else ""
        main = f"{user} daemon off; worker_processes 1; pid pid; error_log stderr; events {{}} http {{ include site; }}"
        Path(directory, "site").write_text(text + PLATFORM % platform)
        Path(directory, "main").write_text(main)
        process = subprocess.Popen(["nginx", "-p", directory, "-c", f"{directory}/main"])
        try:
            edge = Edge(port)
            while process.poll() is None:
                try:
                    edge.until(200)
                    break
                except OSError:
                    time.sleep(0.05)
            yield edge
        finally:
            process.terminate()
            process.wait(PATIENCE)


def switch(server: Server, *, active: bool) -> None:
    connection = server.connect()
    connection.request(
        "PUT",
        "/api/v1/maintenance",
        f'{{"active": {str(active).lower()}}}',
        {**ADMIN, "Content-Type": "application/json"},
    )
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"the switch answers {answer.status}")


def flips(server: Server, edge: Edge, count: int) -> list[float]:
    """Seconds from a switch's answer to the first visitor who meets it, at moments spread over a second."""
    taken = []
    for number in range(count):
        time.sleep(1 + number / count)
        switch(server, active=number % 2 == 0)
        taken.append(edge.until(503 if number % 2 == 0 else 200))
    return taken


def measure(rounds: int) -> Iterator[Table]:
    with ExitStack() as stack:
        cluster = stack.enter_context(postgresql())
        server = stack.enter_context(gunicorn("wsgi:app", new_database(cluster, "edge"), workers=2, ready="/readyz"))
        edges = {kind: stack.enter_context(nginx(server.port, changed)) for kind, changed in KINDS.items()}
        taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
        for _ in range(rounds):
            for kind, edge in edges.items():
                taken[kind].append(edge.load())
        shown = {kind: flips(server, edge, FLIPS if rounds > 1 else 2) for kind, edge in list(edges.items())[1:]}
    rows = []
    without = taken["no gate"]
    for kind, loads in taken.items():
        ratio = median(ours[0] / theirs[0] for ours, theirs in zip(loads, without, strict=True))
        row = [
            kind,
            f"{median(load[0] for load in loads):,.0f}",
            f"{ratio:.2f}",
            "",
            milliseconds(median(load[1] for load in loads)),
        ]
        row[3] = "0.8 at least" if kind == "keeping the last verdict" else ""
        seconds = shown.get(kind)
        rows.append([*row, *([milliseconds(median(seconds)), milliseconds(max(seconds))] if seconds else ["", ""])])
    note = (
        f"One nginx worker, {CONNECTIONS} kept-alive connections of wrk, {SECONDS} s each in turn, medians of"
        f" {rounds} rounds; two workers of dop_be; the platform is a `return 200` of the same nginx. A flip is seen by"
        " one visitor who asks all the while."
    )
    header = ["nginx", "requests/s", "ratio", "asked for", "p99", "a flip shows after, median", "most"]
    yield Table("At the edge: no gate, asking, remembering", header, rows, note)
