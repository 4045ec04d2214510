"""What the shipped proxy configurations ask dop_be, and what they do when it does not answer."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.conftest import ADMIN
from tests.ports import free_port

from .proxies import NAMES, REMEMBERING, Proxy
from .servers import eventually, gunicorn
from .visitors import Asked, Recorder

every_proxy = pytest.mark.parametrize("name", NAMES)
Answers = Callable[[Asked], tuple[int, dict[str, str]]]
PRIVATE = {"Authorization": "Bearer secret", "Cookie": "session=secret; maintenance_bypass=dop_1_2; other=secret"}


@pytest.fixture
def serve() -> Iterator[Callable[[Answers], Recorder]]:
    """Starts servers that answer so."""
    started: list[Recorder] = []

    def start(answer: Answers) -> Recorder:
        started.append(Recorder(answer))
        return started[-1]

    yield start
    for server in started:
        server.end()


@pytest.fixture
def platform(serve: Callable[[Answers], Recorder]) -> Recorder:
    return serve(lambda _: (200, {"X-Platform": "yes"}))


@pytest.fixture
def frozen(serve: Callable[[Answers], Recorder]) -> Iterator[Recorder]:
    """A gate that takes every question and answers none."""
    thawed = threading.Event()

    def never(asked: Asked) -> tuple[int, dict[str, str]]:
        thawed.wait(60)
        return 500, {}

    yield serve(never)
    thawed.set()


@pytest.fixture(params=["gone", "frozen"])
def dead(request: pytest.FixtureRequest) -> int:
    """The port of a gate that nobody listens at, or that does not answer."""
    return free_port() if request.param == "gone" else request.getfixturevalue("frozen").port


@every_proxy
class TestDead:
    def test_failing_open_lets_through(self, name: str, dead: int, platform: Recorder, tmp_path: Path) -> None:
        with Proxy(name, tmp_path / name, platform.port, dead).running() as proxy:
            for body in (b"", b"x" * 2_000, iter([b"x" * 70_000] * 20)):
                answer = proxy.ask("POST", "/orders?x=1", body=body)
                assert (answer.status, answer.headers["X-Platform"]) == (200, "yes")
            assert [(asked.method, len(asked.body)) for asked in platform.asked] == [
                ("POST", 0),
                ("POST", 2_000),
                ("POST", 1_400_000),
            ]

    def test_failing_closed_refuses(self, name: str, platform: Recorder, tmp_path: Path) -> None:
        with Proxy(name, tmp_path / name, platform.port, free_port(), fail_closed=True).running() as proxy:
            for method in ("GET", "POST"):
                answer = proxy.ask(method, "/orders", body=b"x" * 2_000)
                assert (answer.status, answer.headers.get_all("Retry-After")) == (503, ["5"])
                assert answer.headers.get_all("Cache-Control") == ["no-store"]
                assert b"unavailable" in answer.body
            assert proxy.ask("HEAD", "/").status == 503
            assert not platform.asked
            assert proxy.ask("GET", "/healthz").status == 200

    def test_a_link_of_a_dead_gate_is_an_error(self, name: str, dead: int, platform: Recorder, tmp_path: Path) -> None:
        with Proxy(name, tmp_path / name, platform.port, dead).running() as proxy:
            assert proxy.ask("GET", "/gate/bypass/token").status in {502, 503, 504}
            assert not platform.asked


@every_proxy
def test_a_frozen_gate_is_left_alone(name: str, frozen: Recorder, platform: Recorder, tmp_path: Path) -> None:
    """Else each request would wait for it as long as the first."""
    with (
        Proxy(name, tmp_path / name, platform.port, frozen.port).running() as proxy,
        ThreadPoolExecutor(32) as visitors,
    ):

        def questions_of_a_crowd() -> int:
            before = len(frozen.asked)
            assert set(visitors.map(lambda _: proxy.ask("GET", "/").status, range(32))) == {200}
            return len([asked for asked in frozen.asked[before:] if asked.target.startswith("/gate")])

        eventually(30, lambda: questions_of_a_crowd() < 8)


@every_proxy
def test_one_frozen_machine_of_two_opens_nothing(
    name: str, frozen: Recorder, serve: Callable[[Answers], Recorder], platform: Recorder, tmp_path: Path
) -> None:
    def refuse(asked: Asked) -> tuple[int, dict[str, str]]:
        status = 200 if asked.target == "/livez" else 403 if "deny=403" in asked.target else 503
        return status, {"Cache-Control": "no-store"}

    gate = serve(refuse)
    edge = Proxy(name, tmp_path / name, platform.port, gate.port, second=frozen.port, asking=name in REMEMBERING)
    with edge.running() as proxy, ThreadPoolExecutor(4) as visitors:
        assert set(visitors.map(lambda _: proxy.ask("POST", "/orders").status, range(16))) == {503}
    assert not platform.asked


def test_a_gate_that_comes_back_is_asked_again(postgresql_url: str, platform: Recorder, tmp_path: Path) -> None:
    with ExitStack() as stack:
        dop_be = stack.enter_context(gunicorn(postgresql_url))
        on = dop_be.request("PUT", "/api/v1/maintenance", json={"active": True}, headers=ADMIN)
        on.raise_for_status()
        before = [Proxy(name, tmp_path / name, platform.port, dop_be.port, keep=1) for name in NAMES]
        proxies = [stack.enter_context(proxy.running()) for proxy in before]

        def answers() -> list[int]:
            return [proxy.ask("GET", "/").status for proxy in proxies]

        eventually(30, lambda: answers() == [503] * len(NAMES))
        dop_be.stop()
        eventually(30, lambda: answers() == [200] * len(NAMES))
        stack.enter_context(gunicorn(postgresql_url, "--bind", f"127.0.0.1:{dop_be.port}"))
        eventually(30, lambda: answers() == [503] * len(NAMES))


@every_proxy
class TestQuestion:
    def test_dop_be_is_asked_what_it_decides_by_and_nothing_else(
        self, name: str, serve: Callable[[Answers], Recorder], platform: Recorder, tmp_path: Path
    ) -> None:
        gate = serve(lambda _: (200, {}))
        told = {"X-Maintenance-Bypass": "header-token", "Accept": "text/html", "Origin": "https://app.example"}
        told["Access-Control-Request-Method"] = "DELETE"
        forged = {"X-Forwarded-Method": "GET", "X-Forwarded-For": "10.0.0.1", "X-Forwarded-Proto": "https"}
        with Proxy(name, tmp_path / name, platform.port, gate.port).running() as proxy:
            proxy.ask("PURGE", "/orders", [*told.items(), *PRIVATE.items(), *forged.items()], b"body")
        (asked,) = [asked for asked in gate.asked if asked.target != "/livez"]
        method = "PURGE" if name == "envoy" else "GET"  # Envoy asks with the visitor's method, without his body
        assert (asked.method, asked.target.partition("?")[0], asked.body) == (method, "/gate", b"")
        assert {key: asked.values(key) for key in told} == {key: [value] for key, value in told.items()}
        assert [cookie.rstrip("; ") for cookie in asked.values("Cookie")] == ["maintenance_bypass=dop_1_2"]
        assert asked.values("X-Forwarded-Method") == ["PURGE"]
        assert asked.values("X-Forwarded-For") == ["127.0.0.1"]
        assert asked.values("X-Forwarded-Proto") == ["http"]
        assert asked.values("X-Forwarded-Host") == ["platform.example:8443"]
        assert "secret" not in json.dumps(asked.headers)
        assert platform.asked[0].values("Cookie") == [PRIVATE["Cookie"]]

    def test_a_link_is_answered_by_dop_be(
        self, name: str, serve: Callable[[Answers], Recorder], platform: Recorder, tmp_path: Path
    ) -> None:
        answer = {"Location": "/orders?x=1", "Set-Cookie": "maintenance_bypass=token; Path=/; HttpOnly; SameSite=Lax"}
        gate = serve(lambda asked: (302 if "bypass" in asked.target else 200, answer))
        with Proxy(name, tmp_path / name, platform.port, gate.port).running() as proxy:
            followed = proxy.ask("GET", "/gate/bypass/token?next=/orders?x=1", PRIVATE.items())
        assert followed.status == 302
        assert {key: followed.headers.get_all(key) for key in answer} == {key: [text] for key, text in answer.items()}
        (asked,) = [asked for asked in gate.asked if asked.target != "/livez"]
        assert asked.target == "/gate/bypass/token?next=/orders?x=1"
        assert "secret" not in json.dumps(asked.headers)
        assert asked.values("X-Forwarded-Host") == ["platform.example:8443"]
        assert not platform.asked

    def test_an_announced_window_is_told_to_visitors(
        self, name: str, serve: Callable[[Answers], Recorder], platform: Recorder, tmp_path: Path
    ) -> None:
        told: dict[str, str] = {}
        gate = serve(lambda _: (200, told))
        with Proxy(name, tmp_path / name, platform.port, gate.port).running() as proxy:
            assert proxy.ask("GET", "/").headers["X-Maintenance-Starts"] is None
            told["X-Maintenance-Starts"] = "2030-01-01T00:00:00Z"
            assert proxy.ask("GET", "/").headers["X-Maintenance-Starts"] == "2030-01-01T00:00:00Z"


def test_a_gate_that_opens_in_between_makes_no_success_of_a_refusal(
    serve: Callable[[Answers], Recorder], platform: Recorder, tmp_path: Path
) -> None:
    """nginx asks twice, for the decision and for the page; in between maintenance may end."""
    gate = serve(lambda asked: (403 if "deny=403" in asked.target else 200, {}))
    with Proxy("nginx", tmp_path / "nginx", platform.port, gate.port).running() as proxy:
        answer = proxy.ask("POST", "/orders")
    assert (answer.status, answer.headers.get_all("Retry-After")) == (503, ["1"])
    assert not platform.asked


def test_visitors_who_take_every_connection_do_not_open_nginx(
    serve: Callable[[Answers], Recorder], platform: Recorder, tmp_path: Path
) -> None:
    """It has none left then to ask by, and one is kept to the platform: that is no dead gate."""
    gate = serve(lambda _: (403, {"Cache-Control": "no-store"}))
    few = {"events {}": "events { worker_connections 40; }", "worker_processes 2;": "worker_processes 1;"}
    with Proxy("nginx", tmp_path / "nginx", platform.port, gate.port, asking=True, changed=few).running() as proxy:
        for _ in range(40):
            assert proxy.ask("GET", "/healthz").status == 200
        platform.asked.clear()
        answers = []
        with ExitStack() as stack:
            visitors = [
                stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port), timeout=30)) for _ in range(60)
            ]
            for visitor in visitors:
                with suppress(ConnectionError):  # one more than nginx has
                    visitor.sendall(b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n")
            time.sleep(0.5)
            for visitor in visitors:
                with suppress(ConnectionError):
                    visitor.sendall(b"\r\n")
            for visitor in visitors:
                with suppress(ConnectionError):
                    answers.append(visitor.recv(1_000)[:12])
        assert "worker_connections are not enough" in (tmp_path / "nginx/log").read_text()
    assert not platform.asked
    assert b"HTTP/1.1 503" in answers


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_a_gate_that_fails_is_a_dead_one(
    name: str, serve: Callable[[Answers], Recorder], platform: Recorder, tmp_path: Path
) -> None:
    gate = serve(lambda asked: (200 if asked.target == "/livez" else 500, {}))
    with Proxy(name, tmp_path / "open", platform.port, gate.port).running() as proxy:
        assert proxy.ask("GET", "/").status == 200
    with Proxy(name, tmp_path / "closed", platform.port, gate.port, fail_closed=True).running() as proxy:
        assert (proxy.ask("GET", "/").status, len(platform.asked)) == (503, 1)


@every_proxy
@pytest.mark.parametrize("status", [302, 400, 404, 431])
def test_a_question_that_dop_be_does_not_take_is_refused_also_when_failing_open(
    name: str, status: int, serve: Callable[[Answers], Recorder], platform: Recorder, tmp_path: Path
) -> None:
    """Else a visitor would get in with a header that makes gunicorn refuse the question."""
    gate = serve(lambda asked: (200 if asked.target == "/livez" else status, {}))
    with Proxy(name, tmp_path / name, platform.port, gate.port).running() as proxy:
        assert proxy.ask("GET", "/").status in {status, 500}
    assert not platform.asked
