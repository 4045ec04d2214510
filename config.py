"""Configuration: the one reader of the environment and of `.env`. `.env.example` describes every variable."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from io import StringIO
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

from dotenv import dotenv_values, find_dotenv
from dotenv.parser import parse_stream
from environs import Env, EnvError
from flask.helpers import get_load_dotenv
from jinja2 import Environment, TemplateSyntaxError
from marshmallow.validate import OneOf, Range, Validator
from sqlalchemy.engine import URL

import database_url
from database_url import database_name
from libpq_options import InvalidURL

ROOT = Path(__file__).resolve().parent
ENV_FILE = ROOT / ".env"
INSTANCE = ROOT / "instance"
DEFAULT_DATABASE = URL.create("sqlite", database=str(INSTANCE / "dop_be.sqlite3"))
DEFAULT_PORT = 8000
MINIMUM_SECRET_LENGTH = 32
A_DAY = 86_400  # seconds
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
B68_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # what an Authorization header can carry, RFC 6750 section 2.1


class ConfigError(ValueError):
    """A variable is wrong; the message is one line that names it and says what was expected."""


@dataclass(frozen=True)
class Config:
    """Typed settings of one deployment; Flask's `from_object` reads the upper-case names."""

    SQLALCHEMY_DATABASE_URI: URL = field(repr=False)  # its options may have secrets too
    LISTEN_DATABASE_URI: URL = field(repr=False)
    DATABASE_IS_DEFAULT: bool = False  # DATABASE_URL is not set
    DATABASE_CONNECT_TIMEOUT: int = 5  # seconds for each host
    INSTANCE: Path = INSTANCE
    STATE_FILE: Path | None = None  # of the last state; None: none
    STATE_MAX_AGE: int = 86_400  # seconds
    SECRET_KEY: str | None = field(default=None, repr=False)
    ADMIN_TOKEN: str | None = field(default=None, repr=False)
    CORS_ORIGINS: tuple[str, ...] = ()
    FAIL_OPEN: bool = False
    TRUSTED_PROXY_HOPS: int = 0
    RETRY_AFTER: int = 120  # seconds, as the next
    RETRY_SPREAD: int = 30
    MAINTENANCE_TEMPLATE: Path | None = None
    PUBLIC_URL: str = "http://127.0.0.1:8000"
    BYPASS_NETWORKS: tuple[IPv4Network | IPv6Network, ...] = ()
    LOG_LEVEL: str = "INFO"
    PORT: int | None = None  # None: DEFAULT_PORT on 127.0.0.1 alone
    WEB_CONCURRENCY: int = 2
    MIGRATIONS: Path = ROOT / "migrations"
    MIGRATION_LOCK_WAIT: int = 300  # seconds, as the next two
    MIGRATION_LOCK_TIMEOUT: int = 5
    MIGRATION_STATEMENT_TIMEOUT: int = 300

    @property
    def DATABASE_NAME(self) -> str:  # noqa: N802 - from_object reads upper-case names
        """Which database it is: host, port, name, and what tells the schema; no password."""
        return database_name(self.SQLALCHEMY_DATABASE_URI)

    @classmethod
    def from_env(cls) -> Config:
        """Read and check every variable.

        Raises:
            ConfigError: a variable has a value that is not accepted.
        """
        env = _Env(environment())
        try:
            given, listen = env.str("DATABASE_URL", ""), env.str("LISTEN_DATABASE_URL", "")
            database = _database_url(given, "DATABASE_URL") if given else DEFAULT_DATABASE
            port = _integer(env, "PORT", 1, 65_535)
            return cls(
                SQLALCHEMY_DATABASE_URI=database,
                LISTEN_DATABASE_URI=_database_url(listen, "LISTEN_DATABASE_URL") if listen else database,
                DATABASE_IS_DEFAULT=not given,
                DATABASE_CONNECT_TIMEOUT=_integer(env, "DATABASE_CONNECT_TIMEOUT", 1, 60),
                STATE_FILE=_state_file(env.str("STATE_FILE", ""), database),
                STATE_MAX_AGE=_integer(env, "STATE_MAX_AGE", 1, 366 * A_DAY),
                SECRET_KEY=_secret(env.str("SECRET_KEY", ""), "SECRET_KEY"),
                ADMIN_TOKEN=_token(env.str("ADMIN_TOKEN", ""), "ADMIN_TOKEN"),
                CORS_ORIGINS=_origins(env.list("CORS_ORIGINS", [])),
                FAIL_OPEN=_read(env, "bool", "FAIL_OPEN", "true or false"),
                TRUSTED_PROXY_HOPS=_integer(env, "TRUSTED_PROXY_HOPS", 0, 10),
                RETRY_AFTER=_integer(env, "RETRY_AFTER", 1, A_DAY),
                RETRY_SPREAD=_integer(env, "RETRY_SPREAD", 1, A_DAY),
                MAINTENANCE_TEMPLATE=_template(env.str("MAINTENANCE_TEMPLATE", "")),
                PUBLIC_URL=_public_url(env.str("PUBLIC_URL", "") or f"http://127.0.0.1:{port or DEFAULT_PORT}"),
                BYPASS_NETWORKS=_networks(env.list("BYPASS_NETWORKS", [])),
                MIGRATION_LOCK_WAIT=_integer(env, "MIGRATION_LOCK_WAIT", 1, A_DAY),
                MIGRATION_LOCK_TIMEOUT=_integer(env, "MIGRATION_LOCK_TIMEOUT", 1, A_DAY),
                MIGRATION_STATEMENT_TIMEOUT=_integer(env, "MIGRATION_STATEMENT_TIMEOUT", 1, A_DAY),
                LOG_LEVEL=_read(env, "str", "LOG_LEVEL", f"one of {', '.join(LOG_LEVELS)}", OneOf(LOG_LEVELS)),
                PORT=port,
                WEB_CONCURRENCY=_integer(env, "WEB_CONCURRENCY", 1, 1000),
            )
        except EnvError as error:
            raise ConfigError(" ".join(str(error).split())) from None

    @classmethod
    def from_env_or_exit(cls) -> Config:
        """Read every variable, or print one line about a bad value and end the process with code 2."""
        try:
            return cls.from_env()
        except ConfigError as error:
            print(f"dop_be: {error}", file=sys.stderr)
            sys.exit(2)


def environment() -> dict[str, str]:
    """Return what is set: `.env` beneath the process environment, trimmed, without what is empty.

    It stays a mapping: in os.environ the file's values would reach child processes and outlive a changed file.

    Raises:
        ConfigError: `.env` cannot be read.
    """
    file, by_flask = env_file(), _loaded_by_flask()
    process = {name: value for name, value in os.environ.items() if by_flask.get(name) != value}
    values = {**file, **{name: value for name, value in process.items() if value.strip()}}
    return {name: value.strip() for name, value in values.items() if value and value.strip()}


def env_file() -> Mapping[str, str | None]:
    """Return what `.env` says; nothing where there is none.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        text = ENV_FILE.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{ENV_FILE} cannot be read: {error}") from None
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            before, _, _ = binding.original.string.partition(binding.original.string.strip())
            raise ConfigError(f"{ENV_FILE} line {binding.original.line + before.count(chr(10))}: expected NAME=value")
    return dotenv_values(stream=StringIO(text))


def _loaded_by_flask() -> Mapping[str, str | None]:
    """Return what the `flask` program itself has put into os.environ, from the files nearest to the current directory.

    These may be another program's; ours is read from its place, for `flask` as for every other program.
    """
    if "FLASK_RUN_FROM_CLI" not in os.environ or not get_load_dotenv():
        return {}
    paths = filter(None, (find_dotenv(name, usecwd=True) for name in (".flaskenv", ".env")))
    return {name: value for path in paths for name, value in dotenv_values(path).items()}


class _Env(Env):
    """environs over a mapping of our own in place of os.environ."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__()
        self._variables = variables

    def _get_value(self, env_key: str, default: object) -> object:
        return self._variables.get(env_key, default)


def _read(env: Env, kind: str, name: str, expected: str, *rules: Validator) -> Any:
    try:
        return getattr(env, kind)(name, getattr(Config, name), validate=rules)
    except EnvError:
        raise ConfigError(f"{name}: Expected {expected}, not {env.str(name)[:40]!r}.") from None


def _integer(env: Env, name: str, lowest: int, highest: int) -> Any:
    return _read(env, "int", name, f"a whole number from {lowest} to {highest}", Range(lowest, highest))


def _database_url(text: str, name: str) -> URL:
    try:
        return database_url.parse(text, ROOT)
    except InvalidURL as error:
        raise ConfigError(f"{name}: {error}") from None


def _state_file(text: str, database: URL) -> Path | None:
    """Return where the last state of this database lies."""
    if text.lower() == "none":
        return None
    digest = sha256(database_name(database).encode()).hexdigest()[:16]
    path = ROOT / text if text else INSTANCE / f"state-{digest}.json"
    with suppress(OSError):  # of a folder that this user may not look into; the service warns where it cannot write
        if path.exists() and not path.is_file():
            raise ConfigError(f"STATE_FILE: Expected the path of a file, or none, not a folder or device: {text!r}.")
    return None if database.get_backend_name() == "sqlite" else path


def _secret(text: str, name: str) -> str | None:
    if text and len(text) < MINIMUM_SECRET_LENGTH:
        raise ConfigError(f"{name}: Expected at least {MINIMUM_SECRET_LENGTH} characters, not {len(text)}.")
    return text or None


def _token(text: str, name: str) -> str | None:
    if text and not B68_TOKEN.fullmatch(text):
        raise ConfigError(f"{name}: Expected letters, digits and . _ ~ + / - only, since it travels in a header.")
    return _secret(text, name)


def _origins(items: list[str]) -> tuple[str, ...]:
    origins = tuple(item.strip() for item in items)
    for origin in origins:
        if origin != "*" and not re.fullmatch(
            r"https?://[A-Za-z0-9.\-]+(:\d+)?|https?://\[[0-9a-f:]+\](:\d+)?", origin
        ):
            raise ConfigError(
                f"CORS_ORIGINS: Expected * or origins such as https://example.com, with commas between, not {origin!r}."
            )
    return origins


def _public_url(text: str) -> str:
    if not re.fullmatch(r"https?://([A-Za-z0-9.\-]+|\[[0-9A-Fa-f:]+\])(:\d+)?(/[A-Za-z0-9._~/\-]*)?", text):
        raise ConfigError(f"PUBLIC_URL: Expected what browsers open, such as https://example.com, not {text!r}.")
    return text.rstrip("/")


def _networks(items: list[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(_network(item.strip()) for item in items)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ConfigError(
            f"BYPASS_NETWORKS: Expected networks such as 192.0.2.0/24 or 2001:db8::/32, with commas between; {error}."
        ) from None
    mapped = ip_network("::ffff:0:0/96")
    if isinstance(network, IPv6Network) and network.subnet_of(mapped):  # type: ignore[arg-type]  # both are IPv6
        raise ConfigError(f"BYPASS_NETWORKS: write {text} as the IPv4 network that it stands for")
    return network


def _template(text: str) -> Path | None:
    """Return the path of a Jinja template that can be read and parsed."""
    if not text:
        return None
    path = ROOT / text
    try:
        Environment(autoescape=True).parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"MAINTENANCE_TEMPLATE: Expected the path of a Jinja template in UTF-8; {error}") from None
    except TemplateSyntaxError as error:
        raise ConfigError(f"MAINTENANCE_TEMPLATE: {path} line {error.lineno}: {error.message}") from None
    return path
