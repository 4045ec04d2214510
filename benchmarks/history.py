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
INSERT INTO changes
    (id, kind, key, revision, action, changed_at, changed_by, source, reason, request_id, changes, "values")
SELECT number, kind, CASE WHEN kind <> 'settings' THEN 'key ' || number % 100 END,
    CASE WHEN kind = 'settings' THEN number END, 'update', now(),
    CASE number % 500 WHEN 7 THEN 'seldom' ELSE 'benchmark' END, 'sql', 'a reason of the usual length',
    md5(number::text),
    '{{"is_maintain": {{"from": false, "to": true}}}}',
    '{{"is_maintain": true, "maintenance_mode": "full", "maintenance_message": null}}'
FROM (
    SELECT number, (ARRAY['settings', 'window', 'token'])[1 + number % 3] AS kind
    FROM generate_series((SELECT max(id) + 1 FROM changes), {entries}) AS number
) AS numbers
"""
# The pages that are asked for, by what they show; the last two are of what there is little of.
QUERIES = {
    "newest page": "",
    "middle page": "before={middle}",
    "of one kind": "kind=token",
    "of one key": "key=key 42",
    "of one author": "by=seldom",
    "of one author and kind": "by=seldom&kind=window",
}


def measure(rounds: int) -> Iterator[Table]:
    rows = []
    with postgresql() as cluster:
        url = new_database(cluster, "history")
        os.environ.update(environment(url))
        app = create_app(Config.from_env())
        for entries in SIZES:
            execute(url, FILL.format(entries=entries), "VACUUM ANALYZE changes")
            pages = (query.format(middle=entries // 2) for query in QUERIES.values())
            rows.append([f"{entries:,} entries", *(milliseconds(_median(app, page)) for page in pages)])
        app.extensions["live"].stop()
    note = f"In process, pages of at most 50 entries, medians of {PAGES}."
    yield Table("A page of history", ["", *QUERIES], rows, note)


def _median(app: Flask, query: str) -> float:
    client = app.test_client()
    took = []
    for _ in range(PAGES + 20):
        began = time.perf_counter()
        response = client.get(f"/api/v1/history?limit=50&{query}", headers=ADMIN)
        took.append(time.perf_counter() - began)
        if not response.get_json()["changes"]:
            raise RuntimeError(f"a page is empty: {response.text}")
    return median(took[20:])
