"""What HTTP sees."""

from typing import Any

from flask import Flask
from flask_smorest import Api, Blueprint

from . import bypass, components, errors, gate, guessing, history, http, maintenance, origins, outer, settings, tokens


class Resources(Api):
    """The resources of the API. What an extension registers where nothing is served yet, as in a command, waits."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._waiting: list[tuple[Blueprint, dict[str, Any]]] = []

    def register_blueprint(self, blp: Blueprint, **options: Any) -> None:
        if self._app is None:
            self._waiting.append((blp, options))
        else:
            super().register_blueprint(blp, **options)

    def init_app(self, app: Flask, **options: Any) -> None:
        super().init_app(app, **options)
        while self._waiting:
            blueprint, given = self._waiting.pop(0)
            self.register_blueprint(blueprint, **given)


api = Resources(spec_kwargs={"title": "dop_be", "version": "v1", "openapi_version": "3.1.0"})


def init_app(app: Flask) -> None:
    """Serve the API and the gate. The order counts: what wraps the application last sees a request first."""
    api.init_app(app)
    errors.init_app(app)
    guessing.init_app(app)
    for resource in (settings, maintenance, components, tokens, history):
        api.register_blueprint(resource.bp)
    app.register_blueprint(bypass.bp)
    outer.init_app(app, gate.init_app(app).ask)
    origins.init_app(app)
    http.init_app(app)
