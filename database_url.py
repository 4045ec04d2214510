"""Parse DATABASE_URL: every form that libpq and SQLAlchemy have for PostgreSQL, and `sqlite:///path`.

No message shows a password, nor a part of the URL that may be the rest of one with an unescaped character.
"""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from urllib.parse import quote, unquote

from sqlalchemy.engine import URL

import libpq_options
from libpq_options import InvalidURL

FORMS = "postgresql://user:password@host/database, postgres://… or sqlite:///path"
POSTGRESQL = re.compile(r"postgres(?:ql)?(?:\+psycopg2?)?://")
UNESCAPED = (
    "an @ behind the host must be written %40; so must an @ in a user or password, where / ? # % are %2F %3F %23 %25"
)
BAD_PERCENT_SIGN = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
# How to write a host with a port; the last form only where `host` is repeated: libpq has a folder of that name.
IPV6 = re.compile(r"\[([^\]]+)\](?::(.*))?")
TCP = re.compile(r"([^:/@][^:]*|):([^:]*)")
REPEATED_SOCKET = re.compile(r"([/@].*):(\d+)")


def parse(text: str, root: Path) -> URL:
    """Return the URL of a database; the path of an SQLite file is relative to `root`.

    For PostgreSQL `host` and `port` are those of one TCP host. Several hosts, and sockets, stand in `query`, in libpq's
    spelling (`"host": "a,b", "port": "1,2"`), as do libpq's other options.

    Raises:
        InvalidURL: it is no URL of a database, or has what libpq does not accept.
    """
    if scheme := POSTGRESQL.match(text):
        return _postgresql(text[scheme.end() :])
    if text.startswith("sqlite:"):
        return _sqlite(text, root)
    if text[:1] in {"'", '"'}:
        raise InvalidURL("the value has quotes in it; remove them")
    other = re.match(r"[a-z][a-z0-9+.-]{1,30}://", text)
    raise InvalidURL(f"Expected {FORMS}" + (f", not {other[0]}" if other else ""))


def database_name(url: URL) -> str:
    """Return in one line which database it is, without the password.

    The user is part of it, since the schema may be the role's; so are the options, which may name one. The order of
    several hosts is not.
    """

    def option(name: str) -> str:
        return str(url.query.get(name, ""))

    names, addresses = (url.host or option("host")).split(","), option("hostaddr").split(",")
    hosts = [",".join(filter(None, both)) for both in zip_longest(names, addresses)]
    ports = str(url.port or option("port")).split(",")
    places = sorted(f"{host}:{port or 5432}" for host, port in zip_longest(hosts, ports, fillvalue=ports[0]))
    user = url.username or ""
    service = f" service={option('service')}" if option("service") else ""
    return f"{user}@{','.join(places)}/{url.database or user} {option('options')}{service}".strip()


def _sqlite(text: str, root: Path) -> URL:
    found = re.fullmatch(r"sqlite:///([^?]*)\??(.*)", text, re.DOTALL)
    if found is None:
        raise InvalidURL("Expected sqlite:///path with three slashes, and a fourth where the path is absolute")
    if found[1] in {"", ":memory:"}:
        raise InvalidURL("sqlite:/// needs the path of a file, since every worker opens it for itself")
    if found[1].startswith("file:"):
        raise InvalidURL("Expected a path after sqlite:///, not one of SQLite's URIs: leave out file: and its options")
    path = root / found[1]  # a relative path means the same from everywhere
    if found[2]:
        raise InvalidURL(f"sqlite:///path has no options; remove what follows the question mark after {path}")
    with suppress(OSError):  # of a folder that this user may not look into; the first connection says so
        if path.exists() and not path.is_file():
            raise InvalidURL(f"Expected the path of a file, not a folder or device: {path}")
    return URL.create("sqlite", database=str(path))


def _postgresql(rest: str) -> URL:
    """Return the URL of what follows the scheme."""
    credentials = re.match(r"[^/@]*@", rest)  # as libpq finds them
    user = credentials[0] if credentials else ""
    place, _, query = rest[len(user) :].partition("?")
    if "@" in place:
        raise InvalidURL(UNESCAPED)
    try:
        _check_percent_signs(user, place, query)
        return libpq_options.url(f"postgresql://{user}{place}?{_libpq_query(query)}")
    except UnicodeError:
        raise InvalidURL("the URL, or what its % signs stand for, is not UTF-8") from None
    except InvalidURL:
        if "@" in query:  # what is called an option may be the end of a password
            raise InvalidURL(UNESCAPED) from None
        raise


def _check_percent_signs(user: str, place: str, query: str) -> None:
    parts = {"the user or password": user, "the host or database name": place, "the options": query}
    for name, part in parts.items():
        if BAD_PERCENT_SIGN.search(part):
            raise InvalidURL(f"a % in {name} must stand before two hexadecimal digits, not 00; write % itself as %25")


def _libpq_query(query: str) -> str:
    """Return the options with SQLAlchemy's `host=a:1&host=b:2` as libpq's `host=a,b&port=1,2`."""
    items = [item.partition("=") for item in query.split("&")]
    hosts = [unquote(value, errors="strict") for name, _, value in items if name == "host"]
    ports = [unquote(value, errors="strict") for name, _, value in items if name == "port"]
    pairs = [_host_and_port(host, repeated=len(hosts) > 1) for given in hosts for host in given.split(",")]
    joined = ",".join(host for host, _ in pairs)
    if hosts in ([], [joined]):
        return query
    if any(port is not None for _, port in pairs):
        if ports:
            raise InvalidURL("Expected the ports in either the option host or the option port, not in both")
        ports = [port or "" for _, port in pairs]
    kept = ["".join(item) for item in items if item[0] not in {"host", "port"}]
    return "&".join([*kept, f"host={quote(joined)}", *([f"port={quote(','.join(ports))}"] if ports else [])])


def _host_and_port(text: str, *, repeated: bool) -> tuple[str, str | None]:
    for form in (IPV6, TCP, *([REPEATED_SOCKET] if repeated else [])):
        if found := form.fullmatch(text):
            return found[1], found[2]
    return text, None
