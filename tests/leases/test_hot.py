"""Lease and release in one statement each: refused as step by step, and a refused one leaves nothing behind."""

import asyncio
from typing import Any

import pytest

from leasebox.leases import hot
from leasebox.leases.model import LeaseOrder
from leasebox.values.ids import AgentId
from leasebox.wiring.process import lease_policy
from tests.billing.shop import books_agree, lease_with, proof, use_up
from tests.billing.told import acts_are_priced
from tests.kit import Agent, House

COUNTED = "SELECT (SELECT count(*) FROM usage_events), (SELECT coalesce(sum(used), 0) FROM allowance_counters)"
TOLD = "SELECT type, payload FROM facts WHERE type = 'lease.released' ORDER BY id"
ACTS = "SELECT action, actor, resource FROM audit_rows WHERE action LIKE 'lease.%' ORDER BY id"


async def counted(house: House) -> tuple[int, int]:
    row = (await house.db.read(lambda tx: tx.all(COUNTED)))[0]
    return int(row[0]), int(row[1])


async def release(agent: Agent, lease: dict[str, Any]) -> Any:
    return await agent.http.post(f"/v2/mailboxes/leases/{lease['lease_id']}/release")


async def test_a_lease_is_granted_metered_and_written_down(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease(metadata={"of": "mine"})
    assert lease["metadata"] == {"of": "mine"}
    assert lease["lease_status"] == "active"
    read = (await agent.http.get(f"/v2/mailboxes/leases/{lease['lease_id']}")).json()
    shared = set(read) & set(lease)
    assert {name: read[name] for name in shared} == {name: lease[name] for name in shared}
    assert await counted(house) == (1, 1)
    rows = await house.db.read(lambda tx: tx.all(ACTS))
    assert [tuple(row) for row in rows] == [("lease.grant", agent.agent_id, lease["lease_id"])]


@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "k"}], ids=["at_once", "step_by_step"])
async def test_the_audit_row_of_a_paid_lease_says_what_it_cost(house: House, headers: dict[str, str]) -> None:
    agent = await house.agent()
    await use_up(agent, 5)
    answer = await lease_with(agent, await proof(agent), **headers)
    assert answer.status_code == 201, answer.text
    found = "SELECT detail FROM audit_rows WHERE action = 'lease.grant' ORDER BY xid"
    details = [row["detail"] for row in await house.db.read(lambda tx: tx.all(found))]
    assert details == [{}] * 5 + [{"amount_usdc": "0.001000", "price_version": 1}]
    await acts_are_priced(house.db)
    await books_agree(house)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"local_part": "taken"}, 409, "address_taken"),
        ({"agent_id": str(AgentId(int=7 << 76 | 2 << 62))}, 404, "not_found"),
        ({"local_part": "-bad-"}, 422, None),
        ({"domain": "unknown.example"}, 422, None),
    ],
    ids=["taken", "agent", "name", "domain"],
)
async def test_a_refused_one_costs_nothing(house: House, change: dict[str, str], status: int, code: str | None) -> None:
    agent = await house.agent()
    await (await house.agent()).lease(local_part="taken")
    before = await counted(house)
    answer = await agent.ask_lease(**change)
    assert answer.status_code == status, answer.text
    assert code is None or answer.json()["error"] == code
    assert await counted(house) == before


async def test_a_released_name_is_its_last_tenants(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    first = await agent.lease(local_part="mine")
    assert (await release(agent, first)).status_code == 202
    assert (await other.ask_lease(local_part="mine")).status_code == 409
    again = await agent.lease(local_part="mine")
    assert again["mailbox_id"] == first["mailbox_id"]
    assert again["lease_id"] != first["lease_id"]


async def test_of_many_who_want_a_name_one_gets_it(house: House) -> None:
    agents = [await house.agent() for _ in range(4)]
    answers = await asyncio.gather(*(each.ask_lease(local_part="race") for each in agents for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 15
    assert (await counted(house))[0] == 1


async def test_a_generated_address_that_exists_is_drawn_anew(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = await house.agent()
    names = iter(["brave-otter-aaaaaaaaa", "brave-otter-aaaaaaaaa", "brave-otter-bbbbbbbbb"])
    monkeypatch.setattr(hot, "generate_name", lambda: next(names))
    first, second = await agent.lease(), await agent.lease()
    assert first["address"].startswith("brave-otter-aaaaaaaaa@")
    assert second["address"].startswith("brave-otter-bbbbbbbbb@")
    assert await counted(house) == (2, 2)


async def test_the_end_of_a_lease_is_told_and_written_down_once(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    answers = await asyncio.gather(*(release(agent, lease) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert {answer.text for answer in answers} == {answers[0].text}
    facts = await house.db.read(lambda tx: tx.all(TOLD))
    read = (await agent.http.get(f"/v2/mailboxes/leases/{lease['lease_id']}")).json()
    told = {"lease_id": lease["lease_id"], "mailbox_id": lease["mailbox_id"], "expires_at": read["expires_at"]}
    assert [row["payload"] for row in facts] == [told]
    rows = await house.db.read(lambda tx: tx.all(ACTS))
    assert [row["action"] for row in rows] == ["lease.grant", "lease.release"]


async def test_another_tenants_lease_is_unknown(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    lease = await agent.lease()
    for _ in range(3):  # whatever the connection stood behind before
        await other.lease()
        assert (await release(other, lease)).status_code == 404
    assert (await agent.http.get(f"/v2/mailboxes/leases/{lease['lease_id']}")).json()["lease_status"] == "active"


async def test_a_frozen_lease_is_not_released(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    await house.db.transact(lambda tx: tx.run("UPDATE leases SET frozen_at = now()"))
    answer = await release(agent, lease)
    assert (answer.status_code, answer.json()["error"]) == (403, "mailbox_frozen")


async def test_what_is_decided_in_one_statement(house: House) -> None:
    policy = lease_policy(house.settings)
    order = LeaseOrder(AgentId.new(house.clock.now()), "x", 1, None, policy.domains[0], {})
    assert hot.grants(order, policy)
    named = LeaseOrder(order.agent_id, "x", 1, "postmaster", policy.domains[0], {})
    assert not hot.grants(named, policy), "refused, after the call was admitted"
    assert not hot.grants(LeaseOrder(order.agent_id, "x", 1, None, "own.example", {}), policy)
