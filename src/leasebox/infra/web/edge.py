"""The outermost layer of HTTP: request ids, the caller's network address, one log line and two metrics a request.

It stands outside Litestar because its 404 and 405 answers pass by Litestar's middleware.
"""

import functools
import ipaddress
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any

from litestar import Litestar

from leasebox.infra import log, metrics, wall
from leasebox.infra.web.allow import Methods
from leasebox.infra.web.linger import Remainder, lingers
from leasebox.infra.web.problem import refuse
from leasebox.values.errors import Kind
from leasebox.values.paths import METHODS, RouteFault, normalize

Scope = MutableMapping[str, Any]
Send = Callable[[Any], Awaitable[None]]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}\Z")
_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)


class Edge:
    """Wraps a Litestar application."""

    def __init__(self, app: Litestar, trusted: Sequence[Network]) -> None:
        self._app: Any = app
        self._methods = Methods(app.routes)
        self._trusted = tuple(trusted)
        self._counters: dict[tuple[str, str, int], Any] = {}
        self._timers: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if _SANE_ID.match(given) else f"req_{secrets.token_hex(12)}"
        forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        address = client_address(scope.get("client"), forwarded, self._trusted)
        scope["state"] = {"request_id": request_id, "client_address": address}
        # Whoever called last on this connection, this request's caller is not known yet.
        with wall.outside("nobody has signed in"), log.bind(request_id=request_id):
            await self._timed(scope, Remainder(receive) if lingers(headers) else receive, send)

    async def _routed(self, scope: Scope, receive: Any, send: Send) -> None:
        """No route has two spellings here; Litestar would answer `//v2/x`, `/v2/x/` and `/v2/%78` like `/v2/x`."""
        method = str(scope.get("method", "GET"))
        fault = normalize(method, scope.get("raw_path") or scope["path"].encode())
        if isinstance(fault, RouteFault) and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif isinstance(fault, RouteFault):
            known = self._methods.of(scope["path"])
            await refuse(scope, send, fault, fault.routed_as if known else Kind.NOT_FOUND)
        elif method == "OPTIONS" and (allowed := self._methods.of(scope["path"])):
            await send({"type": "http.response.start", "status": 204, "headers": [_allow(allowed)]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, send)

    async def _timed(self, scope: Scope, receive: Any, send: Send) -> None:
        started = time.perf_counter()
        status = 0

        async def answer(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"]
                if status >= HTTPStatus.BAD_REQUEST and isinstance(receive, Remainder):
                    await receive.forget()
                if status == HTTPStatus.METHOD_NOT_ALLOWED:
                    headers = [pair for pair in headers if pair[0] != b"allow"] + [
                        _allow(self._methods.of(scope["path"]))
                    ]
                message["headers"] = [*headers, *_extra_headers(scope["state"])]
            elif message["type"] == "websocket.accept":
                status = HTTPStatus.SWITCHING_PROTOCOLS.value
            await send(message)

        try:
            await self._routed(scope, receive, answer)
        finally:
            took = time.perf_counter() - started
            route = str(scope.get("path_template") or "unmatched")
            self._count(_method_label(scope), route, int(status), took)
            state = scope["state"]
            facts = {
                "method": scope.get("method", "WS"),
                "route": route,
                "status": status,
                "ms": round(took * 1000, 2),
                "tenant": state.get("tenant"),
                "client": state["client_address"],
            }
            log.tell("http", "request", facts)

    def _count(self, method: str, route: str, status: int, took: float) -> None:
        # Finding a metric by its labels costs more than counting in it; methods, routes and statuses are few.
        key = (method, route, status)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = metrics.HTTP_REQUESTS.labels(method, route, str(status))
            self._timers[route] = metrics.HTTP_SECONDS.labels(route)
        counter.inc()
        self._timers[route].observe(took)


def client_address(peer: Any, forwarded: bytes, trusted: Sequence[Network]) -> str:
    """Who calls: the peer, or the right-most address in X-Forwarded-For that is no trusted proxy.

    The header counts only when the peer itself is trusted, since anybody can write it.
    """
    address = str(peer[0]) if peer else "unknown"
    hops = [hop.strip() for hop in forwarded.decode("latin-1").split(",") if hop.strip()]
    while hops and _within(address, trusted):
        address = hops.pop()
    parsed = _parsed(address)
    return str(parsed) if parsed else str(peer[0]) if peer else "unknown"


def network_of(address: str) -> str:
    """What rate buckets count: an IPv4 address, or the /64 that one IPv6 subscriber owns."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed) if parsed else address


@functools.lru_cache(4096)
def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    # A server that listens on `::` sees IPv4 callers as ::ffff:192.0.2.1 (RFC 4291 §2.5.5.2).
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, ipaddress.IPv6Address) else parsed


def _within(address: str, networks: Sequence[Network]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


def _method_label(scope: Scope) -> str:
    # Callers may invent methods, and each label would be kept for ever.
    method = str(scope.get("method", "WS"))
    return method if method in METHODS or method == "WS" else "other"


def _allow(methods: Sequence[str]) -> tuple[bytes, bytes]:
    return (b"allow", ", ".join(methods).encode())


def _extra_headers(state: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    extra = [(b"x-request-id", state["request_id"].encode()), *_SECURITY]
    extra.extend((name.encode(), value.encode()) for name, value in state.get("headers", {}).items())
    return extra
