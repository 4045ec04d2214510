"""gunicorn's settings, each with its reason; GUNICORN_CMD_ARGS and the command line go before them.

The figures behind the worker class and the parser are in docs/benchmarks.md, "gunicorn's settings".
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any

from config import DEFAULT_PORT, Config


def everywhere(port: int) -> list[str]:
    """Return what to bind for all addresses: one IPv6 socket takes IPv4 too, unless the system says it does not."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
            only_ipv6 = probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:  # no IPv6
        return [f"0.0.0.0:{port}"]
    return [f"0.0.0.0:{port}", f"[::]:{port}"] if only_ipv6 else [f"[::]:{port}"]


COMMAND_NAME = "/proc/self/comm"
settings = Config.from_env_or_exit()  # read in the master: a bad value stops the start at once
wsgi_app = "wsgi:app"
bind = everywhere(settings.PORT) if settings.PORT else f"127.0.0.1:{DEFAULT_PORT}"
# One serves while the other is killed; more only for more CPU, at 23 to 41 MB each.
workers = settings.WEB_CONCURRENCY
# gthread, without its waits for silent clients. sync closes connections and stalls; gevent costs a quarter less, but
# stalls on SQLite's locks
worker_class = "dop_be.web.worker.Worker"
threads = 4  # a write that waits for the database leaves three for reads
http_parser = "python"  # the C parser at hand costs an eighth less, but lets bare LF and folded headers pass
preload_app = True  # workers share what is loaded, and a killed one's successor serves at once
timeout = 30  # seconds without a sign of life until a worker is killed; no request of ours takes more than 2
graceful_timeout = 20  # a running request may end; platforms kill at 25 to 30
keepalive = 95  # longer than the 90 s for which routers keep idle connections: the router closes first, without a race
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # the heartbeat file blocks on no disk
limit_request_line = 8190  # some proxies append the visitor's path to their question
# By default a client's SCRIPT_NAME header takes "/gate" off the path wherever the proxy passes it on.
forwarder_headers = ""
# TRUSTED_PROXY_HOPS tells the scheme; here a client's X-Forwarded-Ssl would make a 400.
secure_scheme_headers: dict[str, str] = {}
control_socket_disable = True  # it needs a writable home, which a platform need not give
loglevel = settings.LOG_LEVEL.lower()


def on_starting(server: Any) -> None:
    """Let HUP only restart the workers, and say once what a copied .env.example leaves out.

    What is preloaded stays as it is, so that a configuration read anew would fit it no more; a broken one would end the
    master, and the service with it.
    """
    server.app.reload = lambda: server.log.info(
        "HUP takes neither new code nor a new configuration: use deploy/replace"
    )
    if settings.ADMIN_TOKEN is None:
        server.log.warning(
            "ADMIN_TOKEN is not set: over HTTP nothing can be changed but with a token made by `flask tokens create`"
        )


def post_worker_init(worker: Any) -> None:
    """Start the watcher after the fork: a thread started before it is dead in the worker. Serve once it has looked.

    A worker that has the state from its database is called `dop_be-ready`, which `ps`, `pgrep` and deploy/replace see
    (proc(5)). One that has it from a file serves, but a deploy shall not end others for it.
    """
    live = worker.wsgi.extensions["live"]

    def call_ready(before: Any, after: Any) -> None:
        if live.status.source == "database":
            # Only Linux has this file, and a user who was changed since the start may not write to it.
            with suppress(OSError), open(COMMAND_NAME, "w", encoding="ascii") as name:
                name.write("dop_be-ready")

    live.subscribe(call_ready)
    live.start()


def worker_exit(server: Any, worker: Any) -> None:
    """Close what the watcher holds; a worker that failed before it took the application has none."""
    if getattr(worker, "wsgi", None) is not None:
        worker.wsgi.extensions["live"].stop()
