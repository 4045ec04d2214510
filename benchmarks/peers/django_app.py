"""A Django application with one JSON view, bare or behind django-maintenance-mode."""

from __future__ import annotations

import tempfile
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from benchmarks.apps import NoState

MIDDLEWARE = "maintenance_mode.middleware.MaintenanceModeMiddleware"
BACKENDS = {"file": "LocalFileBackend", "cache": "CacheBackend"}


def view(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"active": False, "mode": "full", "message": None})


urlpatterns = [path("view", view), path("livez", view)]


def application(backend: str | None = None) -> WSGIHandler:
    """Return the application; `backend` says where django-maintenance-mode keeps its state, None leaves it out."""
    options: dict[str, Any] = {}
    if backend:
        options = {
            "INSTALLED_APPS": ["maintenance_mode"],
            "MIDDLEWARE": [MIDDLEWARE],
            "MAINTENANCE_MODE_STATE_BACKEND": f"maintenance_mode.backends.{BACKENDS[backend]}",
            "MAINTENANCE_MODE_STATE_FILE_PATH": f"{tempfile.mkdtemp(dir='/dev/shm')}/state.txt",
        }
    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="benchmark", USE_TZ=True, **options)
    app = get_wsgi_application()
    app.extensions = {"live": NoState()}
    return app
