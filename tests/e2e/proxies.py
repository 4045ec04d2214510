"""Real proxies with the shipped configurations."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .. import processes
from ..ports import free_port
from .servers import START_SECONDS, eventually
from .visitors import Answer, Headers, ask

DEPLOY = processes.ROOT / "deploy"
NAMES = ("nginx", "caddy", "haproxy", "envoy")
REMEMBERING = ("nginx", "haproxy")  # those that keep the last verdict, as shipped
STALE = 2.2  # seconds after which a flip shows in all of them: nginx counts whole ones, and may add one


@dataclass
class Proxy:
    """One proxy on a free port, with the shipped configuration; only its addresses, and perhaps its switch, changed."""

    name: str
    directory: Path
    platform: int
    dop_be: int
    fail_closed: bool = False
    second: int = 0  # the port of a second dop_be
    keep: int = 60  # seconds for which a remembering proxy keeps a verdict of a dead gate
    asking: bool = False  # about every visitor, where a proxy remembers as shipped
    origin: str = ""  # whose pages may read the answer in place of a dead gate's
    insiders: str = ""  # a network of which a remembering proxy knows that it is let through
    unhurried: bool = False  # waits ten times as long for dop_be, where a busy machine must not look like a dead one
    changed: Mapping[str, str] = field(default_factory=dict)  # what else is written otherwise than shipped
    port: int = field(default_factory=free_port)
    stand_in: int = field(default_factory=free_port)  # what the configurations have at port 8001

    @contextmanager
    def running(self) -> Iterator[Proxy]:
        self.directory.mkdir()
        command = getattr(self, f"_{self.name}")()
        environment = processes.environment(HOME=str(self.directory))
        log = self.directory / "log"
        with log.open("wb") as output:
            process = processes.start(command, cwd=self.directory, env=environment, stdout=output, stderr=output)
        try:
            wait_until_listening(process, self.port, log)
            yield self
        finally:
            processes.end(process)

    def ask(
        self,
        method: str,
        target: str = "/",
        headers: Headers = (),
        body: bytes | Iterable[bytes] = b"",
        host: str = "platform.example:8443",
    ) -> Answer:
        return ask(self.port, method, target, headers, body, host=host)

    def _nginx(self) -> list[str]:
        self._configure("nginx.conf", "site.conf")
        temporary = "".join(
            f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""  # the workers must reach this folder
        main = f"{user} worker_processes 2; daemon off; pid pid; events {{}}"
        for written, used in self.changed.items():
            main = main.replace(written, used)
        http = f"http {{ access_log off; {temporary} include site.conf; }}"
        (self.directory / "main.conf").write_text(f"{main} {http}")
        here = str(self.directory)
        return [_program("nginx"), "-e", "stderr", "-p", here, "-c", f"{here}/main.conf"]

    def _caddy(self) -> list[str]:
        self._configure("Caddyfile", "site")
        (self.directory / "main").write_text("{\n\tadmin off\n\tauto_https off\n}\nimport site\n")
        return [_program("caddy"), "run", "--config", "main", "--adapter", "caddyfile"]

    def _haproxy(self) -> list[str]:
        self._configure("haproxy.cfg", "haproxy.cfg")
        self._configure("dop_be.lua", "dop_be.lua")
        return [_program("haproxy"), "-db", "-f", "haproxy.cfg"]

    def _envoy(self) -> list[str]:
        self._configure("envoy.yaml", "envoy.yaml")
        return [_program("envoy"), "-c", "envoy.yaml", "--concurrency", "1", "--disable-hot-restart", "-l", "error"]

    def _configure(self, shipped: str, name: str) -> None:
        text = (DEPLOY / shipped).read_text()
        addresses = {
            "127.0.0.1:8080": f"127.0.0.1:{self.platform}",
            "127.0.0.1:8000": f"127.0.0.1:{self.dop_be}",
            "127.0.0.1:8001": f"127.0.0.1:{self.stand_in}",
            "listen 80;": f"listen 127.0.0.1:{self.port};",
            "\n:80 {": f"\nhttp://:{self.port} {{",
            "bind :80\n": f"bind 127.0.0.1:{self.port}\n",
            "0.0.0.0, port_value: 80 }": f"127.0.0.1, port_value: {self.port} }}",
            "port_value: 8080 }": f"port_value: {self.platform} }}",
            "port_value: 8000 }": f"port_value: {self.dop_be} }}",
            "/etc/haproxy/": f"{self.directory}/",
            "/var/lib/nginx/": f"{self.directory}/",
        }
        memory = {"keep=60;": f"keep={self.keep};", "local KEEP = 60": f"local KEEP = {self.keep}"}
        if self.asking:
            memory['    "" "";\n    default yes;'] = '    "" yes;\n    default yes;'
            memory["local ASK_EVERY_TIME = false"] = "local ASK_EVERY_TIME = true"
        if self.origin:
            memory['# "https://app.example.com"'] = f'"{self.origin}"'  # nginx
            memory['-- "https://app.example.com"'] = f'"{self.origin}"'  # HAProxy
        if self.insiders:
            memory["# 192.0.2.0/24 yes;"] = f"{self.insiders} yes;"
            memory["# http-request set-var(txn.insider) bool(true) if { src 192.0.2.0/24 }"] = (
                f"http-request set-var(txn.insider) bool(true) if {{ src {self.insiders} }}"
            )
        if self.second:
            # nginx has two lines for one machine already
            text = re.sub(r"(server 127.0.0.1:)8000(.*\n +server 127.0.0.1:8000)", rf"\g<1>{self.second}\2", text)
            text = text.replace("reverse_proxy 127.0.0.1:8000", f"reverse_proxy 127.0.0.1:{self.second} 127.0.0.1:8000")
            endpoint = "{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 8000 } } } }"
            text = text.replace(endpoint, f"{endpoint.replace('8000', str(self.second))}, {endpoint}")
            server = "server dop_be 127.0.0.1:8000"
            text = text.replace(server, f"server second 127.0.0.1:{self.second}\n    {server}")
        for written, used in {**self.changed, **addresses, **memory}.items():
            text = text.replace(written, used)
        if self.unhurried:
            text = re.sub(r"((?:timeout|max_interval)\b[^\n]*?)\b1s\b", r"\g<1>10s", text)
            text = re.sub(r"(WAIT =|lb_try_duration) 2500", r"\1 25000", text)
        (self.directory / name).write_text(fail_closed(text) if self.fail_closed else text)


def fail_closed(text: str) -> str:
    """The configuration with its switch moved: the line of `fail open` commented out, that of `fail closed` not."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if "# fail open:" in line:
            lines[number] = f"# {line}"
        elif "# fail closed:" in line:
            lines[number] = line.replace("# ", "", 1)
    return "\n".join(lines) + "\n"


def wait_until_listening(process: processes.Popen, port: int, log: Path) -> None:
    def done() -> bool:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    eventually(START_SECONDS, done)


def _program(name: str) -> str:
    found = shutil.which(name, path=processes.environment()["PATH"])
    assert found, f"{name} is not installed: run `make system`"
    return found
