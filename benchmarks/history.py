"""What a page of history costs with 1,000 entries and with 1,000,000: `python benchmarks/history.py DATABASE_URL`.

The database must be empty and PostgreSQL's, and the role its owner; entries are put in around the service.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import flask_migrate
from flask import Flask
from sqlalchemy import text
from sqlalchemy.engine import make_url

sys.path.insert(0, str(Path(__file__).parents[1]))

from config import Config
from dop_be import create_app
from dop_be.extensions import db

TOKEN = "benchmark-token-of-more-than-32-characters"
FILL = """
INSERT INTO system_settings_history (revision, changed_at, changed_by, source, reason, request_id, changes, "values")
SELECT number, now(), 'benchmark', 'sql', 'a reason of the usual length', md5(number::text),
    '{"is_maintain": {"from": false, "to": true}}',
    '{"is_maintain": true, "maintenance_mode": "full", "maintenance_message": null}'
FROM generate_series((SELECT max(revision) + 1 FROM system_settings_history), :entries) AS number
"""


Pages = dict[int, dict[str, float]]


def measure(url: str, sizes: tuple[int, ...] = (1_000, 1_000_000), repetitions: int = 200) -> Pages:
    """Milliseconds (median) of the newest, a middle and the last page of 50, by the number of entries."""
    app = _app(url)
    found = {}
    for entries in sizes:
        with app.app_context():
            db.session.execute(text(FILL), {"entries": entries})
            db.session.commit()
            with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM ANALYZE system_settings_history"))
        pages = {"newest": "", "middle": f"&before={entries // 2}", "last": "&before=51"}
        found[entries] = {name: _median(app, query, repetitions) for name, query in pages.items()}
    app.extensions["live"].stop()
    return found


def _app(url: str) -> Flask:
    database = make_url(url.replace("postgresql://", "postgresql+psycopg2://", 1))
    app = create_app(Config(SQLALCHEMY_DATABASE_URI=database, LISTEN_DATABASE_URI=database, ADMIN_TOKEN=TOKEN))
    with app.app_context():
        flask_migrate.upgrade()
    return app


def _median(app: Flask, query: str, repetitions: int) -> float:
    client = app.test_client()
    took = []
    for _ in range(repetitions + 20):
        began = time.perf_counter()
        response = client.get(f"/api/v1/settings/history?limit=50{query}", headers={"Authorization": f"Bearer {TOKEN}"})
        took.append((time.perf_counter() - began) * 1000)
        assert len(response.get_json()["changes"]) == 50
    return statistics.median(took[20:])


if __name__ == "__main__":
    for size, pages in measure(sys.argv[1]).items():
        print(f"{size:>9,} entries:", ", ".join(f"{name} page {ms:.2f} ms" for name, ms in pages.items()))
