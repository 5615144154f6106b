"""Schemas in words."""

from typing import Any

import pytest

from leasebox.pages.schema_view import Field, example, fields, kind_of, notes_on, references, resolved

KNOWN: dict[str, Any] = {
    "Lease": {
        "type": "object",
        "title": "Lease<x>",
        "required": ["id"],
        "properties": {
            "id": {"type": "string", "description": "Its `id`."},
            "door": {"oneOf": [{"$ref": "#/components/schemas/Door"}, {"type": "null"}]},
        },
    },
    "Door": {"type": "object", "properties": {"port": {"type": "integer", "minimum": 1.0, "maximum": 65535.0}}},
    "Loop": {"type": "object", "required": ["me"], "properties": {"me": {"$ref": "#/components/schemas/Loop"}}},
}


@pytest.mark.parametrize(
    ("schema", "html"),
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "format": "date-time"}, "string (date-time)"),
        ({"type": ["null", "integer"]}, "null or integer"),
        ({"enum": ["a", None]}, "<code>a</code> or <code>null</code>"),
        ({"type": "array", "items": {"type": "string"}}, "list of string"),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, "string or null"),
        ({"$ref": "#/components/schemas/Lease"}, '<a href="#schema-Lease">Lease&lt;x&gt;</a>'),
        ({"$ref": "#/components/schemas/Gone"}, '<a href="#schema-Gone">Gone</a>'),
        ({}, "any"),
        ({"type": "<b>"}, "&lt;b&gt;"),
    ],
)
def test_kinds(schema: dict[str, Any], html: str) -> None:
    assert kind_of(schema, KNOWN) == html


@pytest.mark.parametrize(
    ("schema", "html"),
    [
        ({"minimum": 1.0, "maximum": 720.0}, "1 to 720"),
        ({"minLength": 42, "maxLength": 42}, "42 characters"),
        ({"maxLength": 200, "description": "Words."}, "Words; up to 200 characters"),
        ({"minItems": 1}, "1 or more items"),
        ({"minimum": 0}, "0 or more"),
        ({"pattern": "^<a>$", "default": 30}, "matches <code>^&lt;a&gt;$</code>; default <code>30</code>"),
        ({"default": None}, ""),
        ({}, ""),
    ],
)
def test_notes(schema: dict[str, Any], html: str) -> None:
    assert notes_on(schema) == html


def test_fields_of_a_reference() -> None:
    assert fields({"$ref": "#/components/schemas/Lease"}, KNOWN) == [
        Field("id", "string", True, "Its <code>id</code>"),
        Field("door", '<a href="#schema-Door">Door</a> or null', False, ""),
    ]
    assert fields({"type": "string"}, KNOWN) == []


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$ref": "#/components/schemas/Lease"}, {"id": "…"}),
        ({"$ref": "#/components/schemas/Door"}, {"port": 1}),
        ({"type": "array", "items": {"enum": ["x", "y"]}}, ["x"]),
        ({"type": ["string", "null"]}, "…"),
        ({"type": "integer", "default": 30}, 30),
        ({"$ref": "#/components/schemas/Loop"}, {"me": {"me": {"me": {"me": {}}}}}),
    ],
)
def test_examples(schema: dict[str, Any], value: Any) -> None:
    assert example(schema, KNOWN) == value


def test_references_are_followed() -> None:
    assert set(references({"a": [{"$ref": "#/components/schemas/Lease"}], "b": ({"c": KNOWN["Loop"]},)})) == {
        "Lease",
        "Loop",
    }
    assert resolved({"oneOf": [{"$ref": "#/components/schemas/Door"}, {"type": "null"}]}, KNOWN) == KNOWN["Door"]
