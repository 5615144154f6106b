"""One call to the server: sent, sent again where that is safe and helps, and read."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import httpx
import msgspec

from leasebox.client import model
from leasebox.client.errors import ApiError, ClientError, UnexpectedAnswer, Unreachable

T = TypeVar("T")
_AGENT = "leasebox-client"
_HTTP_FIX = "Check the URL and that the server runs; `leasebox doctor` tells more."
_REPEATABLE = {"GET", "DELETE"}
_BUSY = {429, 503}
IDEMPOTENCY = "idempotency-key"
"""With it the server does a call once, however often it is sent."""


class Patience(msgspec.Struct, frozen=True):
    """How long to bear a busy or absent server: tries in all, and seconds that one pause may take at most."""

    tries: int = 4
    longest_pause_s: float = 30.0

    def pause(self, tried: int, wish_s: float | None) -> float | None:
        """Seconds before the next try: as the server wishes, else 0.5, 1, 2 …; None when it is time to give up."""
        seconds = 0.5 * 2 ** (tried - 1) if wish_s is None else wish_s
        return None if tried >= self.tries or seconds > self.longest_pause_s else seconds


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request before it is sent. answer_within_s: seconds of silence that are borne.

    credential `none` sends no token, and what is refused is not mended. again `never`: the caller repeats by itself.
    """

    method: str
    path: str
    query: Mapping[str, str | int | tuple[str, ...]] = {}
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = {}
    credential: Literal["bearer", "none"] = "bearer"
    again: Literal["if_safe", "never"] = "if_safe"
    answer_within_s: float = 30.0


# Mends what the server refused and gives the call to send instead, or None where it cannot help.
Remedy = Callable[[Call, ApiError], Call | None]


class Transport:
    """Sends calls to one server. `remedies` maps a status to what may mend it, tried once per call."""

    def __init__(
        self,
        base_url: str,
        *,
        http: httpx.Client | None = None,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.token: str | None = None
        self.remedies: dict[int, Remedy] = {}
        self._http = http or httpx.Client(headers={"user-agent": _AGENT})
        self._patience = patience or Patience()
        self.sleep = sleep

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, call: Call, kind: type[T]) -> T:
        """The answer to `call` as `kind`. Raises ApiError, Unreachable, UnexpectedAnswer."""
        return read(self.send(call), kind)

    def send(self, call: Call) -> httpx.Response:
        """The answer to `call`, sent again after 429, 503 and where nothing can have happened.

        Raises ApiError, Unreachable, UnexpectedAnswer.
        """
        remedies = {} if call.credential == "none" else dict(self.remedies)
        tried = 0
        while True:
            tried += 1
            try:
                return self._once(call)
            except ApiError as refusal:
                remedy = remedies.pop(refusal.status, None)
                mended = remedy(call, refusal) if remedy else None
                if mended is not None:
                    call = mended
                    continue
                if refusal.status not in _BUSY or call.again == "never":
                    raise
                self.pause(tried, refusal.retry_after_s, refusal)
            except Unreachable as fault:
                if call.again == "never" or not _nothing_happened(call, fault):
                    raise
                self.pause(tried, None, fault)

    def pause(self, tried: int, wish_s: float | None, fault: ClientError) -> None:
        """Wait before the next try. Raises `fault` when it is time to give up."""
        seconds = self._patience.pause(tried, wish_s)
        if seconds is None:
            raise fault
        self.sleep(seconds)

    @contextmanager
    def lines(self, call: Call) -> Iterator[Iterator[str]]:
        """The lines of an endless answer, while it lasts. Raises ApiError, Unreachable."""
        timeout = httpx.Timeout(call.answer_within_s, connect=10.0)
        try:
            with self._http.stream(
                call.method,
                self.base_url + call.path,
                params=dict(call.query),
                headers=self._headers(call),
                timeout=timeout,
            ) as response:
                if not response.is_success:
                    response.read()
                    raise refusal_of(response)
                yield response.iter_lines()
        except (httpx.HTTPError, httpx.InvalidURL) as fault:
            raise self._unreachable(fault) from fault

    def _headers(self, call: Call) -> dict[str, str]:
        bearer = self.token is not None and call.credential == "bearer"
        return {**call.headers, **({"authorization": f"Bearer {self.token}"} if bearer else {})}

    def _unreachable(self, fault: Exception) -> Unreachable:
        return Unreachable(f"{self.base_url} does not answer: {str(fault) or type(fault).__name__}.", fix=_HTTP_FIX)

    def _once(self, call: Call) -> httpx.Response:
        headers = self._headers(call)
        content = None
        if call.body is not None:
            headers["content-type"] = "application/json"
            content = msgspec.json.encode(call.body)
        try:
            response = self._http.request(
                call.method,
                self.base_url + call.path,
                params=dict(call.query),
                headers=headers,
                content=content,
                timeout=httpx.Timeout(call.answer_within_s, connect=10.0),
            )
        except (httpx.HTTPError, httpx.InvalidURL) as fault:
            raise self._unreachable(fault) from fault
        if response.is_success:
            return response
        raise refusal_of(response)


def read(response: httpx.Response, kind: type[T]) -> T:
    """A response's JSON as `kind`. Raises UnexpectedAnswer."""
    try:
        return model.decode(response.content, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise UnexpectedAnswer(
            f"{response.request.url.path} answered {response.status_code}, but not with what was expected: {fault}.",
            fix="Check that the URL is a leasebox's and that the client is as new as the server.",
        ) from None


def refusal_of(response: httpx.Response) -> ApiError:
    """What a response that is no success says, also when it is not in the form of a leasebox (a proxy's page)."""
    try:
        said = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = None
    told = refusal_in(said if isinstance(said, dict) else {}, response.status_code)
    told.message = told.message or response.reason_phrase or "refused"
    told.fix = told.fix or _fix_of(response)
    told.request_id = told.request_id or response.headers.get("x-request-id", "")
    told.retry_after_s = _seconds(response.headers.get("retry-after", ""))
    return told


def refusal_in(problem: dict[str, Any], status: int | None = None) -> ApiError:
    """What a problem (RFC 9457) says. status None: the problem's own."""
    known = {"type", "title", "status", "detail", "instance", "error", "message", "fix", "request_id"}
    own = problem.get("status")
    code = status if status is not None else own if isinstance(own, int) else 500
    return ApiError(
        code,
        _text(problem, "error") or f"http_{code}",
        _text(problem, "message") or _text(problem, "detail"),
        fix=_text(problem, "fix"),
        request_id=_text(problem, "request_id"),
        fields={name: value for name, value in problem.items() if name not in known},
    )


def _nothing_happened(call: Call, fault: Unreachable) -> bool:
    """Whether sending again can do no harm: the call changes nothing twice, or it never got through."""
    repeatable = call.method in _REPEATABLE or IDEMPOTENCY in call.headers
    return repeatable or isinstance(fault.__cause__, httpx.ConnectError | httpx.ConnectTimeout)


def _fix_of(response: httpx.Response) -> str:
    if response.is_redirect:
        return f"Use the URL that the server points to: {response.headers.get('location', '')[:200]}"
    return "Check that the URL is a leasebox's own and not that of something before it."


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _seconds(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None
