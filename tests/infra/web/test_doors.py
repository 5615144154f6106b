"""The guards of an application as one hook."""

from typing import Any

import httpx
from litestar import Litestar, Request, get

from leasebox.infra.web import doors
from leasebox.infra.web.problem import EXCEPTION_HANDLERS
from leasebox.values.errors import Unauthorized


async def test_every_guard_is_asked_in_turn_until_one_refuses() -> None:
    asked: list[tuple[str, Any]] = []

    @get("/", opt={"scope": "mail:read"})
    async def route(request: Request[Any, Any, Any]) -> str:
        return "in"

    async def first(connection: Any, handler: Any) -> None:
        asked.append(("first", handler.opt["scope"]))

    async def second(connection: Any, handler: Any) -> None:
        if "authorization" not in connection.headers:
            raise Unauthorized("no")

    app: Any = Litestar(
        [route], before_request=doors.ask(first, second), exception_handlers=EXCEPTION_HANDLERS, logging_config=None
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x.test") as http:
        assert (await http.get("/")).status_code == 401
        assert (await http.get("/", headers={"authorization": "me"})).text == "in"
    assert asked == [("first", "mail:read")] * 2
