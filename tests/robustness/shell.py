"""A client at a shell, on the first host."""

from __future__ import annotations

import getpass
import re
import subprocess
from collections.abc import Mapping
from typing import Any

from .. import processes
from ..guard import sitecustomize as guard
from .clients import LIMIT, UNKNOWN, UNSURE, Call, Writer, moment, one
from .plan import Step
from .record import Outcome, now

Command = tuple[list[str], str, dict[str, Any]]  # its words, the kind of the write, and what is asked for


class Shell(Writer):
    """Types commands on host A."""

    def do(self, identifier: str, step: Step) -> None:
        words, kind, asked = getattr(self, f"_{step.kind.replace(' ', '_')}")(identifier, step.how)
        if not words:
            return
        host = next(iter(self.system.hosts.values()))
        environment = host.environment | {"STATE_FILE": "none"}
        environment.pop(guard.CLOCK)  # so that the command can be forked, which is far quicker
        call, command = Call(identifier, kind, asked), ["flask", "--app", "wsgi", *words, "--reason", identifier]
        try:
            done = processes.run(command, check=False, timeout=LIMIT, cwd=self.system.project, env=environment)
        except (subprocess.TimeoutExpired, AssertionError):
            self.told(call, UNKNOWN, getpass.getuser())
            return
        outcome: Outcome = "acknowledged" if done.returncode == 0 else UNKNOWN if UNSURE in done.stderr else "refused"
        answer = {} if outcome == "acknowledged" else {"detail": done.stderr[-2000:]}
        self.told(call, outcome, getpass.getuser(), status=done.returncode, answer=answer)
        if outcome == "acknowledged":
            self._note(kind, asked, done.stdout)

    def _note(self, kind: str, asked: dict[str, Any], said: str) -> None:
        if kind == "plan":
            self.known.windows += re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", said)[:1]
        if kind == "create_token":
            known = self.known.bypasses if "bypass" in said else self.known.tokens
            known.append((asked["token"], re.findall(r"dop_\w+", said)[-1]))

    def _set(self, identifier: str, how: Mapping[str, Any]) -> Command:
        values = {"release": identifier}
        return ["settings", "set", f"release={identifier}"], "patch", {"if_match": None, "values": values}

    def _switch(self, identifier: str, how: Mapping[str, Any]) -> Command:
        if not how["active"]:
            return ["maintenance", "off"], "switch", {"active": False}
        words = ["maintenance", "on", "--mode", how["mode"], "--message", identifier]
        asked: dict[str, Any] = {"active": True, "mode": how["mode"], "message": identifier}
        if how["seconds"]:
            words += ["--for", f"{max(1, round(how['seconds']))}s"]
            asked["ends_at"] = True
        return words, "switch", asked

    def _plan(self, identifier: str, how: Mapping[str, Any]) -> Command:
        begins = now() + how["begins"] + 1.0  # a command takes longer
        asked = {"starts_at": begins, "ends_at": begins + how["lasts"], "mode": how["mode"]}
        words = ["maintenance", "schedule", moment(begins), moment(asked["ends_at"]), "--mode", how["mode"]]
        return words, "plan", asked

    def _cancel(self, identifier: str, how: Mapping[str, Any]) -> Command:
        window = one(self.known.windows, how["share"])
        return ["maintenance", "cancel", window] if window else [], "cancel", {"window": window}

    def _restore(self, identifier: str, how: Mapping[str, Any], kind: str = "restore") -> Command:
        wanted = 1 + int(how["share"] * self.known.revision)
        return ["settings", kind, str(wanted)], kind, {"revision": wanted, "if_match": None}

    def _undo(self, identifier: str, how: Mapping[str, Any]) -> Command:
        return self._restore(identifier, how, "undo")

    def _create_token(self, identifier: str, how: Mapping[str, Any]) -> Command:
        scopes = ["--scope", "settings:write", "--scope", "maintenance:write"]
        return ["tokens", "create", identifier, *scopes], "create_token", {"token": identifier}

    def _revoke_token(self, identifier: str, how: Mapping[str, Any]) -> Command:
        name, _ = one(self.known.tokens, how["share"]) or ("", "")
        return ["tokens", "revoke", name] if name else [], "revoke_token", {"token": name}

    def _create_bypass(self, identifier: str, how: Mapping[str, Any]) -> Command:
        words = ["maintenance", "bypass", "create", identifier, "--for", how["lifetime"]]
        return words, "create_token", {"token": identifier}

    def _revoke_bypass(self, identifier: str, how: Mapping[str, Any]) -> Command:
        name, _ = one(self.known.bypasses, how["share"]) or ("", "")
        return ["maintenance", "bypass", "revoke", name] if name else [], "revoke_token", {"token": name}
