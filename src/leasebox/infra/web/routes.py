"""How routes are declared: what each needs, what it can refuse, who calls it."""

from typing import Annotated, Any, TypeAlias, TypeVar

from litestar import Controller
from litestar.connection import ASGIConnection
from litestar.di import Dependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import SkipValidation

from leasebox.infra.web.problem import refusals
from leasebox.values.errors import NotFound
from leasebox.values.ids import Id, MalformedId

Connection = ASGIConnection[Any, Any, Any, Any]
T = TypeVar("T")
# A dependency that Litestar hands over as it is: validating what we built ourselves costs time and finds nothing.
Given: TypeAlias = Annotated[SkipValidation[T], Dependency(kind="named")]
_ALWAYS = (400, 429, 503)


def needs(scope: str, *statuses: int) -> dict[str, Any]:
    """Decorator arguments of a route for callers with `scope`; `statuses` are refusals beyond 400 401 403 429 503."""
    return {
        "opt": {"scope": scope},
        "responses": refusals(*sorted({*_ALWAYS, 401, 403, *statuses})),
        "security": [{"bearer": []}],
    }


def signed_in(*statuses: int) -> dict[str, Any]:
    """The same for a route that any valid credential may call."""
    return needs("", *statuses)


def public(*statuses: int) -> dict[str, Any]:
    """The same for a route that anybody may call."""
    return {"opt": {"public": True}, "responses": refusals(*sorted({*_ALWAYS, *statuses})), "security": [{}]}


def or_nothing(declared: dict[str, Any], description: str) -> dict[str, Any]:
    """The same declaration for a route that may also answer 204."""
    nothing = {204: ResponseSpec(None, generate_examples=False, description=description)}
    return declared | {"responses": declared["responses"] | nothing}


def bind(routes: type[Controller], **services: Any) -> type[Controller]:
    """A controller class whose handlers find `services` as attributes of `self`."""
    return type(routes.__name__, (routes,), {"__module__": routes.__module__, **services})


def known_id(kind: type[Id], text: str) -> Any:
    """Read an id from a path or query. Raises NotFound (404): a malformed id names nothing."""
    try:
        return kind.parse(text)
    except MalformedId:
        raise NotFound(f"There is no {kind.__name__.removesuffix('Id').lower()} with this id.") from None


def request_id(connection: Connection) -> str:
    """The id given or made for this request."""
    return str(connection.scope["state"].get("request_id", ""))
