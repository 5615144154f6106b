"""A refusal is read by who is still sending: over real sockets, within bounds."""

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from leasebox.infra.web import linger
from leasebox.infra.web.linger import Remainder, lingers
from tests.instance import Instance, up
from tests.tours.walker import Walker


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({b"content-length": b"70000"}, True),
        ({b"content-length": b"1000"}, False),
        ({b"content-length": b"many"}, False),
        ({b"transfer-encoding": b"chunked"}, True),
        ({b"content-length": b"70000", b"expect": b"100-continue"}, False),
        ({}, False),
    ],
)
def test_what_is_waited_for(headers: dict[bytes, bytes], expected: bool) -> None:
    assert lingers(headers) is expected


def pieces(*bodies: bytes, more: bool = False) -> Any:
    said = iter([(body, number < len(bodies) - 1 or more) for number, body in enumerate(bodies)])

    async def receive() -> dict[str, Any]:
        for body, more_body in said:
            return {"type": "http.request", "body": body, "more_body": more_body}
        await asyncio.sleep(60)
        raise AssertionError

    return receive


async def test_the_rest_is_received() -> None:
    rest = Remainder(pieces(b"a", b"b", b"c"))
    assert (await rest())["body"] == b"a"
    await rest.forget()
    await rest.forget()
    assert rest._is_over


async def test_who_left_is_not_waited_for() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    rest = Remainder(receive)
    await rest.forget()
    assert rest._is_over


async def test_there_is_an_end_to_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linger, "_SECONDS", 0.05)
    stuck = Remainder(pieces(b"a", more=True))
    await stuck.forget()
    assert not stuck._is_over
    monkeypatch.setattr(linger, "_MOST", 2)
    endless = Remainder(pieces(*[b"aa"] * 9))
    await endless.forget()
    assert (await endless())["body"] == b"aa", "no more than so much was received"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with up(tmp_path_factory.mktemp("linger") / "home") as running:
        yield running


@pytest.mark.parametrize("token", ["", "none"], ids=["credential", "no credential"])
def test_who_is_refused_in_the_middle_of_a_body_reads_why_and_can_go_on(box: Instance, token: str) -> None:
    """On one connection: it would be closed under the next request."""
    size, here = 2 << 20, urlsplit(box.url)
    with Walker(box) as walker, socket.create_connection((str(here.hostname), here.port or 0), timeout=20) as line:
        known = token or walker.session["access_token"]
        head = f"Host: x\r\nAuthorization: Bearer {known}\r\nContent-Type: application/json\r\nContent-Length: {size}"
        line.sendall(f"POST /v2/mailboxes/leases HTTP/1.1\r\n{head}\r\n\r\n".encode() + b" " * (size // 2))
        time.sleep(0.3)  # whoever answers now has refused before all of it came
        line.sendall(b" " * (size - size // 2) + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        heard = b"".join(iter(lambda: line.recv(65_536), b""))
    refused, _, went_on = heard.partition(b"HTTP/1.1 200 ")
    assert refused.startswith(b"HTTP/1.1 401 " if token else b"HTTP/1.1 413 ")
    assert b'"fix":' in refused
    assert went_on, "the next request on this connection is answered"
