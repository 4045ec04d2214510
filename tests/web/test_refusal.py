"""What a refused request is answered with: when to come back, which page, and what the page may do."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask

from dop_be.maintenance.policy import Maintenance
from dop_be.web.refusal import Refusals

NOW = datetime(2030, 3, 6, 9, 0, tzinfo=UTC)
HTML = "text/html"
STRICT = (
    r"default-src 'none'; script-src (?:'none'|'sha256-[A-Za-z0-9+/]{43}='); style-src 'sha256-[A-Za-z0-9+/]{43}=';"
    r" img-src data:; font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def maintenance(mode: str = "full", message: str | None = None, until: datetime | None = None) -> Maintenance:
    return Maintenance(True, mode, message, "switch", NOW, until, 2)


@pytest.fixture
def refusals(make_app: Callable[..., Flask], sqlite_url: str) -> Callable[..., Refusals]:
    """Those of an application with the configuration given."""
    return lambda **changes: Refusals(make_app(sqlite_url, **changes))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "ours.html"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("until", "seconds"),
    [
        (None, "77"),
        (timedelta(minutes=30), "1800 1801"),
        (timedelta(seconds=10, microseconds=1), "11 12"),
        (timedelta(milliseconds=1), "1 2"),
        (timedelta(seconds=-5), "1 2"),
    ],
)
def test_retry_after_counts_whole_seconds_to_the_end_or_a_little_later(
    refusals: Callable[..., Refusals], until: timedelta | None, seconds: str
) -> None:
    configured = refusals(RETRY_AFTER=77, RETRY_SPREAD=1)
    refusal = configured.for_maintenance(maintenance(until=NOW + until if until else None))
    for accept in (HTML, "application/json"):
        told = {dict(refusal.answer(accept, NOW.timestamp())[1])["Retry-After"] for _ in range(100)}
        assert told == set(seconds.split())


def test_the_page_is_sent_with_a_strict_policy(refusals: Callable[..., Refusals]) -> None:
    headers = dict(refusals().for_maintenance(maintenance()).answer(HTML, NOW.timestamp())[1])
    assert re.fullmatch(STRICT, headers["Content-Security-Policy"])
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_every_page_of_dop_be_is_sent_with_it(make_app: Callable[..., Flask], sqlite_url: str) -> None:
    app = make_app(sqlite_url)
    app.extensions["live"].refresh()
    client = app.test_client()
    for path in ("/", "/nowhere", "/gate/bypass/unknown"):
        response = client.get(path, headers={"Accept": HTML})
        assert response.content_type == "text/html; charset=utf-8"
        assert re.fullmatch(STRICT, response.headers["Content-Security-Policy"]), path
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_asks_only_itself() -> None:
    """No template refers to another resource, whatever it shows."""
    templates = Path(__file__).parents[2] / "dop_be" / "panel" / "templates"
    for template in templates.iterdir():
        assert not re.search(r"(\b(src|href|srcset)\s*=|url\(|@import|https?:)", template.read_text()), template


class TestOwnTemplate:
    def test_it_gets_what_the_built_in_page_gets(
        self, refusals: Callable[..., Refusals], write: Callable[[str], Path]
    ) -> None:
        path = write("{{ mode }}|{{ message }}|{{ since }}|{{ until }}")
        made = refusals(MAINTENANCE_TEMPLATE=path)
        full = maintenance("read_only", "<b>Zurück & bald</b>", NOW + timedelta(hours=1))
        assert made.for_maintenance(full).answer(HTML, NOW.timestamp())[0].decode() == (
            "read_only|&lt;b&gt;Zurück &amp; bald&lt;/b&gt;|2030-03-06T09:00:00.000000Z|2030-03-06T10:00:00.000000Z"
        )
        assert made.for_maintenance(maintenance()).page == b"full|None|2030-03-06T09:00:00.000000Z|None"

    def test_it_can_build_on_the_built_in_one(
        self, refusals: Callable[..., Refusals], write: Callable[[str], Path]
    ) -> None:
        path = write('{% extends "base.html" %}{% block body %}<main>{% include "end.html" %}Ours</main>{% endblock %}')
        page = refusals(MAINTENANCE_TEMPLATE=path).for_maintenance(maintenance(until=NOW)).page.decode()
        assert "Ours" in page
        assert '<time datetime="2030-03-06T09:00:00Z">' in page

    def test_its_scripts_run_but_none_that_a_message_brings(
        self, refusals: Callable[..., Refusals], write: Callable[[str], Path]
    ) -> None:
        path = write("<script>ours()</script>{{ message|safe }}{% if until %}<script>count()</script>{% endif %}")
        refusal = refusals(MAINTENANCE_TEMPLATE=path).for_maintenance(maintenance(message="<script>theirs()</script>"))
        body, headers = refusal.answer(HTML, NOW.timestamp())
        assert b"theirs()" in body
        policy = dict(headers)["Content-Security-Policy"]
        # printf 'ours()' | openssl dgst -sha256 -binary | base64
        assert "'sha256-6Mlk+XjE57h/a6BK8UFDhIqhWicH5NYtbW9Bd0Z0HiI='" in policy
        assert "style-src 'none'" in policy
        assert policy.count("'sha256-") == 2

    @pytest.mark.parametrize("broken", ["{{ message.nothing.further }}", '{% include "nowhere.html" %}'])
    def test_one_that_fails_to_render_gives_way_to_the_built_in_page(
        self,
        refusals: Callable[..., Refusals],
        write: Callable[[str], Path],
        caplog: pytest.LogCaptureFixture,
        broken: str,
    ) -> None:
        made = refusals(MAINTENANCE_TEMPLATE=write("{% if message %}" + broken + "{% endif %}"))
        with caplog.at_level(logging.ERROR):
            refusal = made.for_maintenance(maintenance(message="now"))
        assert "Down for maintenance" in refusal.page.decode()
        assert re.fullmatch(STRICT, dict(refusal.answer(HTML, NOW.timestamp())[1])["Content-Security-Policy"])
        [record] = caplog.records
        assert "MAINTENANCE_TEMPLATE" in record.message

    def test_one_that_never_renders_is_told_at_start(
        self, refusals: Callable[..., Refusals], write: Callable[[str], Path], caplog: pytest.LogCaptureFixture
    ) -> None:
        made = refusals(MAINTENANCE_TEMPLATE=write("{{ nothing.further }}"))
        assert "MAINTENANCE_TEMPLATE" in caplog.text
        assert "Down for maintenance" in made.for_maintenance(maintenance()).page.decode()
