"""The body of `PUT /api/v1/maintenance` and the object it answers with."""

from __future__ import annotations

from marshmallow import fields
from marshmallow.validate import Length, OneOf

from ..settings.models import MESSAGE_LENGTH, MODES
from ..settings.schemas import StrictBoolean, StrictSchema, StrictString, Timestamp


class SwitchSchema(StrictSchema):
    """Maintenance as a caller wants it; what is left out takes these defaults."""

    active = StrictBoolean(required=True)
    mode = StrictString(load_default=MODES[0], validate=OneOf(MODES))
    message = StrictString(load_default=None, allow_none=True, validate=Length(max=MESSAGE_LENGTH))


class MaintenanceSchema(StrictSchema):
    """What is in force, and what comes next."""

    active = fields.Boolean()
    mode = fields.String()
    message = fields.String(allow_none=True)
    source = fields.String(allow_none=True)
    since = Timestamp(allow_none=True)
    until = Timestamp(allow_none=True)
    revision = fields.Integer()
    next = fields.Dict(allow_none=True)
