"""The outermost layer over the real application: who calls, under which id, by which spelling; and what is logged."""

import io
import ipaddress
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import structlog

from leasebox.infra import log, metrics
from leasebox.infra.web.edge import client_address, network_of
from tests.kit import House, opened, settings_for, sign
from tests.kit_mail import code_mail, receiving, shared_house

__all__ = ["shared_house"]

TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", b"", "192.0.2.1"),
        ("192.0.2.1", b"203.0.113.9", "192.0.2.1"),  # anybody can write the header
        ("192.0.2.1", b"127.0.0.1", "192.0.2.1"),
        ("10.0.0.1", b"", "10.0.0.1"),
        ("10.0.0.1", b"203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", b" 203.0.113.9 ", "203.0.113.9"),
        ("10.0.0.1", b"1.1.1.1, 203.0.113.9", "203.0.113.9"),  # the left-most is what the caller claimed
        ("10.0.0.1", b"127.0.0.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", b"203.0.113.9, 10.1.1.1, 10.2.2.2", "203.0.113.9"),
        ("10.0.0.1", b"1.1.1.1,203.0.113.9,10.1.1.1", "203.0.113.9"),
        ("10.0.0.1", b"10.3.3.3, 10.2.2.2", "10.3.3.3"),
        ("10.0.0.1", b"nonsense", "10.0.0.1"),
        ("10.0.0.1", b"1.1.1.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", b"203.0.113.9:4711", "10.0.0.1"),
        ("10.0.0.1", b",,", "10.0.0.1"),
        ("10.0.0.1", b"\xff\xfe", "10.0.0.1"),
        ("10.0.0.1", b"2001:db8::9", "2001:db8::9"),
        ("10.0.0.1", b"2001:DB8:0::9", "2001:db8::9"),
        ("fd00::1", b"2001:db8::9", "2001:db8::9"),
        ("::ffff:10.0.0.1", b"203.0.113.9", "203.0.113.9"),  # a server that listens on ::
        ("::ffff:192.0.2.1", b"203.0.113.9", "192.0.2.1"),
        ("10.0.0.1", b"::ffff:203.0.113.9", "203.0.113.9"),
        ("no address", b"203.0.113.9", "no address"),
    ],
)
def test_x_forwarded_for_counts_from_trusted_proxies_only(peer: str, forwarded: bytes, address: str) -> None:
    assert client_address((peer, 4711), forwarded, TRUSTED) == address


def test_without_a_peer_nobody_is_known() -> None:
    assert client_address(None, b"203.0.113.9", TRUSTED) == "unknown"
    assert client_address(("203.0.113.9", 1), b"1.1.1.1", ()) == "203.0.113.9"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::1", "::/64"),
        ("unknown", "unknown"),
    ],
)
def test_buckets_count_ipv4_addresses_and_ipv6_subscribers(address: str, network: str) -> None:
    assert network_of(address) == network


async def test_one_subscriber_does_not_get_more_by_changing_addresses(
    database_url: str, redis_url: str, tmp_path: object
) -> None:
    from tests.fakes.clock import FakeClock

    more = {"LEASEBOX_SIGNIN_RATE": "2/h", "LEASEBOX_TRUSTED_PROXIES": "10.0.0.0/8"}
    async with opened(settings_for(database_url, redis_url, str(tmp_path), **more), FakeClock()) as house:

        async def ask(peer: str, *forwarded: str) -> int:
            async with house.client(address=peer) as http:
                headers = [("x-forwarded-for", each) for each in forwarded]
                return (await http.post("/v2/auth/siwe/challenge", json={}, headers=headers)).status_code

        async def spent(peer: str, *forwarded: str) -> bool:
            async with house.client(address=peer) as http:
                headers = [("x-forwarded-for", each) for each in forwarded]
                body = {"wallet_address": "0x" + "ab" * 20}
                return (await http.post("/v2/auth/siwe/challenge", json=body, headers=headers)).status_code == 429

        assert await ask("2001:db8:7:7::1") == 400, "a body that cannot be read costs nothing"
        assert [await spent(f"2001:db8:7:7::{host}") for host in (1, 2, 3)] == [False, False, True]
        assert not await spent("2001:db8:7:8::1")
        assert [await spent("198.51.100.7", f"203.0.113.{n}") for n in range(3)] == [False, False, True]
        assert [await spent("10.0.0.1", f"1.2.3.{n}, 203.0.113.77") for n in range(3)] == [False, False, True]
        assert not await spent("10.0.0.1", "203.0.113.78")
        assert [await spent("10.0.0.1", "198.51.100.99", "10.9.9.9") for _ in range(3)] == [False, False, True]
        assert not await spent("10.0.0.1", "198.51.100.98", "10.9.9.9"), "two header lines are one list"


@pytest.mark.parametrize(
    "given", ["abc", "A-b_c.d:e/f+g=h@i", "7" * 128, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"]
)
async def test_a_sane_request_id_is_taken(shared_house: House, given: str) -> None:
    async with shared_house.client() as http:
        answer = await http.get("/v2/auth/me", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given
    assert answer.json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "7" * 129, "a b", "a\tb", "<script>", 'a"b', "a,b", "{}", "a;b", "é".encode()])
async def test_an_insane_one_is_replaced(shared_house: House, given: str | bytes) -> None:
    async with shared_house.client() as http:
        answer = await http.get(
            "/v2/auth/me", headers=[(b"x-request-id", given if isinstance(given, bytes) else given.encode())]
        )
    assert re.fullmatch(r"req_[0-9a-f]{24}", answer.headers["x-request-id"])
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


async def test_ids_made_are_never_the_same_and_stand_in_audit_rows(house: House) -> None:
    agent = await house.agent()
    seen = {(await agent.http.get("/healthz")).headers["x-request-id"] for _ in range(50)}
    assert len(seen) == 50
    await agent.http.post("/v2/agents", json={"name": "a"}, headers={"x-request-id": "mine-7"})
    row = await house.db.read(lambda tx: tx.one("SELECT request_id FROM audit_rows WHERE action = 'agent.create'"))
    assert row is not None
    assert row["request_id"] == "mine-7"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/agents-guide", 200),
        ("GET", "/v2/auth/me", 401),
        ("GET", "/nowhere", 404),
        ("GET", "/v2//x", 404),
        ("POST", "/healthz", 405),
        ("OPTIONS", "/healthz", 204),
        ("POST", "/v2/auth/siwe/verify", 400),
    ],
)
async def test_every_answer_has_the_security_headers_once(
    shared_house: House, method: str, path: str, status: int
) -> None:
    async with shared_house.client() as http:
        answer = await http.request(method, path)
    assert answer.status_code == status
    for name, value in (
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
    ):
        assert answer.headers.get_list(name) == [value]
    assert len(answer.headers.get_list("x-request-id")) == 1


TRICKS = [
    ("HEAD", "/v2/messages", 405, "GET, OPTIONS"),
    ("HEAD", "/v2/auth/siwe/verify", 405, "OPTIONS, POST"),
    ("HEAD", "/v2/nowhere", 404, None),
    ("HEAD", "/healthz", 405, "GET, OPTIONS"),
    ("OPTIONS", "/v2/messages", 204, "GET, OPTIONS"),
    ("OPTIONS", "/v2/messages/wait", 204, "GET, OPTIONS"),
    ("OPTIONS", "/v2/messages/msg_1", 204, "DELETE, GET, OPTIONS, PATCH"),
    ("OPTIONS", "/v2/nowhere", 404, None),
    ("OPTIONS", "/v2/messages/", 404, None),
    ("PUT", "/v2/messages", 405, "GET, OPTIONS"),
    ("DELETE", "/v2/auth/me", 405, "GET, OPTIONS"),
    ("POST", "/v2/messages/msg_1", 405, "DELETE, GET, OPTIONS, PATCH"),
    ("GET", "/v2/mailboxes/leases/lse_1/renew", 405, "OPTIONS, POST"),
    ("DELETE", "/v2/tenants/wallets/challenge", 405, "OPTIONS, POST"),
    ("get", "/v2/auth/me", 405, "GET, OPTIONS"),
    ("TRACE", "/v2/messages", 405, "GET, OPTIONS"),
    ("PROPFIND", "/v2/messages", 405, "GET, OPTIONS"),
    ("PROPFIND", "/v2/nowhere", 404, None),
    ("DELETE", "/v2/nowhere", 404, None),
    ("GET", "/", 200, None),
    ("GET", "//", 404, None),
    ("GET", "/v2", 404, None),
    ("GET", "/v2/", 404, None),
    ("GET", "/v2/auth/me/", 404, None),
    ("GET", "//v2/auth/me", 404, None),
    ("GET", "/v2//auth/me", 404, None),
    ("GET", "/v2/./auth/me", 404, None),
    ("GET", "/v2/auth/../auth/me", 404, None),
    ("GET", "/V2/auth/me", 404, None),
    ("GET", "/v2/auth/Me", 404, None),
    ("GET", "/v2/auth/%6de", 404, None),
    ("GET", "/v2/auth%2Fme", 404, None),
    ("GET", "/v2/auth/me%00", 404, None),
    ("GET", "/v2/auth/me;a=1", 404, None),
    ("GET", "/v2/auth/me%ff", 404, None),
    ("GET", "/v2/auth/" + "m" * 600, 404, None),
    ("GET", "/v2/auth/me?x=//%2F..", 200, None),
]


async def spelled(app: Any, method: str, path: str, token: str) -> httpx.Response:
    """A request spelled exactly so: httpx itself would tidy the path up."""
    raw, _, query = path.encode().partition(b"?")
    said: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": method,
        "path": unquote(raw.decode()),
        "raw_path": raw,
        "query_string": query,
        "headers": [(b"authorization", f"Bearer {token}".encode()), (b"host", b"leasebox.test")],
        "client": ("127.0.0.1", 4711),
        "server": ("leasebox.test", 80),
        "scheme": "http",
        "http_version": "1.1",
        "root_path": "",
        "state": {},
        "extensions": {},
    }
    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in said[1:])
    return httpx.Response(said[0]["status"], headers=said[0]["headers"], content=body)


async def test_no_route_has_a_second_spelling_and_405_names_the_methods(shared_house: House) -> None:
    token = (await shared_house.agent()).session["access_token"]
    for method, path, status, allow in TRICKS:
        answer = await spelled(shared_house.app, method, path, token)
        assert (answer.status_code, answer.headers.get("allow")) == (status, allow), (method, path)
        if status in (404, 405) and method != "HEAD":
            assert answer.headers["content-type"] == "application/problem+json", path
            body = answer.json()
            assert body["error"] == {404: "not_found", 405: "method_not_allowed"}[status]
            assert body["fix"]
            assert body["instance"]


@pytest.mark.parametrize("name", ["x-http-method-override", "x-method-override", "x-http-method"])
async def test_no_header_and_no_field_overrides_the_method(shared_house: House, name: str) -> None:
    agent = await shared_house.agent()
    answer = await agent.http.post("/v2/auth/session?_method=DELETE", headers={name: "DELETE"})
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, OPTIONS")
    assert (await agent.http.get("/v2/auth/me", headers={name: "DELETE"})).status_code == 200


async def test_an_oddly_spelled_websocket_is_closed_unopened(shared_house: House) -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    scope = {"type": "websocket", "path": "/v2//x", "raw_path": b"/v2//x", "headers": [], "client": ("127.0.0.1", 1)}
    await shared_house.app(scope, None, send)
    assert said == [{"type": "websocket.close", "code": 1008}]


async def test_metrics_are_labelled_by_route_never_by_what_callers_invent(shared_house: House) -> None:
    agent = await shared_house.agent()
    before = series()
    for number in range(5):
        await agent.http.request(f"M{number}", f"/v2/x{number}")
        await agent.http.get(f"/v2/messages/msg_{number}")
        await agent.http.get(f"/nowhere/{number}")
    fresh = series() - before
    assert len({line for line in fresh if "requests_total" in line}) <= 3
    assert not [line for line in fresh if re.search(r"M\d|msg_\d|nowhere", line)]


def series() -> set[str]:
    return {
        line.rpartition(" ")[0] for line in metrics.render().decode().splitlines() if line.startswith("leasebox_http")
    }


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """The log of this process while the test runs."""
    root, hook, out = logging.getLogger(), sys.excepthook, io.StringIO()
    handlers, level = root.handlers[:], root.level
    log.configure("debug", "json", out)
    yield out
    structlog.reset_defaults()
    root.handlers[:], sys.excepthook = handlers, hook
    root.setLevel(level)


async def test_no_secret_reaches_the_log(house: House, written: io.StringIO) -> None:
    """A canary walk: sign-in, key, lease, mail, wait, refusals; then nothing of what is secret stands in the log."""
    async with receiving(house) as post:
        agent = await house.agent()
        made = (await agent.http.post("/v2/auth/siwe/challenge", json={"wallet_address": agent.wallet.address})).json()
        signature = sign(agent.wallet, made["message"])
        body = {"message": made["message"] + "x", "signature": signature}
        await agent.http.post("/v2/auth/siwe/verify", json=body)
        key = (await agent.http.post("/v2/api-keys", json={"name": "k", "scopes": ["mail:read"]})).json()
        lease = await agent.lease(local_part="canary-name")
        await post.deliver(code_mail(7), lease["address"])
        query = {"mailbox_id": lease["mailbox_id"], "since": "2020-01-01T00:00:00Z", "has": "otp"}
        async with house.client(headers={"authorization": f"Bearer {key['api_key']}"}) as keyed:
            found = (await keyed.get("/v2/messages/wait", params=query)).json()
            await keyed.get("/v2/messages", params={"q": found["otp_code"]})
            await keyed.post("/v2/agents", json={"name": "x"})
        async with house.client(headers={"authorization": f"Bearer {key['api_key'][:-1]}!"}) as wrong:
            assert (await wrong.get("/v2/auth/me")).status_code == 401
    lines = written.getvalue()
    secrets = {
        "token": agent.session["access_token"],
        "key": key["api_key"],
        "signature": signature,
        "nonce": made["nonce"],
        "password": lease["webmail_password"],
        "code": found["otp_code"],
        "database": house.settings.database_url.reveal() if house.settings.database_url else "",
        "redis": house.settings.redis_url.reveal() if house.settings.redis_url else "",
    }
    assert all(secrets.values())
    assert [name for name, secret in secrets.items() if secret in lines] == []
    assert lines.count('"event":"request"') == 10
    assert agent.session["tenant_id"] in lines
