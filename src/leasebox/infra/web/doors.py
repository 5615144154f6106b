"""Guards as one hook before the body is read. Litestar's own guards get a copy of the whole handler each, at 15 µs."""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Request

from leasebox.infra.web.routes import Connection

Guard = Callable[[Connection, Any], Awaitable[None]]


def ask(*guards: Guard) -> Callable[[Request[Any, Any, Any]], Awaitable[None]]:
    """The application's `before_request`: every guard in turn. WebSockets do not come by here: they have their own."""

    async def hook(request: Request[Any, Any, Any]) -> None:
        handler = request.scope["route_handler"]
        for guard in guards:
            await guard(request, handler)

    return hook
