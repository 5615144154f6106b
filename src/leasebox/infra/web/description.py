"""`/openapi.json`: what Litestar derives from the routes, with request bodies as msgspec really reads them."""

import inspect
from collections.abc import Iterator
from typing import Any

import msgspec
from litestar import Litestar, Router
from litestar.handlers import HTTPRouteHandler

_REF = "#/components/schemas/{name}"


class Unserved(Router):
    """The router for Litestar's own pages about the API, which stay out: ours are `/openapi.json` and `/docs`."""

    def register(self, value: Any) -> list[Any]:
        """Take nothing in."""
        del value
        return []


def describe(app: Litestar) -> dict[str, Any]:
    """The API's description (OpenAPI 3.1).

    Litestar leaves out that bodies take no unknown fields, the bounds of what stands inside lists, and docstrings.
    """
    described: dict[str, Any] = app.openapi_schema.to_schema()
    bodies = {_body_of(handler) for route in app.routes for handler in getattr(route, "route_handlers", ())} - {None}
    _, schemas = msgspec.json.schema_components(bodies, ref_template=_REF)
    described["components"]["schemas"].update(schemas)
    for kind in _structs(msgspec.Struct):
        schema = described["components"]["schemas"].get(kind.__name__)
        if schema is not None and kind.__module__.startswith("leasebox.") and "__doc__" in vars(kind):
            schema["description"] = inspect.cleandoc(kind.__doc__ or "")
    return described


def _structs(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for each in kind.__subclasses__():
        yield each
        yield from _structs(each)


def _body_of(handler: HTTPRouteHandler) -> Any:
    field = handler.parsed_data_field
    return None if field is None else field.annotation
