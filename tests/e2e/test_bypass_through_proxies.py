"""Who is let through in maintenance gets through every shipped proxy, and nobody else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.cookies import SimpleCookie

import pytest

from tests import processes
from tests.conftest import ADMIN

from .proxies import NAMES, Proxy
from .servers import Server, eventually, gunicorn
from .visitors import Recorder, ask

TRUSTED = {"TRUSTED_PROXY_HOPS": "1", "BYPASS_NETWORKS": "127.0.0.2/32,10.0.0.0/8", "PUBLIC_URL": "https://x.example"}


@dataclass
class Deployment:
    database_url: str
    dop_be: Server

    def bypass(self, *arguments: str) -> str:
        """Run `flask maintenance bypass …`, as an operator does beside the running server; its output."""
        given = processes.environment(**TRUSTED, DATABASE_URL=self.database_url)
        return processes.run(["flask", "maintenance", "bypass", *arguments], env=given).stdout


@pytest.fixture(scope="module")
def deployment(empty_postgresql: Callable[..., str], migrated_postgresql: str) -> Iterator[Deployment]:
    """dop_be in full maintenance."""
    url = empty_postgresql(template=migrated_postgresql)
    with gunicorn(url, workers=1, cwd=None, **TRUSTED) as server:
        server.request("PUT", "/api/v1/maintenance", json={"active": True}, headers=ADMIN).raise_for_status()
        eventually(30, lambda: ask(server.port, "GET", "/gate").status == 503)
        yield Deployment(url, server)


@pytest.fixture(scope="module", params=NAMES)
def proxy(
    request: pytest.FixtureRequest, deployment: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    platform = Recorder(lambda _: (200, {}))
    directory = tmp_path_factory.mktemp(request.param) / "proxy"
    with Proxy(request.param, directory, platform.port, deployment.dop_be.port, unhurried=True).running() as running:
        yield running
    platform.end()


def test_a_link_lets_its_visitor_through_until_it_is_revoked(deployment: Deployment, proxy: Proxy) -> None:
    link = re.search(r"/gate/bypass/(\S+)", deployment.bypass("create", proxy.name))
    assert link
    path, token = link.group(), link.group(1)
    eventually(30, lambda: proxy.ask("GET", path).status in {302, 303})  # it was made in another process
    followed = proxy.ask("GET", f"{path}?next=/orders%3Fx=1")
    assert followed.headers["Location"] == "/orders?x=1"
    cookie = SimpleCookie(followed.headers["Set-Cookie"])["maintenance_bypass"]
    assert (cookie["httponly"], cookie["secure"]) == (True, True)
    planted = "maintenance_bypass=x; maintenance_bypass=dop_00000000_0; maintenance_bypass=dop_11111111_1"
    carried = [
        [("Cookie", f"{planted}; a=b; maintenance_bypass={cookie.value}")],
        [("Cookie", f"maintenance_bypass={cookie.value}; a=b;{planted}")],
        [("Cookie", f"session=abc; maintenance_bypass={cookie.value}; other=1")],
        [("X-Maintenance-Bypass", token)],
    ]
    for headers in carried:
        assert [proxy.ask(method, "/orders", headers).status for method in ("GET", "POST", "PURGE")] == [200] * 3
    assert proxy.ask("GET", "/orders").status == 503
    deployment.bypass("revoke", proxy.name)
    eventually(30, lambda: [proxy.ask("GET", "/orders", headers).status for headers in carried] == [503] * 4)
    assert proxy.ask("GET", path).headers["Set-Cookie"] is None


@pytest.mark.parametrize("token", ["", "x", "%00", "a b", "x" * 4_000, '"quoted"', "\xff"])
def test_no_other_token_lets_through(proxy: Proxy, token: str) -> None:
    for headers in ([("Cookie", f"maintenance_bypass={token}")], [("X-Maintenance-Bypass", token)]):
        assert proxy.ask("GET", "/orders", headers).status == 503


def test_a_listed_network_is_let_through_by_its_real_address(proxy: Proxy) -> None:
    assert ask(proxy.port, "POST", "/orders", source="127.0.0.2").status == 200
    assert proxy.ask("POST", "/orders").status == 503


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X_Forwarded_For", "REMOTE_ADDR"])
@pytest.mark.parametrize("address", ["127.0.0.2", "10.0.0.1", "10.0.0.1, 10.0.0.2"])
def test_a_claimed_address_lets_nobody_through(proxy: Proxy, name: str, address: str) -> None:
    claimed = f"for={address}" if name == "Forwarded" else address
    assert proxy.ask("GET", "/orders", [(name, claimed), (name, claimed)]).status == 503
