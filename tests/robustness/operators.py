"""A client that uses psql, on the database itself."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from .clients import LIMIT, UNKNOWN, Call, Writer, moment, one
from .plan import Step
from .record import Outcome, now
from .system import sql

Statement = tuple[str, str, dict[str, Any]]  # its text, the kind of the write, and what is asked for


class Operator(Writer):
    """Uses psql, on the database itself."""

    def do(self, identifier: str, step: Step) -> None:
        made: Callable[..., Statement] = getattr(self, f"_{step.kind.replace(' ', '_')}")
        statement, kind, asked = made(identifier, step.how)
        if not statement:
            return
        call, code, said, outcome = Call(identifier, kind, asked), None, "", UNKNOWN
        try:
            done = sql(self.system, f"SELECT set_config('dop_be.reason', '{identifier}', true); {statement}", LIMIT)
        except (subprocess.TimeoutExpired, AssertionError):
            pass
        else:
            code, said = done.returncode, done.stderr
            outcome = "acknowledged" if code == 0 else _judged(said)
        self.told(call, outcome, "postgres", status=code, answer={"detail": said} if said else {})
        if kind == "plan" and outcome == "acknowledged":
            self.known.windows += re.findall(r"^[0-9a-f]{8}-[0-9a-f-]{27}", done.stdout, re.MULTILINE)[-1:]

    def _patch_any(self, identifier: str, how: Mapping[str, Any]) -> Statement:
        values = {"release": identifier}
        statement = f"UPDATE system_settings SET release = '{identifier}'"
        return statement, "patch", {"if_match": None, "values": values}

    def _switch(self, identifier: str, how: Mapping[str, Any]) -> Statement:
        active, mode = how["active"], how["mode"]
        statement = f"UPDATE system_settings SET is_maintain = {active}, maintenance_mode = '{mode}'"
        return statement, "patch", {"if_match": None, "values": {"is_maintain": active, "maintenance_mode": mode}}

    def _plan(self, identifier: str, how: Mapping[str, Any]) -> Statement:
        begins = now() + how["begins"]
        asked = {"starts_at": begins, "ends_at": begins + how["lasts"], "mode": how["mode"]}
        values = f"'{moment(begins)}', '{moment(asked['ends_at'])}', '{how['mode']}'"
        return (
            f"INSERT INTO maintenance_windows (starts_at, ends_at, mode) VALUES ({values}) RETURNING id",
            "plan",
            asked,
        )

    def _cancel(self, identifier: str, how: Mapping[str, Any]) -> Statement:
        window = one(self.known.windows, how["share"])
        statement = f"DELETE FROM maintenance_windows WHERE id = '{window}'"
        return statement if window else "", "cancel", {"window": window}


def _judged(said: str) -> Outcome:
    """An error of the server undid the transaction; a lost connection tells nothing, and one never made did nothing."""
    if "could not connect" in said or ("connection to server at" in said and "failed" in said):
        return "refused"
    if "server closed the connection" in said or "connection to server was lost" in said or "terminating" in said:
        return "unknown"
    return "refused" if "ERROR:" in said else "unknown"
