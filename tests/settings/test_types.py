"""Which columns may be settings: what both databases keep, and JSON has a form for."""

from __future__ import annotations

import enum
import re
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from dop_be.columns import ExactNumeric, UtcDateTime, enumeration
from dop_be.errors import UnsupportedColumn
from dop_be.settings.models import SHOWN
from dop_be.settings.schemas import check_columns

Mood = enum.Enum("Mood", ["good", "bad"])
ACCEPTED = ("Boolean", "BigInteger", "Float", "ExactNumeric(", "String(", "Text", "Date", "UtcDateTime", "enumeration(")


def column(kind: TypeEngine[Any], **options: bool | str) -> sa.Column[Any]:
    table = sa.Table("system_settings", sa.MetaData(), sa.Column("thing", kind, **options))  # type: ignore[arg-type]
    return table.c.thing


@pytest.mark.parametrize(
    "kind",
    [
        sa.Interval(),
        sa.JSON(),
        sa.DateTime(),
        sa.DateTime(timezone=True),
        sa.LargeBinary(),
        sa.Time(),
        sa.Uuid(),
        sa.Numeric(12, 2),
        sa.Enum("a", "b", name="thing"),
        sa.Enum("a", "b", name="thing", native_enum=False),
        sa.Enum(Mood, name="thing", native_enum=False, create_constraint=True),
        enumeration("other", "a", "b"),
        ExactNumeric(2, 3),
        ExactNumeric(1001, 2),
        sa.REAL(),
        sa.Float(24),
        sa.Float(asdecimal=True),
        sa.CHAR(5),
        postgresql.INET(),
        sa.ARRAY(sa.Integer),
        sa.PickleType(),
    ],
    ids=repr,
)
def test_any_other_type_is_refused_with_one_line_that_names_column_type_and_those_that_are_accepted(
    kind: TypeEngine[Any],
) -> None:
    with pytest.raises(UnsupportedColumn) as refusal:
        check_columns([column(kind)])
    [line] = str(refusal.value).splitlines()
    assert line.startswith("system_settings.thing: ")
    assert re.split(r"[(\[]", repr(kind))[0] in line
    assert [name for name in ACCEPTED if name not in line] == []


@pytest.mark.parametrize(
    "kind",
    [
        sa.Boolean(),
        sa.SmallInteger(),
        sa.Integer(),
        sa.BigInteger(),
        sa.Float(),
        sa.Float(53),
        sa.Double(),
        sa.String(),
        sa.String(5),
        sa.Text(),
        sa.Date(),
        UtcDateTime(),
        ExactNumeric(12, 2),
        ExactNumeric(1000),
        enumeration("thing", "a", "b"),
    ],
    ids=repr,
)
def test_every_type_of_the_contract_is_accepted(kind: TypeEngine[Any]) -> None:
    check_columns([column(kind)])


def test_a_column_that_no_older_release_could_insert_is_refused() -> None:
    with pytest.raises(UnsupportedColumn, match=r"system_settings\.thing: may not be NULL and has no server_default"):
        check_columns([column(sa.Integer(), nullable=False)])
    check_columns([column(sa.Integer(), nullable=False, server_default="5")])


def test_the_settings_themselves_are_accepted() -> None:
    check_columns(SHOWN)
