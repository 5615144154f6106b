"""What the doors do about payment: waiting is metered by its message only, and a refusal is written down."""

import asyncio

import pytest

from leasebox.billing import service
from leasebox.billing.errors import PaymentRequired
from leasebox.infra.db import Tx
from leasebox.values.errors import Unavailable
from leasebox.values.paths import Route
from leasebox.wiring.billing import counter
from tests.billing.payer import Payer
from tests.billing.shop import LEASES, MESSAGES, WAIT, balance, books_agree, count, proof, use_up
from tests.kit import House
from tests.kit_mail import mail, receiving


async def test_a_refusal_stands_though_it_cannot_be_written_down(shop: House, monkeypatch: pytest.MonkeyPatch) -> None:
    till, payer = counter(shop.settings, shop.base).till, await Payer.new(shop.db, shop.clock.now())
    demand = payer.demand(shop.clock.now(), Route("POST", LEASES), None, 1)

    async def away(*_: object) -> None:
        raise Unavailable("gone")

    monkeypatch.setattr(service, "note_denial", away)
    with pytest.raises(PaymentRequired):
        async with till.noting(payer.caller, demand):
            raise PaymentRequired("no")


async def test_what_is_no_refusal_of_payment_is_not_written_down(shop: House) -> None:
    agent = await shop.agent()
    wanted = {"agent_id": agent.agent_id, "purpose": "t", "ttl_hours": 1, "local_part": "admin"}
    assert (await agent.http.post(LEASES, json=wanted)).status_code == 422
    assert await count(shop, "SELECT count(*) FROM facts") == 0


async def test_the_till_admits_with_the_keys_of_the_instance(shop: House) -> None:
    desk, payer = counter(shop.settings, shop.base), await Payer.new(shop.db, shop.clock.now())
    payer.keys = desk.proof_keys
    text = await payer.text(shop.clock.now())

    async def body(tx: Tx) -> int:
        units = 0
        for sent in (None, None, text):
            demand = payer.demand(shop.clock.now(), Route("POST", LEASES), sent, 1)
            await desk.till.foresee(tx, payer.caller, demand)
            units += (await desk.till.admit(tx, payer.caller, demand)).paid_quantity
        return units

    assert await shop.db.transact(body) == 1


async def test_waiting_costs_only_what_it_brings(shop: House) -> None:
    agent = await shop.agent()
    mailbox = await agent.lease()
    asked = {"mailbox_id": mailbox["mailbox_id"], "timeout_s": 1}
    assert (await agent.http.get(WAIT, params=asked)).status_code == 204
    assert await count(shop, "SELECT count(*) FROM usage_events WHERE meter = 'message.read'") == 0
    async with receiving(shop) as post:
        first = (await post.deliver(mail("one"), mailbox["address"]))[0]
        found = await agent.http.get(WAIT, params=asked | {"since": "2020-01-01T00:00:00Z"})
        assert (found.status_code, found.json()["message_id"]) == (200, first)
        assert await count(shop, "SELECT sum(free_quantity) FROM usage_events WHERE meter = 'message.read'") == 1
        for _ in range(2):
            assert (await agent.http.get(MESSAGES)).status_code == 200
        sent = {"x-payment-proof": await proof(agent, WAIT, "GET")}
        waiting = asyncio.create_task(agent.http.get(WAIT, params=asked | {"timeout_s": 20}, headers=sent))
        await asyncio.sleep(0.2)
        second = (await post.deliver(mail("two"), mailbox["address"]))[0]
        answer = await waiting
        assert (answer.status_code, answer.json()["message_id"]) == (200, second)
        assert (await balance(agent))["owed_usdc"] == "0.000100"
        again = await agent.http.get(WAIT, params=asked, headers=sent)
        assert (again.status_code, again.json()["reason"]) == (402, "replayed")
    await books_agree(shop)


async def test_a_wait_that_could_not_be_paid_is_refused_at_once(shop: House) -> None:
    agent = await shop.agent()
    mailbox = (await agent.lease())["mailbox_id"]
    for _ in range(3):
        await agent.http.get(MESSAGES)
    async with asyncio.timeout(5):
        answer = await agent.http.get(WAIT, params={"mailbox_id": mailbox, "timeout_s": 60})
    assert (answer.status_code, answer.json()["error"]) == (402, "payment_required")
    assert answer.json()["accepts"][0]["request"]["body"] == {"method": "GET", "path": WAIT}


async def test_reading_that_fails_costs_nothing(shop: House) -> None:
    agent, stranger = await shop.agent(), await shop.agent()
    theirs = (await stranger.lease())["mailbox_id"]
    for _ in range(4):
        assert (await agent.http.get(MESSAGES, params={"mailbox_id": theirs})).status_code == 404
    for _ in range(3):
        assert (await agent.http.get(MESSAGES)).status_code == 200
    text = await proof(agent, MESSAGES, "GET")
    headers = {"x-payment-proof": text}
    assert (await agent.http.get(MESSAGES, params={"mailbox_id": theirs}, headers=headers)).status_code == 404
    assert (await agent.http.get(MESSAGES, headers=headers)).status_code == 200
    await use_up(agent)
    await books_agree(shop)
