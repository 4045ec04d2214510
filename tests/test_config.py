"""A bad variable stops the process at once with one line that names it; a good one arrives typed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from config import DEFAULT_DATABASE, Config, ConfigError

from . import processes

ROOT = Path(__file__).parents[1]
URL = "sqlite:////srv/file.sqlite3"
BAD = [
    ("DATABASE_URL", "mysql://u@h/d"),
    ("DATABASE_URL", "postgres"),
    ("DATABASE_URL", "postgres://u@h:port/d"),
    ("DATABASE_URL", "sqlite://"),
    ("DATABASE_URL", "sqlite:///:memory:"),
    ("DATABASE_URL", "sqlite:////srv/x.sqlite3?mode=ro"),
    ("DATABASE_URL", "sqlite:///file:x.db?uri=true"),
    ("DATABASE_URL", "sqlite:///docs"),
    ("DATABASE_URL", "postgres://u@h/d?sslmode=no-verify"),
    ("LISTEN_DATABASE_URL", "redis://h"),
    ("LISTEN_DATABASE_URL", "postgres://u@h/d?pgbouncer=true"),
    ("DATABASE_CONNECT_TIMEOUT", "0"),
    ("DATABASE_CONNECT_TIMEOUT", "61"),
    ("DATABASE_CONNECT_TIMEOUT", "5s"),
    ("STATE_FILE", "docs"),
    ("STATE_MAX_AGE", "0"),
    ("STATE_MAX_AGE", "1d"),
    ("SECRET_KEY", "short"),
    ("ADMIN_TOKEN", "x" * 31),
    ("ADMIN_TOKEN", "with a space" * 4),
    ("ADMIN_TOKEN", "ä" * 40),
    ("CORS_ORIGINS", "app.example.com"),
    ("CORS_ORIGINS", "https://a.example.com,https://b.example.com/path"),
    ("FAIL_OPEN", "maybe"),
    ("RETRY_AFTER", "0"),
    ("RETRY_AFTER", "soon"),
    ("MAINTENANCE_TEMPLATE", "/nowhere/page.html"),
    ("PUBLIC_URL", "example.com"),
    ("PUBLIC_URL", "javascript://example.com"),
    ("PUBLIC_URL", "https://user@example.com"),
    ("PUBLIC_URL", "https://example.com/?next=/"),
    ("TRUSTED_PROXY_HOPS", "-1"),
    ("TRUSTED_PROXY_HOPS", "true"),
    ("BYPASS_NETWORKS", "192.0.2.1/24"),
    ("BYPASS_NETWORKS", "192.0.2.0/24,office"),
    ("BYPASS_NETWORKS", "::ffff:192.0.2.0/120"),
    ("LOG_LEVEL", "LOUD"),
    ("PORT", "99999"),
    ("PORT", "http"),
    ("WEB_CONCURRENCY", "0"),
    ("WEB_CONCURRENCY", "two"),
    ("MIGRATION_LOCK_WAIT", "-1"),
    ("MIGRATION_LOCK_TIMEOUT", "5s"),
    ("MIGRATION_STATEMENT_TIMEOUT", "0"),
]


@pytest.fixture(autouse=True)
def env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The .env of these tests, which is not there until one writes it."""
    monkeypatch.setattr("config.ENV_FILE", tmp_path / ".env")
    return tmp_path / ".env"


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        Config.from_env()
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LOG_LEVEL", "x", "LOG_LEVEL: Expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL, not 'x'."),
        ("PORT", "0", "PORT: Expected a whole number from 1 to 65535, not '0'."),
        ("RETRY_AFTER", "soon", "RETRY_AFTER: Expected a whole number from 1 to 86400, not 'soon'."),
        ("FAIL_OPEN", "maybe", "FAIL_OPEN: Expected true or false, not 'maybe'."),
        ("SECRET_KEY", "short", "SECRET_KEY: Expected at least 32 characters, not 5."),
    ],
)
def test_a_bad_value_is_told_what_was_expected(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        Config.from_env()
    assert str(caught.value) == said


def test_a_bad_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SECRET_KEY", "ADMIN_TOKEN"):
        monkeypatch.setenv(name, "hunter2")
        with pytest.raises(ConfigError) as caught:
            Config.from_env()
        assert "hunter2" not in str(caught.value)
        monkeypatch.delenv(name)


def test_a_bad_password_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://u:hunter2@h/d")
    with pytest.raises(ConfigError) as caught:
        Config.from_env()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "command",
    [
        ["flask", "maintenance", "status"],
        ["flask", "db", "upgrade"],
        ["alembic", "current"],
        ["gunicorn", "--bind", "127.0.0.1:0"],
    ],
    ids=" ".join,
)
def test_every_program_ends_with_code_2_and_one_line(command: list[str]) -> None:
    done = processes.run(command, env=processes.environment(LOG_LEVEL="LOUD"), check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert "LOG_LEVEL" in line
    assert "DEBUG, INFO, WARNING, ERROR, CRITICAL" in line


def test_nothing_set_gives_the_embedded_database() -> None:
    config = Config.from_env()
    assert config.SQLALCHEMY_DATABASE_URI == DEFAULT_DATABASE
    assert config.LISTEN_DATABASE_URI == config.SQLALCHEMY_DATABASE_URI
    assert config.ADMIN_TOKEN is None
    assert config.FAIL_OPEN is False
    assert config.DATABASE_CONNECT_TIMEOUT == 5


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_both_schemes_of_postgresql_reach_its_driver(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://user:p%40ss@host:5433/name?sslmode=require")
    url = Config.from_env().SQLALCHEMY_DATABASE_URI
    assert url.drivername == "postgresql+psycopg2"
    assert (url.username, url.password, url.host, url.port, url.database) == ("user", "p@ss", "host", 5433, "name")
    assert url.query == {"sslmode": "require"}


def test_empty_and_padded_values_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "ADMIN_TOKEN", "CORS_ORIGINS", "FAIL_OPEN", "RETRY_AFTER", "LOG_LEVEL"):
        monkeypatch.setenv(name, " ")
    assert Config.from_env() == Config(DEFAULT_DATABASE, DEFAULT_DATABASE, DATABASE_IS_DEFAULT=True)


def test_values_are_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f" {URL}\n")
    monkeypatch.setenv("LISTEN_DATABASE_URL", "postgres://u@h/d?sslmode=require\n")
    monkeypatch.setenv("PORT", " 5000 ")
    monkeypatch.setenv("DATABASE_CONNECT_TIMEOUT", "60\n")
    config = Config.from_env()
    assert str(config.SQLALCHEMY_DATABASE_URI) == URL
    assert config.LISTEN_DATABASE_URI.query == {"sslmode": "require"}
    assert (config.PORT, config.DATABASE_CONNECT_TIMEOUT) == (5000, 60)


def test_the_file_counts_and_the_environment_goes_before_it(monkeypatch: pytest.MonkeyPatch, env_file: Path) -> None:
    env_file.write_text(
        f"DATABASE_URL={URL}\nPORT=5000\nexport WEB_CONCURRENCY='7'  # as many\nLOG_LEVEL=\nFAIL_OPEN\n"
    )
    monkeypatch.setenv("PORT", "6000")
    monkeypatch.setenv("WEB_CONCURRENCY", "")
    before = dict(os.environ)
    config = Config.from_env()
    assert (str(config.SQLALCHEMY_DATABASE_URI), config.DATABASE_IS_DEFAULT) == (URL, False)
    assert (config.PORT, config.WEB_CONCURRENCY, config.LOG_LEVEL, config.FAIL_OPEN) == (6000, 7, "INFO", False)
    assert dict(os.environ) == before


def test_a_line_of_the_file_that_says_nothing_is_named(env_file: Path) -> None:
    env_file.write_text(f"PORT=5000\n\nDATABASE_URL {URL}\n")
    with pytest.raises(ConfigError, match=r"^\S+/\.env line 3: expected NAME=value$"):
        Config.from_env()


@pytest.mark.parametrize("bad", ["latin-1", "folder"])
def test_a_file_that_cannot_be_read_is_named(env_file: Path, bad: str) -> None:
    if bad == "folder":
        env_file.mkdir()
    else:
        env_file.write_bytes("MAINTENANCE_TEMPLATE=/srv/für/alle.html".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"^\S+/\.env cannot be read: [^\n]+$"):
        Config.from_env()


def test_a_byte_order_mark_hides_no_variable(env_file: Path) -> None:
    env_file.write_text("PORT=5000\n", encoding="utf-8-sig")
    assert Config.from_env().PORT == 5000


def test_a_path_means_the_same_from_every_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:///data/settings.sqlite3")
    monkeypatch.chdir(tmp_path)
    assert Config.from_env().SQLALCHEMY_DATABASE_URI.database == str(ROOT / "data" / "settings.sqlite3")


def test_lists_and_flags_are_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", "https://a.example.com, http://localhost:5173")
    monkeypatch.setenv("FAIL_OPEN", "true")
    config = Config.from_env()
    assert config.CORS_ORIGINS == ("https://a.example.com", "http://localhost:5173")
    assert config.FAIL_OPEN is True


def test_networks_and_addresses_are_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYPASS_NETWORKS", "192.0.2.0/24, 2001:db8::/32,203.0.113.9")
    monkeypatch.setenv("PUBLIC_URL", "https://example.com/")
    config = Config.from_env()
    assert list(map(str, config.BYPASS_NETWORKS)) == ["192.0.2.0/24", "2001:db8::/32", "203.0.113.9/32"]
    assert config.PUBLIC_URL == "https://example.com"


def test_the_public_url_follows_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Config.from_env().PUBLIC_URL == "http://127.0.0.1:8000"
    monkeypatch.setenv("PORT", "5000")
    assert Config.from_env().PUBLIC_URL == "http://127.0.0.1:5000"


def test_a_template_that_does_not_parse_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<h1>\n{% if %}")
    monkeypatch.setenv("MAINTENANCE_TEMPLATE", str(tmp_path / "page.html"))
    with pytest.raises(ConfigError, match=r"^MAINTENANCE_TEMPLATE: .*/page\.html line 2: [^\n]+$"):
        Config.from_env()


def test_secrets_do_not_show_in_a_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", "t" * 40)
    monkeypatch.setenv("SECRET_KEY", "s" * 40)
    monkeypatch.setenv("DATABASE_URL", "postgres://u:hunter2@h/d?sslpassword=swordfish")
    shown = repr(Config.from_env())
    assert "t" * 40 not in shown
    assert "s" * 40 not in shown
    assert "hunter2" not in shown
    assert "swordfish" not in shown


class TestStateFile:
    """Each database, and each role and schema in it, has a last state of its own, however its URL is spelled."""

    def path(self, monkeypatch: pytest.MonkeyPatch, url: str, given: str = "") -> Path | None:
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setenv("STATE_FILE", given)
        return Config.from_env().STATE_FILE

    @pytest.mark.parametrize(
        "url",
        [
            "postgres://u:secret@db.example:5432/app",
            "postgresql://u@/app?host=db.example&port=5432",
            "postgresql://db.example/app?user=u",
            "postgresql://u@db.example/app?sslmode=require",
            "postgresql+psycopg2://u@/app?host=db.example:5432",
        ],
    )
    def test_the_same(self, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        assert self.path(monkeypatch, url) == self.path(monkeypatch, "postgresql://u@db.example/app")

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://u@db2.example/app",
            "postgresql://other@db.example/app",
            "postgresql://u@db.example",
            "postgresql://u@db.example:5433/app",
            "postgresql://u@db.example/app2",
            "postgresql://u@db.example/app?options=-csearch_path%3Ddop_be",
            "postgresql://u@/app?host=/run/postgresql",
            "postgresql://u@db.example,db2.example/app",
        ],
    )
    def test_another(self, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        found = self.path(monkeypatch, url)
        assert found
        assert found.parent == ROOT / "instance"
        assert found != self.path(monkeypatch, "postgresql://u@db.example/app")

    def test_what_is_said_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        url = "postgresql://u@db.example/app"
        assert self.path(monkeypatch, url, "/var/lib/state.json") == Path("/var/lib/state.json")
        assert self.path(monkeypatch, url, "var/state.json") == ROOT / "var/state.json"
        assert self.path(monkeypatch, url, "none") is None
        assert self.path(monkeypatch, "sqlite:///x.sqlite3", "/var/lib/state.json") is None
