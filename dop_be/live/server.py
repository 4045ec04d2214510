"""Which server answers: its address, its role and which life of the database it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from .last_state import Identity

# The checkpoint's timeline is the old one for some time after a promotion.
IDENTITY = """(pg_control_system()).system_identifier, CASE WHEN pg_is_in_recovery()
    THEN greatest((pg_control_checkpoint()).timeline_id, (pg_control_recovery()).min_recovery_end_timeline,
        (SELECT max(received_tli) FROM pg_stat_wal_receiver))
    ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer END"""
# The last one tells two databases of a server apart, and is the same on its replicas.
PLAIN = """pg_backend_pid(), pg_is_in_recovery(), host(inet_server_addr()), inet_server_port(),
    concat_ws('.', (SELECT oid FROM pg_database WHERE datname = current_database()), to_regclass('live_state')::oid)"""


@dataclass(frozen=True)
class Server:
    """The server behind a connection.

    `address` is the server's own, whatever stands between; `identity` is None where the server does not tell it.
    `pid` is the process that answers, `table` tells the database on all its servers.
    """

    address: str
    role: Literal["primary", "replica"]
    identity: Identity | None
    pid: int
    table: str

    def __str__(self) -> str:
        timeline = f", timeline {self.identity.timeline}" if self.identity else ""
        return f"{self.address}, {self.role}{timeline}"

    def is_same_database(self, other: Server) -> bool:
        """Whether both are servers of one database, of which one may be a replica."""
        systems = {server.identity.system for server in (self, other) if server.identity}
        return self.table == other.table and len(systems) <= 1


def find_out(connection: Connection, before: str = "") -> Server:
    """Ask a PostgreSQL server which it is; `before` is a statement that travels along.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it does not answer, or refuses the statement.
    """
    try:
        *plain, system, timeline = connection.execute(text(f"{before}SELECT {PLAIN}, {IDENTITY}")).one()
    except DBAPIError as error:
        if before or error.connection_invalidated or getattr(error.orig, "pgcode", None) is None:
            raise
        # It answered: what is not PostgreSQL to the last function, or keeps it from this role, has no identity.
        return _server(connection, connection.execute(text(f"SELECT {PLAIN}")).one(), None)
    return _server(connection, plain, Identity(str(system), timeline))


def _server(connection: Connection, plain: Any, identity: Identity | None) -> Server:
    pid, in_recovery, address, port, table = plain
    info: Any = connection.connection.driver_connection
    if address is None:  # a Unix socket
        address, port = info.info.host, info.info.port
    written = f"[{address}]" if ":" in address else address
    return Server(f"{written}:{port}", "replica" if in_recovery else "primary", identity, pid, table)
