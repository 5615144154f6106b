"""HTTP requests to addresses that strangers name: a POST that reaches nothing but what it may (OWASP: SSRF).

The name is looked up once; of its addresses those are dialled, as numbers, that the guard lets pass, so that no second
look-up can answer differently. TLS is for the name. No redirect is followed, and of the answer only its status is
told: nobody reads through us what stands behind an address.
"""

import asyncio
import contextlib
import functools
import ssl
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from leasebox.infra.fetch_answer import Head, Malformed, body_is_whole, read_head
from leasebox.infra.fetch_guard import Address, Network, judge
from leasebox.infra.fetch_names import Names
from leasebox.infra.fetch_target import Target
from leasebox.infra.lookups import LookupFailed

TIMEOUT_S = 15.0
"""For a request with everything: look-up, connecting, TLS, sending, and the head of the answer."""
_DIAL_S = 5.0
_MOST_DIALLED = 4
_READ_BYTES = 16 * 1024
# How long we wait for the rest of a small body, only to keep the connection.
_LINGER_S = 0.2
_IDLE_S = 10.0
_IDLE_EACH, _IDLE_ALL = 4, 256
_IDLE_TOO_LONG = 408


class Fault(StrEnum):
    """Why there is no status."""

    TIMEOUT = "timeout"
    NAME = "name_not_found"
    ADDRESS = "address_refused"
    CONNECT = "connect_failed"
    TLS = "tls_failed"
    LOST = "connection_lost"
    ANSWER = "bad_answer"


class Reply(msgspec.Struct, frozen=True):
    """How a request ended: with a status (RFC 9110 §15), or with a fault. took_s: seconds; retry_after: as it came."""

    status: int | None
    fault: Fault | None
    retry_after: str | None
    took_s: float


class _Failed(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


class _Silent(Exception):
    """The other side closed without a byte of an answer: what a connection kept too long does."""


class _Line(msgspec.Struct, frozen=True):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Fetcher:
    """One process's outgoing HTTP. allow: networks that may be dialled besides public addresses."""

    def __init__(
        self,
        names: Names,
        allow: Sequence[Network] = (),
        *,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._names = names
        self._allow = tuple(allow)
        self._tls = tls
        self._timeout_s = timeout_s
        self._idle = _Idle()

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send a POST and wait for the head of its answer. Raises nothing: a fault is a Reply too.

        `headers` come besides Host, Content-Length and Connection; their text is ours, so it is not checked here.
        """
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_s):
                head = await self._exchange(target, _request(target, headers, body))
        except TimeoutError:
            return Reply(None, Fault.TIMEOUT, None, time.perf_counter() - began)
        except _Failed as failed:
            return Reply(None, failed.fault, None, time.perf_counter() - began)
        return Reply(head.status, None, head.retry_after, time.perf_counter() - began)

    def close(self) -> None:
        """Let go of the connections that are kept."""
        self._idle.close()

    async def _exchange(self, target: Target, request: bytes) -> Head:
        kept = self._idle.take(target.origin)
        if kept is not None:
            # Who closed it while it was idle, perhaps with a 408 (RFC 9110 §15.5.9), has most likely not heard us.
            with contextlib.suppress(_Silent):
                head = await self._ask(kept, target, request)
                if head.status != _IDLE_TOO_LONG:
                    return head
        try:
            return await self._ask(await self._dial(target), target, request)
        except _Silent:
            raise _Failed(Fault.LOST) from None

    async def _ask(self, line: _Line, target: Target, request: bytes) -> Head:
        keeps = False
        try:
            head, rest = await _converse(line, request)
            keeps = await _is_drained(line, head, rest)
        finally:
            if keeps:
                self._idle.keep(target.origin, line)
            else:
                line.writer.transport.abort()
        return head

    async def _dial(self, target: Target) -> _Line:
        """Connect to the first address that may be dialled and answers."""
        failed = _Failed(Fault.CONNECT)
        for address in (await self._permitted(target))[:_MOST_DIALLED]:
            try:
                async with asyncio.timeout(_DIAL_S):
                    return await self._connect(target, address)
            except ssl.SSLError:
                failed = _Failed(Fault.TLS)
            except (OSError, TimeoutError):
                continue
        raise failed

    async def _permitted(self, target: Target) -> list[Address]:
        literal = target.address
        try:
            found = (literal,) if literal is not None else await self._names.addresses(target.host)
        except LookupFailed:
            raise _Failed(Fault.NAME) from None
        permitted = [address for address in found if judge(address, self._allow) is None]
        if not permitted:
            raise _Failed(Fault.ADDRESS)
        return permitted

    async def _connect(self, target: Target, address: Address) -> _Line:
        secure = target.scheme == "https"
        reader, writer = await asyncio.open_connection(
            str(address),
            target.port,
            limit=_READ_BYTES,
            ssl=(self._tls or _strict()) if secure else None,
            server_hostname=target.host if secure else None,
        )
        return _Line(reader, writer)


class _Idle:
    """Connections that wait for the next request to the same origin."""

    def __init__(self) -> None:
        self._lines: defaultdict[str, list[_Line]] = defaultdict(list)
        self._count = 0

    def take(self, origin: str) -> _Line | None:
        while self._lines.get(origin):
            line = self._lines[origin][-1]
            self._drop(origin, line)
            if not (line.reader.at_eof() or line.writer.is_closing()):
                return line
            line.writer.transport.abort()
        return None

    def keep(self, origin: str, line: _Line) -> None:
        if self._count >= _IDLE_ALL or len(self._lines.get(origin, ())) >= _IDLE_EACH:
            line.writer.transport.abort()
            return
        self._lines[origin].append(line)
        self._count += 1
        asyncio.get_running_loop().call_later(_IDLE_S, self._expire, origin, line)

    def close(self) -> None:
        for lines in self._lines.values():
            for line in lines:
                line.writer.transport.abort()
        self._lines.clear()
        self._count = 0

    def _expire(self, origin: str, line: _Line) -> None:
        if line in self._lines.get(origin, ()):
            self._drop(origin, line)
            line.writer.transport.abort()

    def _drop(self, origin: str, line: _Line) -> None:
        self._lines[origin].remove(line)
        self._count -= 1
        if not self._lines[origin]:
            del self._lines[origin]


async def _converse(line: _Line, request: bytes) -> tuple[Head, bytearray]:
    """Send, and read as far as the head's end. Raises _Silent, _Failed."""
    came = bytearray()
    try:
        line.writer.write(request)
        while (head := read_head(came)) is None:
            more = await line.reader.read(_READ_BYTES)
            if not more:
                raise _Failed(Fault.ANSWER) if came else _Silent()
            came += more
    except Malformed:
        raise _Failed(Fault.ANSWER) from None
    except OSError:
        raise (_Failed(Fault.LOST) if came else _Silent()) from None
    return head, came[head.size :]


async def _is_drained(line: _Line, head: Head, rest: bytearray) -> bool:
    """Whether the body has ended, so that the next answer begins behind it; waits a moment for a small one."""
    try:
        async with asyncio.timeout(_LINGER_S):
            while (whole := body_is_whole(head, rest)) is None:
                more = await line.reader.read(_READ_BYTES)
                if not more:
                    return False
                rest += more
    except (TimeoutError, OSError):
        return False
    return whole


def _request(target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    fields = {"Host": target.authority, **headers, "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {text}\r\n" for name, text in fields.items())
    return f"POST {target.path} HTTP/1.1\r\n{lines}\r\n".encode("ascii") + body


@functools.cache
def _strict() -> ssl.SSLContext:
    # Made for the first request that needs it: the roots that the system trusts take 8 MB.
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
