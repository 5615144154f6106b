"""Requests made from `/openapi.json`: every operation with path, query and body filled in, nobody keeping a list."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

JsonObject = dict[str, Any]


class Operation(msgspec.Struct, frozen=True):
    """One operation of the description. security: bearer, admin, claim_token, or empty when anybody may call it."""

    operation_id: str
    method: str
    path: str
    security: str
    path_words: tuple[str, ...]
    query_words: tuple[str, ...]
    required_query: tuple[str, ...]
    body: JsonObject | None

    def __str__(self) -> str:
        return self.operation_id


def operations(described: JsonObject) -> Iterator[Operation]:
    """All of them, in the description's order."""
    for path, methods in described["paths"].items():
        for method, each in methods.items():
            words = each.get("parameters", [])
            content = each.get("requestBody", {}).get("content", {})
            yield Operation(
                each["operationId"],
                method.upper(),
                path,
                next(iter(each["security"][0]), ""),
                tuple(word["name"] for word in words if word["in"] == "path"),
                tuple(word["name"] for word in words if word["in"] == "query"),
                tuple(word["name"] for word in words if word["in"] == "query" and word.get("required")),
                content.get("application/json", {}).get("schema"),
            )


def body_of(operation: Operation, described: JsonObject, words: Mapping[str, Any], *optional: str) -> Any:
    """A small body that the schema allows: required fields and the `optional` ones; `words` tell values by name."""
    return None if operation.body is None else _Sampler(described, words, optional).of("", operation.body)


def fields_of(operation: Operation, described: JsonObject) -> set[str]:
    """The names of all fields of its body."""
    return set() if operation.body is None else set(_resolved(operation.body, described).get("properties", {}))


def used_in(value: Any) -> Iterator[str]:
    """Every text in a body."""
    match value:
        case str():
            yield value
        case dict():
            yield from (text for each in value.values() for text in used_in(each))
        case list():
            yield from (text for each in value for text in used_in(each))


def _resolved(schema: JsonObject, described: JsonObject) -> JsonObject:
    while "$ref" in schema:
        schema = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


class _Sampler:
    def __init__(self, described: JsonObject, words: Mapping[str, Any], optional: Sequence[str]) -> None:
        self._described = described
        self._words = words
        self._optional = set(optional)

    def of(self, name: str, schema: JsonObject) -> Any:
        if name in self._words:
            return self._words[name]
        schema = _resolved(schema, self._described)
        for choice in ("oneOf", "anyOf", "allOf"):
            if choice in schema:
                return self.of(name, next(each for each in schema[choice] if each.get("type") != "null"))
        if "enum" in schema:
            return schema["enum"][0]
        if "const" in schema:
            return schema["const"]
        match schema.get("type"):
            case "object":
                fields = schema.get("properties", {})
                wanted = {*schema.get("required", ()), *(self._optional & set(fields))}
                return {field: self.of(field, fields[field]) for field in sorted(wanted)}
            case "array":
                return [self.of(name, schema["items"])] * schema.get("minItems", 0)
            case "integer" | "number":
                return max(1, schema.get("minimum", 1))
            case "boolean":
                return True
        return "x" * max(1, schema.get("minLength", 1))
