"""gunicorn's settings, each with its reason; gunicorn itself reads PORT, WEB_CONCURRENCY and GUNICORN_CMD_ARGS.

The figures behind the worker class and the parser are in docs/benchmarks.md, "gunicorn's settings".
"""

from __future__ import annotations

import os
from typing import Any

from config import Config

wsgi_app = "wsgi:app"
if "WEB_CONCURRENCY" not in os.environ:
    workers = 2  # one serves while the other is recycled or killed; more only for more CPU, at some 75 MB each
# sync closes connections and stalls; gevent costs a quarter less, but stalls on SQLite's locks
worker_class = "gthread"
threads = 4  # a write that waits for the database leaves three for reads
http_parser = "python"  # the C parser at hand costs an eighth less, but lets bare LF and folded headers pass
preload_app = False  # workers load by themselves, so that a reload (HUP) takes new code
timeout = 30  # seconds without a sign of life until a worker is killed; no request of ours takes more than 2
graceful_timeout = 20  # a running request may end; platforms kill at 25 to 30
keepalive = 95  # longer than the 90 s for which routers keep idle connections: the router closes first, without a race
max_requests = 100_000  # a leak in some library never grows for ever
max_requests_jitter = 10_000  # the workers do not recycle at once
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # the heartbeat file blocks on no disk
# By default a client's SCRIPT_NAME header takes "/gate" off the path wherever the proxy passes it on.
forwarder_headers = ""
# TRUSTED_PROXY_HOPS tells the scheme; here a client's X-Forwarded-Ssl would make a 400.
secure_scheme_headers: dict[str, str] = {}
control_socket_disable = True  # it needs a writable home, which a platform need not give
loglevel = Config.from_env_or_exit().LOG_LEVEL.lower()  # read in the master: a bad value stops the start at once


def post_worker_init(worker: Any) -> None:
    """Start the watcher after the fork: a thread started before it is dead in the worker."""
    worker.wsgi.extensions["live"].start()


def worker_exit(server: Any, worker: Any) -> None:
    """Close what the watcher holds; a worker that failed to load has no application."""
    if getattr(worker, "wsgi", None) is not None:
        worker.wsgi.extensions["live"].stop()
