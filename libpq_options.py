"""Have libpq parse a URL of PostgreSQL and check its options, since libpq is what connects in the end.

Its messages about malformed URLs quote parts of them, where a password may be: these parts are left out.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any

import psycopg2
from psycopg2.extensions import parse_dsn
from sqlalchemy.engine import URL

Options = dict[str, str]

SOCKET = ("/", "@")  # how the name of a Unix socket begins; @: an abstract one
HIGHEST_PORT = 65_535
NOWHERE = {"host": "/dev/null", "hostaddr": "", "port": str(HIGHEST_PORT + 1)}
CHECKED = f'invalid port number: "{NOWHERE["port"]}"'  # libpq looks at the port last, and opens no socket for this one

LARGEST = 2**31 - 1
NUMBERS = {  # libpq reads these only where it connects over TCP; the limits of keepalives are Linux's
    "connect_timeout": (1, LARGEST),
    "keepalives": (0, 1),
    "keepalives_idle": (1, 32_767),
    "keepalives_interval": (1, 32_767),
    "keepalives_count": (1, 127),
    "tcp_user_timeout": (0, LARGEST),
}
TLS_VERSIONS = "TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3"
ACCEPTED = {  # for messages alone: libpq decides
    "sslmode": "disable, allow, prefer, require, verify-ca or verify-full",
    "sslnegotiation": "postgres or direct",
    "sslcertmode": "disable, allow or require",
    "ssl_min_protocol_version": TLS_VERSIONS,
    "ssl_max_protocol_version": TLS_VERSIONS,
    "gssencmode": "disable, prefer or require",
    "channel_binding": "disable, prefer or require",
    "target_session_attrs": "any, read-write, read-only, primary, standby or prefer-standby",
    "load_balance_hosts": "disable or random",
    "require_auth": "methods such as scram-sha-256, with commas between",
}
INSTEAD = {
    "pgbouncer": "leave it out",
    "schema": "use options=-csearch_path%3Dname",
    "search_path": "use options=-csearch_path%3Dname",
    "currentSchema": "use options=-csearch_path%3Dname",
    "ssl": "only ssl=true; use sslmode=require, or another sslmode",
}


class InvalidURL(ValueError):
    """The URL is wrong; the message is one line that names the wrong part and shows no password."""

    def __init__(self, said: str) -> None:
        super().__init__(" ".join(said.split()))


def url(text: str) -> URL:
    """Return the URL of one in libpq's spelling.

    Raises:
        InvalidURL: libpq does not know an option, or does not accept a value.
    """
    options = _parsed(text)
    host, port, several = _address(options)
    if "options" in options:  # SQLAlchemy writes a space as +, which libpq leaves as it is
        options["options"] = re.sub(r"(?<=-c)\+|\+(?=-c)", " ", options["options"])
    _check_numbers(options)
    _check_encoding(options)
    if "replication" in options:
        raise InvalidURL("a connection with the option 'replication' is not one for SQL; leave it out")
    _check_by_libpq(options)
    user, password, database = (options.pop(name, "") or None for name in ("user", "password", "dbname"))
    return URL.create("postgresql+psycopg2", user, password, host, port, database, options | several)


def _parsed(text: str) -> Options:
    try:
        options: Options = parse_dsn(text)
    except psycopg2.ProgrammingError as error:
        said, _, quoted = str(error).strip().removeprefix("invalid dsn: ").partition(': "')
    else:
        return options
    name = quoted.removesuffix('"')
    hidden = "password=" in text or not re.fullmatch(r"[A-Za-z_]{1,40}", name)  # it may be behind a password with an &
    shown = "that stands there" if hidden and name not in INSTEAD else repr(name)
    if said == "invalid URI query parameter":
        raise InvalidURL(f"libpq does not know the option {shown}; {INSTEAD.get(name, 'leave it out')}")
    if said == 'extra key/value separator "=" in URI query parameter':
        raise InvalidURL(f"the value of the option {shown} has a second =; write it as %3D, and & between options")
    if said == 'missing key/value separator "=" in URI query parameter':
        raise InvalidURL("an option has no value; expected name=value, with & between options")
    raise InvalidURL(said)


def _address(options: Options) -> tuple[str | None, int | None, Options]:
    """Take hosts and ports out; return those of one TCP host, or as options those of several hosts or of a socket."""
    host, port, addresses = options.pop("host", None), options.pop("port", ""), options.get("hostaddr", "")
    if host is not None and "" in host.split(",") and not addresses:
        raise InvalidURL(f"a host is empty in {host!r}" if host else "the host is empty; without one, leave it out")
    hosts, ports = (host or addresses).split(","), port.split(",")
    _check_names(hosts)
    _check_addresses(addresses.split(","), hosts)
    if len(ports) not in {1, len(hosts)}:
        raise InvalidURL(f"there are {len(ports)} ports for {len(hosts)} host{'s' if len(hosts) > 1 else ''}")
    ports *= len(hosts) if len(ports) == 1 else 1
    for name, number in zip(hosts, ports, strict=True):
        _check_port(name, number, has_user="user" in options)
    if host and len(hosts) == 1 and not host.startswith(SOCKET):
        return host, int(port) if port else None, {}
    several = {"host": host or "", "port": ",".join(ports) if any(ports) else ""}
    return None, None, {name: value for name, value in several.items() if value}


def _check_names(hosts: list[str]) -> None:
    for host in hosts:
        if not host.startswith(SOCKET) and re.search(r"[\s@/?#\[\]=&]", host):
            raise InvalidURL("a host has a space or one of @ / ? # [ ] = & in its name")
        if not host.startswith(SOCKET) and ":" in host and not _is_address(host):
            raise InvalidURL(f"{host[:40]!r} is no IPv6 address, nor one host with its port")


def _check_addresses(addresses: list[str], hosts: list[str]) -> None:
    if addresses == [""]:
        return
    if len(addresses) != len(hosts):
        raise InvalidURL(f"the option hostaddr has {len(addresses)} addresses for {len(hosts)} hosts")
    for address in addresses:
        if address and not _is_address(address):
            raise InvalidURL(f"Expected IP addresses in the option hostaddr, not {address[:40]!r}")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _check_port(host: str, port: str, *, has_user: bool) -> None:
    """Raise an error that does not show the port: where the @ is missing, it is the password."""
    if port and not (re.fullmatch(r"[0-9]{1,5}", port) and 1 <= int(port) <= HIGHEST_PORT):
        advice = "; write an IPv6 address in brackets, [::1]:5432" if ":" in port else ""
        if not has_user and re.search("[^0-9]", port):
            advice = f"; after a user and password an @ must stand before the host{advice}"
        whose = f"the port of {host!r}" if host else "the port"
        raise InvalidURL(f"{whose} is not a whole number from 1 to {HIGHEST_PORT}{advice}")


def _check_numbers(options: Options) -> None:
    for name, (lowest, highest) in NUMBERS.items():
        value = options.get(name, str(lowest))
        if not (re.fullmatch(r"[0-9]{1,10}", value) and lowest <= int(value) <= highest):
            raise InvalidURL(f"Expected {name} to be a whole number from {lowest} to {highest}, not {value[:40]!r}")


def _check_encoding(options: Options) -> None:
    encoding = options.get("client_encoding", "utf8")
    if re.sub(r"[-_]", "", encoding.lower()) not in {"utf8", "auto"}:
        raise InvalidURL(f"client_encoding is always utf8 here, not {encoding[:40]!r}; leave it out")
    if "client_encoding" in options:
        options["client_encoding"] = "utf8"  # `auto` would follow the locale


def _check_by_libpq(options: Options) -> None:
    """Have libpq check the values of its options: it does so before it looks where to connect.

    The made-up password keeps it from reading a file of passwords.
    """
    nowhere: Any = {**options, **NOWHERE, "password": "-"}
    try:
        psycopg2.connect(**nowhere, async_=1).close()
    except psycopg2.Error as error:
        said = str(error).strip()
    else:
        return
    if CHECKED in said:
        return
    found = re.fullmatch(r'invalid "?(\w+)"? value: "(.*)"', said, re.DOTALL)
    if found and found[1] not in options:
        raise InvalidURL(f"{said}, in libpq's own environment variable (PG…) or in the service's file")
    if found and found[1] in ACCEPTED:
        raise InvalidURL(f"Expected {found[1]} to be {ACCEPTED[found[1]]}, not {found[2][:40]!r}")
    raise InvalidURL(said)
