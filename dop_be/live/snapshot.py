"""The snapshot: all that a request needs, immutable, with the bodies of its answers made ready once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from flask import json

from ..access.tokens import Token
from ..maintenance.policy import Maintenance, in_force
from ..settings import schemas


@dataclass(frozen=True, slots=True)
class Document:
    """The bytes of a JSON answer and the ETag that goes with them."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of the database: `version` is live_state's, `public` and `private` are the settings' two views.

    `tokens` are those that were not revoked, by id; `bypasses` says when each bypass token expires, by its digest.
    """

    version: int
    settings: Mapping[str, Any]
    tokens: Mapping[str, Token]
    public: Document
    private: Document
    maintenance: Maintenance
    maintenance_document: Document
    bypasses: Mapping[str, datetime]

    @property
    def revision(self) -> int:
        return int(self.settings["revision"])


def build(
    version: int, settings: Mapping[str, Any], *, tokens: Mapping[str, Token], bypasses: Mapping[str, datetime]
) -> Snapshot:
    """Make the snapshot of a settings row, with every value by its column's name, and of what else is in force."""
    maintenance = in_force(settings)
    return Snapshot(
        version=version,
        settings=MappingProxyType(dict(settings)),
        tokens=MappingProxyType(dict(tokens)),
        public=settings_document(settings, private=False),
        private=settings_document(settings, private=True),
        maintenance=maintenance,
        maintenance_document=maintenance_document(maintenance),
        bypasses=MappingProxyType(dict(bypasses)),
    )


def settings_document(settings: Mapping[str, Any], *, private: bool) -> Document:
    """The settings as anyone sees them, or with the private ones."""
    body = schemas.dump(settings)
    if not private:
        body = {name: value for name, value in body.items() if name in schemas.PUBLIC}
    return document(body, settings["revision"])


def maintenance_document(maintenance: Maintenance) -> Document:
    """The contract's maintenance object."""
    body = {
        name: schemas.timestamp(value) if isinstance(value, datetime) else value
        for name, value in asdict(maintenance).items()
    }
    return document({**body, "next": None}, maintenance.revision)


def document(body: Mapping[str, Any], revision: int) -> Document:
    """Serialize, and tag with the revision and the first 8 hex digits of the body's SHA-256."""
    content = json.dumps(body, separators=(",", ":"), sort_keys=False).encode() + b"\n"
    return Document(content, f'"{revision}-{hashlib.sha256(content).hexdigest()[:8]}"')
