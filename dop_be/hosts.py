"""How a PostgreSQL server is connected to: every host of the URL has its time, the last good one comes first."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import extensions

from . import deadline
from .deadline import Timeout, round_trip
from .failures import words

SECONDS = 5.0  # for each address, where nothing else is said
STAGGER = 0.25  # seconds until the next host is tried beside one that has not answered yet
ASK_AGAIN = 0.5  # seconds until a host that refused is asked again, while another one is still silent
AT_ONCE = 1.0  # seconds, and some round trips, for the last good host by itself

Arguments = Mapping[str, Any]  # libpq's keywords
Host = Mapping[str, str]  # one server's host, hostaddr and port

_good: dict[tuple[str, ...], Host] = {}  # the last one that let this process in, by what the URL says of hosts


def connect(arguments: Arguments, factory: type[extensions.connection]) -> extensions.connection:
    """Connect to the first host that lets us in and is what `target_session_attrs` asks for.

    `connect_timeout` counts for each address. Outside of a time limit, as in a migration, libpq does it all by itself.

    Raises:
        psycopg2.OperationalError: none does, and what each of them said; Timeout where one did not answer.
    """
    if extensions.get_wait_callback() is None:
        return _connect(arguments, factory)
    key = _key(arguments)
    arguments = {**arguments, **_unsaid(arguments)}
    seconds = float(arguments.get("connect_timeout", SECONDS))
    hosts, good = expand(arguments), _good.get(key)
    if len(hosts) == 1:
        return _bounded({**arguments, **hosts[0]}, factory, seconds)
    if good is not None:
        with suppress(psycopg2.OperationalError):
            alone = min(seconds, AT_ONCE + deadline.ROUND_TRIPS * round_trip.seconds)
            return _bounded({**_single(arguments), **good}, factory, alone)
        _good.pop(key, None)
    found = _race(hosts, arguments, seconds)
    # Once more: psycopg2 makes no ordinary connection of the asynchronous one that has won.
    connection = _bounded({**_single(arguments), **found}, factory, seconds)
    _good[key] = found
    return connection


def forget(arguments: Arguments) -> None:
    """Try all hosts alike the next time, since the last good one is lost."""
    _good.pop(_key(arguments), None)


def _key(arguments: Arguments) -> tuple[str, ...]:
    return tuple(str(arguments.get(name, "")) for name in ("host", "hostaddr", "port", "target_session_attrs"))


def _unsaid(arguments: Arguments) -> dict[str, str]:
    """Return the several hosts of libpq's service file, where the URL names one and no host."""
    if arguments.get("host") or arguments.get("hostaddr") or not arguments.get("service"):
        return {}
    with suppress(psycopg2.Error, UnicodeDecodeError):  # the connection itself says what is wrong
        connection = psycopg2.connect(**{**arguments, "async_": 1})
        said = connection.info.dsn_parameters
        connection.close()
        hosts = {name: said[name] for name in ("host", "hostaddr", "port") if said.get(name)}
        return hosts if any("," in value for value in hosts.values()) else {}
    return {}


def expand(arguments: Arguments) -> list[Host]:
    """Return every address of every host, in the order of the tries (libpq, "Specifying Multiple Hosts").

    A host that the resolver does not know stays as it is: libpq says so. Without a host, libpq has its own default.
    """
    names, addresses, ports = (_split(arguments.get(name)) for name in ("host", "hostaddr", "port"))
    count = max(len(names), len(addresses), 1)
    if count == 1 and not (names or addresses):
        return [{}]
    ports = ports * count if len(ports) == 1 else ports or [""] * count
    given = zip(names or [""] * count, addresses or [""] * count, ports, strict=True)
    found = [host for one in given for host in _resolved(*one)]
    if arguments.get("load_balance_hosts") == "random":
        random.shuffle(found)
    return found


def _split(value: object) -> list[str]:
    return [] if value in {None, ""} else str(value).split(",")


def _resolved(name: str, address: str, port: str) -> Iterator[Host]:
    host = {key: value for key, value in (("host", name), ("hostaddr", address), ("port", port)) if value}
    addresses: list[str] = []
    if name and not address and not name.startswith(("/", "@")):
        with suppress(OSError, UnicodeError):
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
    yield from ({**host, "hostaddr": one} for one in addresses) if len(addresses) > 1 else [host]


def _single(arguments: Arguments) -> dict[str, Any]:
    """Return what holds for each host."""
    return {name: value for name, value in arguments.items() if name not in {"host", "hostaddr", "port"}}


def _bounded(arguments: Arguments, factory: type[extensions.connection], seconds: float) -> extensions.connection:
    try:
        with deadline.connecting(seconds):
            return _connect(arguments, factory)
    except Timeout:
        raise Timeout(f"{_named(arguments)} did not answer in time") from None


def _connect(arguments: Arguments, factory: type[extensions.connection]) -> extensions.connection:
    try:
        connection: extensions.connection = psycopg2.connect(**arguments, connection_factory=factory)
    except UnicodeDecodeError as error:  # a refusal in the server's language
        raise psycopg2.OperationalError(f"{_named(arguments)}: {words(error)}") from None
    except Timeout:
        raise
    except psycopg2.OperationalError as error:  # psycopg2 leaves out which server it was
        raise psycopg2.OperationalError(f"{_named(arguments)}: {str(error).strip()}") from None
    return connection


def _named(host: Host | Arguments) -> str:
    return f"the server {host.get('host') or host.get('hostaddr') or '(libpq default)'} port {host.get('port') or 5432}"


@dataclass(eq=False)
class _Attempt:
    """An asynchronous connection that is being made to a host."""

    host: Host
    until: float
    connection: extensions.connection
    again: bool  # it has refused before
    state: int = extensions.POLL_WRITE

    def advance(self) -> bool:
        """Go on, where the socket is ready; return whether the host has let us in."""
        self.state = self.connection.poll()
        return bool(self.state == extensions.POLL_OK)


def _race(hosts: Sequence[Host], arguments: Arguments, seconds: float) -> Host:
    """Return the first host that lets us in, trying each beside those that are silent.

    Raises:
        psycopg2.OperationalError: none does; Timeout where one of them did not answer.
    """
    if arguments.get("target_session_attrs") == "prefer-standby":  # libpq asks for any only after all were asked
        with suppress(psycopg2.OperationalError):
            return _race(hosts, {**arguments, "target_session_attrs": "standby"}, seconds)
        arguments = {**arguments, "target_session_attrs": "any"}
    with deadline.connecting(seconds + STAGGER * len(hosts)):
        return _Race(hosts, arguments, seconds).winner()


class _Race:
    def __init__(self, hosts: Sequence[Host], arguments: Arguments, seconds: float) -> None:
        self._arguments, self._seconds = _single(arguments), seconds
        began = time.monotonic()
        self._untried = [(began + place * STAGGER, host) for place, host in enumerate(hosts)]
        self._again: list[tuple[float, Host]] = []
        self._running: list[_Attempt] = []
        self._said: dict[str, str] = {}
        self._silent = False  # a host that was tried

    def winner(self) -> Host:
        try:
            while True:
                self._begin()
                if not self._untried and all(attempt.again for attempt in self._running):
                    raise self._failure()
                if (found := self._advance()) is not None:
                    return found
        finally:
            for attempt in self._running:
                attempt.connection.close()

    def _begin(self) -> None:
        """Begin what is due, and the next host where nothing else is running."""
        while self._untried and (self._untried[0][0] <= time.monotonic() or not self._running):
            self._try(self._untried.pop(0)[1])
        while self._again and self._again[0][0] <= time.monotonic():
            self._try(self._again.pop(0)[1], again=True)

    def _try(self, host: Host, *, again: bool = False) -> None:
        try:
            given: dict[str, Any] = {**self._arguments, **host, "async_": 1}
            connection = psycopg2.connect(**given)
            self._running.append(_Attempt(host, time.monotonic() + self._seconds, connection, again))
        except (psycopg2.Error, UnicodeDecodeError) as error:
            self._refused(host, error)

    def _advance(self) -> Host | None:
        """Wait until something happens, and see what."""
        now = time.monotonic()
        due = [attempt.until for attempt in self._running] + [when for when, _ in self._untried[:1] + self._again[:1]]
        left = deadline.remaining()
        seconds = max(0.0, min([when - now for when in due] + ([left] if left is not None else [])))
        sockets = {attempt.connection.fileno(): attempt.state for attempt in self._running}
        found = deadline.ready(sockets, seconds)
        for attempt in [one for one in self._running if one.connection.fileno() in found or one.until <= now]:
            try:
                if attempt.advance():
                    return attempt.host
                if attempt.until <= now:
                    raise Timeout(f"{_named(attempt.host)} did not answer in time")
            except (psycopg2.Error, UnicodeDecodeError) as error:
                self._running.remove(attempt)
                attempt.connection.close()
                self._refused(attempt.host, error)
        if left == 0.0:
            self._silent = True
            raise self._failure()
        return None

    def _refused(self, host: Host, error: Exception) -> None:
        """Note why, and ask again later unless it was silent, while others are."""
        if isinstance(error, UnicodeDecodeError):
            error = psycopg2.OperationalError(words(error))
        assert isinstance(error, psycopg2.Error)
        said = str(error).strip()
        self._said[_named(host)] = said if isinstance(error, Timeout) else f"{_named(host)}: {said}"
        self._silent = self._silent or isinstance(error, Timeout)
        if not isinstance(error, Timeout):
            self._again.append((time.monotonic() + ASK_AGAIN, host))

    def _failure(self) -> psycopg2.OperationalError:
        for attempt in self._running:
            self._said.setdefault(_named(attempt.host), f"{_named(attempt.host)} did not answer in time")
        return (Timeout if self._silent else psycopg2.OperationalError)(";\n".join(self._said.values()))
