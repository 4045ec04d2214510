"""A client of the API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import requests
import urllib3

from ..conftest import ADMIN_TOKEN
from .clients import LIMIT, UNKNOWN, UNSURE, Call, Writer, moment, one
from .plan import Step
from .record import Outcome, Read, now

SETTINGS, MAINTENANCE, WINDOWS = "/api/v1/settings", "/api/v1/maintenance", "/api/v1/maintenance/windows"
SHOWN = (
    "revision",
    "release",
    "is_maintain",
    "maintenance_mode",
    "maintenance_message",
    "active",
    "code",
    "detail",
    "id",
)


class Visitor(Writer):
    """Uses the API; with one of the named tokens, where there are some and the step does not need more."""

    def __init__(self, *given: Any, tokens: bool) -> None:
        super().__init__(*given)
        self._tokens, self._session = tokens, requests.Session()

    def do(self, identifier: str, step: Step) -> None:
        getattr(self, f"_{step.kind.replace(' ', '_')}")(identifier, step.how)

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.dice.choice(list(self.system.hosts.values())).port}{path}"

    def _host(self, url: str) -> str:
        """Return the name of the host that a URL is of."""
        return next(host.name for host in self.system.hosts.values() if f":{host.port}/" in url)

    def _patch(self, identifier: str, how: Mapping[str, Any]) -> None:
        seen = self._read() if how["know"] == "read" else self.known.revision
        values = {"release": identifier}
        if how["mode"]:
            values["maintenance_mode"] = how["mode"]
        asked = {"if_match": seen, "values": values}
        self._ask(Call(identifier, "patch", asked), "PATCH", SETTINGS, values, f'"{seen}"')

    def _patch_any(self, identifier: str, how: Mapping[str, Any]) -> None:
        values = {"maintenance_message": identifier}
        call = Call(identifier, "patch", {"if_match": None, "values": values})
        self._ask(call, "PATCH", SETTINGS, values, "*")

    def _read(self) -> int:
        url, sent = self._url(SETTINGS), now()
        try:
            got = self._session.get(url, timeout=LIMIT)
        except requests.RequestException:
            return self.known.revision  # nobody is blamed for it: other readers look at that
        self.record(Read(self._host(url), 0, "settings", sent, now(), got.status_code, _shown(got)))
        if got.ok:
            self.known.revision = got.json()["revision"]
        return self.known.revision

    def _restore(self, identifier: str, how: Mapping[str, Any], kind: str = "restore") -> None:
        wanted, seen = 1 + int(how["share"] * self.known.revision), self._read()
        asked = {"revision": wanted, "if_match": seen}
        self._ask(Call(identifier, kind, asked), "POST", f"{SETTINGS}/{kind}", {"revision": wanted}, f'"{seen}"')

    def _undo(self, identifier: str, how: Mapping[str, Any]) -> None:
        self._restore(identifier, how, "undo")

    def _switch(self, identifier: str, how: Mapping[str, Any]) -> None:
        body: dict[str, Any] = {"active": how["active"]}
        asked = dict(body)
        if how["active"]:
            body |= {"mode": how["mode"], "message": identifier}
            asked = dict(body)
            if how["seconds"]:
                until = now() + how["seconds"]
                body["until"], asked["ends_at"] = moment(until), until
        self._ask(Call(identifier, "switch", asked), "PUT", MAINTENANCE, body)

    def _plan(self, identifier: str, how: Mapping[str, Any]) -> None:
        begins = now() + how["begins"]
        ends, rest = begins + how["lasts"], {"mode": how["mode"], "message": identifier}
        asked = {"starts_at": begins, "ends_at": ends, **rest}
        body = {"starts_at": moment(begins), "ends_at": moment(ends), **rest}
        answer = self._ask(Call(identifier, "plan", asked), "POST", WINDOWS, body)
        if "id" in answer:
            self.known.windows.append(answer["id"])

    def _cancel(self, identifier: str, how: Mapping[str, Any]) -> None:
        if window := one(self.known.windows, how["share"]):
            self._ask(Call(identifier, "cancel", {"window": window}), "DELETE", f"{WINDOWS}/{window}", None)

    def _ask(self, call: Call, method: str, path: str, body: Any, if_match: str = "") -> dict[str, Any]:
        """Send one request, and record what became of it; what counts of the answer where it was acknowledged."""
        name, secret = (one(self.known.tokens, self.dice.random() ** 0.5) if self._tokens else None) or (None, None)
        headers = {"Authorization": f"Bearer {secret or ADMIN_TOKEN}", "X-Change-Reason": call.id}
        headers |= {"If-Match": if_match} if if_match else {}
        url, status, outcome = self._url(path), None, UNKNOWN
        answer: dict[str, Any] = {}
        try:
            got = self._session.request(method, url, json=body, headers=headers, timeout=LIMIT)
            status, answer = got.status_code, _shown(got)
            outcome = _outcome(status, answer.get("detail", ""))
        except requests.RequestException as error:
            outcome = "refused" if _was_not_sent(error) else UNKNOWN
            answer = {"detail": str(error)}
        self.told(call, outcome, name or "admin", status=status, answer=answer, token=name)
        if outcome != "acknowledged":
            return {}
        if call.kind in {"patch", "switch"}:
            self._read_own(url, call.id)
        return answer

    def _read_own(self, url: str, identifier: str) -> None:
        """Ask the worker that has taken the write, over the same connection, for the settings."""
        base = url.rpartition("/api/")[0]
        connections = self._session.get_adapter(base).poolmanager.connection_from_url(base)  # type: ignore[attr-defined]
        opened, sent = connections.num_connections, now()
        try:
            got = self._session.get(base + SETTINGS, timeout=LIMIT)
        except requests.RequestException:
            return  # nobody is blamed for it: other readers look at that
        if connections.num_connections == opened:  # else it may be another worker's
            self.record(
                Read(self._host(url), 0, "settings", sent, now(), got.status_code, _shown(got), after=identifier)
            )


def _shown(got: requests.Response) -> dict[str, Any]:
    try:
        body = got.json() if got.content else {}
    except ValueError:
        body = {"detail": got.text[:500]}
    shown = {name: body[name] for name in SHOWN if name in body}
    if got.status_code == 412:
        shown["etag_revision"] = int(re.findall(r"\d+", got.headers["ETag"])[0])
    return shown


def _outcome(status: int, detail: str) -> Outcome:
    if status < 400:
        return "acknowledged"
    return "unknown" if status >= 500 and UNSURE in detail else "refused"


def _was_not_sent(error: requests.RequestException) -> bool:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, urllib3.exceptions.NewConnectionError)
