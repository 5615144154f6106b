"""3,000 facts while the worker is killed -9 twenty times: every one arrives, under one id each, and none vanishes."""

import asyncio
import os
import random
import signal
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account import Account

from leasebox.infra import db
from leasebox.infra.db import Database
from leasebox.infra.embedded import attach
from leasebox.infra.facts_log import Fact, append
from leasebox.values.ids import EventId, TenantId
from tests.fakes.receiver import OK, Received, Receiver
from tests.infra.homes import offspring, serves
from tests.instance import Instance, up
from tests.kit import sign

FACTS, KILLS, BATCH = 3_000, 20, 10
ARRIVE_S = 120


async def slowly(receiver: Receiver, one: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes a moment, so that a kill meets tries under way."""
    del receiver, one, reader
    await asyncio.sleep(0.03)
    writer.write(OK)


@pytest.mark.timeout(420)
async def test_three_thousand_facts_and_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("LEASEBOX_TEST_SEED") or time.time())
    dice = random.Random(seed)
    with up(tmp_path / "home", LEASEBOX_WEBHOOK_ALLOW="127.0.0.0/8", LEASEBOX_API_RATE="0") as instance:
        urls = attach(instance.home)
        assert urls is not None
        assert urls.database_url is not None
        database = await db.connect(urls.database_url)
        async with Receiver(slowly).listening() as receiver, httpx.AsyncClient(base_url=instance.url) as http:
            tenant_id = await _sign_in(http)
            order = {"target_url": receiver.url, "event_types": ["message.received"]}
            assert (await http.post("/v2/webhooks", json=order)).status_code == 201
            killing = asyncio.create_task(_kill(instance, receiver, dice))
            await _happen(database, tenant_id, killing)
            assert await killing == KILLS
            wanted = await _ids(database, "SELECT id FROM facts WHERE type = 'message.received'")
            async with asyncio.timeout(ARRIVE_S):
                while set(receiver.ids()) != wanted:
                    await asyncio.sleep(0.2)
            await _judge(database, http, receiver, wanted)
        print(f"seed {seed}: {len(receiver.got)} requests for {len(wanted)} facts")  # noqa: T201
        await database.close()


async def _judge(database: Database, http: httpx.AsyncClient, receiver: Receiver, wanted: set[str]) -> None:
    assert len(wanted) == FACTS
    bodies = defaultdict(set)
    for one in receiver.got:
        bodies[one.headers["webhook-id"]].add(one.body)
        assert one.event["event_id"] == one.headers["webhook-id"]
    assert {len(each) for each in bodies.values()} == {1}, "the same event was told in two ways"
    async with asyncio.timeout(ARRIVE_S):  # the last outcomes are being written down
        while await _count(database, "SELECT count(*) FROM webhook_deliveries WHERE state <> 'succeeded'"):
            await asyncio.sleep(0.2)
    assert await _ids(database, "SELECT event_id AS id FROM webhook_deliveries") == wanted
    assert await _count(database, "SELECT count(*) FROM webhook_deliveries") == FACTS
    assert await _count(database, "SELECT count(*) FROM webhook_attempts WHERE error = 'unknown'") > 0
    shown = (await http.get("/v2/webhooks/deliveries", params={"state": "succeeded"})).json()["items"]
    assert len(shown) == 20


async def _happen(database: Database, tenant_id: TenantId, killing: "asyncio.Task[int]") -> None:
    """Facts, spread over the kills; the last ones when these are done."""
    for number in range(FACTS // BATCH):
        facts = [
            Fact(tenant_id, None, None, "message.received", {"number": number * BATCH + each}, datetime.now(UTC))
            for each in range(BATCH)
        ]
        await database.transact(lambda tx, facts=facts: append(tx, facts))
        if not killing.done():
            await asyncio.sleep(0.2)
    async with asyncio.timeout(300):
        await asyncio.wait([killing])


async def _kill(instance: Instance, receiver: Receiver, dice: random.Random) -> int:
    """Kill the worker soon after it has begun to deliver again, until it was killed often enough; how often."""
    kills = 0
    while kills < KILLS:
        before = len(receiver.got)
        while len(receiver.got) == before and len(set(receiver.ids())) < FACTS:
            await asyncio.sleep(0.01)
        await asyncio.sleep(dice.random() * 0.1)
        for pid in offspring(instance.process.pid):
            if serves(pid, "worker"):
                os.kill(pid, signal.SIGKILL)
                kills += 1
        await asyncio.sleep(0.05)
    return kills


async def _sign_in(http: httpx.AsyncClient) -> TenantId:
    wallet = Account.create()
    message = (await http.post("/v2/auth/siwe/challenge", json={"wallet_address": wallet.address})).json()["message"]
    body = {"message": message, "signature": sign(wallet, message)}
    session: dict[str, Any] = (await http.post("/v2/auth/siwe/verify", json=body)).json()
    http.headers["authorization"] = f"Bearer {session['access_token']}"
    return TenantId.parse(session["tenant_id"])


async def _ids(database: Database, sql: str) -> set[str]:
    return {str(EventId.of(row["id"])) for row in await database.read(lambda tx: tx.all(sql))}


async def _count(database: Database, sql: str) -> int:
    return int(await database.read(lambda tx: tx.value(sql)))
