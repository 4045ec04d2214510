"""A PostgreSQL server as hosters run it: TLS, and SCRAM passwords for all but the tests' own superuser."""

from __future__ import annotations

import os
from pathlib import Path

from . import processes
from .postgres import Cluster, execute

PASSWORD = "a-password-of-the-tests"
# A server may take a password without TLS too, so that a proxy can see what is said.
RULES = "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
CERTIFICATE = [
    *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"),
    *("-days", "2", "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.crt"),
]


class SecuredCluster(Cluster):
    """The role `service` owns the databases that `create` makes, and has to show its password."""

    def __init__(self, **settings: str) -> None:
        super().__init__(**{"ssl": "on", "password_encryption": "scram-sha-256", **settings})
        self._has_role = False
        try:
            (self._data / "pg_hba.conf").write_text(RULES)
            processes.run(CERTIFICATE, cwd=self._data)
            for name in ("server.key", "server.crt"):
                self._give(self._data / name)
        except BaseException:
            self.remove()
            raise

    def _give(self, path: Path) -> None:
        """Let the server alone read a file, which it demands of its key."""
        path.chmod(0o600)
        if self._as:
            os.chown(path, self._as["user"], self._as["group"])

    def start(self) -> None:
        super().start()
        if not self._has_role:
            execute(self.url(), f"CREATE ROLE service LOGIN PASSWORD '{PASSWORD}'")
            self._has_role = True

    def create(self, name: str, template: str = "template1") -> str:
        """Make a database; the URL for its owner, over TLS."""
        execute(self.url(), f"CREATE DATABASE {name} OWNER service TEMPLATE {template}")
        return self.secured_url(name)

    def secured_url(self, database: str, sslmode: str = "require") -> str:
        return f"postgresql://service:{PASSWORD}@127.0.0.1:{self.port}/{database}?sslmode={sslmode}"
