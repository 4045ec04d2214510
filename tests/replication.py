"""A streaming replica of a test's PostgreSQL server, which may be promoted, held back, killed and frozen at will."""

from __future__ import annotations

from contextlib import suppress

import psycopg2

from .clock import eventually
from .postgres import START_SECONDS, Cluster, execute

STREAMING = "SELECT sync_state FROM pg_stat_replication WHERE application_name = '{}' AND state = 'streaming'"
# Of a primary, at any moment: pg_control_checkpoint() has an old timeline until the first checkpoint of a new one.
TIMELINE = "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int"


class Replica(Cluster):
    """A hot standby that follows `primary` from `start` on; a primary itself once it is promoted.

    With `synchronous` the primary acknowledges a commit only when the replica has it on disk too, so that a promotion
    loses nothing that was acknowledged. `release` takes that back.
    """

    def __init__(self, primary: Cluster, *, synchronous: bool = False) -> None:
        self.primary, self.promoted = primary, False
        self._synchronous = synchronous
        super().__init__(**{**primary._settings, "unix_socket_directories": ""})

    def _fill(self) -> None:
        """Copy the primary's data folder while it runs, and have the copy follow."""
        backup = ["--checkpoint=fast", "--wal-method=stream", "--no-sync", "-h", "127.0.0.1", "-U", "postgres"]
        self._run("pg_basebackup", "-D", self._data, "-p", str(self.primary.port), *backup)
        source = f"host=127.0.0.1 port={self.primary.port} user=postgres application_name={self.name}"
        with (self._data / "postgresql.auto.conf").open("a") as written:  # the last line of a name counts
            written.write(f"primary_conninfo = '{source}'\nsynchronous_standby_names = ''\n")
        self._touch("standby.signal")

    @property
    def name(self) -> str:
        """What the primary knows it by."""
        return f"replica_{self.port}"

    def start(self) -> None:
        """Start it, and wait until it streams; where it is synchronous, until the primary waits for it."""
        super().start()
        if self.promoted:
            return
        eventually(START_SECONDS, lambda: execute(self.primary.url(), STREAMING.format(self.name)))
        if self._synchronous:
            self._have_primary_wait(f"'{self.name}'")
            eventually(START_SECONDS, lambda: execute(self.primary.url(), STREAMING.format(self.name)) == [("sync",)])

    def release(self) -> None:
        """Have the primary acknowledge without it again."""
        self._have_primary_wait("DEFAULT")

    def _have_primary_wait(self, names: str) -> None:
        execute(self.primary.url(), f"ALTER SYSTEM SET synchronous_standby_names TO {names}", "SELECT pg_reload_conf()")

    def promote(self) -> None:
        """Make it a primary, and wait until it takes writes."""
        self.promoted = True
        execute(self.url(), "SELECT pg_promote(wait => false)")
        eventually(START_SECONDS, self._takes_writes, pause=0.005)

    def _takes_writes(self) -> bool:
        with suppress(psycopg2.OperationalError):
            return execute(self.url(), "SELECT pg_is_in_recovery()") == [(False,)]
        return False

    def pause_replay(self) -> None:
        """Keep what arrives from being seen; it is still received and acknowledged."""
        paused = "SELECT pg_get_wal_replay_pause_state() = 'paused'"
        execute(self.url(), "SELECT pg_wal_replay_pause()")
        eventually(START_SECONDS, lambda: execute(self.url(), paused) == [(True,)])

    def resume_replay(self) -> None:
        execute(self.url(), "SELECT pg_wal_replay_resume()")

    def cut_off(self) -> None:
        """Have it receive nothing more, as if the network to its primary were down."""
        execute(self.url(), "ALTER SYSTEM SET primary_conninfo TO ''", "SELECT pg_reload_conf()")
        eventually(START_SECONDS, lambda: not execute(self.url(), "SELECT pid FROM pg_stat_wal_receiver"))

    def wait_for_replay(self) -> None:
        """Wait until it shows all that the primary has committed by now."""
        [(flushed,)] = execute(self.primary.url(), "SELECT pg_current_wal_flush_lsn()")
        replayed = f"SELECT pg_last_wal_replay_lsn() >= '{flushed}'"
        eventually(START_SECONDS, lambda: execute(self.url(), replayed) == [(True,)])


def timeline(primary: Cluster) -> int:
    """The timeline that a primary writes."""
    [(number,)] = execute(primary.url(), TIMELINE)
    return int(number)
