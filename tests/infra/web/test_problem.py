"""Every refusal has one shape (RFC 9457 and what an agent needs), whoever raised it; none says what broke inside."""

from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from litestar import Litestar, get, post
from litestar.exceptions import HTTPException, InternalServerException, NotAuthorizedException, TooManyRequestsException
from litestar.params import FromPath, FromQuery, HeaderParameter, JSONBody, QueryParameter

from leasebox.infra.web.body import StrictJson
from leasebox.infra.web.edge import Edge
from leasebox.infra.web.problem import EXCEPTION_HANDLERS, problem
from leasebox.values.errors import BadRequest, Gone, LeaseboxError, NotFound, RateLimited, Unauthorized, Unavailable
from tests.kit import House

ALWAYS = {"type", "title", "status", "detail", "instance", "error", "message", "fix", "request_id"}
THROWN: dict[str, Exception] = {
    "not-found": NotFound("No such thing."),
    "gone": Gone("It ended.", lease_status="released"),
    "wait": RateLimited("Slow down.", retry_after_s=7),
    "away": Unavailable("Away.", retry_after_s=2),
    "stranger": Unauthorized("Who?"),
    "ours": ValueError("c4n4ry"),
    "key": KeyError("c4n4ry"),
    "framework-500": InternalServerException("c4n4ry"),
    "framework-418": HTTPException(status_code=418, detail="A teapot."),
    "framework-401": NotAuthorizedException("Who?"),
    "framework-429": TooManyRequestsException("Slow.", headers={"retry-after": "9"}),
    "left": InternalServerException("client disconnected prematurely"),
}


@get("/throw/{name:str}", opt={"public": True})
async def throw(name: FromPath[str]) -> None:
    raise THROWN[name]


@post("/take", opt={"public": True})
async def take(data: JSONBody[dict[str, int]]) -> dict[str, int]:
    return data


@get("/look", opt={"public": True})
async def look(
    in_state: Annotated[int, QueryParameter(name="state")] = 0,
    counted: Annotated[int, HeaderParameter(name="x-count")] = 0,
    size: FromQuery[int] = 0,
) -> int:
    return in_state + counted + size


def app() -> Any:
    return Edge(
        Litestar(
            [throw, take, look],
            exception_handlers=EXCEPTION_HANDLERS,
            dto=StrictJson,
            return_dto=None,
            request_max_body_size=1000,
            openapi_config=None,
        ),
        (),
    )


async def ask(method: str, path: str, **more: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://leasebox.test") as http:
        return await http.request(method, path, **more)


def shaped(answer: httpx.Response) -> dict[str, Any]:
    """The body of a refusal, whose shape is checked."""
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert set(told) >= ALWAYS
    assert told["type"] == f"urn:leasebox:error:{told['error']}"
    assert (told["status"], told["title"]) == (answer.status_code, HTTPStatus(answer.status_code).phrase)
    assert told["detail"] == told["message"]
    assert told["fix"].endswith(".")
    assert told["request_id"] == answer.headers["x-request-id"]
    return told


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("not-found", 404, "not_found"),
        ("gone", 410, "gone"),
        ("wait", 429, "rate_limited"),
        ("away", 503, "unavailable"),
        ("stranger", 401, "unauthorized"),
        ("ours", 500, "internal"),
        ("key", 500, "internal"),
        ("framework-500", 500, "internal"),
        ("framework-418", 400, "bad_request"),
        ("framework-401", 401, "unauthorized"),
        ("framework-429", 429, "rate_limited"),
        ("left", 400, "bad_request"),
        ("absent", 500, "internal"),
    ],
)
async def test_whatever_is_raised_is_told_in_one_shape(name: str, status: int, error: str) -> None:
    answer = await ask("GET", f"/throw/{name}")
    told = shaped(answer)
    assert (answer.status_code, told["error"], told["instance"]) == (status, error, f"/throw/{name}")
    assert "c4n4ry" not in answer.text
    assert "Traceback" not in answer.text


async def test_what_helps_goes_along() -> None:
    assert (await ask("GET", "/throw/wait")).headers["retry-after"] == "7"
    assert (await ask("GET", "/throw/framework-429")).headers["retry-after"] == "9"
    assert (await ask("GET", "/throw/stranger")).headers["www-authenticate"] == 'Bearer realm="leasebox"'
    assert shaped(await ask("GET", "/throw/gone"))["lease_status"] == "released"


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "error"),
    [
        ("GET", "/nowhere", {}, 404, "not_found"),
        ("POST", "/throw/x", {}, 405, "method_not_allowed"),
        ("GET", "/throw//x", {}, 404, "not_found"),
        ("POST", "/take", {"json": {"a": "x"}}, 400, "bad_request"),
        ("POST", "/take", {"content": b"{", "headers": {"content-type": "application/json"}}, 400, "bad_request"),
        (
            "POST",
            "/take",
            {"content": b"a=1", "headers": {"content-type": "text/plain"}},
            415,
            "unsupported_media_type",
        ),
        ("POST", "/take", {"data": {"a": "1"}}, 415, "unsupported_media_type"),
        ("POST", "/take", {"files": {"a": b"1"}}, 415, "unsupported_media_type"),
        ("POST", "/take", {"json": {"a" * 2000: 1}}, 413, "too_large"),
    ],
)
async def test_so_is_what_the_framework_refuses(
    method: str, path: str, more: dict[str, Any], status: int, error: str
) -> None:
    answer = await ask(method, path, **more)
    told = shaped(answer)
    assert (answer.status_code, told["error"]) == (status, error)


@pytest.mark.parametrize(
    ("query", "headers", "path"),
    [
        ({"state": "odd"}, {}, "query.state"),
        ({}, {"x-count": "many"}, "header.x-count"),
        ({"size": "odd"}, {}, "query.size"),
    ],
)
async def test_a_parameter_is_named_as_it_is_asked_for(
    query: dict[str, str], headers: dict[str, str], path: str
) -> None:
    told = (await ask("GET", "/look", params=query, headers=headers)).json()
    assert [each["path"] for each in told["errors"]] == [path]
    assert f" {path}: " in told["message"]


@pytest.mark.parametrize("headers", [{}, {"content-type": "application/json"}])
async def test_a_body_that_is_not_there_is_asked_for(headers: dict[str, str]) -> None:
    answer = await ask("POST", "/take", headers=headers)
    told = shaped(answer)
    assert (answer.status_code, told["errors"][0]["path"]) == (400, "body")
    assert told["detail"] == "This route wants a JSON body, and none was sent."
    assert "'content-type: application/json'" in told["fix"]


def test_fields_of_the_case_do_not_hide_the_shape() -> None:
    told = problem(BadRequest("No.", errors=[1], pond="big"), "/x", "req_1")
    assert (told["errors"], told["pond"], told["error"]) == ([1], "big", "bad_request")


async def test_every_refusal_of_the_real_application_is_shaped(house: House, tmp_path: Path) -> None:
    agent = await house.agent()
    for method, path, body in (
        ("GET", "/v2/messages/msg_1", None),
        ("POST", "/v2/agents", {"nmae": 1}),
        ("PATCH", f"/v2/agents/{agent.agent_id}", {"status": "asleep"}),
        ("POST", "/v2/auth/siwe/verify", {"message": "x", "signature": "x"}),
        ("DELETE", f"/v2/tenants/wallets/{agent.wallet.address}", None),
        ("GET", "/v2/messages?limit=x&since=x", None),
        ("POST", "/v2/mailboxes/leases", {"agent_id": "agt_1", "purpose": "x", "ttl_hours": 721}),
    ):
        answer = await agent.http.request(method, path, json=body)
        assert answer.status_code in (400, 404, 409), (path, answer.text)
        shaped(answer)
    async with house.client() as stranger:
        shaped(await stranger.get("/v2/auth/me"))
        answer = await stranger.get("/metrics", headers={"x-forwarded-for": "203.0.113.9"})
        assert answer.status_code == 403
        shaped(answer)


def test_no_kind_is_told_without_a_phrase() -> None:
    for kind in LeaseboxError.__subclasses__():
        assert HTTPStatus(kind.kind.value).phrase
