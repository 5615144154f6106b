"""The job seals every log that it is given, and lets no broken one stop the others."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from leasebox.audit import jobs
from leasebox.audit.tables import Log, Row
from leasebox.billing.tables import usage_events
from leasebox.infra.facts_log import Fact, append
from leasebox.values.ids import EventId, TenantId
from tests.audit.sealed import AUDIT, FACTS, KEY, Sealed, sealed_on


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[Sealed]:
    async with sealed_on(database_url) as sealed:
        yield sealed


async def append_facts(log: Sealed, count: int) -> None:
    now = log.clock.now()
    facts = [Fact(TenantId.new(now), None, None, "message.received", {"n": n}, now) for n in range(count)]
    await log.db.transact(lambda tx: append(tx, facts))


async def test_every_log_is_sealed_for_itself(log: Sealed) -> None:
    await log.write(5)
    await append_facts(log, 7)
    assert await log.seal(logs=(AUDIT, FACTS), batch=3) == 12
    assert [(await log.sound(log=each)).leaves for each in (AUDIT, FACTS)] == [5, 7]


async def test_a_broken_log_does_not_stop_the_others(log: Sealed) -> None:
    await log.write(5)
    await log.seal()
    await log.write(5)
    await append_facts(log, 7)
    await log.tamper("DELETE FROM seal_leaves WHERE leaf = 4")
    assert await log.seal(logs=(AUDIT, FACTS)) == 7


async def test_a_long_backlog_waits_for_the_next_round(log: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_BATCHES", 3)
    await log.write(10)
    assert [await log.seal(batch=2) for _ in range(3)] == [6, 4, 0]


USAGE = """
INSERT INTO usage_events (id, tenant_id, credential_id, method, path, meter, price_version, unit_price_micros,
                          free_quantity, paid_quantity, amount_micros, request_id, occurred_at)
SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'POST', '/v2/mailboxes/leases', 'mailbox_lease', 1,
       1000, 1, 0, 0, 'req_' || n, now() FROM generate_series(1, 5) AS n
"""


async def test_a_log_of_another_slice_is_sealed_by_the_same_job(log: Sealed) -> None:
    """Usage events: a table with `id` and `xid`, and what its rows say."""

    def entry(row: Row) -> bytes:
        return msgspec.json.encode({each.name: row[each.name] for each in usage_events.c})

    usage = Log("usage", usage_events, EventId, entry)
    await log.raw.execute(USAGE)
    assert await jobs.seal(log.db, [usage], KEY, log.clock, batch=2) == 5
    assert (await log.sound(log=usage)).leaves == 5
