"""A month's sums and every metered call over the routes."""

import pytest

from tests.billing.shop import MESSAGES, lease_with, proof, use_up
from tests.kit import House


async def test_a_months_summary(shop: House) -> None:
    agent = await shop.agent()
    await use_up(agent)
    await lease_with(agent, await proof(agent))
    await agent.http.get(MESSAGES)
    said = (await agent.http.get("/v2/usage/summary")).json()
    assert said["period"] == f"{shop.clock.now():%Y-%m}"
    assert (said["events"], said["total_usdc"]) == (4, "0.001000")
    lease = said["meters"][0]
    assert (lease["meter"], lease["unit"], lease["quantity"]) == ("mailbox.lease", "call", 3)
    assert (lease["free_quantity"], lease["paid_quantity"], lease["amount_usdc"]) == (2, 1, "0.001000")
    assert lease["prices"] == [
        {
            "price_version": 1,
            "unit_price_usdc": "0.001000",
            "events": 3,
            "free_quantity": 2,
            "paid_quantity": 1,
            "amount_usdc": "0.001000",
        }
    ]
    allowance = next(each for each in said["allowances"] if each["meter"] == "message.read")
    assert (allowance["used"], allowance["limit"], allowance["window"]) == (1, 3, "day")


async def test_another_month_is_empty(shop: House) -> None:
    agent = await shop.agent()
    await use_up(agent, 1)
    said = (await agent.http.get("/v2/usage/summary", params={"period": "2020-02"})).json()
    assert (said["starts_at"], said["ends_at"], said["meters"]) == ("2020-02-01T00:00:00Z", "2020-03-01T00:00:00Z", [])
    assert (await agent.http.get("/v2/usage/events", params={"period": "2020-02"})).json()["items"] == []


@pytest.mark.parametrize("period", ["2026-13", "202611", "now", "2026-11-01"])
async def test_what_is_no_period(shop: House, period: str) -> None:
    agent = await shop.agent()
    for path in ("/v2/usage/summary", "/v2/usage/events"):
        assert (await agent.http.get(path, params={"period": period})).status_code == 400


async def test_events_newest_first_by_pages(shop: House) -> None:
    agent = await shop.agent()
    await use_up(agent)
    shop.clock.advance(seconds=1)
    await lease_with(agent, await proof(agent), **{"x-request-id": "req-of-mine"})
    shop.clock.advance(seconds=1)
    await agent.http.get(MESSAGES)
    first = (await agent.http.get("/v2/usage/events", params={"limit": 2})).json()
    rest = (await agent.http.get("/v2/usage/events", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [each["meter"] for each in first["items"]] == ["message.read", "mailbox.lease"]
    paid = first["items"][1]
    assert (paid["paid_quantity"], paid["amount_usdc"], paid["request_id"]) == (1, "0.001000", "req-of-mine")
    assert paid["proof_id"].startswith("prf_")
    assert paid["agent_id"] == agent.agent_id
    assert [each["amount_usdc"] for each in rest["items"]] == ["0.000000", "0.000000"]
    assert rest["next_cursor"] is None
    only = (await agent.http.get("/v2/usage/events", params={"meter": "message.read"})).json()["items"]
    assert len(only) == 1
    assert (await agent.http.get("/v2/usage/events", params={"meter": "gold"})).status_code == 400
