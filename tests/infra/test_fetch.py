"""POST to addresses of strangers: what arrives, what is never dialled, and receivers that behave badly."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from leasebox.infra import fetch
from leasebox.infra.fetch import Fault, Fetcher, Reply
from leasebox.infra.fetch_names import DnsNames
from leasebox.infra.fetch_target import Target, read
from leasebox.infra.tls import CertificatePair, ensure_certificate, server_context
from leasebox.values.clock import SystemClock
from tests.fakes.name_server import name_server
from tests.fakes.receiver import Received, Receiver, floods, hangs, resets, says, status, trickles

LOOPBACK = (ip_network("127.0.0.0/8"),)
HEADERS = {"Content-Type": "application/json", "webhook-id": "evt_1"}


@contextlib.asynccontextmanager
async def patient(seconds: float) -> AsyncIterator[Fetcher]:
    """May reach loopback."""
    one = Fetcher(DnsNames(None), LOOPBACK, timeout_s=seconds)
    yield one
    one.close()
    await asyncio.sleep(0)


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    """May reach loopback; patient for a second."""
    async with patient(1.0) as one:
        yield one


def target(url: str) -> Target:
    found = read(url)
    assert isinstance(found, Target), found
    return found


async def post(fetcher: Fetcher, url: str, body: bytes = b"{}") -> Reply:
    return await fetcher.post(target(url), HEADERS, body)


async def test_a_request_arrives_as_it_was_given(fetcher: Fetcher) -> None:
    async with Receiver().listening() as receiver:
        reply = await fetcher.post(target(f"http://127.0.0.1:{receiver.port}/a%20b?c=d"), HEADERS, b'{"x": 1}')
        assert (reply.status, reply.fault) == (200, None)
        assert 0 < reply.took_s < 1
        (one,) = receiver.got
        assert (one.method, one.path, one.body) == ("POST", "/a%20b?c=d", b'{"x": 1}')
        assert one.headers == {
            "host": f"127.0.0.1:{receiver.port}",
            "content-type": "application/json",
            "webhook-id": "evt_1",
            "content-length": "8",
        }


async def test_a_connection_is_used_again(fetcher: Fetcher) -> None:
    async with Receiver().listening() as receiver:
        for _ in range(5):
            assert (await post(fetcher, receiver.url)).status == 200
        assert receiver.connections == 1
        receiver.manner = status(200, "Connection: close")
        for _ in range(3):
            assert (await post(fetcher, receiver.url)).status == 200
        assert receiver.connections == 3


async def test_what_was_closed_while_idle_is_dialled_anew(fetcher: Fetcher) -> None:
    async with Receiver().listening() as receiver:
        assert (await post(fetcher, receiver.url)).status == 200
        port = receiver.port
    again = Receiver()
    again.port = port
    async with again.listening():
        assert (await post(fetcher, again.url)).status == 200


async def test_a_408_on_an_idle_connection_is_no_answer_to_what_is_asked_next(fetcher: Fetcher) -> None:
    async def late(receiver: Receiver, one: Received, reader: Any, writer: asyncio.StreamWriter) -> None:
        del one, reader
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        if receiver.connections == 1:
            await asyncio.sleep(0.05)
            writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")

    async with Receiver(late).listening() as receiver:
        assert (await post(fetcher, receiver.url)).status == 200
        await asyncio.sleep(0.15)
        assert (await post(fetcher, receiver.url)).status == 200
        assert receiver.connections == 2


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(fetcher: Fetcher, code: int) -> None:
    async with Receiver().listening() as inner, Receiver(status(code, f"Location: {inner.url}")).listening() as outer:
        assert (await post(fetcher, outer.url)).status == code
        assert inner.got == []


@pytest.mark.parametrize(
    ("manner", "fault"),
    [
        (hangs, Fault.TIMEOUT),
        (trickles, Fault.TIMEOUT),
        (resets, Fault.LOST),
        (says(b""), Fault.LOST),
        (says(b"HTTP/1.1 2"), Fault.ANSWER),
        (says(b"220 smtp.example ESMTP\r\n\r\n"), Fault.ANSWER),
        (says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000), Fault.ANSWER),
        (says(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), Fault.ANSWER),
    ],
    ids=["hang", "trickle", "reset", "close", "half", "smtp", "long head", "switch"],
)
async def test_bad_receivers_are_a_fault_in_time(fetcher: Fetcher, manner: Any, fault: Fault) -> None:
    async with Receiver(manner).listening() as receiver:
        began = time.monotonic()
        reply = await post(fetcher, receiver.url)
        assert (reply.status, reply.fault) == (None, fault)
        assert time.monotonic() - began < 5


async def test_a_hundred_megabytes_are_not_read() -> None:
    async with patient(10.0) as fetcher, Receiver(floods).listening() as receiver:
        began = time.monotonic()
        assert (await post(fetcher, receiver.url)).status == 200
        assert time.monotonic() - began < 5
        await asyncio.sleep(0.1)
        assert receiver.flooded < 20_000_000
        assert (await post(fetcher, receiver.url)).status == 200
        assert receiver.connections == 2


async def test_a_body_that_trickles_does_not_hold_up_the_status() -> None:
    async def slow_body(receiver: Receiver, one: Received, reader: Any, writer: asyncio.StreamWriter) -> None:
        del receiver, one, reader
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        await asyncio.sleep(30)

    async with patient(10.0) as fetcher, Receiver(slow_body).listening() as receiver:
        began = time.monotonic()
        assert (await post(fetcher, receiver.url)).status == 200
        assert time.monotonic() - began < 5


async def test_nobody_listens(fetcher: Fetcher) -> None:
    async with Receiver().listening() as receiver:
        url = receiver.url
    assert (await post(fetcher, url)).fault is Fault.CONNECT


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/", "http://[::ffff:127.0.0.1]:{port}/", "http://localhost:{port}/",
        "http://[::1]:{port}/", "http://10.0.0.1:{port}/", "http://169.254.169.254/latest/meta-data/",
        "http://[64:ff9b::7f00:1]:{port}/", "http://[2002:7f00:1::]:{port}/", "http://0.0.0.0:{port}/",
        "https://127.0.0.1:{port}/", "http://inside.localhost:{port}/",
    ],
)  # fmt: skip
async def test_what_is_not_public_is_never_dialled(url: str) -> None:
    async with Receiver().listening() as receiver:
        fetcher = Fetcher(DnsNames(None), timeout_s=1.0)
        reply = await post(fetcher, url.format(port=receiver.port))
        assert reply.fault is Fault.ADDRESS
        assert receiver.connections == 0


async def test_a_name_that_answers_differently_each_time_is_dialled_where_it_was_judged() -> None:
    """DNS rebinding: 127.0.0.2 stands for the public address here, 127.0.0.1 for what lies inside."""

    def rebinding(name: str, kind: str, times: int) -> list[str]:
        del name
        return [f"127.0.0.{2 - times % 2}"] if kind == "A" else []

    once = status(200, "Connection: close")
    async with Receiver(once).listening("127.0.0.2") as wanted, name_server(rebinding) as server:
        trap = Receiver()
        trap.port = wanted.port
        async with trap.listening():
            names = DnsNames((("127.0.0.1", server.port),))
            fetcher = Fetcher(names, (ip_network("127.0.0.2/32"),), timeout_s=1.0)
            replies = [await post(fetcher, f"http://rebind.example:{wanted.port}/") for _ in range(6)]
            assert [each.status or each.fault for each in replies] == [200, Fault.ADDRESS] * 3
            assert server.asked["A rebind.example"] == 6
            assert (wanted.connections, trap.connections) == (3, 0)


async def test_of_mixed_answers_only_what_may_be_dialled_is() -> None:
    """The receiver stands at 127.0.0.2, which is allowed here; 127.0.0.1 and ::1 are not, though someone is there."""

    def mixed(name: str, kind: str, times: int) -> list[str]:
        del name, times
        return ["127.0.0.1", "127.0.0.2"] if kind == "A" else ["::1"]

    async with Receiver().listening("127.0.0.2") as wanted, name_server(mixed) as server:
        trap = Receiver()
        trap.port = wanted.port
        async with trap.listening():
            fetcher = Fetcher(DnsNames((("127.0.0.1", server.port),)), (ip_network("127.0.0.2/32"),), timeout_s=1.0)
            assert (await post(fetcher, f"http://mixed.example:{wanted.port}/")).status == 200
            assert (len(wanted.got), trap.connections) == (1, 0)
            assert wanted.got[0].headers["host"] == f"mixed.example:{wanted.port}"
            fetcher.close()


async def test_an_unknown_name_is_a_fault_of_its_own(fetcher: Fetcher) -> None:
    assert (await post(fetcher, "http://unknown.example/")).fault is Fault.NAME


async def test_the_next_address_is_tried() -> None:
    def two(name: str, kind: str, times: int) -> list[str]:
        del name, times
        return ["127.0.0.3", "127.0.0.2"] if kind == "A" else []

    async with Receiver().listening("127.0.0.2") as receiver, name_server(two) as server:
        fetcher = Fetcher(DnsNames((("127.0.0.1", server.port),)), LOOPBACK, timeout_s=2.0)
        assert (await post(fetcher, f"http://two.example:{receiver.port}/")).status == 200
        fetcher.close()


@pytest.fixture
def pair(tmp_path: Path) -> CertificatePair:
    """A certificate for one name."""
    return ensure_certificate(tmp_path, ["good.example"], SystemClock())


async def test_tls_is_for_the_name_and_by_somebody_we_trust(pair: CertificatePair) -> None:
    def here(name: str, kind: str, times: int) -> list[str]:
        del name, times
        return ["127.0.0.1"] if kind == "A" else []

    trusting = ssl.create_default_context(cafile=str(pair.certificate))
    async with Receiver().listening(tls=server_context(*pair)) as receiver, name_server(here) as server:
        names = DnsNames((("127.0.0.1", server.port),))
        fetcher = Fetcher(names, LOOPBACK, tls=trusting, timeout_s=2.0)
        good = f"https://good.example:{receiver.port}/"
        assert (await post(fetcher, good)).status == 200
        assert (await post(fetcher, good)).status == 200
        assert receiver.connections == 1
        assert (await post(fetcher, f"https://other.example:{receiver.port}/")).fault is Fault.TLS
        assert (await post(fetcher, f"https://127.0.0.1:{receiver.port}/")).fault is Fault.TLS
        distrusting = Fetcher(names, LOOPBACK, timeout_s=2.0)
        assert (await post(distrusting, good)).fault is Fault.TLS
        plain = await post(fetcher, f"http://good.example:{receiver.port}/")
        assert plain.status is None
        fetcher.close()
        await asyncio.sleep(0)


async def test_the_roots_that_the_system_trusts_are_read_once_and_for_https_alone(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        made.append(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        return made[-1]

    fetch._strict.cache_clear()
    monkeypatch.setattr(ssl, "create_default_context", make)
    async with Receiver().listening() as receiver:
        assert (await post(fetcher, f"http://127.0.0.1:{receiver.port}/")).status == 200
        assert made == []
        for _ in range(2):
            assert (await post(fetcher, f"https://127.0.0.1:{receiver.port}/")).fault is not None
    assert len(made) == 1
    fetch._strict.cache_clear()


async def test_tls_to_who_does_not_speak_it_is_a_fault_in_time(fetcher: Fetcher) -> None:
    async with Receiver(hangs).listening() as receiver:
        reply = await post(fetcher, receiver.url.replace("http", "https"))
        assert reply.fault in (Fault.TLS, Fault.TIMEOUT, Fault.CONNECT)


async def test_idle_connections_are_let_go(fetcher: Fetcher) -> None:
    async with Receiver().listening() as receiver:
        await asyncio.gather(*(post(fetcher, receiver.url) for _ in range(10)))
        assert receiver.connections <= 10
        assert fetcher._idle._count <= 4
        (kept, *_) = fetcher._idle._lines[receiver.url.removesuffix("/hook")]
        fetcher._idle._expire(receiver.url.removesuffix("/hook"), kept)
        assert kept not in fetcher._idle._lines.get(receiver.url.removesuffix("/hook"), [])
        assert kept.writer.is_closing()
        fetcher.close()
        assert fetcher._idle._count == 0
