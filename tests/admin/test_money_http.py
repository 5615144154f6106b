"""Grants, reversals, limits, caps and prices by admins; what the tenant has of them; that the books agree."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.admin.desk import actor, admin, audited, said, tenant_of
from tests.billing.shop import LEASES, ask_proof, balance, books_agree, lease_with, proof
from tests.kit import Agent, House

LEASE_METER = "/v2/admin/billing/prices/mailbox.lease"


def of(agent: Agent, what: str) -> str:
    return f"/v2/admin/tenants/{tenant_of(agent)}/{what}"


async def price(owner: httpx.AsyncClient, usdc: str, free: int = 0, **more: Any) -> httpx.Response:
    return await owner.put(LEASE_METER, json={"free": free, "window": "hour", "price_usdc": usdc, **more})


async def test_a_grant_is_balance_at_once(run: House, owner: httpx.AsyncClient) -> None:
    agent, other = await run.agent(), await run.agent()
    made = await said(await owner.post(of(agent, "grants"), json={"amount_usdc": "2.5", "note": "welcome"}), 201)
    assert made["balance"]["balance_usdc"] == "2.500000"
    assert (await balance(agent))["balance_usdc"] == "2.500000"
    assert (await balance(other))["balance_usdc"] == "0.000000"
    (row,) = await audited(run)
    assert (row["action"], row["actor"], row["resource"]) == ("balance.grant", actor(), made["transfer_id"])
    assert row["detail"] == {"amount_usdc": "2.500000", "note": "welcome"}
    (transfer,) = (await said(await agent.http.get("/v2/billing/ledger")))["items"]
    assert (transfer["kind"], transfer["note"]) == ("grant", "welcome")
    await books_agree(run)


async def test_a_repeated_grant_under_one_key_is_given_once(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    headers = {"idempotency-key": "g1"}
    body = {"amount_usdc": "1"}
    answers = await asyncio.gather(*(owner.post(of(agent, "grants"), json=body, headers=headers) for _ in range(10)))
    assert {each.status_code for each in answers} == {201}
    assert len({each.json()["transfer_id"] for each in answers}) == 1
    assert (await balance(agent))["balance_usdc"] == "1.000000"
    other = await owner.post(of(agent, "grants"), json={"amount_usdc": "2"}, headers=headers)
    assert (other.status_code, other.json()["error"]) == (409, "idempotency_mismatch")


async def test_grants_of_many_admins_add_up(run: House, owner: httpx.AsyncClient) -> None:
    agent, second = await run.agent(), await admin(run)
    answers = await asyncio.gather(
        *(http.post(of(agent, "grants"), json={"amount_usdc": "0.000001"}) for http in [owner, second] * 20)
    )
    assert {each.status_code for each in answers} == {201}
    assert (await balance(agent))["balance_usdc"] == "0.000040"
    assert len(await audited(run, action="balance.grant")) == 40
    await books_agree(run)


@pytest.mark.parametrize("amount", ["0", "0.000000", "1000000.000001", "999999999999"])
async def test_amounts_that_are_not_granted(run: House, owner: httpx.AsyncClient, amount: str) -> None:
    agent = await run.agent()
    assert (await owner.post(of(agent, "grants"), json={"amount_usdc": amount})).status_code == 422
    assert await audited(run) == []


@pytest.mark.parametrize("amount", ["-1", "1.0000001", "1e3", " 1", "", "NaN", 1])
async def test_what_is_no_amount(run: House, owner: httpx.AsyncClient, amount: object) -> None:
    agent = await run.agent()
    assert (await owner.post(of(agent, "grants"), json={"amount_usdc": amount})).status_code == 400


async def test_a_charge_is_given_back_by_a_transfer(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    await said(await price(owner, "0.25"))
    await said(await owner.post(of(agent, "grants"), json={"amount_usdc": "1"}), 201)
    assert (await lease_with(agent, await proof(agent))).status_code == 201
    spend = (await said(await owner.get(of(agent, "ledger"))))["items"][0]
    assert (spend["kind"], spend["amount_usdc"]) == ("spend", "0.250000")
    body = {"transfer_id": spend["transfer_id"], "note": "sorry"}
    answers = await asyncio.gather(*(owner.post(of(agent, "reversals"), json=body) for _ in range(5)))
    assert sorted(each.status_code for each in answers) == [201] + [409] * 4
    assert (await balance(agent))["balance_usdc"] == "1.000000"
    rows = await audited(run, action="transfer.reverse")
    assert [(row["resource"], row["detail"]["note"]) for row in rows] == [(spend["transfer_id"], "sorry")]
    assert rows[0]["detail"]["amount_usdc"] == "0.250000"
    await books_agree(run)


async def test_another_tenants_transfer_is_not_reversed(run: House, owner: httpx.AsyncClient) -> None:
    agent, other = await run.agent(), await run.agent()
    made = await said(await owner.post(of(agent, "grants"), json={"amount_usdc": "1"}), 201)
    refused = await owner.post(of(other, "reversals"), json={"transfer_id": made["transfer_id"]})
    assert refused.status_code == 404
    assert (await balance(agent))["balance_usdc"] == "1.000000"


async def test_a_credit_limit_is_felt_at_once_and_written_down_with_what_it_was(
    run: House, owner: httpx.AsyncClient
) -> None:
    agent = await run.agent()
    await said(await price(owner, "0.01"))
    for limit in ("0", "0.02", None):
        told = await said(await owner.put(of(agent, "credit-limit"), json={"credit_limit_usdc": limit}))
        assert told["credit_limit_usdc"] == ("0.050000" if limit is None else f"{float(limit):.6f}")
        assert (await ask_proof(agent)).status_code == (402 if limit == "0" else 200)
    details = [row["detail"] for row in await audited(run, action="credit_limit.set")]
    seen = [(each["before"]["credit_limit_usdc"], each["after"]["credit_limit_usdc"]) for each in details]
    assert seen == [(None, "0.000000"), ("0.000000", "0.020000"), ("0.020000", None)]


async def test_a_cap_is_felt_at_once(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    await said(await price(owner, "0.01"))
    put = await owner.put(of(agent, "caps"), json={"window": "day", "limit_usdc": "0.015"})
    (cap,) = (await said(put))["items"]
    assert (cap["api_key_id"], cap["window"], cap["limit_usdc"]) == (None, "day", "0.015000")
    assert (await ask_proof(agent)).status_code == 200
    refused = await ask_proof(agent)
    assert (refused.status_code, refused.json()["reasons"][0]["code"]) == (402, "spend_cap")
    assert (await said(await owner.get(of(agent, "caps"))))["items"][0]["used_usdc"] == "0.010000"
    assert (await said(await owner.put(of(agent, "caps"), json={"window": "day", "limit_usdc": None})))["items"] == []
    assert (await ask_proof(agent)).status_code == 200
    details = [row["detail"] for row in await audited(run, action="spend_cap.set")]
    assert [(each["before"]["limit_usdc"], each["after"]["limit_usdc"]) for each in details] == [
        (None, "0.015000"),
        ("0.015000", None),
    ]


async def test_a_new_price_makes_new_quotes_and_old_proofs_keep_theirs(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    await said(await owner.post(of(agent, "grants"), json={"amount_usdc": "10"}), 201)
    first = await said(await price(owner, "0.1"))
    old = await said(await ask_proof(agent))
    second = await said(await price(owner, "0.7", note="dearer"))
    assert second["price_version"] == first["price_version"] + 1
    new = await said(await ask_proof(agent))
    assert (old["amount_usdc"], new["amount_usdc"]) == ("0.100000", "0.700000")
    for text in (old["x_payment_proof"], new["x_payment_proof"]):
        assert (await lease_with(agent, text)).status_code == 201
    assert (await balance(agent))["balance_usdc"] == "9.200000"
    shown = await said(await agent.http.get("/v2/billing/prices"))
    assert next(each for each in shown["items"] if each["meter"] == "mailbox.lease")["price_usdc"] == "0.700000"
    row = (await audited(run, action="price.change"))[-1]
    assert (row["actor"], row["resource"], row["detail"]["note"]) == (actor(), "mailbox.lease", "dearer")
    assert (row["detail"]["before"]["price_usdc"], row["detail"]["after"]["price_usdc"]) == ("0.100000", "0.700000")
    await books_agree(run)


async def test_the_same_price_again_is_no_new_version(run: House, owner: httpx.AsyncClient) -> None:
    one, again = [await said(await price(owner, "0.1", free=3)) for _ in range(2)]
    assert one == again
    assert len(await audited(run, action="price.change")) == 1


async def test_of_many_price_changes_from_one_version_one_wins(run: House, owner: httpx.AsyncClient) -> None:
    now = (await said(await price(owner, "0.1")))["price_version"]
    answers = await asyncio.gather(*(price(owner, f"0.{n}", if_version=now) for n in range(2, 9)))
    assert sorted(each.status_code for each in answers) == [200] + [409] * 6
    assert next(each.json()["price_version"] for each in answers if each.status_code == 409) == now + 1
    assert len(await audited(run, action="price.change")) == 2


@pytest.mark.parametrize(
    ("meter", "body", "status"),
    [
        ("nothing", {"free": 0, "window": "hour", "price_usdc": "1"}, 404),
        ("mailbox.lease", {"free": 0, "window": "hour", "price_usdc": "1000000.000001"}, 422),
        ("mailbox.lease", {"free": -1, "window": "hour", "price_usdc": "1"}, 400),
        ("mailbox.lease", {"free": 2**31, "window": "hour", "price_usdc": "1"}, 400),
        ("mailbox.lease", {"free": 0, "window": "year", "price_usdc": "1"}, 400),
        ("mailbox.lease", {"free": 0, "window": "hour", "price_usdc": "1", "extra": 1}, 400),
    ],
)
async def test_prices_that_cannot_be(
    run: House, owner: httpx.AsyncClient, meter: str, body: dict[str, Any], status: int
) -> None:
    assert (await owner.put(f"/v2/admin/billing/prices/{meter}", json=body)).status_code == status
    assert await audited(run) == []


async def test_prices_lists_every_version_and_who_made_it(run: House, owner: httpx.AsyncClient) -> None:
    await said(await price(owner, "0.3"))
    items = (await said(await owner.get("/v2/admin/billing/prices")))["items"]
    made = [(each["price_version"], each["made_by"]) for each in items if each["meter"] == "mailbox.lease"]
    assert made == [(1, "book"), (2, actor())]


async def test_the_trial_balance_is_even(run: House, owner: httpx.AsyncClient) -> None:
    agent = await run.agent()
    await said(await price(owner, "0.2"))
    await said(await owner.post(of(agent, "grants"), json={"amount_usdc": "1"}), 201)
    assert (await lease_with(agent, await proof(agent))).status_code == 201
    told = await said(await owner.get("/v2/admin/billing/trial-balance"))
    assert told["debited_usdc"] == told["credited_usdc"] != "0.000000"
    assert told["discrepancies"] == []
    revenue = next(each for each in told["lines"] if each["ledger_account"] == "revenue")
    assert revenue["credited_usdc"] == "0.200000"


@pytest.mark.parametrize(
    ("method", "what", "body"),
    [
        ("GET", "balance", None),
        ("GET", "ledger", None),
        ("GET", "caps", None),
        ("POST", "grants", {"amount_usdc": "1"}),
        ("POST", "reversals", {"transfer_id": "trf_" + "0" * 26}),
        ("PUT", "credit-limit", {"credit_limit_usdc": "1"}),
        ("PUT", "caps", {"window": "day", "limit_usdc": "1"}),
    ],
)
async def test_an_unknown_tenant_is_a_404(
    run: House, owner: httpx.AsyncClient, method: str, what: str, body: Any
) -> None:
    answer = await owner.request(method, f"/v2/admin/tenants/ten_{'0' * 26}/{what}", json=body)
    assert answer.status_code == 404
    assert await audited(run) == []


async def test_the_ledger_has_pages(run: House, owner: httpx.AsyncClient) -> None:
    agent, other = await run.agent(), await run.agent()
    made = [await said(await owner.post(of(agent, "grants"), json={"amount_usdc": "1"}), 201) for _ in range(3)]
    await said(await owner.post(of(other, "grants"), json={"amount_usdc": "1"}), 201)
    first = await said(await owner.get(of(agent, "ledger"), params={"limit": 2}))
    second = await said(await owner.get(of(agent, "ledger"), params={"cursor": first["next_cursor"]}))
    seen = [each["transfer_id"] for each in first["items"] + second["items"]]
    assert seen == sorted((each["transfer_id"] for each in made), reverse=True)
    assert {each["tenant_id"] for each in first["items"]} == {tenant_of(agent)}


def test_the_route_that_these_prices_stand_on() -> None:
    assert LEASES == "/v2/mailboxes/leases"
