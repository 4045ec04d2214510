"""What a page of history costs with 1,000 entries and with 1,000,000, which are put in around the service."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from statistics import median

from flask import Flask

from config import Config
from dop_be import create_app
from tests.postgres import execute

from .report import Table, milliseconds
from .servers import ADMIN, environment, new_database, postgresql

SIZES = (1_000, 1_000_000)
PAGES = 200  # of each kind and size
FILL = """
INSERT INTO changes (revision, changed_at, changed_by, source, reason, request_id, changes, "values")
SELECT number, now(), 'benchmark', 'sql', 'a reason of the usual length', md5(number::text),
    '{{"is_maintain": {{"from": false, "to": true}}}}',
    '{{"is_maintain": true, "maintenance_mode": "full", "maintenance_message": null}}'
FROM generate_series((SELECT max(revision) + 1 FROM changes), {entries}) AS number
"""


def measure(rounds: int) -> Iterator[Table]:
    rows = []
    with postgresql() as cluster:
        url = new_database(cluster, "history")
        os.environ.update(environment(url))
        app = create_app(Config.from_env())
        for entries in SIZES:
            execute(url, FILL.format(entries=entries), "VACUUM ANALYZE changes")
            pages = ("", f"&before={entries // 2}", "&before=51")
            rows.append([f"{entries:,} entries", *(milliseconds(_median(app, page)) for page in pages)])
        app.extensions["live"].stop()
    note = f"In process, pages of 50 entries, medians of {PAGES}."
    yield Table("A page of history", ["", "newest page", "middle page", "last page"], rows, note)


def _median(app: Flask, query: str) -> float:
    client = app.test_client()
    took = []
    for _ in range(PAGES + 20):
        began = time.perf_counter()
        response = client.get(f"/api/v1/settings/history?limit=50{query}", headers=ADMIN)
        took.append(time.perf_counter() - began)
        if len(response.get_json()["changes"]) != 50:
            raise RuntimeError(f"a page is not full: {response.text}")
    return median(took[20:])
