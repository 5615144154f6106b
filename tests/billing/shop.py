"""An instance with a small price book, and agents that pay."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from leasebox.billing import ledger
from leasebox.billing.model import TransferId
from leasebox.config import Settings
from leasebox.values.ids import TenantId
from leasebox.values.money import Usdc
from tests.billing.told import all_told
from tests.fakes.clock import FakeClock
from tests.kit import Agent, House, opened, settings_for

LEASES, MESSAGES, WAIT, SEND = "/v2/mailboxes/leases", "/v2/messages", "/v2/messages/wait", "/v2/messages/send"
LEASE_PRICE = Usdc(1_000)


def book(**meters: tuple[int, str, str]) -> str:
    """A price book as TOML: `mailbox_lease=(free, window, price)`."""
    return "\n".join(
        f'[meters."{name.replace("_", ".")}"]\nfree = {free}\nwindow = "{window}"\nprice = "{price}"\n'
        for name, (free, window, price) in meters.items()
    )


SMALL = book(mailbox_lease=(2, "hour", "0.001000"), message_read=(3, "day", "0.000100"))


def shop_settings(folder: Path, database_url: str, redis_url: str, prices: str = SMALL) -> Settings:
    """Settings of an instance with this price book."""
    file = folder / "prices.toml"
    file.write_text(prices)
    return settings_for(database_url, redis_url, str(folder), LEASEBOX_PRICES=str(file))


@contextlib.asynccontextmanager
async def two_houses(settings: Settings) -> AsyncIterator[tuple[House, House]]:
    """Two HTTP applications with pools of their own on one database, under one clock."""
    clock = FakeClock()
    async with opened(settings, clock) as one, opened(settings, clock) as other:
        yield one, other


def tenant_of(agent: Agent) -> TenantId:
    return TenantId.parse(agent.session["tenant_id"])


async def proof(agent: Agent, path: str = LEASES, method: str = "POST", **more: Any) -> str:
    """A fresh proof."""
    answer = await ask_proof(agent, path, method, **more)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["x_payment_proof"])


async def ask_proof(agent: Agent, path: str = LEASES, method: str = "POST", **more: Any) -> httpx.Response:
    return await agent.http.post("/v2/payments/proof", json={"method": method, "path": path, **more})


async def lease_with(agent: Agent, text: str | None = None, **headers: str) -> httpx.Response:
    """Lease a mailbox, with a proof."""
    sent = headers | ({} if text is None else {"x-payment-proof": text})
    wanted = {"agent_id": agent.agent_id, "purpose": "test", "ttl_hours": 1}
    return await agent.http.post(LEASES, json=wanted, headers=sent)


async def use_up(agent: Agent, count: int = 2) -> None:
    """Take the free leases."""
    for _ in range(count):
        answer = await lease_with(agent)
        assert answer.status_code == 201, answer.text


async def fund(house: House, agent: Agent, usdc: str) -> TransferId:
    """Give the agent's tenant balance."""
    now = house.clock.now()
    return await house.db.transact(
        lambda tx: ledger.grant(
            tx, tenant_of(agent), Usdc.parse(usdc), "test", actor="test", at=now, request_id="req_test"
        )
    )


async def balance(agent: Agent) -> dict[str, str]:
    """What the agent's tenant has."""
    answer = await agent.http.get("/v2/billing/balance")
    assert answer.status_code == 200, answer.text
    said: dict[str, str] = answer.json()
    return said


async def books_agree(house: House) -> None:
    """The oracle: debits equal credits, and ledger, balances, proofs, usage, prices and audit tell the same story."""
    lines = await house.db.read(ledger.trial_balance)
    assert sum(line.debited.micros for line in lines) == sum(line.credited.micros for line in lines)
    assert [dict(row) for row in await house.db.read(ledger.discrepancies)] == []
    await all_told(house.db)


async def count(house: House, sql: str) -> int:
    return int(await house.db.read(lambda tx: tx.value(sql)))
