"""Paying over the routes: free, refused with the way to pay, paid once; prices, balance, ledger, caps."""

import asyncio
import base64
from datetime import timedelta
from typing import Any

import pytest

from leasebox.billing.model import PROOF_ROUTE
from leasebox.billing.prices import METERED_ROUTES, METERED_TEMPLATES, Meter
from leasebox.billing.proof import Claims, sign
from leasebox.values.keys import Purpose, derive
from leasebox.values.money import Usdc
from leasebox.values.paths import Route
from leasebox.values.secret import Secret
from tests.billing.shop import (
    LEASES,
    MESSAGES,
    SEND,
    WAIT,
    ask_proof,
    balance,
    books_agree,
    count,
    fund,
    lease_with,
    proof,
    tenant_of,
    use_up,
)
from tests.kit import Agent, House


async def test_free_then_402_then_paid_then_replayed(shop: House) -> None:
    agent = await shop.agent()
    await use_up(agent)
    refused = await lease_with(agent)
    assert refused.status_code == 402
    said = refused.json()
    assert (said["error"], said["meter"], said["amount_usdc"]) == ("payment_required", "mailbox.lease", "0.001000")
    reason = said["reasons"][0]
    assert (reason["code"], reason["limit"], reason["window"]) == ("allowance_used", 2, "hour")
    assert reason["resets_at"].endswith(":00:00Z")
    way = said["accepts"][0]["request"]
    issued = await agent.http.request(way["method"], way["path"], json=way["body"])
    assert (issued.status_code, issued.json()["amount_usdc"]) == (200, "0.001000")
    assert (await balance(agent))["held_usdc"] == "0.001000"
    text = issued.json()["x_payment_proof"]
    assert (await lease_with(agent, text)).status_code == 201
    after = await balance(agent)
    assert (after["held_usdc"], after["owed_usdc"], after["credit_left_usdc"]) == ("0.000000", "0.001000", "0.049000")
    again = await lease_with(agent, text)
    assert (again.status_code, again.json()["error"]) == (402, "invalid_payment_proof")
    assert again.json()["reason"] == "replayed"
    assert again.json()["accepts"]
    await books_agree(shop)


async def test_a_proof_sent_along_a_free_call_stays_unspent(shop: House) -> None:
    agent = await shop.agent()
    text = await proof(agent)
    assert (await lease_with(agent, text)).status_code == 201
    assert (await lease_with(agent, "no proof at all")).status_code == 201
    assert (await lease_with(agent, text)).status_code == 201
    assert (await lease_with(agent, text)).json()["reason"] == "replayed"
    assert await count(shop, "SELECT sum(amount_micros) FROM usage_events") == 1_000
    await books_agree(shop)


async def test_the_allowance_comes_back_with_the_next_window(shop: House) -> None:
    agent = await shop.agent()
    await use_up(agent)
    assert (await lease_with(agent)).status_code == 402
    shop.clock.advance(hours=1)
    fresh = await shop.agent(agent.wallet)
    await use_up(fresh)
    assert (await lease_with(fresh)).status_code == 402


@pytest.mark.parametrize("wrong", [{"local_part": "admin"}, {"domain": "elsewhere.example"}, {"agent_id": "agt_0"}])
async def test_work_that_fails_costs_nothing_and_leaves_the_proof_good(shop: House, wrong: dict[str, Any]) -> None:
    agent = await shop.agent()
    order = {"agent_id": agent.agent_id, "purpose": "test", "ttl_hours": 1}
    assert (await agent.http.post(LEASES, json=order | wrong)).status_code in (404, 422)
    await use_up(agent)
    text = await proof(agent)
    refused = await agent.http.post(LEASES, json=order | wrong, headers={"x-payment-proof": text})
    assert refused.status_code in (404, 422)
    assert (await balance(agent))["held_usdc"] == "0.001000"
    assert (await lease_with(agent, text)).status_code == 201
    assert await count(shop, "SELECT count(*) FROM usage_events") == 3
    await books_agree(shop)


def forged(agent: Agent, **changes: Any) -> str:
    """A proof as our own key would sign it, but never issued."""
    secret, at = changes.pop("secret", None), changes.pop("at", None)
    route = changes.pop("route", Route("POST", LEASES))
    claims = Claims.issue(
        changes.pop("tenant", tenant_of(agent)),
        route,
        meter=Meter.MAILBOX_LEASE,
        amount=Usdc(1_000),
        price_version=1,
        now=at,
    )
    return sign(claims, derive(secret, Purpose.PAYMENT_PROOF)).reveal()


@pytest.mark.parametrize(
    "reason",
    [
        "malformed",
        "unknown_key",
        "bad_mac",
        "not_yet_valid",
        "expired",
        "foreign_tenant",
        "wrong_method",
        "wrong_path",
        "replayed",
        "unknown",
    ],
)
async def test_every_reason_to_refuse_a_proof(shop: House, reason: str) -> None:
    agent = await shop.agent()
    await use_up(agent)
    master, now = shop.settings.secret, shop.clock.now()
    match reason:
        case "malformed":
            text = "v1.00000000.AAAA"
        case "unknown_key":
            text = forged(agent, secret=Secret("another master of forty characters or so"), at=now)
        case "bad_mac":
            text = (await proof(agent))[:-3] + "AAA"
        case "not_yet_valid":
            text = forged(agent, secret=master, at=now + timedelta(seconds=60))
        case "expired":
            text = await proof(agent)
            shop.clock.advance(seconds=121)
        case "foreign_tenant":
            text = await proof(await shop.agent())
        case "wrong_method":
            text = forged(agent, secret=master, at=now, route=Route("GET", LEASES))
        case "wrong_path":
            text = await proof(agent, SEND)
        case "replayed":
            text = await proof(agent)
            assert (await lease_with(agent, text)).status_code == 201
        case _:
            text = forged(agent, secret=master, at=now)
    before = await count(shop, "SELECT count(*) FROM usage_events")
    answer = await lease_with(agent, text)
    assert (answer.status_code, answer.json()["error"]) == (402, "invalid_payment_proof")
    assert answer.json()["reason"] == reason
    assert await count(shop, "SELECT count(*) FROM usage_events") == before
    assert await count(shop, "SELECT count(*) FROM facts WHERE type = 'usage.denied'") == 1
    await books_agree(shop)


async def test_an_expired_hold_is_the_tenants_again_without_any_job(shop: House) -> None:
    agent = await shop.agent()
    asked = [await ask_proof(agent) for _ in range(51)]
    assert [answer.status_code for answer in asked] == [200] * 50 + [402]
    shop.clock.advance(seconds=120)
    said = await balance(agent)
    assert (said["held_usdc"], said["owed_usdc"], said["credit_left_usdc"]) == ("0.000000", "0.000000", "0.050000")
    again = [await ask_proof(agent) for _ in range(51)]
    assert [answer.status_code for answer in again] == [200] * 50 + [402]
    await books_agree(shop)


async def test_nothing_left_says_so_and_balance_comes_first(shop: House) -> None:
    agent = await shop.agent()
    await fund(shop, agent, "0.001500")
    await proof(agent)
    said = await balance(agent)
    assert (said["balance_usdc"], said["held_usdc"], said["owed_usdc"]) == ("0.000500", "0.001000", "0.000000")
    await proof(agent)
    assert (await balance(agent))["owed_usdc"] == "0.001000"
    for _ in range(49):
        await proof(agent)
    refused = await ask_proof(agent)
    assert refused.status_code == 402
    reason = refused.json()["reasons"][0]
    assert (reason["code"], reason["limit"], reason["left"]) == ("credit_limit", "0.050000", "0.000500")
    assert refused.json()["amount_usdc"] == "0.001000"
    await books_agree(shop)


async def test_an_unbound_tenant_has_no_credit(shop: House) -> None:
    agent = await shop.agent()
    await shop.db.transact(lambda tx: tx.run("DELETE FROM wallets"))
    assert (await ask_proof(agent)).json()["reasons"][0]["limit"] == "0.000000"
    await fund(shop, agent, "0.001000")
    assert (await ask_proof(agent)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "why"),
    [
        ("GET", LEASES, "not_metered"),
        ("POST", "/v2/payments/proof", "not_metered"),
        ("post", LEASES, "method"),
        ("HEAD", MESSAGES, "head"),
        ("POST", "//v2/mailboxes/leases", "empty_segment"),
        ("POST", "/v2/mailboxes//leases", "empty_segment"),
        ("POST", LEASES + "/", "trailing_slash"),
        ("POST", "/v2/%6dailboxes/leases", "percent_encoding"),
        ("POST", "/v2/mailboxes/x/../leases", "dot_segment"),
        ("POST", "/V2/mailboxes/leases", "upper_case"),
        ("POST", "http://leasebox.test" + LEASES, "not_absolute"),
        ("POST", LEASES + ";a=1", "path_parameters"),
        ("GET", "/v2/messages/msg_0", "not_metered"),
    ],
)
async def test_what_cannot_be_paid_for_is_400(shop: House, method: str, path: str, why: str) -> None:
    agent = await shop.agent()
    answer = await ask_proof(agent, path, method)
    assert (answer.status_code, answer.json()["reason"]) == (400, why)


async def test_a_query_is_no_part_of_what_is_paid_for(shop: House) -> None:
    agent = await shop.agent()
    answer = await ask_proof(agent, MESSAGES + "?mailbox_id=x", "GET")
    assert answer.json()["path"] == MESSAGES


@pytest.mark.parametrize("path", ["//v2/messages", "/v2/messages/", "/v2/%6dessages", "/v2/messages;", "/v2/Messages"])
async def test_a_proof_opens_no_other_spelling(shop: House, path: str) -> None:
    agent = await shop.agent()
    text = await proof(agent, MESSAGES, "GET")
    for _ in range(3):
        assert (await agent.http.get(MESSAGES)).status_code == 200
    answer = await agent.http.get(path, headers={"x-payment-proof": text})
    assert answer.status_code == 404
    head = await agent.http.head(MESSAGES, headers={"x-payment-proof": text})
    assert head.status_code == 405
    override = {"x-payment-proof": text, "x-http-method-override": "GET"}
    assert (await agent.http.post(MESSAGES, headers=override)).status_code == 405
    assert (await agent.http.get(MESSAGES + "?limit=5", headers={"x-payment-proof": text})).status_code == 200
    await books_agree(shop)


async def test_listing_and_waiting_share_a_meter_but_not_a_proof(shop: House) -> None:
    agent = await shop.agent()
    mailbox = (await agent.lease())["mailbox_id"]
    for _ in range(3):
        assert (await agent.http.get(MESSAGES)).status_code == 200
    assert (await agent.http.get(MESSAGES)).json()["meter"] == "message.read"
    asked = {"mailbox_id": mailbox, "timeout_s": 1}
    assert (await agent.http.get(WAIT, params=asked)).status_code == 402
    listing = {"x-payment-proof": await proof(agent, MESSAGES, "GET")}
    assert (await agent.http.get(WAIT, params=asked, headers=listing)).json()["reason"] == "wrong_path"
    waiting = {"x-payment-proof": await proof(agent, WAIT, "GET")}
    assert (await agent.http.get(WAIT, params=asked, headers=waiting)).status_code == 204
    assert (await balance(agent))["held_usdc"] == "0.000200"


async def test_quantity_is_for_recipients_only(shop: House) -> None:
    agent = await shop.agent()
    many = await ask_proof(agent, SEND, quantity=25)
    assert (many.json()["quantity"], many.json()["amount_usdc"]) == (25, "0.025000")
    assert (await ask_proof(agent, LEASES, quantity=2)).json()["reason"] == "quantity"
    assert (await ask_proof(agent, SEND, quantity=0)).status_code == 400
    assert (await ask_proof(agent, SEND, quantity=101)).status_code == 400


async def test_prices_name_every_payable_route(shop: House) -> None:
    agent = await shop.agent()
    await use_up(agent, 1)
    items = (await agent.http.get("/v2/billing/prices")).json()["items"]
    assert {(route["method"], route["path"]) for item in items for route in item["routes"]} == {
        (route.method, route.path) for route in (*METERED_ROUTES, *METERED_TEMPLATES)
    }
    lease = next(item for item in items if item["meter"] == "mailbox.lease")
    assert (lease["price_usdc"], lease["price_version"], lease["unit"]) == ("0.001000", 1, "call")
    assert (lease["allowance"]["limit"], lease["allowance"]["used"], lease["allowance"]["window"]) == (2, 1, "hour")
    versions = (await agent.http.get("/v2/billing/prices/versions")).json()["items"]
    assert [(each["meter"], each["price_version"]) for each in versions] == sorted((str(meter), 1) for meter in Meter)


async def test_the_ledger_lists_newest_first(shop: House) -> None:
    agent = await shop.agent()
    await fund(shop, agent, "1")
    await use_up(agent)
    await lease_with(agent, await proof(agent))
    shop.clock.advance(seconds=1)
    await proof(agent)
    first = (await agent.http.get("/v2/billing/ledger", params={"limit": 3})).json()
    rest = (await agent.http.get("/v2/billing/ledger", params={"cursor": first["next_cursor"]})).json()
    kinds = [(each["kind"], each["debit"], each["credit"]) for each in first["items"] + rest["items"]]
    assert kinds[0] == ("hold", "balance", "held")
    assert sorted(kinds[1:3]) == [("hold", "balance", "held"), ("spend", "held", "revenue")]
    assert kinds[3] == ("grant", "promotions", "balance")
    assert rest["next_cursor"] is None


async def test_a_tenant_sees_only_its_own(shop: House) -> None:
    payer, other = await shop.agent(), await shop.agent()
    await use_up(payer)
    await lease_with(payer, await proof(payer))
    assert (await other.http.get("/v2/billing/ledger")).json()["items"] == []
    assert (await other.http.get("/v2/usage/events")).json()["items"] == []
    assert (await balance(other))["owed_usdc"] == "0.000000"


async def key_with(agent: Agent, *scopes: str) -> dict[str, Any]:
    answer = await agent.http.post("/v2/api-keys", json={"name": "k", "scopes": list(scopes)})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v2/payments/proof", "billing:pay"),
        ("GET", "/v2/billing/balance", "billing:read"),
        ("GET", "/v2/billing/ledger", "billing:read"),
        ("GET", "/v2/billing/prices", "billing:read"),
        ("GET", "/v2/billing/prices/versions", "billing:read"),
        ("GET", "/v2/billing/caps", "billing:read"),
        ("GET", "/v2/usage/summary", "billing:read"),
        ("GET", "/v2/usage/events", "billing:read"),
        ("PUT", "/v2/billing/caps", "keys:write"),
    ],
)
async def test_scopes(shop: House, method: str, path: str, scope: str) -> None:
    agent = await shop.agent()
    key = await key_with(agent, "mail:read")
    http = shop.client(headers={"authorization": f"Bearer {key['api_key']}"})
    answer = await http.request(method, path, json={"method": "POST", "path": LEASES} if method != "GET" else None)
    assert (answer.status_code, answer.json()["scope"]) == (403, scope)
    assert (await shop.client().request(method, path)).status_code == 401


async def test_caps_over_the_routes(shop: House) -> None:
    agent = await shop.agent()
    key = await key_with(agent, "billing:pay", "billing:read", "mail:allocate")
    body = {"window": "day", "limit_usdc": "0.002", "api_key_id": key["api_key_id"]}
    stood = await agent.http.put("/v2/billing/caps", json=body)
    assert [(cap["api_key_id"], cap["limit_usdc"]) for cap in stood.json()["items"]] == [
        (key["api_key_id"], "0.002000")
    ]
    http = shop.client(headers={"authorization": f"Bearer {key['api_key']}"})
    wanted = {"method": "POST", "path": LEASES}
    assert [(await http.post("/v2/payments/proof", json=wanted)).status_code for _ in range(3)] == [200, 200, 402]
    refused = (await http.post("/v2/payments/proof", json=wanted)).json()
    assert refused["reasons"][0]["code"] == "spend_cap"
    assert refused["reasons"][0]["window"] == "day"
    assert (await ask_proof(agent)).status_code == 200
    listed = (await http.get("/v2/billing/caps")).json()["items"]
    assert listed[0]["used_usdc"] == "0.002000"
    await agent.http.put("/v2/billing/caps", json=body | {"limit_usdc": None})
    assert (await http.post("/v2/payments/proof", json=wanted)).status_code == 200


@pytest.mark.parametrize("limit", ["-1", "1e3", "0.0000001", "abc", "1000000000000000", 5])
async def test_a_cap_is_an_amount_of_usdc(shop: House, limit: Any) -> None:
    agent = await shop.agent()
    answer = await agent.http.put("/v2/billing/caps", json={"window": "day", "limit_usdc": limit})
    assert answer.status_code == 400


async def test_openapi_names_the_headers_and_the_402(shop: House) -> None:
    spec = (await shop.client().get("/openapi.json")).json()
    for route in (Route("POST", LEASES), Route("GET", MESSAGES), Route("GET", WAIT)):
        declared = spec["paths"][route.path][route.method.lower()]
        names = {each["name"].lower() for each in declared["parameters"] if each["in"] == "header"}
        assert "x-payment-proof" in names
        assert "402" in declared["responses"]
    for path in (LEASES, PROOF_ROUTE.path, "/v2/agents", "/v2/api-keys", "/v2/tenants/wallets"):
        names = {each["name"].lower() for each in spec["paths"][path]["post"].get("parameters", [])}
        assert "idempotency-key" in names


async def test_every_denial_is_a_fact(shop: House) -> None:
    agent = await shop.agent()
    await use_up(agent)
    await asyncio.gather(*(lease_with(agent) for _ in range(5)))
    await lease_with(agent, "nonsense")
    rows = await shop.db.read(lambda tx: tx.all("SELECT payload FROM facts WHERE type = 'usage.denied' ORDER BY id"))
    assert sorted(str(row["payload"]["reason"]) for row in rows) == ["None"] * 5 + ["malformed"]
    assert {row["payload"]["meter"] for row in rows} == {"mailbox.lease"}


async def test_a_proof_is_shown_to_nobody_else(shop: House) -> None:
    agent = await shop.agent()
    text = await proof(agent)
    mac = text.rpartition(".")[2]
    stored = await shop.db.read(lambda tx: tx.all("SELECT p::text AS line FROM payment_proofs p"))
    assert mac not in str(stored)
    assert base64.urlsafe_b64decode(mac + "=").hex() not in str(stored)


async def test_the_runtime_tells_prices_and_allowances(shop: House) -> None:
    said = (await shop.client().get("/v2/meta/runtime")).json()
    assert said["payment_mode"] == "hmac"
    assert said["limits"]["credit_limit_usdc"] == "0.050000"
    lease = next(each for each in said["prices"] if each["meter"] == "mailbox.lease")
    assert (lease["price_usdc"], lease["routes"]) == ("0.001000", ["POST /v2/mailboxes/leases"])
    assert {"meter": "mailbox.lease", "free": 2, "window": "hour"} in said["allowances"]
