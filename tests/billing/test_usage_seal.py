"""The bytes of a usage event that are sealed: fixed for ever, as those of the other logs."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from leasebox.audit.jobs import seal
from leasebox.audit.service import newest_head, sealed_entries
from leasebox.billing.tables import usage_events
from leasebox.billing.usage_seal import USAGE, usage_entry
from leasebox.values.keys import Purpose, derive
from leasebox.values.secret import Secret
from tests.billing.payer import READ, Payer
from tests.fakes.clock import FakeClock

ID = UUID("019aa0c3-7e5a-7c3b-8d2e-5f60718293a4")
EVENT: dict[str, Any] = {
    "id": ID,
    "tenant_id": ID,
    "agent_id": None,
    "credential_id": ID,
    "method": "POST",
    "path": "/v2/messages/send",
    "meter": "message.send",
    "price_version": 2,
    "unit_price_micros": 1_500,
    "free_quantity": 1,
    "paid_quantity": 3,
    "amount_micros": 4_500,
    "proof_id": ID,
    "request_id": "req_1",
    "occurred_at": datetime(2026, 11, 20, 10, 2, 24, 123456, tzinfo=UTC),
    "xid": 756,
}
KEY = derive(Secret("m" * 32), Purpose.AUDIT_HEAD)


def test_a_usage_events_line() -> None:
    line = usage_entry(EVENT)
    assert line.decode() == (
        '{"log":"usage/1","id":"evt_01kagc6zjtfgxrtbjzc1rr54x4","at":"2026-11-20T10:02:24.123456Z",'
        '"tenant_id":"ten_01kagc6zjtfgxrtbjzc1rr54x4","agent_id":null,'
        '"credential_id":"019aa0c3-7e5a-7c3b-8d2e-5f60718293a4","method":"POST","path":"/v2/messages/send",'
        '"meter":"message.send","price_version":2,"unit_price_usdc":"0.001500","free_quantity":1,"paid_quantity":3,'
        '"amount_usdc":"0.004500","proof_id":"prf_01kagc6zjtfgxrtbjzc1rr54x4","request_id":"req_1","xid":756}'
    )


def test_a_line_says_every_column() -> None:
    """A column that is added later must be decided on: in a new form, with a new number."""
    said = {"at": "occurred_at", "unit_price_usdc": "unit_price_micros", "amount_usdc": "amount_micros"}
    assert {said.get(key, key) for key in json.loads(usage_entry(EVENT)) if key != "log"} == {
        column.name for column in usage_events.c
    }


async def test_usage_events_are_sealed(payer: Payer, clock: FakeClock) -> None:
    for _ in range(3):
        await payer.use(clock.now())
    await payer.use(clock.now(), READ)
    assert await seal(payer.db, (USAGE,), KEY, clock) == 4
    head = await payer.db.read(lambda tx: newest_head(tx, USAGE))
    assert head is not None
    entries = await payer.db.read(lambda tx: sealed_entries(tx, USAGE, 0, 10))
    assert [json.loads(line)["meter"] for _, line in entries] == [*["mailbox.lease"] * 3, "message.read"]
    assert len({hashlib.sha256(line).digest() for _, line in entries}) == 4
