"""JSON documents as bytes: answers with their ETag, and problem documents (RFC 9457)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import json

PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Document:
    """The bytes of a JSON answer and the ETag that goes with them."""

    body: bytes
    etag: str


def document(body: Mapping[str, Any], *, revision: int | None = None, untagged: Collection[str] = ()) -> Document:
    """Serialize a body, and tag it with the first 8 hex digits of its SHA-256.

    Args:
        body: what JSON can hold, in the order in which it is shown.
        revision: stands before the digits, where the body has one.
        untagged: members that the digest leaves out, so that a change to them alone keeps the ETag.
    """
    content = encode(body)
    tagged = encode({name: body[name] for name in body if name not in untagged}) if untagged else content
    digest = hashlib.sha256(tagged).hexdigest()[:8]
    return Document(content, f'"{digest}"' if revision is None else f'"{revision}-{digest}"')


def problem(status: int, code: str, detail: str, **members: Any) -> bytes:
    """Return a problem document; its title is the status phrase, as for any about:blank (RFC 9457 section 4.2.1)."""
    title = HTTPStatus(status).phrase
    return encode({"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code, **members})


def encode(body: Mapping[str, Any]) -> bytes:
    """Return compact JSON with its members in order, and a line feed."""
    return json.dumps(body, separators=(",", ":"), sort_keys=False).encode() + b"\n"
