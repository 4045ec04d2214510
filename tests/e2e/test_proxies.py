"""Every shipped proxy configuration, before a small platform and a real dop_be."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import ADMIN

from .proxies import NAMES, STALE, Proxy
from .servers import Server, gunicorn
from .visitors import Asked, Recorder, ask

ORIGIN = "https://app.example"
HTML = [("Accept", "text/html,*/*;q=0.8")]
PREFLIGHT = [("Origin", ORIGIN), ("Access-Control-Request-Method", "POST")]
UPGRADE = (
    b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TARGETS = """
    /a?x=1&y=%20%2F&z /a%2Fb%3Fc /%E2%82%AC //double//slash /a/./b /;p=1 /a? /a?b?c=[]| /%25 /a+b /* /a,b'(c)~!$
    /gate /gate/x /gate?deny=403 /a?deny=403 /gatekeeper
"""
WRITES = ["POST", "PUT", "PATCH", "DELETE", "PURGE", "post", "get"]
CROWD = 400
FORGED = [
    ("X-Forwarded-Method", "GET"),
    ("X-Forwarded-Method", "GET"),
    ("X_Forwarded_Method", "GET"),
    ("X-Original-Method", "GET"),
    ("X-HTTP-Method-Override", "GET"),
    ("X-Forwarded-For", "10.0.0.1"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "admin.example"),
    ("SCRIPT_NAME", "/gate"),
]


def at_the_platform(asked: Asked) -> tuple[int, dict[str, str]]:
    """Answers 200, or the status that the path asks for."""
    status = int(asked.target[8:]) if asked.target.startswith("/status/") else 200
    return status, {"X-Platform": "yes"}


@pytest.fixture(scope="module")
def platform() -> Iterator[Recorder]:
    server = Recorder(at_the_platform)
    yield server
    server.end()


@pytest.fixture(scope="module")
def dop_be(empty_postgresql: Callable[..., str], migrated_postgresql: str) -> Iterator[Server]:
    """A real dop_be with one worker, so that what it answers a change is what it decides next."""
    url = empty_postgresql(template=migrated_postgresql)
    with gunicorn(url, CORS_ORIGINS=ORIGIN, RETRY_AFTER="77") as server:
        yield server


@pytest.fixture(scope="module", params=NAMES)
def proxy(
    request: pytest.FixtureRequest, platform: Recorder, dop_be: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """Each proxy, as shipped, before the platform and the real dop_be."""
    directory = tmp_path_factory.mktemp(request.param) / "proxy"
    with Proxy(request.param, directory, platform.port, dop_be.port, unhurried=True).running() as running:
        yield running


def switch(dop_be: Server, **wanted: object) -> None:
    """Put this in force, and wait until a proxy that keeps verdicts has heard of it."""
    if wanted.items() <= dop_be.get("/api/v1/maintenance").json().items():
        return
    dop_be.request("PUT", "/api/v1/maintenance", json=wanted, headers=ADMIN).raise_for_status()
    time.sleep(STALE)


@pytest.fixture
def opened(dop_be: Server, platform: Recorder) -> None:
    switch(dop_be, active=False)
    platform.asked.clear()


@pytest.fixture
def closed(dop_be: Server, platform: Recorder) -> None:
    switch(dop_be, active=True, message="Größere Arbeiten")
    platform.asked.clear()


@pytest.fixture
def read_only(dop_be: Server, platform: Recorder) -> None:
    switch(dop_be, active=True, mode="read_only")
    platform.asked.clear()


@pytest.mark.usefixtures("opened")
class TestOpen:
    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
    def test_every_method_reaches_the_platform(self, proxy: Proxy, platform: Recorder, method: str) -> None:
        answer = proxy.ask(method, "/orders")
        assert (answer.status, answer.headers["X-Platform"]) == (200, "yes")
        assert [asked.method for asked in platform.asked] == [method]
        assert bool(answer.body) == (method != "HEAD")

    @pytest.mark.parametrize("size", [0, 1, 5_000_000])
    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_body_arrives_untouched(self, proxy: Proxy, platform: Recorder, size: int, *, chunked: bool) -> None:
        body = os.urandom(size)
        sent = (body[start : start + 70_000] for start in range(0, size, 70_000)) if chunked else body
        answer = proxy.ask("POST", "/upload", [("Content-Type", "application/octet-stream")], sent)
        assert answer.json == {"sha256": hashlib.sha256(body).hexdigest(), "length": size}
        assert platform.asked[0].values("Content-Type") == ["application/octet-stream"]

    @pytest.mark.parametrize("target", TARGETS.split())
    def test_a_target_arrives_untouched(self, proxy: Proxy, platform: Recorder, target: str) -> None:
        assert proxy.ask("GET", target).status == 200
        assert [asked.target for asked in platform.asked] == [target]

    def test_headers_that_are_too_large_for_dop_be_pass(self, proxy: Proxy, platform: Recorder) -> None:
        """gunicorn takes 8,190 bytes a header and 4,094 of target; the platform's cookies are not its affair."""
        large = [("Cookie", "c=" + "x" * 6_000), ("Authorization", "Negotiate " + "x" * 4_000)]
        answer = proxy.ask("GET", "/?" + "q" * 3_900, large)
        assert answer.status == 200
        for name, value in large:
            assert platform.asked[0].values(name) == [value]

    @pytest.mark.parametrize("status", [401, 403, 404, 500, 502, 503])
    def test_the_platforms_own_errors_pass(self, proxy: Proxy, status: int) -> None:
        answer = proxy.ask("GET", f"/status/{status}", HTML)
        assert (answer.status, answer.headers["X-Platform"]) == (status, "yes")
        assert answer.headers["X-Maintenance-Mode"] is None
        assert answer.json["length"] == 0

    def test_the_platform_is_told_who_asks_and_not_who_is_claimed(self, proxy: Proxy, platform: Recorder) -> None:
        proxy.ask("GET", "/", FORGED)
        assert_told(platform.asked[0])

    @pytest.mark.parametrize("other", ["h2c", "TLS/1.0", "h2c, websocket"])
    def test_only_a_websocket_leaves_http(self, proxy: Proxy, platform: Recorder, other: str) -> None:
        """After another upgrade the platform would take requests that nobody has asked about."""
        headers = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", other), ("HTTP2-Settings", "AAMAAABk")]
        proxy.ask("GET", "/orders", headers)
        proxy.ask("GET", "/healthz", [("Connection", "Upgrade"), ("Upgrade", "websocket")])  # nobody is asked about it
        assert [value for asked in platform.asked for value in asked.values("Upgrade")] == []

    def test_an_upgraded_connection_carries_on(self, proxy: Proxy) -> None:
        assert upgrade(proxy) == ("HTTP/1.1 101 Switching Protocols", b"hello\n")


@pytest.mark.usefixtures("closed")
class TestClosed:
    @pytest.mark.parametrize("headers", [[], HTML, [("Origin", ORIGIN)]], ids=["program", "browser", "script"])
    @pytest.mark.parametrize("method", ["GET", "POST", "PURGE", "OPTIONS"])
    def test_the_visitor_gets_what_dop_be_says(
        self, proxy: Proxy, platform: Recorder, dop_be: Server, method: str, headers: list[tuple[str, str]]
    ) -> None:
        said = ask(dop_be.port, "GET", "/gate", [("X-Forwarded-Method", method), *headers])
        answer = proxy.ask(method, "/orders?x=1", headers, b"" if method == "GET" else b"x" * 2_000)
        assert (said.status, answer.status, answer.body) == (503, 503, said.body)
        for name in set(said.headers.keys()) - {"Server", "Date", "Connection"}:
            assert answer.headers.get_all(name) == said.headers.get_all(name)
        assert (answer.headers["Retry-After"], answer.headers["Cache-Control"]) == ("77", "no-store")
        assert answer.headers["X-Maintenance-Mode"] == "full"
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Accept" in ", ".join(answer.headers.get_all("Vary", []))
        assert not platform.asked

    def test_a_browser_gets_a_page_and_a_program_a_problem_document(self, proxy: Proxy) -> None:
        page, document = proxy.ask("GET", "/", HTML), proxy.ask("GET", "/", [("Accept", "application/json")])
        assert page.headers.get_content_type() == "text/html"
        assert "Größere Arbeiten" in page.body.decode()
        assert document.headers.get_content_type() == "application/problem+json"
        assert document.json["code"] == "maintenance"

    def test_head_has_the_headers_and_no_body(self, proxy: Proxy, platform: Recorder) -> None:
        answer = proxy.ask("HEAD", "/", HTML)
        assert (answer.status, answer.body, answer.headers["Retry-After"]) == (503, b"", "77")
        assert not platform.asked

    def test_a_preflight_passes(self, proxy: Proxy, platform: Recorder) -> None:
        assert proxy.ask("OPTIONS", "/orders", PREFLIGHT).status == 200
        assert len(platform.asked) == 1

    def test_what_the_configuration_exempts_passes(self, proxy: Proxy, platform: Recorder) -> None:
        assert proxy.ask("GET", "/healthz").status == 200
        assert proxy.ask("GET", "/healthz/x").status == 503
        assert [asked.target for asked in platform.asked] == ["/healthz"]

    @pytest.mark.parametrize("target", ["//healthz", "/healthz/../orders", "/HEALTHZ/", "/healthz%2f..%2forders"])
    def test_no_other_spelling_is_exempt(self, proxy: Proxy, platform: Recorder, target: str) -> None:
        """Nothing but the health check itself is let through, however a proxy tidies a path before it compares."""
        proxy.ask("GET", target)
        assert [asked.target for asked in platform.asked if "orders" in asked.target] == []

    def test_an_upgrade_is_refused(self, proxy: Proxy, platform: Recorder) -> None:
        assert upgrade(proxy)[0].startswith("HTTP/1.1 503 ")
        assert not platform.asked


@pytest.mark.usefixtures("read_only")
class TestReadOnly:
    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
    def test_reading_passes(self, proxy: Proxy, platform: Recorder, method: str) -> None:
        assert proxy.ask(method, "/orders").status == 200
        assert [asked.method for asked in platform.asked] == [method]

    @pytest.mark.parametrize("method", WRITES)
    @pytest.mark.parametrize("headers", [[], FORGED], ids=["plain", "forged"])
    def test_whatever_else_is_refused(
        self, proxy: Proxy, platform: Recorder, method: str, headers: list[tuple[str, str]]
    ) -> None:
        refused_by_proxy = {400} if proxy.name in {"nginx", "envoy"} and method.islower() else set()
        assert proxy.ask(method, "/orders", headers, b"body").status in {503} | refused_by_proxy
        assert not platform.asked


def assert_told(asked: Asked) -> None:
    """The three headers that TRUSTED_PROXY_HOPS=1 reads say what the connection says, once."""
    assert asked.values("X-Forwarded-For") == ["127.0.0.1"]
    assert asked.values("X-Forwarded-Proto") == ["http"]
    assert asked.values("X-Forwarded-Host") == ["platform.example:8443"]


def upgrade(proxy: Proxy) -> tuple[str, bytes]:
    """The status line to a request for a WebSocket, and what comes back over the upgraded connection."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as connection:
        connection.sendall(UPGRADE)
        stream = connection.makefile("rb")
        status = stream.readline().decode().strip()
        if " 101 " not in status:
            return status, b""
        while stream.readline().strip():
            pass
        connection.sendall(b"hello\n")
        return status, stream.readline()
