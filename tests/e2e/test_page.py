"""The maintenance page as visitors see it, in a real browser; SCREENSHOTS=docs/img keeps the pictures."""

from __future__ import annotations

import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from subprocess import DEVNULL
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests
from flask import Flask
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright
from requests.adapters import HTTPAdapter
from urllib3.util import Retry
from werkzeug.serving import make_server

from dop_be.maintenance.policy import Maintenance
from dop_be.maintenance.schedule import Occurrence, Window
from tests import processes
from tests.conftest import ADMIN_TOKEN
from tests.maintenance.states import put_exactly
from tests.ports import free_port

NOW = datetime(2030, 3, 6, 9, 0, tzinfo=UTC)
END = NOW + timedelta(days=1, hours=2, minutes=3, seconds=4)
PHONE = {"width": 320, "height": 640}
HEADING = "Down for maintenance"
CONTRASTS = """() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    return color === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : color;
  };
  return [...document.querySelectorAll("main h1, main p, main time")].map((element) => {
    const pair = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => b - a);
    return (pair[0] + 0.05) / (pair[1] + 0.05);
  });
}"""  # WCAG 2.2, "contrast ratio" and "relative luminance"


@dataclass
class Stage:
    """An application that is served, and whose maintenance a test sets as it likes."""

    app: Flask
    url: str

    def maintain(self, **facts: Any) -> None:
        maintenance = Maintenance(True, "full", None, "switch", NOW, None, 2)
        self._put(replace(maintenance, **facts))

    def open(self) -> None:
        self._put(Maintenance(False, "full", None, None, None, None, 3))

    def _put(self, maintenance: Maintenance) -> None:
        put_exactly(self.app.extensions["live"], maintenance)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, "chromium is not installed: run `make system`"
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=arguments)
        yield started
        started.close()


@pytest.fixture
def complaints() -> list[str]:
    """What browsers complained of: errors of scripts, and breaches of the Content-Security-Policy."""
    return []


@pytest.fixture
def visit(browser: Browser, complaints: list[str]) -> Iterator[Callable[..., Page]]:
    """Opens a page in a browser of its own, with its clock at NOW; a complaint left at the end fails the test."""
    contexts = []

    def open_page(url: str, *, clock: bool = True, **options: Any) -> Page:
        context = browser.new_context(**{"locale": "en-GB", "timezone_id": "UTC", **options})
        contexts.append(context)
        page = context.new_page()
        if clock:
            page.clock.install(time=NOW - timedelta(minutes=1))
            page.clock.pause_at(NOW)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if "Policy" in message.text else None)
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def stage(make_app: Callable[..., Flask], sqlite_url: str, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Parametrize indirectly to change the configuration."""
    app = make_app(sqlite_url, **getattr(request, "param", {}))
    assert app.extensions["live"].refresh()
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Stage(app, f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()
    thread.join()
    server.server_close()


def note(urls: list[str], request: Request) -> None:
    urls.append(request.url)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_light_and_in_dark(stage: Stage, visit: Callable[..., Page], scheme: str) -> None:
    stage.maintain(until=END)
    page = visit(stage.url, color_scheme=scheme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", background)[:3])) / 3
    assert (brightness > 200) if scheme == "light" else (brightness < 50)
    assert min(page.evaluate(CONTRASTS)) >= 4.5


def test_it_fits_a_phone(stage: Stage, visit: Callable[..., Page]) -> None:
    stage.maintain(message="https://example.com/" + "very-long-" * 40, until=END)
    page = visit(stage.url, viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    sizes = page.evaluate(
        "[...document.querySelectorAll('main *')].map((e) => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 16


def test_a_screen_reader_finds_its_way(stage: Stage, visit: Callable[..., Page]) -> None:
    stage.maintain(message="Back soon", until=END)
    page = visit(stage.url)
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.title() == HEADING
    outline = page.locator("body").aria_snapshot()
    assert outline.startswith(f'- main:\n  - heading "{HEADING}" [level=1]\n  - paragraph: Back soon\n')
    assert "- timer: 1 d 02:03:04" in outline  # a timer is not read out with every second
    expect(page.get_by_role("status")).to_contain_text("Nothing is wrong on your side")
    assert page.locator("main img, main svg:not([aria-hidden])").count() == 0


def test_the_end_is_in_the_visitors_zone_and_counts_down(stage: Stage, visit: Callable[..., Page]) -> None:
    stage.maintain(until=END)
    page = visit(stage.url, timezone_id="Pacific/Auckland")
    local = END.astimezone(ZoneInfo("Pacific/Auckland"))
    expect(page.locator("time")).to_have_text(re.compile(f"{local:%A}.*{local.day} {local:%B}.*{local:%H:%M}"))
    expect(page.get_by_role("timer")).to_have_text("1 d 02:03:04")
    page.clock.run_for(64_000)
    expect(page.get_by_role("timer")).to_have_text("1 d 02:02:00")


@pytest.mark.parametrize("active", [True, False])
def test_what_is_announced_is_in_the_visitors_zone_and_counts_nothing_down(
    stage: Stage, visit: Callable[..., Page], active: bool
) -> None:
    starts_at, ends_at = NOW + timedelta(hours=5), NOW + timedelta(hours=6)
    window = Window(uuid.uuid4(), starts_at, ends_at, "read_only", "<b>New disks</b>")
    now = Maintenance(active, "read_only", None, "window" if active else None, NOW, END if active else None, 2)
    put_exactly(stage.app.extensions["live"], now, Occurrence(starts_at, ends_at, window))
    page = visit(stage.url, timezone_id="Pacific/Auckland", viewport=PHONE)
    item = page.get_by_role("listitem")
    local = starts_at.astimezone(ZoneInfo("Pacific/Auckland"))
    expect(item.locator("time").first).to_have_text(re.compile(f"{local:%A}.*{local.day} {local:%B}.*{local:%H:%M}"))
    expect(item).to_contain_text("read-only")
    expect(item).to_contain_text("<b>New disks</b>")
    expect(page.get_by_role("timer")).to_have_text(["1 d 02:03:04"] if active else [])
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert min(page.evaluate(CONTRASTS)) >= 4.5


def test_without_javascript_it_says_the_end_in_utc_and_reloads(stage: Stage, visit: Callable[..., Page]) -> None:
    stage.maintain(message="Back soon", until=END)
    page = visit(stage.url, clock=False, java_script_enabled=False)
    expect(page.get_by_text("Back soon")).to_be_visible()
    expect(page.locator("time")).to_have_text("2030-03-07, 11:03 UTC")
    expect(page.locator("[role=timer]")).to_be_hidden()
    assert page.locator("meta[http-equiv=refresh]").get_attribute("content") == "60"


def test_when_the_end_comes_visitors_return_spread_over_some_seconds(stage: Stage, visit: Callable[..., Page]) -> None:
    stage.maintain(until=NOW + timedelta(seconds=20))
    looks: list[str] = []
    page = visit(stage.url)
    page.on("request", partial(note, looks))
    page.clock.run_for(20_900)
    expect(page.get_by_role("timer", include_hidden=True)).to_be_hidden()
    expect(page.get_by_role("status")).to_contain_text("It should be over by now")
    assert looks == []  # nobody returns in the first second
    stage.open()
    page.clock.run_for(9_200)
    expect(page.get_by_role("heading")).to_have_text("In service")


def test_the_second_of_return_is_drawn_by_lot(stage: Stage, visit: Callable[..., Page], browser: Browser) -> None:
    stage.maintain(until=NOW + timedelta(seconds=20))
    for lot, second in ((0.0, 21.0), (0.5, 25.5)):
        page = visit("about:blank")
        page.add_init_script(f"Math.random = () => {lot}")
        page.goto(stage.url)
        looks: list[str] = []
        page.on("request", partial(note, looks))
        page.clock.run_for(int(second * 1000) - 500)
        assert looks == []
        with page.expect_request(stage.url):
            page.clock.run_for(1000)


def test_without_a_known_end_it_looks_now_and_then(stage: Stage, visit: Callable[..., Page]) -> None:
    stage.maintain()
    page = visit(stage.url)
    assert page.locator("time").count() == 0
    page.clock.run_for(29_000)
    with page.expect_response(stage.url) as first:
        page.clock.run_for(31_500)
    assert first.value.status == 503
    expect(page.get_by_role("heading")).to_have_text(HEADING)
    stage.open()
    with page.expect_navigation():
        page.clock.run_for(61_000)
    expect(page.get_by_role("heading")).to_have_text("In service")


def test_a_new_message_shows_by_itself(stage: Stage, visit: Callable[..., Page]) -> None:
    stage.maintain(message="Back at ten")
    page = visit(stage.url)
    stage.maintain(message="Back at eleven")
    page.clock.run_for(61_000)
    expect(page.get_by_text("Back at eleven")).to_be_visible()


def test_an_error_on_the_way_back_does_not_end_the_looking(stage: Stage, visit: Callable[..., Page]) -> None:
    stage.maintain()
    page = visit(stage.url)
    page.route(stage.url, lambda route: route.fulfill(status=502, body="Bad gateway"))
    with page.expect_response(stage.url):
        page.clock.run_for(61_000)
    page.unroute(stage.url)
    page.route(stage.url, lambda route: route.abort())
    with page.expect_event("requestfailed"):
        page.clock.run_for(61_000)
    page.unroute(stage.url)
    stage.open()
    with page.expect_navigation():
        page.clock.run_for(61_000)
    expect(page.get_by_role("heading")).to_have_text("In service")


def test_in_read_only_mode_it_stays_and_says_what_happened(stage: Stage, visit: Callable[..., Page]) -> None:
    stage.maintain(mode="read_only", until=NOW + timedelta(seconds=20))
    stage.app.add_url_rule("/form", view_func=lambda: '<form method="post"><button>Send</button></form>')
    page = visit(f"{stage.url}form")
    page.get_by_role("button").click()
    expect(page.get_by_role("heading")).to_have_text("Read-only for maintenance")
    expect(page.get_by_role("status")).to_contain_text("What you sent was not saved")
    page.clock.run_for(120_000)
    expect(page.get_by_role("status")).to_contain_text("Go back and send it again")


def test_it_asks_for_nothing_else_and_runs_nothing_else(
    stage: Stage, visit: Callable[..., Page], complaints: list[str]
) -> None:
    stage.maintain(message="<img src=x onerror='hit=1'><script>hit=1</script>", until=END)
    page = visit("about:blank")
    asked: list[str] = []
    page.on("request", partial(note, asked))
    page.goto(stage.url)
    page.wait_for_load_state("networkidle")
    assert asked == [stage.url]
    expect(page.get_by_text("<img src=x onerror='hit=1'><script>hit=1</script>")).to_be_visible()
    violation = page.evaluate(
        """() => new Promise((resolve) => {
          document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
          document.body.append(Object.assign(document.createElement("script"), { textContent: "hit = 1" }));
        })"""
    )
    assert violation == "script-src-elem"
    assert page.evaluate("typeof hit") == "undefined"
    assert len(complaints) == 1
    complaints.clear()


def test_a_message_in_any_language_reads_in_its_direction(stage: Stage, visit: Callable[..., Page]) -> None:
    for message, direction in (("نعود قريبًا", "rtl"), ("すぐに戻ります", "ltr"), ("Одну минуту 🛠", "ltr")):
        stage.maintain(message=message)
        paragraph = visit(stage.url).get_by_text(message)
        assert paragraph.evaluate("(element) => getComputedStyle(element).direction") == direction


OWN = """<!doctype html><title>Ours</title><style>h1 { color: rgb(1, 2, 3) }</style>
<main><h1>{{ message or "Ours" }}</h1><p>{{ until }}</p></main>
<script>document.querySelector("p").append(" ran")</script>"""


@pytest.fixture
def own_page(make_app: Callable[..., Flask], sqlite_url: str, tmp_path: Path) -> Stage:
    (tmp_path / "ours.html").write_text(OWN)
    app = make_app(sqlite_url, MAINTENANCE_TEMPLATE=tmp_path / "ours.html")
    assert app.extensions["live"].refresh()
    return Stage(app, "")


def test_a_teams_own_page_keeps_its_style_and_script(own_page: Stage, stage: Stage, visit: Callable[..., Page]) -> None:
    stage.app.wsgi_app = own_page.app.wsgi_app  # type: ignore[method-assign]  # the same server, another application
    own_page.maintain(message="<b>", until=END)
    page = visit(stage.url)
    expect(page.get_by_role("heading")).to_have_text("<b>")
    expect(page.get_by_role("heading")).to_have_css("color", "rgb(1, 2, 3)")
    expect(page.locator("p")).to_have_text("2030-03-07T11:03:04.000000Z ran")


SCREENS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "page-light": ({"color_scheme": "light"}, {"message": "We are moving to a bigger house.", "until": END}),
    "page-dark": ({"color_scheme": "dark"}, {"message": "We are moving to a bigger house.", "until": END}),
    "page-phone": ({"viewport": {"width": 390, "height": 700}}, {"until": NOW + timedelta(minutes=25)}),
    "page-read-only": ({"color_scheme": "light"}, {"mode": "read_only"}),
}


@pytest.mark.parametrize("name", SCREENS)
def test_its_picture_can_be_taken(stage: Stage, visit: Callable[..., Page], name: str, tmp_path: Path) -> None:
    options, facts = SCREENS[name]
    stage.maintain(**facts)
    page = visit(stage.url, **{"viewport": {"width": 900, "height": 620}, **options})
    if facts.get("mode") == "read_only":
        page.set_content(stage.app.test_client().post("/", headers={"Accept": "text/html"}).text)
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)
    page.screenshot(path=folder / f"{name}.png")
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def gunicorn(sqlite_url: str) -> Iterator[str]:
    """Two real workers; the URL they serve."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    given = {"DATABASE_URL": sqlite_url, "ADMIN_TOKEN": ADMIN_TOKEN, "PUBLIC_URL": url, "WEB_CONCURRENCY": "2"}
    command = ["gunicorn", "--bind", f"127.0.0.1:{port}"]
    with processes.started(command, env=processes.environment(**given), stderr=DEVNULL):
        session = requests.Session()
        session.mount("http://", HTTPAdapter(max_retries=Retry(connect=10, backoff_factor=0.2)))
        with session:
            assert session.get(f"{url}/readyz", timeout=10).status_code == 200
        yield url


def test_the_link_lets_a_browser_through_until_it_is_revoked(
    gunicorn: str, sqlite_url: str, visit: Callable[..., Page]
) -> None:
    def flask(*arguments: str) -> str:
        environment = processes.environment(DATABASE_URL=sqlite_url, PUBLIC_URL=gunicorn)
        return processes.run(["flask", "maintenance", *arguments], env=environment).stdout

    flask("on")
    [link] = re.findall(r"^link +(\S+)$", flask("bypass", "create", "ada"), re.MULTILINE)
    assert link.startswith(f"{gunicorn}/gate/bypass/")
    until(lambda: requests.get(link, allow_redirects=False, timeout=5).status_code == 303)
    guest, visitor = visit(f"{link}?next=/", clock=False), visit(gunicorn, clock=False)

    def shown(page: Page) -> str | None:
        page.goto(gunicorn)
        return page.get_by_role("heading").text_content()

    assert guest.url == f"{gunicorn}/"
    assert shown(visitor) == HEADING
    assert {shown(guest) for _ in range(8)} == {"In maintenance"}
    expect(guest.get_by_text("You bypass the maintenance")).to_be_visible()
    [cookie] = guest.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    assert guest.evaluate("document.cookie") == ""
    flask("bypass", "revoke", "ada")
    until(lambda: {shown(guest) for _ in range(8)} == {HEADING})


def until(holds: Callable[[], bool], tries: int = 200) -> None:
    assert any(holds() for _ in range(tries))


def test_the_documentations_own_page_comes_back_too(
    stage: Stage, visit: Callable[..., Page], tmp_path: Path, make_app: Callable[..., Flask]
) -> None:
    [example] = re.findall(r"```html\n(.*?)```", (processes.ROOT / "docs" / "maintenance.md").read_text(), re.DOTALL)
    (tmp_path / "ours.html").write_text(example)
    uri = stage.app.config["SQLALCHEMY_DATABASE_URI"]
    app = make_app(uri.render_as_string(), MAINTENANCE_TEMPLATE=tmp_path / "ours.html")
    assert app.extensions["live"].refresh()
    ours = Stage(app, stage.url)
    stage.app.wsgi_app = app.wsgi_app  # type: ignore[method-assign]  # the same server, another application
    ours.maintain(until=END)
    page = visit(stage.url, timezone_id="Pacific/Auckland")
    expect(page.locator("time")).to_contain_text(f"{END.astimezone(ZoneInfo('Pacific/Auckland')):%H:%M}")
    ours.open()
    with page.expect_navigation():
        page.clock.run_for(61_000)
    expect(page.get_by_role("heading")).to_have_text("In service")
