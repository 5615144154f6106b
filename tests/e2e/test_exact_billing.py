"""10,000 mixed calls while HTTP processes are killed: afterwards usage, ledger and invoices agree to the micro.

Every call carries its own request id, and its outcome is written down, so that each answered payable call can be looked
for among the usage events: one event for each 2xx, none for a refusal, and at most one where the answer was lost.
"""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from leasebox.billing import invoices, ledger
from leasebox.billing.invoices import By
from leasebox.billing.usage import month_of
from leasebox.infra import db
from leasebox.infra.embedded import attach
from leasebox.values.errors import Conflict
from leasebox.values.ids import TenantId
from leasebox.values.money import Usdc
from tests.billing.told import acts_are_priced, all_told
from tests.infra.homes import offspring, serves
from tests.instance import Instance, up
from tests.kit import sign

CALLS, KILLS, AGENTS = 10_000, 20, 12
LEASES, MESSAGES, WEBHOOKS = "/v2/mailboxes/leases", "/v2/messages", "/v2/webhooks"
SEND, WAIT = f"{MESSAGES}/send", f"{MESSAGES}/wait"
MOST_RECIPIENTS = 4
PRICES = """
[meters."mailbox.lease"]
free = 20
window = "hour"
price = "0.001"
[meters."message.read"]
free = 50
window = "day"
price = "0.0001"
[meters."message.send"]
free = 20
window = "day"
price = "0.0001"
[meters."webhook.create"]
free = 5
window = "day"
price = "0.0005"
"""
MOVED = """
SELECT count(*) FILTER (WHERE meter = 'message.send' AND paid_quantity > 1) AS letters,
       count(*) FILTER (WHERE meter = 'webhook.create' AND paid_quantity = 1) AS webhooks,
       count(*) FILTER (WHERE path = '/v2/messages/wait' AND paid_quantity = 1) AS waits,
       (SELECT count(*) FROM ledger_transfers WHERE kind = 'release' AND made_by <> 'clock') AS surpluses
FROM usage_events
"""


class Journal:
    """What became of each payable call, by request id: its status, or None where the answer was lost."""

    def __init__(self) -> None:
        self.outcome: dict[str, int | None] = {}
        self.addresses: list[str] = []  # of the mailboxes that stay leased
        self.calls = 0
        self.kills = 0
        self.lost = 0

    @property
    def is_done(self) -> bool:
        return self.calls >= CALLS and self.kills >= KILLS


class Payer:
    """One agent that leases, reads, waits, writes, wants to be told, pays, and sometimes sends a proof twice."""

    def __init__(self, url: str, wallet: LocalAccount, dice: random.Random, journal: Journal) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=30)
        self._wallet = wallet
        self._dice = dice
        self._journal = journal
        self._spent: list[str] = []
        self._began = datetime.now(UTC).isoformat()
        self._mailbox: str | None = None
        self.session: dict[str, Any] = {}

    async def sign_in(self) -> TenantId:
        made = (await self._http.post("/v2/auth/siwe/challenge", json={"wallet_address": self._wallet.address})).json()
        body = {"message": made["message"], "signature": sign(self._wallet, made["message"])}
        self.session = (await self._http.post("/v2/auth/siwe/verify", json=body)).json()
        self._http.headers["authorization"] = f"Bearer {self.session['access_token']}"
        return TenantId.parse(self.session["tenant_id"])

    async def leave(self) -> None:
        await self._http.aclose()

    async def work(self) -> None:
        while not self._journal.is_done:
            acts = [self._lease, self._read, self._leave_unspent, self._write, self._wait, self._be_told]
            act = self._dice.choices(acts, [8, 12, 2, 2, 2, 1])[0]
            try:
                await act()
            except httpx.TransportError:
                await asyncio.sleep(0.05)

    async def _lease(self) -> None:
        order = {"agent_id": self.session["agent_id"], "purpose": "load", "ttl_hours": 1}
        key = {"idempotency-key": f"k{self._dice.getrandbits(64)}"} if self._dice.random() < 0.3 else {}
        proof = await self._proof("POST", LEASES)
        answer = await self._payable("POST", LEASES, headers={**proof, **key}, json=order)
        if answer.status_code == 201 and self._mailbox is None:
            self._mailbox = answer.json()["mailbox_id"]
            self._journal.addresses.append(answer.json()["address"])
        elif answer.status_code == 201 and self._dice.random() < 0.5:
            await self._http.post(f"{LEASES}/{answer.json()['lease_id']}/release")

    async def _read(self) -> None:
        await self._payable("GET", MESSAGES, headers=await self._proof("GET", MESSAGES))

    async def _write(self) -> None:
        """To some mailboxes here; the proof is good for as many, for more, or for too few."""
        if self._mailbox is None:
            return
        known = self._journal.addresses
        to = self._dice.sample(known, self._dice.randint(1, min(MOST_RECIPIENTS, len(known))))
        letter = {"mailbox_id": self._mailbox, "to": to, "subject": "Load", "text": "Hello."}
        proof = await self._proof("POST", SEND, self._dice.randint(1, MOST_RECIPIENTS + 1))
        key = {"idempotency-key": f"k{self._dice.getrandbits(64)}"} if self._dice.random() < 0.3 else {}
        await self._payable("POST", SEND, headers={**proof, **key}, json=letter)

    async def _wait(self) -> None:
        """Mostly for a mail that is there by now, sometimes for one that comes within a second, or never."""
        if self._mailbox is None:
            return
        which = self._dice.choices([{"since": self._began}, {}, {"subject": "That nobody writes"}], [18, 1, 1])[0]
        query = {"mailbox_id": self._mailbox, "timeout_s": "1", **which}
        await self._payable("GET", WAIT, headers=await self._proof("GET", WAIT), params=query)

    async def _be_told(self) -> None:
        """Of what does not happen here: nothing is to be called."""
        order = {"event_types": ["webhook.disabled"], "target_url": "https://hooks.example/x"}
        answer = await self._payable("POST", WEBHOOKS, headers=await self._proof("POST", WEBHOOKS), json=order)
        if answer.status_code == 201 and self._dice.random() < 0.5:
            await self._http.delete(f"{WEBHOOKS}/{answer.json()['webhook_id']}")

    async def _leave_unspent(self) -> None:
        self._journal.calls += 1
        await self._http.post("/v2/payments/proof", json={"method": "GET", "path": MESSAGES})

    async def _proof(self, method: str, path: str, quantity: int = 1) -> dict[str, str]:
        """A fresh proof mostly; sometimes none, sometimes one that was spent before."""
        luck = self._dice.random()
        if luck < 0.3 or (luck < 0.4 and not self._spent):
            return {}
        if luck < 0.4:
            return {"x-payment-proof": self._dice.choice(self._spent)}
        self._journal.calls += 1
        wanted = {"method": method, "path": path, "quantity": quantity}
        answer = await self._http.post("/v2/payments/proof", json=wanted)
        if answer.status_code != 200:
            return {}
        proof = answer.json()["x_payment_proof"]
        self._spent = [*self._spent[-20:], proof]
        return {"x-payment-proof": proof}

    async def _payable(self, method: str, path: str, headers: dict[str, str], **more: Any) -> httpx.Response:
        self._journal.calls += 1
        trace = f"call-{self._journal.calls}-{self._dice.getrandbits(48):x}"
        self._journal.outcome[trace] = None
        try:
            answer = await self._http.request(method, path, headers={**headers, "x-request-id": trace}, **more)
        except httpx.ConnectError:
            self._journal.calls -= 1  # it never left
            del self._journal.outcome[trace]
            raise
        except httpx.TransportError:
            self._journal.lost += 1
            raise
        self._journal.outcome[trace] = answer.status_code
        assert answer.status_code in (200, 201, 202, 204, 402, 503), answer.text
        return answer


async def killer(instance: Instance, journal: Journal, dice: random.Random) -> None:
    """Kill an HTTP process with -9 twenty times, spread over the load."""
    while journal.kills < KILLS:
        await asyncio.sleep(0.05)
        if journal.calls >= (journal.kills + 1) * CALLS // (KILLS + 2):
            serving = [pid for pid in offspring(instance.process.pid) if serves(pid, "http")]
            if serving:
                os.kill(dice.choice(serving), signal.SIGKILL)
                journal.kills += 1


@pytest.mark.timeout(420)
async def test_ten_thousand_calls_and_twenty_kills_leave_no_micro_unexplained(tmp_path: Path) -> None:
    seed = int(os.environ.get("LEASEBOX_TEST_SEED") or time.time())
    dice, journal = random.Random(seed), Journal()
    (tmp_path / "prices.toml").write_text(PRICES)
    rates = dict.fromkeys(("LEASEBOX_API_RATE", "LEASEBOX_SIGNIN_RATE", "LEASEBOX_TENANT_RATE"), "0")
    with up(
        tmp_path / "home", LEASEBOX_WORKERS="2", LEASEBOX_PRICES=str(tmp_path / "prices.toml"), **rates
    ) as instance:
        urls = attach(instance.home)
        assert urls is not None
        assert urls.database_url is not None
        database = await db.connect(urls.database_url)
        payers = [Payer(instance.url, Account.create(), random.Random(f"{seed}-{n}"), journal) for n in range(AGENTS)]
        tenants = [await payer.sign_in() for payer in payers]
        for tenant in tenants[: AGENTS // 2]:
            await database.transact(lambda tx, tenant=tenant: _grant(tx, tenant))
        killing = asyncio.create_task(killer(instance, journal, dice))
        await asyncio.gather(*(payer.work() for payer in payers))
        await killing
        for payer in payers:
            await payer.leave()
        print(f"seed {seed}: {journal.calls} calls, {journal.kills} kills, {journal.lost} answers lost")  # noqa: T201
        await _judge(database, journal, tenants)
        await database.close()


async def _grant(tx: db.Tx, tenant: TenantId) -> None:
    await ledger.grant(tx, tenant, Usdc(500_000), "load", actor="test", at=datetime.now(UTC), request_id="test")


async def _judge(database: db.Database, journal: Journal, tenants: list[TenantId]) -> None:
    rows = await database.read(lambda tx: tx.all("SELECT request_id, count(*) AS n FROM usage_events GROUP BY 1"))
    events = {row["request_id"]: row["n"] for row in rows}
    statuses = Counter(journal.outcome.values())
    assert statuses[201] > 500
    assert statuses[200] > 500
    assert statuses[402] > 100
    assert statuses[202] > 50
    assert statuses[204] > 0
    moved = (await database.read(lambda tx: tx.all(MOVED)))[0]
    assert all(moved), dict(moved)
    for trace, status in journal.outcome.items():
        expected = (1,) if status in (200, 201, 202) else (0, 1) if status is None else (0,)
        assert events.pop(trace, 0) in expected, (trace, status)
    assert not events, "usage without a call"
    assert await database.read(ledger.discrepancies) == []
    trial = await database.read(ledger.trial_balance)
    assert sum((line.debited for line in trial), Usdc(0)) == sum((line.credited for line in trial), Usdc(0))
    billed = Usdc.total([await _billed(database, tenant) for tenant in tenants])
    used = await database.read(lambda tx: tx.value("SELECT coalesce(sum(amount_micros), 0)::bigint FROM usage_events"))
    assert billed == Usdc(used)
    assert await database.read(invoices.discrepancies) == []
    await all_told(database)
    await acts_are_priced(database)


async def _billed(database: db.Database, tenant: TenantId) -> Usdc:
    """The total of the month's invoice, once nobody is at work any more who may have begun before its last event."""
    at = datetime.now(UTC)
    by = By("test", at + timedelta(days=40), "test")
    while True:
        with contextlib.suppress(Conflict):
            issued = await database.transact(lambda tx: invoices.issue_now(tx, tenant, month_of(at), by))
            return issued.total
        await asyncio.sleep(0.05)
