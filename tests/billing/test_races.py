"""200 at once on two HTTP applications with pools of their own, Redis emptied meanwhile: exact every time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
import redis.asyncio

from leasebox.values.money import Usdc
from tests.billing.shop import (
    LEASES,
    MESSAGES,
    SMALL,
    ask_proof,
    balance,
    book,
    books_agree,
    count,
    fund,
    lease_with,
    proof,
    shop_settings,
    two_houses,
    use_up,
)
from tests.kit import Agent, House

AT_ONCE = 200
Houses = tuple[House, House]


@pytest.fixture
async def houses(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Houses]:
    async with two_houses(shop_settings(tmp_path, database_url, redis_url)) as both:
        yield both


async def elsewhere(agent: Agent, house: House) -> Agent:
    """The same session at another application."""
    return Agent(house.client(), agent.wallet, agent.session)


async def rush(
    houses: Houses, agent: Agent, call: Callable[[Agent], Awaitable[httpx.Response]], at_once: int = AT_ONCE
) -> Counter[int]:
    """Call from both houses at once and empty Redis meanwhile; how often each status came."""
    assert houses[0].settings.redis_url is not None
    cache = redis.asyncio.Redis.from_url(houses[0].settings.redis_url.reveal())
    both = (agent, await elsewhere(agent, houses[1]))

    async def flush() -> None:
        for _ in range(5):
            await cache.flushall()
            await asyncio.sleep(0.02)

    answers = await asyncio.gather(*(call(both[turn % 2]) for turn in range(at_once)), flush())
    await cache.aclose()
    return Counter(answer.status_code for answer in answers if answer is not None)


async def test_the_last_free_call(houses: Houses) -> None:
    agent = await houses[0].agent()
    await use_up(agent, 1)
    assert await rush(houses, agent, lease_with) == {201: 1, 402: AT_ONCE - 1}
    assert await count(houses[0], "SELECT count(*) FROM usage_events WHERE free_quantity = 1") == 2
    assert await count(houses[0], "SELECT max(used) FROM allowance_counters") == 2
    await books_agree(houses[0])


async def test_the_last_free_call_when_nobody_called_before(houses: Houses) -> None:
    agent = await houses[0].agent()
    assert await rush(houses, agent, lambda one: one.http.get(MESSAGES)) == {200: 3, 402: AT_ONCE - 3}
    assert await count(houses[0], "SELECT sum(free_quantity) FROM usage_events") == 3


async def test_free_calls_that_fail_give_their_unit_to_those_that_wait(houses: Houses) -> None:
    agent = await houses[0].agent()
    wanted = {"agent_id": agent.agent_id, "purpose": "test", "ttl_hours": 1, "local_part": "one-name"}
    found = await rush(houses, agent, lambda one: one.http.post(LEASES, json=wanted), 100)
    assert found[201] == 1
    assert found[201] + found[409] + found[402] == 100
    assert await count(houses[0], "SELECT used FROM allowance_counters") == 1
    assert (await lease_with(agent)).status_code == 201
    assert (await lease_with(agent)).status_code == 402


async def test_one_proof(houses: Houses) -> None:
    agent = await houses[0].agent()
    await use_up(agent)
    text = await proof(agent)
    assert await rush(houses, agent, lambda one: lease_with(one, text)) == {201: 1, 402: AT_ONCE - 1}
    assert await count(houses[0], "SELECT count(*) FROM ledger_transfers WHERE kind = 'spend'") == 1
    assert await count(houses[0], "SELECT count(*) FROM leases") == 3
    await books_agree(houses[0])


async def test_one_proof_where_the_work_fails_for_most(houses: Houses) -> None:
    agent = await houses[0].agent()
    await use_up(agent)
    text = await proof(agent)
    order = {"agent_id": agent.agent_id, "purpose": "test", "ttl_hours": 1, "local_part": "admin"}

    async def failing(one: Agent) -> httpx.Response:
        return await one.http.post(LEASES, json=order, headers={"x-payment-proof": text})

    assert await rush(houses, agent, failing, 60) == {422: 60}
    assert (await lease_with(agent, text)).status_code == 201
    await books_agree(houses[0])


async def test_the_credit_limit(houses: Houses) -> None:
    agent = await houses[0].agent()
    assert await rush(houses, agent, ask_proof) == {200: 50, 402: AT_ONCE - 50}
    said = await balance(agent)
    assert (said["owed_usdc"], said["credit_left_usdc"]) == ("0.050000", "0.000000")
    await books_agree(houses[0])


async def test_balance_then_credit(houses: Houses) -> None:
    agent = await houses[0].agent()
    await fund(houses[0], agent, "0.030500")
    assert await rush(houses, agent, ask_proof) == {200: 80, 402: AT_ONCE - 80}
    assert (await balance(agent))["balance_usdc"] == "0.000500"
    await books_agree(houses[0])


async def test_a_spend_cap(houses: Houses) -> None:
    agent = await houses[0].agent()
    await fund(houses[0], agent, "1")
    answer = await agent.http.put("/v2/billing/caps", json={"window": "day", "limit_usdc": "0.007"})
    assert answer.status_code == 200
    assert await rush(houses, agent, ask_proof) == {200: 7, 402: AT_ONCE - 7}
    await books_agree(houses[0])


async def test_one_idempotency_key(houses: Houses) -> None:
    agent = await houses[0].agent()
    bodies = set()

    async def call(one: Agent) -> httpx.Response:
        answer = await lease_with(one, **{"idempotency-key": "one"})
        bodies.add(answer.content)
        return answer

    assert await rush(houses, agent, call) == {201: AT_ONCE}
    assert len(bodies) == 1
    assert await count(houses[0], "SELECT count(*) FROM leases") == 1
    assert await count(houses[0], "SELECT count(*) FROM usage_events") == 1


async def test_one_idempotency_key_and_one_proof(houses: Houses) -> None:
    agent = await houses[0].agent()
    await use_up(agent)
    text = await proof(agent)
    found = await rush(houses, agent, lambda one: lease_with(one, text, **{"idempotency-key": "one"}), 100)
    assert found == {201: 100}
    assert await count(houses[0], "SELECT count(*) FROM leases") == 3
    await books_agree(houses[0])


async def test_holds_expire_while_others_are_taken(houses: Houses) -> None:
    agent = await houses[0].agent()
    assert await rush(houses, agent, ask_proof, 60) == {200: 50, 402: 10}
    houses[0].clock.advance(seconds=121)
    assert await rush(houses, agent, ask_proof, 60) == {200: 50, 402: 10}
    await books_agree(houses[0])


async def test_two_tenants_do_not_wait_for_each_other(houses: Houses) -> None:
    one, other = await houses[0].agent(), await houses[0].agent()
    answers = await asyncio.gather(*(lease_with(agent) for agent in (one, other) for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {201: 4, 402: 36}


async def test_a_new_price_holds_from_its_commit_in_both(
    houses: Houses, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    agent = await houses[0].agent()
    await use_up(agent)
    before = await proof(agent)
    dearer = book(mailbox_lease=(2, "hour", "0.002000"), message_read=(3, "day", "0.000100"))
    assert dearer != SMALL
    async with two_houses(shop_settings(tmp_path, database_url, redis_url, dearer)):
        pass
    assert (await ask_proof(await elsewhere(agent, houses[1]))).json()["amount_usdc"] == "0.002000"
    assert (await lease_with(agent, before)).status_code == 201
    assert await count(houses[0], "SELECT sum(amount_micros) FROM usage_events") == Usdc(1_000).micros
    await books_agree(houses[0])
