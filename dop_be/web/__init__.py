"""What HTTP sees."""

from flask import Flask
from flask_smorest import Api

from . import bypass, components, errors, gate, guessing, history, http, maintenance, origins, outer, settings, tokens

api = Api(spec_kwargs={"title": "dop_be", "version": "v1", "openapi_version": "3.1.0"})


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
