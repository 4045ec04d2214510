"""Every form of a URL reaches libpq as libpq itself reads it, or is refused in one line, without a password."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from psycopg2 import extensions
from psycopg2.extensions import parse_dsn
from sqlalchemy.engine import URL

from database_url import database_name, parse
from libpq_options import ACCEPTED, NUMBERS, InvalidURL

from . import processes
from .postgres import Cluster

ROOT = Path(__file__).parents[1]
PASSWORD = "hunter2"
START = f"postgresql://u:{PASSWORD}@"


def keywords(url: URL) -> dict[str, str]:
    """What SQLAlchemy's own dialect hands to libpq."""
    _, options = url.get_dialect()().create_connect_args(url)
    return {name: str(value) for name, value in options.items()}


def connect(text: str, **options: Any) -> None:
    callback = extensions.get_wait_callback()  # of an application in this process; with one libpq reads no numbers
    extensions.set_wait_callback(None)
    try:
        psycopg2.connect(text, **options).close()
    finally:
        extensions.set_wait_callback(callback)


def refusal(text: str) -> str:
    with pytest.raises(InvalidURL) as caught:
        parse(text, ROOT)
    said = str(caught.value)
    assert "\n" not in said
    assert PASSWORD not in said
    return said


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "/",
        "/db",
        "h",
        "u@",
        "u@/db",
        "u@h",
        "u@h/db?",
        ":5433/db",
        ":p@h/db",
        "u:p@h:5433/db",
        "u:p@a:1,b:2/db",
        "u:p@a:1,b/db",
        "a,b:2",
        "a,[2001:db8::1]:5,b/db",
        "u@[::1]/db",
        "u@[::1]:5432/db",
        "u@[fe80::1%25eth0]:5432/db",
        "u@%2Ftmp%2Fdir/db",
        "u@%2Ftmp%2Fdir:5432/db",
        "u@%2Ftmp%2Fa:1,%2Ftmp%2Fb:2/db",
        "u@%2Ftmp%2Fa:1,b:2/db",
        "u@%40abstract:5432/db",
        "u@/db?host=/tmp/dir",
        "u@/db?host=/tmp/dir:5432",
        "u@/db?host=/tmp/dir&port=5432",
        "u@/db?host=@abstract",
        "/db?host=a,b&port=1,2",
        "/db?host=a,b&port=,2",
        "u@a:1/db?host=b",
        "/db?host=::1&port=5433",
        "/db?hostaddr=192.0.2.1&port=5433",
        "h/db?hostaddr=192.0.2.1",
        "a:1,b:2/db?hostaddr=192.0.2.1,192.0.2.2",
        "h/db?ssl=true",
        "h/db?ssl=true&sslmode=verify-full",
        "u:p%3Fss@h/db?sslmode=require&application_name=x%20y",
        "u:p?a:b#s@h/db",
        "h/d%2Fb%20e?connect_timeout=3",
        "h/ignored?user=u&password=p%40&dbname=db",
        "h/db?options=-csearch_path%3Da%2Cb%20-cwork_mem%3D1MB",
        "a:1,b:2/db?target_session_attrs=read-write&load_balance_hosts=random&sslmode=disable&options=-cgeqo%3Doff",
        "h/db?keepalives=1&keepalives_idle=32767&keepalives_interval=1&keepalives_count=127&tcp_user_timeout=0",
        "ü:ü@ü/ü",
    ],
)
def test_a_form_of_libpq_reaches_it_as_it_reads_it(rest: str) -> None:
    assert keywords(parse(f"postgresql://{rest}", ROOT)) == parse_dsn(f"postgresql://{rest}")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2", "postgresql+psycopg"])
def test_every_scheme_of_postgresql_is_one_driver(scheme: str) -> None:
    url = parse(f"{scheme}://u:p@[::1]:5433/db?sslmode=require", ROOT)
    whole = URL.create("postgresql+psycopg2", "u", "p", "::1", 5433, "db", {"sslmode": "require"})
    assert url == whole


@pytest.mark.parametrize(
    ("ours", "libpq"),
    [
        ("u@/db?host=a:1&host=b:2", "u@a:1,b:2/db"),
        ("u@/db?host=a&host=b:2", "u@a,b:2/db"),
        ("u@/db?host=a&host=b", "u@a,b/db"),
        ("u@/db?host=a&host=b&port=1&port=2", "u@a:1,b:2/db"),
        ("u@/db?host=a&host=b&port=1,2", "u@a:1,b:2/db"),
        ("u@x:9/db?host=a:1&host=b:2", "u@a:1,b:2/db"),
        ("u@/db?host=a:1,b:2", "u@a:1,b:2/db"),
        ("u@/db?host=a:1", "u@a:1/db"),
        ("u@/db?host=a%3A1", "u@a:1/db"),
        ("u@/db?host=[::1]:1&host=[2001:db8::1]:2", "u@[::1]:1,[2001:db8::1]:2/db"),
        ("u@/db?host=::1&host=b", "u@[::1],b/db"),
        ("u@/db?host=[::1]", "u@[::1]/db"),
        ("u@/db?host=/tmp/a:1&host=/tmp/b:2", "u@%2Ftmp%2Fa:1,%2Ftmp%2Fb:2/db"),
        (
            "u:p%40@/db?host=a:1&target_session_attrs=read-write&host=b:2&sslmode=require&options=-cgeqo%3Doff",
            "u:p%40@a:1,b:2/db?target_session_attrs=read-write&sslmode=require&options=-cgeqo%3Doff",
        ),
        ("a,b:2/db?port=5433", "a:5433,b:5433/db"),
        ("u@/db?host=a,b&port=5433", "u@a:5433,b:5433/db"),
        ("h/db?options=-c+geqo%3Doff+-csearch_path%3Da%2Bb", "h/db?options=-c%20geqo%3Doff%20-csearch_path%3Da%2Bb"),
        ("h/db?client_encoding=UTF-8", "h/db?client_encoding=utf8"),
        ("h/db?client_encoding=auto", "h/db?client_encoding=utf8"),
    ],
)
def test_what_libpq_reads_otherwise_is_translated(ours: str, libpq: str) -> None:
    assert keywords(parse(f"postgresql://{ours}", ROOT)) == parse_dsn(f"postgresql://{libpq}")


@pytest.mark.parametrize(
    ("rest", "host", "port", "query"),
    [
        ("u:p@h:5433/db", "h", 5433, {}),
        ("u@/db?host=h&port=5433", "h", 5433, {}),
        ("u@[::1]:5432/db", "::1", 5432, {}),
        ("u@h/db?ssl=true", "h", None, {"sslmode": "require"}),
        ("u@a:1,b/db", None, None, {"host": "a,b", "port": "1,"}),
        ("u@a,b/db", None, None, {"host": "a,b"}),
        ("u@/db?host=a:1&host=b:2", None, None, {"host": "a,b", "port": "1,2"}),
        ("u@%2Ftmp%2Fdir:5432/db", None, None, {"host": "/tmp/dir", "port": "5432"}),
        ("u@:5433/db", None, None, {"port": "5433"}),
        ("u@/db?hostaddr=192.0.2.1,::1&port=1,2", None, None, {"hostaddr": "192.0.2.1,::1", "port": "1,2"}),
        ("u@/db?hostaddr=192.0.2.1,::1&port=1", None, None, {"hostaddr": "192.0.2.1,::1", "port": "1,1"}),
    ],
)
def test_one_tcp_host_stands_in_the_url_and_all_else_among_the_options(
    rest: str, host: str | None, port: int | None, query: dict[str, str]
) -> None:
    url = parse(f"postgresql://{rest}", ROOT)
    assert (url.username, url.database) == ("u", "db")
    assert (url.host, url.port, dict(url.query)) == (host, port, query)
    assert parse(url.render_as_string(hide_password=False), ROOT) == url


# Not NUL, which no environment variable has, and no half of a pair.
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(words, words, words)
def test_any_user_password_and_name_arrive(user: str, password: str, name: str) -> None:
    parts = [quote(part, safe="") for part in (user, password, name)]
    url = parse("postgresql://{}:{}@h:5433/{}?sslmode=require".format(*parts), ROOT)
    assert (url.username, url.password, url.database) == (user, password, name)
    named = {"user": user, "password": password, "dbname": name}
    assert keywords(url) == {**named, "host": "h", "port": "5433", "sslmode": "require"}


SPECIAL = "@/?#%&=:,[] +"
ENDINGS = [
    "h:port/db",
    "h/db?pgbouncer=true",
    "h/db?sslmode=no-verify",
    "h/db?connect_timeout=soon",
    "h/db?%zz=1",
    "[::1/db",
    "a:1,b:2,/db",
    "h/db?x",
    "h/db?options=a=b",
    "h/%FF",
    "h/db?service=nowhere",
]


@given(st.text(SPECIAL, max_size=4), st.text(SPECIAL, min_size=1, max_size=3), st.sampled_from(ENDINGS))
def test_no_refused_url_shows_a_part_of_a_password_that_was_not_escaped(before: str, between: str, ending: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        parse(f"postgresql://u:{before}hunter{between}dolphin@{ending}", ROOT)
    assert not re.search("hunter|dolphin", str(caught.value))


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:hunter2",
        "postgresql://u:hunter2/db",
        "postgresql://u:hunter2%zz@h/db",
        "postgresql://u:hunter2%00@h/db",
        "postgresql://u:%FFhunter2@h/db",
        "postgresql://u:hunter2@host@h/db",
        "postgresql://u:1/hunter2@h/db",
        "postgresql://u:1/x?hunter=@h/db",
        "postgresql://h/db?password=hunter2&port=x",
        "postgresql://h/db?password=hun=hunter2",
        "postgresql://h/db?password=hun&hunter2=",
        "postgresql://h/db?password=hun&hunter=2",
        "postgresql://h/db?password=%hunter2",
        "postgresql://h/db?sslpassword=hunter2&schema=public",
        "host=h password=hunter2",
        "mysql://u:hunter2@h/db",
        "u:hunter2@h/db",
    ],
)
def test_a_password_is_never_shown(text: str) -> None:
    assert not re.search("hunter", refusal(text))


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("h/db?pgbouncer=true", "libpq does not know the option 'pgbouncer'; leave it out"),
        ("h/db?schema=public", "libpq does not know the option 'schema'; use options=-csearch_path%3Dname"),
        ("h/db?SSLMODE=require", "libpq does not know the option 'SSLMODE'; leave it out"),
        (
            "h/db?ssl=no-verify",
            "libpq does not know the option 'ssl'; only ssl=true; use sslmode=require, or another sslmode",
        ),
        (
            "h/db?sslmode=no-verify",
            "Expected sslmode to be disable, allow, prefer, require, verify-ca or verify-full, not 'no-verify'",
        ),
        (
            "h/db?ssl_min_protocol_version=3",
            "Expected ssl_min_protocol_version to be TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3, not '3'",
        ),
        ("a,b/db?target_session_attrs=rw", "Expected target_session_attrs to be any, read-write, read-only, primary,"),
        ("h/db?sslmode=allow&sslrootcert=system", 'weak sslmode "allow" may not be used with sslrootcert=system'),
        ("h/db?service=nowhere", 'definition of service "nowhere" not found'),
        ("h/db?replication=database", "a connection with the option 'replication' is not one for SQL; leave it out"),
        ("h/db?client_encoding=latin1", "client_encoding is always utf8 here, not 'latin1'; leave it out"),
        ("h/db?connect_timeout=soon", "Expected connect_timeout to be a whole number from 1 to 2147483647, not 'soon'"),
        ("h/db?connect_timeout=0", "Expected connect_timeout to be a whole number from 1 to 2147483647, not '0'"),
        ("h/db?keepalives_idle=", "Expected keepalives_idle to be a whole number from 1 to 32767, not ''"),
        ("h:port/db", "the port of 'h' is not a whole number from 1 to 65535"),
        ("h:0/db", "the port of 'h' is not a whole number from 1 to 65535"),
        ("h:65536/db", "the port of 'h' is not a whole number from 1 to 65535"),
        ("h/db?port=5432a", "the port of 'h' is not a whole number from 1 to 65535"),
        ("a:1,b:x/db", "the port of 'b' is not a whole number from 1 to 65535"),
        ("%2Ftmp:x/db", "the port of '/tmp' is not a whole number from 1 to 65535"),
        (":x/db", "the port is not a whole number from 1 to 65535"),
        ("::1/db", "the port is not a whole number from 1 to 65535; write an IPv6 address in brackets, [::1]:5432"),
        ("/db?host=a:x&host=b", "the port of 'a' is not a whole number from 1 to 65535"),
        ("/db?host=a,b,c&port=1,2", "there are 2 ports for 3 hosts"),
        ("/db?port=1,2", "there are 2 ports for 1 host"),
        (
            "/db?host=a:1&host=b:2&port=3",
            "Expected the ports in either the option host or the option port, not in both",
        ),
        ("a,b/db?hostaddr=192.0.2.1", "the option hostaddr has 1 addresses for 2 hosts"),
        ("h/db?hostaddr=name", "Expected IP addresses in the option hostaddr, not 'name'"),
        ("h%20x/db", "a host has a space or one of @ / ? # [ ] = & in its name"),
        ("h%40x/db", "a host has a space or one of @ / ? # [ ] = & in its name"),
        ("[::g]/db", "'::g' is no IPv6 address, nor one host with its port"),
        ("/db?host=a:1:2", "'a:1:2' is no IPv6 address, nor one host with its port"),
        ("[::1]\n/db", 'unexpected character " " at position'),
        (",/db", "a host is empty in ','"),
        ("a:1,b:2,/db", "a host is empty in 'a,b,'"),
        ("/db?host=", "the host is empty; without one, leave it out"),
        ("[]/db", "IPv6 host address may not be empty in URI"),
        ("[::1/db", 'end of string reached when looking for matching "]" in IPv6 host address in URI'),
        ("h/db%", "a % in the host or database name must stand before two hexadecimal digits, not 00"),
        (
            "h/db?options=50%",
            "a % in the options must stand before two hexadecimal digits, not 00; write % itself as %25",
        ),
        ("h/db?application_name=%00", "a % in the options must stand before two hexadecimal digits, not 00"),
        ("h/%FF", "the URL, or what its % signs stand for, is not UTF-8"),
        ("h/\udcff", "the URL, or what its % signs stand for, is not UTF-8"),
        ("h/db?host=%FF:1&host=b", "the URL, or what its % signs stand for, is not UTF-8"),
        ("h/db?sslmode", "an option has no value; expected name=value, with & between options"),
        ("h/db?options=-cgeqo=off", "the value of the option 'options' has a second =; write it as %3D"),
        ("x@h/db", "an @ behind the host must be written %40; so must an @ in a user or password"),
    ],
)
def test_what_libpq_does_not_take_is_refused_with_the_wrong_part(rest: str, said: str) -> None:
    assert refusal(START + rest).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "mysql://u@h/db",
            "Expected postgresql://user:password@host/database, postgres://… or sqlite:///path, not mysql://",
        ),
        ("postgresql+asyncpg://u@h/db", "… or sqlite:///path, not postgresql+asyncpg://"),
        ("host=h dbname=db", "Expected postgresql://user:password@host/database, postgres://… or sqlite:///path"),
        ("sqlite://", "Expected sqlite:///path with three slashes, and a fourth where the path is absolute"),
        ("sqlite://data/app.db", "Expected sqlite:///path with three slashes, and a fourth where the path is absolute"),
        ("sqlite:///", "sqlite:/// needs the path of a file, since every worker opens it for itself"),
        ("sqlite:///:memory:", "sqlite:/// needs the path of a file, since every worker opens it for itself"),
        ("sqlite:///file:x.db?uri=true", "Expected a path after sqlite:///, not one of SQLite's URIs"),
        ("sqlite:///file:x.db", "Expected a path after sqlite:///, not one of SQLite's URIs"),
        ("sqlite:///x.db?mode=ro", f"remove what follows the question mark after {ROOT}/x.db"),
        ("sqlite:///x\ny.db?mode=ro", f"remove what follows the question mark after {ROOT}/x y.db"),
        ("sqlite:///docs", f"Expected the path of a file, not a folder or device: {ROOT}/docs"),
        ("sqlite:////dev/null", "Expected the path of a file, not a folder or device: /dev/null"),
    ],
)
def test_another_url_is_refused_with_what_was_expected(text: str, said: str) -> None:
    assert said in refusal(text)


def test_the_accepted_values_of_an_option_are_those_that_libpq_takes() -> None:
    for name in ACCEPTED.keys() - {"require_auth"}:
        extra = {"sslnegotiation": "&sslmode=require", "ssl_max_protocol_version": "&ssl_min_protocol_version=TLSv1"}
        for value in re.split(r", | or ", ACCEPTED[name]):
            assert parse(f"postgresql://h/db?{name}={value}{extra.get(name, '')}", ROOT).query[name] == value
    assert parse("postgresql://h/db?require_auth=scram-sha-256,md5", ROOT).query["require_auth"] == "scram-sha-256,md5"


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_refused_where_libpq_fails_with_it(server_url: str, name: str) -> None:
    for value in ("", "x", "1.5", "1s", "99999999999", "-x"):
        with pytest.raises(psycopg2.OperationalError, match=name):
            connect(server_url, **{name: value})
        assert name in refusal(f"{START}h/db?{name}={value}")
    for value in map(str, NUMBERS[name]):
        connect(server_url, **{name: value})
        assert parse(f"{START}h/db?{name}={value}", ROOT).query[name] == value


@pytest.mark.parametrize("name", ["keepalives_idle", "keepalives_interval", "keepalives_count"])
def test_beyond_the_limits_of_keepalives_the_system_refuses(server_url: str, name: str) -> None:
    lowest, highest = NUMBERS[name]
    for value in map(str, (lowest - 1, highest + 1)):
        with pytest.raises(psycopg2.OperationalError, match="Invalid argument"):
            connect(server_url, **{name: value})
        assert name in refusal(f"{START}h/db?{name}={value}")


def test_a_bad_value_of_the_environment_is_not_said_of_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "maybe")
    assert refusal(f"{START}h/db") == (
        "invalid sslmode value: \"maybe\", in libpq's own environment variable (PG…) or in the service's file"
    )
    assert parse(f"{START}h/db?sslmode=require", ROOT).host == "h"


def test_no_file_of_passwords_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pgpass").write_text("*:*:*:*:secret\n")
    (tmp_path / "pgpass").chmod(0o644)  # of such a file libpq warns on stderr whenever it reads it
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    assert parse("postgresql://u@h/db", ROOT).password is None
    with pytest.raises(psycopg2.OperationalError):
        connect("postgresql://u@%2Fdev%2Fnull:65536/db")
    assert capfd.readouterr().err.count("WARNING") == 1  # for the second line alone


def test_a_service_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "services").write_text("[known]\nhost=db.example\nhostaddr=192.0.2.1\nport=5433\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    url = parse("postgresql:///db?service=known", ROOT)
    assert keywords(url) == {"dbname": "db", "service": "known"}
    assert database_name(url).endswith(" service=known")


@pytest.mark.parametrize(
    ("rest", "name"),
    [
        ("u:p@h/db", "u@h:5432/db"),
        ("u:p@h:5433/db?sslmode=require", "u@h:5433/db"),
        ("u:p@h", "u@h:5432/u"),
        ("h/db?user=u&password=p", "u@h:5432/db"),
        ("u@h/db?hostaddr=192.0.2.1", "u@h,192.0.2.1:5432/db"),
        ("u@h/db?options=-csearch_path%3Ddop_be", "u@h:5432/db -csearch_path=dop_be"),
        ("u@/db?host=/run/postgresql", "u@/run/postgresql:5432/db"),
        ("u:p@%2Ftmp%2Fdir:5433/db", "u@/tmp/dir:5433/db"),
        ("u:p@[::1]/db", "u@::1:5432/db"),
        ("", "@:5432/"),
        ("u:p@a:1,b/db", "u@a:1,b:5432/db"),
        ("u:p@b,a:1/db", "u@a:1,b:5432/db"),
        ("u:p@/db?host=a:1&host=b:5432", "u@a:1,b:5432/db"),
        ("u:p@a,b/db?port=7", "u@a:7,b:7/db"),
        ("u:p@/db?hostaddr=192.0.2.1,192.0.2.2", "u@192.0.2.1:5432,192.0.2.2:5432/db"),
    ],
)
def test_a_database_has_one_name_without_the_password(rest: str, name: str) -> None:
    assert database_name(parse(f"postgresql://{rest}", ROOT)) == name


@pytest.fixture(scope="module")
def both_families() -> Iterator[Cluster]:
    """A server on IPv4 and, where the machine has it, on IPv6."""
    cluster = Cluster(listen_addresses="127.0.0.1,::1")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


def connected(text: str) -> sa.Row[str | None, str]:
    """The server's address, None over a socket, and the database to which SQLAlchemy connects."""
    url = parse(text, ROOT)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return connection.execute(sa.text("SELECT host(inet_server_addr()), current_database()")).one()


def test_a_socket_is_connected_to(both_families: Cluster) -> None:
    folder, port = both_families._directory, both_families.port
    for rest in (
        f"postgres@{quote(str(folder), safe='')}:{port}/postgres",
        f"postgres@/postgres?host={folder}&port={port}",
        f"postgres@/postgres?host=/dev/null:{port}&host={folder}:{port}",
    ):
        assert connected(f"postgresql://{rest}") == (None, "postgres")


def test_the_second_host_is_connected_to(both_families: Cluster) -> None:
    port = both_families.port
    for rest in (
        f"postgres@%2Fdev%2Fnull:{port},127.0.0.1:{port}/postgres?target_session_attrs=read-write",
        f"postgres@/postgres?host=/dev/null&host=127.0.0.1&port={port}",
    ):
        assert connected(f"postgresql://{rest}") == ("127.0.0.1", "postgres")


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


def test_ipv6_is_connected_to(both_families: Cluster) -> None:
    text = f"postgresql://postgres@[::1]:{both_families.port}/postgres"
    assert (parse(text, ROOT).host, parse(text, ROOT).port) == ("::1", both_families.port)
    if has_ipv6():
        assert connected(text) == ("::1", "postgres")


@pytest.mark.parametrize(
    "command", ["flask maintenance status", "flask db upgrade", "alembic current", "python serve.py"]
)
@pytest.mark.parametrize("name", ["DATABASE_URL", "LISTEN_DATABASE_URL"])
def test_every_program_ends_with_code_2_and_one_line(command: str, name: str) -> None:
    given = processes.environment(**{name: f"{START}h/db?sslmode=no-verify"})
    done = processes.run(command.split(), env=given, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"dop_be: {name}: Expected sslmode to be disable, allow, prefer, require, verify-ca")
    assert PASSWORD not in line
