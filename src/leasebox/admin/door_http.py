"""The door of every admin route: closed when no admin is configured, else it asks for a session and a right."""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Request

from leasebox.admin.callers import Admins
from leasebox.admin.model import Admin, Right, roles_with
from leasebox.infra.cache import Cache
from leasebox.infra.web.limits import AnyRate, limit_address
from leasebox.infra.web.problem import refusals
from leasebox.infra.web.routes import Connection

DOOR = "admin"
TAGS = ["Admin"]


def admits(right: Right, *statuses: int) -> dict[str, Any]:
    """Decorator arguments of a route for admins with a right; `statuses`: refusals beyond 400 401 403 429 503."""
    declared = refusals(*sorted({400, 401, 403, 429, 503, *statuses}))
    declared[403].description = f"Forbidden: for the roles {', '.join(roles_with(right))}"
    return {"opt": {"door": DOOR, "right": right}, "responses": declared, "security": [{"admin": []}]}


def anybody(*statuses: int) -> dict[str, Any]:
    """The same for the two routes by which an admin signs in."""
    return {
        "opt": {"door": DOOR, "right": None},
        "responses": refusals(*sorted({400, 403, 429, 503, *statuses})),
        "security": [{}],
    }


def admin_doorkeeper(admins: Admins, cache: Cache, rate: AnyRate) -> Callable[[Connection, Any], Awaitable[None]]:
    """The guard of admin routes; all others pass it by. rate: calls per client address, known or not."""

    async def require_admin(connection: Connection, handler: Any) -> None:
        if handler.opt.get("door") != DOOR:
            return
        admins.require_open()
        right: Right | None = handler.opt["right"]
        if right is None:
            return
        await limit_address(connection, cache, DOOR, rate)
        admin = await admins.resolve(connection.headers.get("authorization"))
        connection.scope["state"]["admin"] = admin
        admin.require(right)

    return require_admin


async def provide_admin(request: Request[Any, Any, Any]) -> Admin:
    """The dependency `admin`: whom the doorkeeper let in."""
    admin: Admin = request.scope["state"]["admin"]
    return admin
