"""JSON Schema as OpenAPI 3.1 uses it, told to people: types, bounds, fields, and an example of a body."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import msgspec

from leasebox.pages import markdown

Schema = Mapping[str, Any]
_PREFIX = "#/components/schemas/"
_DEPTH = 4
_RANGES = (("minimum", "maximum", ""), ("minLength", "maxLength", " characters"), ("minItems", "maxItems", " items"))
_SAMPLES: dict[str, Any] = {"string": "…", "integer": 1, "number": 0.5, "boolean": True, "null": None}


class Field(msgspec.Struct, frozen=True):
    """A field or parameter as a row of a table; kind and notes are HTML."""

    name: str
    kind: str
    required: bool
    notes: str


def fields(schema: Schema, known: Mapping[str, Schema]) -> list[Field]:
    """The fields of an object; of anything else none."""
    whole = resolved(schema, known)
    must = set(whole.get("required", ()))
    return [
        Field(name, kind_of(each, known), name in must, notes_on(each))
        for name, each in whole.get("properties", {}).items()
    ]


def resolved(schema: Schema, known: Mapping[str, Schema]) -> Schema:
    """The schema itself where there is a reference to it; without `or null` around it."""
    for _ in range(_DEPTH):
        if "$ref" in schema:
            schema = known.get(_name(schema), {})
        elif len(choices := [each for each in schema.get("oneOf", ()) if each.get("type") != "null"]) == 1:
            schema = choices[0]
    return schema


def kind_of(schema: Schema, known: Mapping[str, Schema], depth: int = 0) -> str:
    """A type in words, as HTML; named schemas are links."""
    if "$ref" in schema:
        name = _name(schema)
        title = str(known.get(name, {}).get("title", name))
        return f'<a href="#schema-{escape(name)}">{escape(title)}</a>'
    if depth >= _DEPTH:
        return "any"
    if choices := schema.get("oneOf") or schema.get("anyOf"):
        return " or ".join(kind_of(each, known, depth + 1) for each in choices)
    if "enum" in schema:
        return " or ".join(f"<code>{escape(json(each))}</code>" for each in schema["enum"])
    types = schema.get("type", "any")
    if isinstance(types, list):
        return " or ".join(escape(str(each)) for each in types)
    if types == "array":
        return f"list of {kind_of(schema.get('items', {}), known, depth + 1)}"
    return escape(f"{types} ({schema['format']})" if "format" in schema else str(types))


def notes_on(schema: Schema) -> str:
    """What bounds a value, and its description, as HTML."""
    said = [str(schema.get("description", "")).strip()]
    said += [_range(schema.get(low), schema.get(high), unit) for low, high, unit in _RANGES]
    if "pattern" in schema:
        said.append(f"matches `{schema['pattern']}`")
    if schema.get("default") is not None:
        said.append(f"default `{json(_whole(schema['default']))}`")
    return "; ".join(markdown.inline(each.rstrip(".")) for each in said if each)


def example(schema: Schema, known: Mapping[str, Schema], depth: int = 0) -> Any:
    """A value of that shape: an object's required fields, or all when none is required."""
    whole = resolved(schema, known)
    if "enum" in whole:
        return whole["enum"][0]
    kind = whole.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        return [] if depth >= _DEPTH else [example(whole.get("items", {}), known, depth + 1)]
    if kind == "object":
        wanted = whole.get("required") or list(whole.get("properties", {}))
        return {name: _sample(name, whole, known, depth) for name in wanted} if depth < _DEPTH else {}
    return _whole(whole.get("default", whole.get("minimum", _SAMPLES.get(kind))))


def references(value: Any) -> Iterator[str]:
    """The names of all schemas that something refers to."""
    if isinstance(value, Mapping):
        if isinstance(value.get("$ref"), str):
            yield _name(value)
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from references(each)


def json(value: Any) -> str:
    """A value as JSON on one line; text without its quotes."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _range(low: Any, high: Any, unit: str) -> str:
    """`1 to 720`, `42 characters`, `up to 8 items` or nothing."""
    low, high = _whole(low), _whole(high)
    if low is None and high is None:
        return ""
    if low == high:
        return f"{low}{unit}"
    if high is None:
        return f"{low} or more{unit}"
    return f"up to {high}{unit}" if low is None else f"{low} to {high}{unit}"


def _sample(name: str, whole: Schema, known: Mapping[str, Schema], depth: int) -> Any:
    return example(whole.get("properties", {}).get(name, {}), known, depth + 1)


def _name(schema: Schema) -> str:
    return str(schema["$ref"]).removeprefix(_PREFIX)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
