"""How every refusal looks over HTTP: RFC 9457 problem+json, in one place for our own errors and Litestar's."""

from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec

from leasebox.infra import log
from leasebox.infra.web.body import FieldFault
from leasebox.values.errors import BadRequest, Kind, LeaseboxError
from leasebox.values.paths import RouteFault

MEDIA_TYPE = "application/problem+json"
_LEFT = "client disconnected prematurely"  # what Litestar calls a fault of the server; nobody reads the answer
# How Litestar tells that `data`, its own word for the body, was not there.
_NO_BODY = {"message": "'data'", "key": "data", "source": "body"}
_SEND_BODY = (
    "Send a JSON object with 'content-type: application/json': its fields are in /openapi.json; {} if none is needed."
)
_BY_STATUS = {
    401: ("unauthorized", "Send 'Authorization: Bearer <access_token>'."),
    404: ("not_found", "Check the path against /openapi.json."),
    405: ("method_not_allowed", "Use a method named in the Allow header."),
    413: ("too_large", "Send a smaller body."),
    415: ("unsupported_media_type", "Send the body as JSON with 'content-type: application/json'."),
    429: ("rate_limited", "Wait, then try again."),
}


class Problem(msgspec.Struct, omit_defaults=True):
    """RFC 9457 problem details with what an agent needs: a stable code (`error`) and what to do next (`fix`)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    error: str
    message: str
    fix: str
    request_id: str
    errors: list[FieldFault] = []


def refusals(*statuses: int) -> dict[int, ResponseSpec]:
    """OpenAPI: the refusals that a route can answer, each as a Problem."""
    return {
        status: ResponseSpec(
            data_container=Problem,
            generate_examples=False,
            description=HTTPStatus(status).phrase,
            media_type=MEDIA_TYPE,
        )
        for status in statuses
    }


def render(request: Request[Any, Any, Any], fault: LeaseboxError) -> Response[dict[str, Any]]:
    """One of our errors as problem+json."""
    status = HTTPStatus(fault.kind.value)
    body = problem(fault, request.url.path, request_id(request))
    headers = {"retry-after": str(fault.retry_after_s)} if fault.retry_after_s is not None else {}
    if status is HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = 'Bearer realm="leasebox"'
    return Response(content=body, status_code=status.value, media_type=MEDIA_TYPE, headers=headers)


def problem(fault: LeaseboxError, path: str, trace: str) -> dict[str, Any]:
    """The body of a refusal."""
    status = HTTPStatus(fault.kind.value)
    return {
        "type": f"urn:leasebox:error:{fault.code}",
        "title": status.phrase,
        "status": status.value,
        "detail": fault.message,
        "instance": path,
        "error": fault.code,
        "message": fault.message,
        "fix": fault.fix,
        "request_id": trace,
        **fault.fields,
    }


async def refuse(scope: Any, send: Any, why: RouteFault, kind: Kind) -> None:
    """Answer a method and path that name no route (NOT_FOUND, METHOD_NOT_ALLOWED), before any router sees them."""
    fault = LeaseboxError(
        f"No route is spelled like this ({why.value}).",
        fix="Use a path exactly as /openapi.json spells it.",
        reason=why.value,
    )
    fault.kind, fault.code = kind, "not_found" if kind is Kind.NOT_FOUND else "method_not_allowed"
    body = msgspec.json.encode(problem(fault, str(scope["path"]), str(scope["state"].get("request_id", ""))))
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": fault.kind.value, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def render_framework(request: Request[Any, Any, Any], fault: HTTPException) -> Response[dict[str, Any]]:
    """Litestar's own refusals (validation, no such path, wrong method, too large) in the same shape."""
    if isinstance(fault, ValidationException):
        return render(request, _validation(request, fault))
    if fault.detail == _LEFT:
        return render(request, BadRequest("The request ended before its body did."))
    if fault.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return render_unexpected(request, fault)
    code, fix = _BY_STATUS.get(fault.status_code, ("bad_request", "Correct the request and send it again."))
    refusal = LeaseboxError(str(fault.detail), fix=fix)
    refusal.kind = Kind(fault.status_code) if fault.status_code in Kind._value2member_map_ else Kind.BAD_REQUEST
    refusal.code = code
    answer = render(request, refusal)
    for name, value in (fault.headers or {}).items():
        answer.set_header(name, value)
    return answer


def render_unexpected(request: Request[Any, Any, Any], fault: Exception) -> Response[dict[str, Any]]:
    """A mistake of ours: logged with its trace, told without it."""
    log.get("http").error("unexpected fault", path=request.url.path, exc_info=fault)
    refusal = LeaseboxError("Something broke on our side.", fix="Try again; if it stays, report the request_id.")
    refusal.kind, refusal.code = Kind.INTERNAL, "internal"
    return render(request, refusal)


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    LeaseboxError: render,
    HTTPException: render_framework,
    Exception: render_unexpected,
}


def request_id(request: Request[Any, Any, Any]) -> str:
    """The id given or made for this request."""
    return str(request.scope["state"].get("request_id", ""))


def _validation(request: Request[Any, Any, Any], fault: ValidationException) -> BadRequest:
    extra = fault.extra if isinstance(fault.extra, list) else []
    if extra == [_NO_BODY]:
        lack = FieldFault("body", "a JSON body is wanted, and none was sent")
        return BadRequest("This route wants a JSON body, and none was sent.", errors=[lack], fix=_SEND_BODY)
    faults = [
        FieldFault(
            f"{getattr(item.get('source'), 'value', item.get('source', 'request'))}.{_asked(request, item)}",
            str(item.get("message", "not valid")),
        )
        for item in extra
        if isinstance(item, dict)
    ]
    listed = "; ".join(f"{item.path}: {item.message}" for item in faults[:5]) or str(fault.detail)
    return BadRequest(f"The request has a fault: {listed}.", errors=faults)


def _asked(request: Request[Any, Any, Any], item: dict[str, Any]) -> str:
    """A parameter as the request spells it; Litestar names it as our function does."""
    key = str(item.get("key", ""))
    field = request.route_handler.parsed_fn_signature.parameters.get(key)
    return getattr(field and field.kwarg_definition, "name", None) or key
