"""Which addresses gunicorn listens on; that one IPv6 socket takes IPv4 too is the kernel's word, not ours."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Self

import pytest

CONF = Path(__file__).parents[1] / "gunicorn.conf.py"


class Probe:
    """A socket of a system as it is seldom met."""

    def __init__(self, *, only_ipv6: int | None) -> None:
        self._only_ipv6 = only_ipv6

    def __call__(self, family: int) -> Self:
        if self._only_ipv6 is None:
            raise OSError(97, "Address family not supported by protocol")
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def bind(self, address: tuple[str, int]) -> None:
        pass

    def getsockopt(self, level: int, option: int) -> int:
        assert self._only_ipv6 is not None
        return self._only_ipv6


@pytest.fixture
def conf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.setattr("config.ENV_FILE", tmp_path / ".env")
    spec = importlib.util.spec_from_file_location("gunicorn_conf", CONF)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("only_ipv6", "bound"), [(None, ["0.0.0.0:80"]), (0, ["[::]:80"]), (1, ["0.0.0.0:80", "[::]:80"])]
)
def test_every_address_is_bound_once(
    conf: ModuleType, monkeypatch: pytest.MonkeyPatch, only_ipv6: int | None, bound: list[str]
) -> None:
    monkeypatch.setattr(socket, "socket", Probe(only_ipv6=only_ipv6))
    assert conf.everywhere(80) == bound


def test_nothing_set_stays_on_the_loopback_interface(conf: ModuleType) -> None:
    assert (conf.bind, conf.workers) == ("127.0.0.1:8000", 2)
