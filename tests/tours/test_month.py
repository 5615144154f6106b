"""A tour: a month of use, free, prepaid and on credit; its invoice, checked offline down to one charge; and paid."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from leasebox.audit import merkle
from leasebox.billing.invoice_jobs import close_months
from leasebox.billing.usage import month_of
from leasebox.cli.billing import billing
from tests.billing.bills import all_agree
from tests.billing.shop import fund, lease_with, proof, shop_settings, use_up
from tests.fakes.clock import FakeClock
from tests.kit import Agent, House, opened


@pytest.fixture
async def shop(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """An instance that gives 2 leases an hour for nothing, on the 10th of a month."""
    clock = FakeClock()
    clock.advance(seconds=(month_of(clock.now()).end + timedelta(days=9) - clock.now()).total_seconds())
    async with opened(shop_settings(tmp_path, database_url, redis_url), clock) as one:
        yield one


async def test_from_the_first_free_call_to_the_paid_invoice(shop: House, tmp_path: Path) -> None:
    # An agent uses up what is free, then runs up two leases on credit.
    agent = await shop.agent()
    await use_up(agent, 2)
    assert (await lease_with(agent)).status_code == 402
    for _ in range(2):
        assert (await lease_with(agent, await proof(agent))).status_code == 201

    # It gets some balance, and pays the next lease from it.
    await fund(shop, agent, "0.001000")
    assert (await lease_with(agent, await proof(agent))).status_code == 201
    month = month_of(shop.clock.now())
    running = (await agent.http.get("/v2/usage/summary")).json()
    assert (running["events"], running["total_usdc"]) == (5, "0.003000")
    assert (await agent.http.get("/v2/billing/invoices")).json()["items"] == []

    # The month ends, and the worker closes it.
    shop.clock.advance(seconds=(month.end - shop.clock.now() + timedelta(minutes=20)).total_seconds())
    assert await close_months(shop.db, shop.clock) == 1
    agent = await shop.agent(agent.wallet)
    (listed,) = (await agent.http.get("/v2/billing/invoices")).json()["items"]
    path = f"/v2/billing/invoices/{listed['invoice_id']}"
    invoice = (await agent.http.get(path)).json()
    assert (invoice["period"], invoice["state"], invoice["events"]) == (month.name, "issued", 5)
    assert [invoice[name] for name in ("total_usdc", "prepaid_usdc", "due_usdc")] == [
        "0.003000",
        "0.001000",
        "0.002000",
    ]

    # It downloads the statement and checks it, without us.
    (tmp_path / "invoice.json").write_text(json.dumps(invoice))
    (tmp_path / "statement.csv").write_bytes((await agent.http.get(f"{path}/statement.csv")).content)
    assert verified(tmp_path)["sound"]
    forged = (tmp_path / "statement.csv").read_text().replace(",0.001000,0,1,", ",0.000500,0,1,")
    (tmp_path / "statement.csv").write_text(forged)
    assert not verified(tmp_path)["sound"]

    # One charge is proved by itself.
    (charge, *_) = (await agent.http.get("/v2/usage/events", params={"period": month.name})).json()["items"]
    evidence = (await agent.http.get(f"{path}/events/{charge['event_id']}/proof")).json()
    assert merkle.verify_inclusion(
        bytes.fromhex(evidence["leaf_hash"]),
        evidence["index"],
        evidence["size"],
        [bytes.fromhex(each) for each in evidence["hashes"]],
        bytes.fromhex(invoice["statement_hash"]),
    )

    # What is due is paid from the balance, once there is some.
    assert (await agent.http.post(f"{path}/pay")).status_code == 402
    await fund(shop, agent, "0.002000")
    assert (await agent.http.post(f"{path}/pay")).json()["state"] == "paid"
    assert (await owed(agent)) == ("0.000000", "0.000000")
    assert await close_months(shop.db, shop.clock) == 0
    await all_agree(shop)


def verified(folder: Path) -> Any:
    """What `leasebox billing verify` says."""
    files = (str(folder / "statement.csv"), "--invoice", str(folder / "invoice.json"))
    return json.loads(CliRunner().invoke(billing, ["verify", *files, "--json"]).stdout)


async def owed(agent: Agent) -> tuple[str, str]:
    """The agent's balance, and what it owes."""
    said = (await agent.http.get("/v2/billing/balance")).json()
    return said["balance_usdc"], said["owed_usdc"]
