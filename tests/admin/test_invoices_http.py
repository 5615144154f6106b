"""Issuing, voiding and refunding invoices as an admin; what the tenant sees; that the books agree."""

import asyncio

import httpx
import pytest

from leasebox.billing import invoices
from tests.admin.desk import actor, admin, audited, said, tenant_of
from tests.billing.shop import balance, books_agree, lease_with, proof, use_up
from tests.kit import Agent, House

INVOICES = "/v2/admin/invoices"


async def with_usage(house: House, granted: str | None = None) -> tuple[Agent, str]:
    """An agent with two paid leases in a month that is over; on credit, or from the balance that it was granted."""
    agent, owner = await house.agent(), await admin(house)
    if granted is not None:
        path = f"/v2/admin/tenants/{tenant_of(agent)}/grants"
        await said(await owner.post(path, json={"amount_usdc": granted}), 201)
    await use_up(agent, 5)
    for _ in range(2):
        assert (await lease_with(agent, await proof(agent))).status_code == 201
    period = house.clock.now().strftime("%Y-%m")
    house.clock.advance(days=32)
    return await house.agent(agent.wallet), period


async def issue(http: httpx.AsyncClient, agent: Agent, period: str) -> httpx.Response:
    return await http.post(INVOICES, json={"tenant_id": tenant_of(agent), "period": period})


async def test_an_invoice_is_issued_once_and_its_tenant_sees_it(run: House) -> None:
    agent, period = await with_usage(run)
    owner, second = await admin(run), await admin(run, "operator")
    answers = await asyncio.gather(*(issue(http, agent, period) for http in [owner, second] * 4))
    assert {each.status_code for each in answers} == {201}, [each.text for each in answers]
    (invoice_id,) = {each.json()["invoice_id"] for each in answers}
    told = answers[0].json()
    assert (told["state"], told["events"], told["total_usdc"], told["due_usdc"]) == (
        "issued",
        7,
        "0.002000",
        "0.002000",
    )
    (mine,) = (await said(await agent.http.get("/v2/billing/invoices")))["items"]
    assert mine["invoice_id"] == invoice_id
    assert (await said(await owner.get(f"{INVOICES}/{invoice_id}")))["lines"][0]["paid_quantity"] == 2
    rows = await audited(run, action="invoice.issue")
    assert [row["resource"] for row in rows] == [invoice_id]
    assert rows[0]["actor"] in {actor("owner"), actor("operator")}
    await books_agree(run)


async def test_void_gives_back_what_was_on_credit(run: House) -> None:
    agent, period = await with_usage(run)
    owner = await admin(run)
    invoice_id = (await said(await issue(owner, agent, period), 201))["invoice_id"]
    assert (await balance(agent))["owed_usdc"] == "0.002000"
    bodies = [{"reason": "wrong"}] * 3
    answers = await asyncio.gather(*(owner.post(f"{INVOICES}/{invoice_id}/void", json=each) for each in bodies))
    assert sorted(each.status_code for each in answers) == [200, 409, 409]
    assert (await balance(agent))["owed_usdc"] == "0.000000"
    (row,) = await audited(run, action="invoice.void")
    assert (row["actor"], row["detail"]["reason"]) == (actor(), "wrong")
    assert row["detail"]["amount_usdc"] == "0.002000"
    await books_agree(run)


async def test_what_was_given_to_the_balance_is_a_409_to_void(run: House) -> None:
    agent, period = await with_usage(run)
    owner, of_tenant = await admin(run), f"/v2/admin/tenants/{tenant_of(agent)}"
    await said(await owner.post(f"{of_tenant}/grants", json={"amount_usdc": "0.01"}), 201)
    told = await said(await issue(owner, agent, period), 201)
    assert told["state"] == "paid"
    moved = (await said(await owner.get(f"{of_tenant}/ledger")))["items"]
    for kind in ("spend", "settlement"):
        wrong = next(each["transfer_id"] for each in moved if each["kind"] == kind)
        await said(await owner.post(f"{of_tenant}/reversals", json={"transfer_id": wrong}), 201)
    refused = await owner.post(f"{INVOICES}/{told['invoice_id']}/void", json={"reason": "wrong"})
    assert (refused.status_code, refused.json()["error"]) == (409, "conflict")
    assert "credit note" in refused.json()["fix"]
    await books_agree(run)


async def test_too_many_charges_to_void_are_a_422_that_is_declared(run: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invoices, "MOST_VOIDED", 1)
    agent, period = await with_usage(run)
    owner = await admin(run)
    invoice_id = (await said(await issue(owner, agent, period), 201))["invoice_id"]
    assert (await owner.post(f"{INVOICES}/{invoice_id}/void", json={"reason": "wrong"})).status_code == 422
    described = (await run.client().get("/openapi.json")).json()["paths"]
    assert "422" in described["/v2/admin/invoices/{invoice_id}/void"]["post"]["responses"]


async def test_a_repeated_void_is_answered_as_the_first(run: House) -> None:
    agent, period = await with_usage(run)
    owner = await admin(run)
    invoice_id = (await said(await issue(owner, agent, period), 201))["invoice_id"]
    path, key = f"{INVOICES}/{invoice_id}/void", {"idempotency-key": "once"}
    first, second = [await owner.post(path, json={"reason": "wrong"}, headers=key) for _ in range(2)]
    assert (first.status_code, second.status_code, first.json()["state"]) == (200, 200, "void")
    assert (second.json(), second.headers["idempotent-replayed"]) == (first.json(), "true")


async def test_a_refund_of_what_was_prepaid_goes_to_the_balance(run: House) -> None:
    agent, period = await with_usage(run, granted="1")
    owner = await admin(run)
    invoice_id = (await said(await issue(owner, agent, period), 201))["invoice_id"]
    assert (await balance(agent))["balance_usdc"] == "0.998000"
    path = f"{INVOICES}/{invoice_id}/refunds"
    spent = (await said(await agent.http.get("/v2/billing/ledger", params={"limit": 100})))["items"]
    one = next(each["event_id"] for each in spent if each["kind"] == "spend")
    note = await said(await owner.post(path, json={"reason": "sorry", "event_ids": [one]}), 201)
    assert (note["amount_usdc"], note["event_ids"]) == ("0.001000", [one])
    assert (await balance(agent))["balance_usdc"] == "0.999000"
    again = await owner.post(path, json={"reason": "sorry", "event_ids": [one]})
    assert again.status_code == 409
    rest = await said(await owner.post(path, json={"reason": "all"}, headers={"idempotency-key": "r"}), 201)
    assert rest == await said(await owner.post(path, json={"reason": "all"}, headers={"idempotency-key": "r"}), 201)
    assert (await balance(agent))["balance_usdc"] == "1.000000"
    assert (await owner.post(path, json={"reason": "more"})).status_code == 422
    rows = await audited(run, action="invoice.credit")
    assert [row["detail"]["amount_usdc"] for row in rows] == ["0.001000", "0.001000"]
    bill = await said(await agent.http.get(f"/v2/billing/invoices/{invoice_id}"))
    assert len(bill["credit_notes"]) == 2
    await books_agree(run)


async def test_the_list_filters(run: House) -> None:
    one, period = await with_usage(run)
    owner = await admin(run)
    invoice_id = (await said(await issue(owner, one, period), 201))["invoice_id"]

    async def found(**params: str) -> list[str]:
        return [each["invoice_id"] for each in (await said(await owner.get(INVOICES, params=params)))["items"]]

    assert await found() == [invoice_id]
    assert await found(tenant_id=tenant_of(one), period=period, state="issued") == [invoice_id]
    assert await found(state="void") == []
    assert await found(period="2001-01") == []
    assert await found(tenant_id="ten_" + "0" * 26) == []
    searched = (await said(await owner.get("/v2/admin/tenants", params={"q": invoice_id})))["items"]
    assert [each["tenant_id"] for each in searched] == [tenant_of(one)]


@pytest.mark.parametrize("period", ["2001-01", "9998-12"])
async def test_months_without_an_invoice(run: House, owner: httpx.AsyncClient, period: str) -> None:
    agent = await run.agent()
    assert (await issue(owner, agent, period)).status_code == 422
    assert await audited(run) == []


async def test_what_is_unknown(run: House, owner: httpx.AsyncClient) -> None:
    for invoice_id in ("inv_" + "0" * 26, "nothing"):
        assert (await owner.get(f"{INVOICES}/{invoice_id}")).status_code == 404
        for verb in ("void", "refunds"):
            assert (await owner.post(f"{INVOICES}/{invoice_id}/{verb}", json={"reason": "x"})).status_code == 404
    unknown = {"tenant_id": "ten_" + "0" * 26, "period": "2001-01"}
    assert (await owner.post(INVOICES, json=unknown)).status_code == 404
    assert (await owner.post(INVOICES, json={**unknown, "period": "2001-13"})).status_code == 400
