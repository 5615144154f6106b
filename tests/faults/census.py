"""After a campaign: everything that its people can read, and what was metered for them."""

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from leasebox.billing import invoices, ledger
from leasebox.billing.invoices import By
from leasebox.billing.usage import Month, month_of
from leasebox.infra import db
from leasebox.infra.db import Database, Tx
from leasebox.infra.embedded import attach
from leasebox.values.errors import Unavailable
from leasebox.values.ids import EventId, SendAttemptId, TenantId
from leasebox.values.money import Usdc
from tests.faults.journal import Entry
from tests.faults.machine import Machine
from tests.faults.witnesses import Evidence, Letter, Seen
from tests.faults.world import MESSAGES, Person, World

_QUIET_S = 60.0
_WAITING = """
SELECT (SELECT count(*) FROM mails WHERE state = 'pending')
    + (SELECT count(*) FROM facts) - (SELECT count(*) FROM fact_positions)
    + (SELECT count(*) FROM send_hops WHERE state <> 'done' AND (state <> 'waiting' OR next_try_at <= now()))
    + (SELECT count(*) FROM webhook_deliveries WHERE next_at <= now() OR state = 'delivering')
"""
# A letter to a mailbox here has no hop: it is there at once. Every try may have come through but one told to wait.
_LETTERS = """
SELECT m.subject, a.id, r.address, r.state, coalesce(h.route, 'local'),
    (SELECT count(*) FROM send_tries t WHERE (t.attempt_id, t.destination) = (h.attempt_id, h.destination)
        AND t.outcome IN ('sent', 'partial', 'unknown'))
FROM send_attempts a JOIN messages m ON m.id = a.message_id
JOIN send_recipients r ON r.attempt_id = a.id
LEFT JOIN send_hops h ON (h.attempt_id, h.destination) = (r.attempt_id, r.destination)
"""
_CAME = """
SELECT w.target_url, d.event_id FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
WHERE d.state = 'succeeded'
"""
_SAMPLE = 200


async def database_of(machine: Machine) -> Database:
    """The instance's database, through the product's own pool. Raises Unavailable."""
    urls = attach(machine.home)
    if urls is None or urls.database_url is None:
        raise Unavailable("no engine runs", retry_after_s=1)
    return await db.connect(urls.database_url, at_most=2)


async def endow(database: Database, person: Person, usdc: str) -> None:
    """Give a person's tenant something to pay with."""
    tenant = TenantId.parse(person.tenant_id)

    async def body(tx: Tx) -> None:
        at = datetime.now(UTC)
        await ledger.grant(tx, tenant, Usdc.parse(usdc), "faults", actor="faults", at=at, request_id="faults")

    await database.transact(body)


async def quiet(database: Database) -> bool:
    """Wait until no mail waits for a parser, every fact has its place, and nothing is due to go out; False if it is."""
    deadline = time.monotonic() + _QUIET_S
    while time.monotonic() < deadline:
        if not await database.read(lambda tx: tx.value(_WAITING)):
            return True
        await asyncio.sleep(0.1)
    return False


async def take(world: World, database: Database) -> Evidence:
    """Everything, by the API where a lessee would look."""
    entries = list(world.journal.entries())
    seen: list[Seen] = []
    for person in world.people:
        if person.tenant_id:
            await endow(database, person, "10")
            seen += [each async for each in _read_all(person)]
    rows = await database.read(lambda tx: tx.all("SELECT request_id, count(*) AS events FROM usage_events GROUP BY 1"))
    metered = {row["request_id"]: row["events"] for row in rows}
    states = await database.read(lambda tx: tx.all("SELECT state, count(*) AS n FROM payment_proofs GROUP BY 1"))
    entries += _since(world, len(entries))
    return Evidence(
        entries,
        seen,
        metered,
        await _altered(world, entries, seen),
        [_letter(*row) for row in await database.read(lambda tx: tx.all(_LETTERS))],
        [(urlsplit(row[0]).path, str(EventId.of(row[1]))) for row in await database.read(lambda tx: tx.all(_CAME))],
        {str(EventId.of(row[0])) for row in await database.read(lambda tx: tx.all("SELECT id FROM facts"))},
        {row["state"]: row["n"] for row in states},
    )


async def bill(database: Database) -> None:
    """Issue everybody's invoices, as if the months were over in which anything was used."""
    months = await database.read(
        lambda tx: tx.all("SELECT DISTINCT tenant_id, date_trunc('month', occurred_at, 'UTC') FROM usage_events")
    )
    by = By("faults", datetime.now(UTC) + timedelta(days=40), "faults")
    for tenant_id, month in months:
        await database.transact(partial(_bill, tenant=TenantId.of(tenant_id), month=month_of(month), by=by))


async def _bill(tx: Tx, tenant: TenantId, month: Month, by: By) -> None:
    await invoices.issue_now(tx, tenant, month, by)


def _letter(token: str, attempt: Any, *more: Any) -> Letter:
    return Letter(token, str(SendAttemptId.of(attempt)), *more)


async def _read_all(person: Person) -> AsyncIterator[Seen]:
    cursor: dict[str, str] = {}
    while True:
        asked = {"limit": 100, "direction": "inbound", **cursor}
        answer = await person.call("GET", MESSAGES, params=asked)
        if answer is not None and answer.status_code == 402:
            proof = await person.proof("GET", MESSAGES)
            assert proof is not None, "a tenant with a balance gets no proof"
            paid = {"x-payment-proof": proof}
            answer = await person.call("GET", MESSAGES, params=asked, headers=paid)
        assert answer is not None
        assert answer.status_code == 200, answer.text
        page = answer.json()
        for item in page["items"]:
            yield Seen(item["subject"], item["message_id"], person.tenant_id, item["mailbox_id"], item["lease_id"])
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


async def _altered(world: World, entries: list[Entry], seen: list[Seen]) -> list[dict[str, Any]]:
    """A sample of messages whose raw form does not end with exactly what was sent."""
    # What is handed in gets another header.
    mails = [entry for entry in entries if entry["what"] == "mails" and "door" not in entry]
    digests = {entry["token"]: entry["digest"] for entry in mails}
    people = {person.tenant_id: person for person in world.people}
    dice = world.dice("census")
    wrong = []
    received = [each for each in seen if each.token in digests]
    for each in dice.sample(received, min(_SAMPLE, len(received))):
        answer = await people[each.tenant_id].call("GET", f"{MESSAGES}/{each.message_id}/raw")
        raw = b"" if answer is None else answer.content
        content = raw[raw.find(b"From: Shop") :]
        if hashlib.sha256(content).hexdigest() != digests.get(each.token):
            wrong.append({"message_id": each.message_id, "token": each.token, "raw": raw[:300].decode("latin-1")})
    return wrong


def _since(world: World, known: int) -> list[Entry]:
    return list(world.journal.entries())[known:]


async def export_heads(world: World, folder: Path) -> None:
    """Keep a copy of the present heads where the database's owner cannot reach it; none while there is an outage."""
    file = folder / f"{time.time_ns()}.heads"
    done = await asyncio.to_thread(_leasebox, world.machine, "audit", "head", "-o", str(file))
    if done.returncode == 0:
        world.figures["heads exported"] += 1
    else:
        file.unlink(missing_ok=True)


async def verify_audit(world: World, folder: Path) -> None:
    """I5: `leasebox audit verify` against every head that was ever exported."""
    heads = [word for name in sorted(os.listdir(folder)) for word in ("--head", str(folder / name))]
    done = await asyncio.to_thread(_leasebox, world.machine, "audit", "verify", *heads)
    if done.returncode != 0 or not heads:
        await world.journal.note("wrong", who="leasebox audit verify", said=(done.stdout + done.stderr)[-2000:])


def _leasebox(machine: Machine, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "leasebox", *words],
        env=machine.environ(),
        capture_output=True,
        text=True,
        check=False,
        cwd=os.path.sep,
        timeout=120,
    )
