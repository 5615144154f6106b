"""`/openapi.json`: what Litestar derives from the routes, with request bodies as msgspec really reads them."""

import inspect
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Litestar, Router
from litestar.handlers import HTTPRouteHandler

from leasebox.values.facts import FACTS, Event, example_of

_REF = "#/components/schemas/{name}"


class Unserved(Router):
    """The router for Litestar's own pages about the API, which stay out: ours are `/openapi.json` and `/docs`."""

    def register(self, value: Any) -> list[Any]:
        """Take nothing in."""
        del value
        return []


def describe(app: Litestar) -> dict[str, Any]:
    """The API's description (OpenAPI 3.1).

    Litestar leaves out that bodies take no unknown fields, the bounds of what stands inside lists, docstrings, and that
    a body can be too large or no JSON; and it says of optional lists among the parameters that they may be null, which
    nobody can write there.
    """
    described: dict[str, Any] = app.openapi_schema.to_schema()
    for parameter in _parameters(described):
        parameter["schema"] = _without_null(parameter["schema"])
    for operation in _operations(described):
        if "requestBody" in operation:
            operation["responses"] |= _refusals_of_bodies(operation["responses"])
    bodies = {_body_of(handler) for route in app.routes for handler in getattr(route, "route_handlers", ())} - {None}
    _, schemas = msgspec.json.schema_components(bodies, ref_template=_REF)
    described["components"]["schemas"].update(schemas)
    for kind in _structs(msgspec.Struct):
        schema = described["components"]["schemas"].get(kind.__name__)
        if schema is not None and kind.__module__.startswith("leasebox.") and "__doc__" in vars(kind):
            schema["description"] = inspect.cleandoc(kind.__doc__ or "")
    described["webhooks"] = {type_: {"post": _webhook(type_)} for type_ in FACTS}
    return described


def _webhook(type_: str) -> dict[str, Any]:
    """An event as it is posted to a webhook; SSE and WebSocket send the same body."""
    content = {"schema": {"$ref": _REF.format(name=Event.__name__)}, "example": msgspec.to_builtins(example_of(type_))}
    return {
        "operationId": type_.replace(".", "_"),
        "tags": ["Events"],
        "summary": type_,
        "description": FACTS[type_].meaning,
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {"2XX": {"description": "Taken; anything else is tried again."}},
    }


def _operations(described: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in described["paths"].values():
        yield from operations.values()


def _refusals_of_bodies(told: dict[str, Any]) -> dict[str, Any]:
    """What every route with a body can answer besides: too large, and no JSON."""
    return {
        str(status.value): told.get(str(status.value), {**told["400"], "description": status.phrase})
        for status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    }


def _parameters(described: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operation in _operations(described):
        yield from operation.get("parameters", ())


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A list that may be left out; of anything else `null` is read as a word for nothing."""
    choices: list[dict[str, Any]] = [each for each in schema.get("oneOf", ()) if each != {"type": "null"}]
    if len(choices) != 1 or choices[0].get("type") != "array":
        return schema
    return {name: value for name, value in schema.items() if name != "oneOf"} | choices[0]


def _structs(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for each in kind.__subclasses__():
        yield each
        yield from _structs(each)


def _body_of(handler: HTTPRouteHandler) -> Any:
    field = handler.parsed_data_field
    return None if field is None else field.annotation
