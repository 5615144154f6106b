"""Calls are sent again where that helps and can do no harm."""

import httpx
import pytest

from leasebox.client.errors import ApiError, UnexpectedAnswer, Unreachable
from leasebox.client.model import Runtime
from leasebox.client.transport import Call, Patience, Transport, refusal_of
from tests.client.fake_server import URL, Answer, FakeServer, problem

READ = Call(method="GET", path="/v2/meta/runtime")
WRITE = Call(method="POST", path="/v2/meta/runtime", body={})
KEY = ("GET", "/v2/meta/runtime")


def transport(server: FakeServer, slept: list[float] | None = None, **more: object) -> Transport:
    patience = Patience(**more)  # type: ignore[arg-type]
    return Transport(URL + "/", http=server.http(), patience=patience, sleep=(slept or []).append)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_said(status: int) -> None:
    server, slept = FakeServer(), [0.0]
    server.script[KEY] = [problem(status, "rate_limited", retry_after=7), problem(status, "unavailable")]
    assert transport(server, slept).ask(READ, Runtime).base_chain_id == 84532
    assert slept == [0.0, 7, 1.0]


def test_patience_ends() -> None:
    server = FakeServer()
    server.script[KEY] = [problem(503, "unavailable", retry_after=1) for _ in range(9)]
    with pytest.raises(ApiError, match="503 unavailable: Told"):
        transport(server, tries=3).send(READ)
    assert len(server.calls) == 3


def test_a_long_wish_is_told_at_once() -> None:
    server, slept = FakeServer(), [0.0]
    server.script[KEY] = [problem(429, "cooldown_limit", retry_after=86400)]
    with pytest.raises(ApiError) as told:
        transport(server, slept).send(READ)
    assert told.value.retry_after_s == 86400
    assert slept == [0.0]


@pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 422, 500])
def test_other_refusals_are_final(status: int) -> None:
    server = FakeServer()
    server.script[KEY] = [problem(status, "some_code", lease_status="released")]
    with pytest.raises(ApiError) as told:
        transport(server).send(READ)
    assert (told.value.status, told.value.error, told.value.fix) == (status, "some_code", "Mend it.")
    assert told.value.request_id == "req_1"
    assert told.value.fields == {"lease_status": "released"}
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("call", "fault", "again"),
    [
        (READ, httpx.ReadTimeout("slow"), True),
        (READ, httpx.RemoteProtocolError("cut"), True),
        (READ, httpx.ConnectError("refused"), True),
        (WRITE, httpx.ConnectError("refused"), True),
        (WRITE, httpx.ReadTimeout("slow"), False),
        (WRITE, httpx.RemoteProtocolError("cut"), False),
    ],
)
def test_what_may_have_happened_is_not_done_twice(call: Call, fault: Exception, *, again: bool) -> None:
    server = FakeServer()
    server.script[call.method, call.path] = [fault]
    sender = transport(server)
    if again:
        assert sender.send(call).status_code == 200
    else:
        with pytest.raises(Unreachable, match=r"box\.example does not answer"):
            sender.send(call)
    assert len(server.calls) == 1 + again


def test_a_remedy_is_tried_once() -> None:
    server, asked = FakeServer(), []

    def pay(call: Call, refusal: ApiError) -> Call:
        asked.append(refusal.fields)
        return Call(method=call.method, path=call.path, headers={"x-proof": "1"})

    server.script[KEY] = [problem(402, "payment_required", meter="m")] * 2
    sender = transport(server)
    sender.remedies[402] = pay
    with pytest.raises(ApiError, match="402"):
        sender.send(READ)
    assert asked == [{"meter": "m"}]
    assert [call.headers.get("x-proof") for call in server.calls] == [None, "1"]


def test_a_call_without_credential_sends_none_and_is_not_mended() -> None:
    server = FakeServer()
    server.script[KEY] = [problem(401, "unauthorized")]
    sender = transport(server)
    sender.token = "secret"
    sender.remedies[401] = lambda call, refusal: call
    with pytest.raises(ApiError):
        sender.send(Call(method="GET", path="/v2/meta/runtime", credential="none"))
    assert "authorization" not in server.calls[0].headers


@pytest.mark.parametrize("body", [b"<html>", b'{"version": 5}', b"\xff", b"[]"])
def test_an_answer_of_something_else_is_told(body: bytes) -> None:
    server = FakeServer()
    server.script[KEY] = [Answer(200, content=body)]
    with pytest.raises(UnexpectedAnswer, match="/v2/meta/runtime answered 200"):
        transport(server).ask(READ, Runtime)


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"[1]", b'{"error": {"a": 1}}', b"\xff\xfe"])
def test_a_proxys_page_becomes_a_refusal(body: bytes) -> None:
    told = refusal_of(Answer(502, content=body, headers={"retry-after": "soon"}))
    assert (told.status, told.error, told.message, told.retry_after_s) == (502, "http_502", "Bad Gateway", None)


def test_redirects_are_not_followed() -> None:
    server = FakeServer()
    server.script[KEY] = [Answer(301, headers={"location": "https://other.example/"})]
    sender = transport(server)
    sender.token = "secret"
    with pytest.raises(ApiError) as told:
        sender.send(READ)
    assert "https://other.example/" in told.value.fix
    assert len(server.calls) == 1


def test_a_url_that_is_none_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        Transport("http://[nonsense", sleep=lambda _: None).send(READ)
