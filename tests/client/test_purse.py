"""A client pays by itself what it may, for the very call that was refused, once."""

import json
from typing import Any

import pytest

from leasebox.client import ApiError, Client, Purse, TooDear
from leasebox.client.purse import ORDINARY
from leasebox.values.money import Usdc
from tests.client.fake_server import SUBMITTED, URL, Answer, FakeServer, problem

SEND, PROOF = ("POST", "/v2/messages/send"), ("POST", "/v2/payments/proof")


def unpaid(amount: str = "0.003000", quantity: int | None = 3, **more: Any) -> Answer:
    """A 402 as the API has it."""
    body = {"method": "DELETE", "path": "/v2/elsewhere", **({} if quantity is None else {"quantity": quantity})}
    offer = {"scheme": "hmac", "amount_usdc": amount, "header": "x-payment-proof", "request": {"body": body}}
    fields: dict[str, Any] = {"meter": "message.send", "amount_usdc": amount, "accepts": [offer], **more}
    return problem(402, fields.pop("error", "payment_required"), **fields)


def proof(amount: str = "0.003000") -> Answer:
    made = {"x_payment_proof": "v1.k.p.m", "amount_usdc": amount, "expires_at": "2026-11-20T10:05:00Z"}
    return Answer(200, json=made)


def client(server: FakeServer, purse: Purse | None = ORDINARY) -> Client:
    return Client(URL, server.issue(), http=server.http(), purse=purse, sleep=lambda _: None)


def send(box: Client) -> Any:
    return box.send("mbx_01", "ada@shop.example", "Hi", "Hello")


def test_what_is_not_free_is_paid_and_done() -> None:
    server = FakeServer()
    server.script[SEND], server.script[PROOF] = [unpaid()], [proof()]
    assert send(client(server)).send_attempt_id == SUBMITTED["send_attempt_id"]
    assert server.paths() == ["POST /v2/messages/send", "POST /v2/payments/proof", "POST /v2/messages/send"]
    first, paid, again = server.calls
    assert json.loads(paid.content) == {"method": "POST", "path": "/v2/messages/send", "quantity": 3}
    assert (first.headers.get("x-payment-proof"), again.headers["x-payment-proof"]) == (None, "v1.k.p.m")
    assert first.content == again.content
    assert first.headers["idempotency-key"] == again.headers["idempotency-key"]


def test_a_query_is_no_part_of_what_is_paid_for() -> None:
    server = FakeServer()
    server.script["GET", "/v2/messages"], server.script[PROOF] = [unpaid(quantity=None)], [proof()]
    assert len(list(client(server).messages("mbx_01"))) == 1
    assert json.loads(server.calls[1].content) == {"method": "GET", "path": "/v2/messages"}


@pytest.mark.parametrize(
    ("each", "total", "asked"),
    [("0.002999", "1", "0.003000"), ("1", "0.002999", "0.003000"), ("0", "0", "0.000001")],
)
def test_more_than_allowed_is_not_paid(each: str, total: str, asked: str) -> None:
    server = FakeServer()
    server.script[SEND] = [unpaid(asked)]
    with pytest.raises(TooDear, match=f"costs {asked} USDC"):
        send(client(server, Purse(Usdc.parse(each), Usdc.parse(total))))
    assert len(server.calls) == 1


def test_the_total_counts_over_calls() -> None:
    server = FakeServer()
    server.script[SEND], server.script[PROOF] = [unpaid(), Answer(202, json=SUBMITTED), unpaid()], [proof(), proof()]
    box = client(server, Purse(Usdc.parse("0.003000"), Usdc.parse("0.005999")))
    send(box)
    with pytest.raises(TooDear, match=r"0\.003000 of which is gone"):
        send(box)


def test_a_proof_dearer_than_announced_is_not_used() -> None:
    server = FakeServer()
    server.script[SEND], server.script[PROOF] = [unpaid("0.000001")], [proof("5.000000")]
    with pytest.raises(TooDear, match=r"costs 5\.000000"):
        send(client(server))
    assert server.paths().count("POST /v2/messages/send") == 1


def test_without_a_purse_nothing_is_paid() -> None:
    server = FakeServer()
    server.script[SEND] = [unpaid()]
    with pytest.raises(ApiError, match="402 payment_required"):
        send(client(server, None))
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        {"error": "invalid_payment_proof"},
        {"accepts": []},
        {"amount_usdc": "much"},
        {"amount_usdc": None},
        {"accepts": None},
    ],
    ids=["wrong proof", "no way to pay", "no amount", "null", "null ways"],
)
def test_what_paying_cannot_mend_is_told(refusal: dict[str, Any]) -> None:
    server = FakeServer()
    server.script[SEND] = [unpaid(**refusal)]
    with pytest.raises(ApiError, match="402"):
        send(client(server))
    assert len(server.calls) == 1


def test_it_pays_once_for_a_call() -> None:
    server = FakeServer()
    server.script[SEND], server.script[PROOF] = [unpaid(), unpaid()], [proof()]
    with pytest.raises(ApiError, match="402"):
        send(client(server))
    assert server.paths().count("POST /v2/payments/proof") == 1


def test_a_tenant_with_nothing_left_is_told_so() -> None:
    server = FakeServer()
    server.script[SEND] = [unpaid()]
    server.script[PROOF] = [unpaid(accepts=[], reasons=[{"code": "credit_limit"}])]
    with pytest.raises(ApiError) as told:
        send(client(server))
    assert told.value.fields["reasons"] == [{"code": "credit_limit"}]


@pytest.mark.parametrize(
    "offers",
    [["x"], [{}], [{"request": None}], [{"request": {"body": []}}], [{"request": {"body": {"quantity": "x"}}}]],
)
def test_odd_offers_are_read_as_one_unit(offers: list[Any]) -> None:
    server = FakeServer()
    server.script[SEND], server.script[PROOF] = [unpaid(accepts=offers)], [proof()]
    send(client(server))
    assert "quantity" not in json.loads(server.calls[1].content)
