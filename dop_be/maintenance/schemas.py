"""What `/api/v1/maintenance` reads and answers with."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from marshmallow import ValidationError, fields, validates_schema
from marshmallow.validate import Length, OneOf

from ..fields import AbsoluteMoment, Moment, StrictBoolean, StrictSchema, StrictString, Timestamp
from ..settings.models import MESSAGE_LENGTH, MODES
from .models import RULE_LENGTH, TITLE_LENGTH, ZONE_LENGTH
from .recurrence import MOST_KEPT
from .schedule import Occurrence, Window

NOT_A_ZONE = "Expected an IANA time zone, such as Europe/Berlin."


class KindSchema(StrictSchema):
    """How visitors are refused, and what they are told."""

    mode = StrictString(load_default=MODES[0], validate=OneOf(MODES))
    message = StrictString(load_default=None, allow_none=True, validate=Length(max=MESSAGE_LENGTH))


class SwitchSchema(KindSchema):
    """Maintenance as a caller wants it; what is left out takes these defaults."""

    active = StrictBoolean(required=True)
    until = AbsoluteMoment(load_default=None, allow_none=True)

    @validates_schema
    def _ends_only_what_begins(self, wanted: dict[str, Any], **kwargs: Any) -> None:
        if wanted["until"] is not None and not wanted["active"]:
            raise ValidationError('Only allowed with "active": true.', "until")


class WindowSchema(KindSchema):
    """A planned window."""

    id = fields.UUID(dump_only=True)
    component = StrictString(load_default=None, allow_none=True)
    starts_at = Moment(required=True)
    ends_at = Moment(required=True)
    timezone = StrictString(validate=Length(min=1, max=ZONE_LENGTH, error=NOT_A_ZONE))
    rrule = StrictString(load_default=None, allow_none=True, validate=Length(max=RULE_LENGTH))

    class Meta:
        fields = ("id", "component", "starts_at", "ends_at", "mode", "message", "timezone", "rrule")


class WindowsSchema(StrictSchema):
    """Every planned window, by its start."""

    windows = fields.List(fields.Nested(WindowSchema))


class MaintenanceSchema(StrictSchema):
    """What is in force, and what comes next; `ended` only where switching off ended open windows: which."""

    active = fields.Boolean()
    mode = fields.String()
    message = fields.String(allow_none=True)
    source = fields.String(allow_none=True)
    since = Timestamp(allow_none=True)
    until = Timestamp(allow_none=True)
    revision = fields.Integer()
    next = fields.Nested(WindowSchema, allow_none=True)
    components = fields.List(fields.String())
    ended = fields.List(fields.Nested(WindowSchema))


class ComponentSchema(StrictSchema):
    """A component; without a title people see its name."""

    name = fields.String(dump_only=True)
    title = StrictString(load_default=None, allow_none=True, validate=Length(min=1, max=TITLE_LENGTH))


class ComponentMaintenanceSchema(StrictSchema):
    """What is in force for a component, and what comes next; `platform` says whether the platform is closed."""

    component = fields.String()
    active = fields.Boolean()
    mode = fields.String()
    message = fields.String(allow_none=True)
    source = fields.String(allow_none=True)
    since = Timestamp(allow_none=True)
    until = Timestamp(allow_none=True)
    next = fields.Nested(WindowSchema, allow_none=True)
    platform = fields.Boolean()
    ended = fields.List(fields.Nested(WindowSchema))


class ListedComponentSchema(ComponentSchema):
    """A component with what is in force for it."""

    maintenance = fields.Nested(ComponentMaintenanceSchema)


class ComponentsSchema(StrictSchema):
    """Every component, by its name."""

    components = fields.List(fields.Nested(ListedComponentSchema))


def dump_window(window: Window) -> dict[str, Any]:
    """Return the contract's window object."""
    return dict(dumped(window))


@lru_cache(MOST_KEPT)  # each reading of the database brings the same windows
def dumped(window: Window) -> Mapping[str, Any]:
    """Return the window object to read; `dump_window` returns one to change."""
    return MappingProxyType(WINDOW.dump(window))


def dump_occurrence(occurrence: Occurrence) -> dict[str, Any]:
    """Return the window object with the times of this occurrence."""
    times = {"starts_at": occurrence.starts_at, "ends_at": occurrence.ends_at}
    return {**dump_window(occurrence.window), **{name: WINDOW.fields[name].serialize(name, times) for name in times}}


WINDOW = WindowSchema()
