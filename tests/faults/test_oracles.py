"""The oracles over tables bite: each finds a planted offence, and nothing in a house where all is well."""

import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from leasebox.infra import db, facts_order
from leasebox.infra.embedded import EngineUrls
from tests.billing.shop import lease_with, proof, shop_settings, use_up
from tests.databases import database_named, drop, take_rights
from tests.fakes.clock import FakeClock
from tests.faults import oracles
from tests.kit import opened
from tests.kit_mail import code_mail, database, receiving

# What nobody could do through the product, and the tables of which the triggers have to sleep for it.
PLANTED = {
    "I1 nothing waits": "UPDATE mails SET state = 'pending'",
    "I2 one proof, one spend": "DELETE FROM ledger_transfers WHERE kind = 'spend'",
    "I2 a grant, a use": "DELETE FROM usage_events WHERE paid_quantity > 0",
    "I2 a recipient, a use": "UPDATE usage_events SET meter = 'message.send' WHERE meter = 'mailbox.lease'",
    "I3 all is billed": """
        INSERT INTO invoices SELECT (jsonb_populate_record(NULL::invoices, jsonb_build_object('id', gen_random_uuid(),
            'tenant_id', id, 'period', '2026-01', 'supplement', 0, 'state', 'issued', 'event_count', 1,
            'total_micros', 1, 'prepaid_micros', 1, 'on_credit_micros', 0, 'credited_micros', 0, 'settled_micros', 0,
            'chunk_hashes', '', 'statement_hash', '', 'drawn_at', now(), 'issued_at', now()))).* FROM tenants
    """,
    "I3 a price for every amount": "UPDATE usage_events SET price_version = 99",
    "I3 the books agree": "DELETE FROM ledger_transfers WHERE kind = 'hold'",
    "I4 the allowance exactly": "UPDATE usage_events SET free_quantity = 3 WHERE free_quantity = 1",
    "I4 the cooldown": """
        DELETE FROM wallets;
        INSERT INTO send_attempts (id, tenant_id, mailbox_id, lease_id, actor, message_id, header_message_id, sender,
            state, size_bytes, send_at, expires_at, created_at)
        SELECT id, tenant_id, mailbox_id, lease_id, 'x', id, 'x', 'a@x', 'sent', 1, now(), now(), now() FROM messages;
        INSERT INTO send_recipients (attempt_id, position, address, kind, destination, state, at)
        SELECT id, n, n || '@x', 'to', 'x', 'sent', now() FROM send_attempts, generate_series(1, 11) n
    """,
    "I6 a fact for every message": "DELETE FROM facts WHERE type = 'message.received'",
    "I6 a place for every fact": "DELETE FROM fact_positions WHERE position = 1",
    "I7 only where it was accepted for": "UPDATE messages SET mailbox_id = gen_random_uuid()",
    "I7 one lessee at a time": "UPDATE mailboxes SET address = 'one@inbox.leasebox.test'",
    "I6 a delivery for every fact": """
        INSERT INTO webhooks (id, tenant_id, target_url, event_types, status, created_at)
        SELECT gen_random_uuid(), id, 'x', '{lease.released}', 'enabled', now() FROM tenants;
        INSERT INTO facts (id, tenant_id, type, payload, at, xid)
        SELECT gen_random_uuid(), id, 'lease.released', '{}', now(), '90000000' FROM tenants
    """,
    "I6 nothing given up unseen": """
        ALTER TABLE webhook_deliveries DROP CONSTRAINT webhook_deliveries_ended_check;
        INSERT INTO webhooks (id, tenant_id, target_url, event_types, status, created_at)
        SELECT id, id, 'x', '{invoice.paid}', 'enabled', now() FROM tenants;
        INSERT INTO webhook_deliveries
            (id, tenant_id, webhook_id, event_id, event_type, state, attempts, step, created_at)
        SELECT id, id, id, id, 'invoice.paid', 'failed', 1, 1, now() FROM tenants
    """,
    "a letter is written once": """
        UPDATE messages SET subject = 'letter1';
        INSERT INTO send_attempts (id, tenant_id, mailbox_id, lease_id, actor, message_id, header_message_id, sender,
            state, size_bytes, send_at, expires_at, created_at)
        SELECT gen_random_uuid(), tenant_id, mailbox_id, lease_id, 'x', id, 'x', 'a@x', 'sent', 1, now(), now(), now()
        FROM messages
    """,
    "leases that were asked for twice": """UPDATE leases SET metadata = '{"key": "k"}'""",
    "one tenant for a wallet": """
        INSERT INTO tenants (id, status, created_at) VALUES ('00000000-0000-7000-8000-000000000001', 'active', now());
        INSERT INTO agents (id, tenant_id, name, wallet_address, status, created_at)
        SELECT gen_random_uuid(), '00000000-0000-7000-8000-000000000001', name, wallet_address, status, now()
        FROM agents
    """,
}
_TABLE = re.compile(r"(?:UPDATE|FROM|INTO|TABLE) (\w+)")


@pytest.fixture(scope="module")
async def lived_in(engines: EngineUrls, template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of a database where two have leased, one has paid, and mail has come for both; nobody is connected."""
    assert engines.redis_url is not None
    async with database(engines, template) as url:
        settings = shop_settings(tmp_path_factory.mktemp("home"), url, engines.redis_url)
        async with opened(settings, FakeClock()) as house, receiving(house) as post:
            agents = [await house.agent() for _ in range(2)]
            boxes = [await agent.lease() for agent in agents]
            await use_up(agents[0], 1)
            assert (await lease_with(agents[0], await proof(agents[0]))).status_code == 201
            await post.deliver(code_mail(1), *(box["address"] for box in boxes))
            await house.db.transact(facts_order.number)
        yield url


@pytest.fixture
async def copy(lived_in: str) -> AsyncIterator[str]:
    """A copy of that database."""
    name = f"copy_{uuid4().hex}"
    server = await asyncpg.connect(database_named(lived_in, "leasebox"))
    await server.execute(f"CREATE DATABASE {name} TEMPLATE {urlsplit(lived_in).path[1:]}")
    yield database_named(lived_in, name)
    await server.close()
    await drop(database_named(lived_in, "leasebox"), name)


async def offended(url: str) -> set[str]:
    opened_one = await db.connect(url)
    try:
        return {name for name, rows in (await oracles.ask_all(opened_one)).items() if rows}
    finally:
        await opened_one.close()


async def test_a_house_where_all_is_well_offends_nobody(copy: str) -> None:
    assert await offended(copy) == set()


@pytest.mark.parametrize("oracle", PLANTED)
async def test_an_offence_is_found(copy: str, oracle: str) -> None:
    hand = await asyncpg.connect(copy)
    for table in set(_TABLE.findall(PLANTED[oracle])) - {"SET"}:
        await take_rights(hand, table)
    await hand.execute(PLANTED[oracle])
    await hand.close()
    assert oracle in await offended(copy)


async def test_durability_that_was_sold_is_found(copy: str) -> None:
    hand = await asyncpg.connect(copy)
    await hand.execute(f"ALTER DATABASE {urlsplit(copy).path[1:]} SET synchronous_commit = off")
    await hand.close()
    assert await offended(copy) == {"durability is on"}


def test_every_oracle_is_tried_here() -> None:
    assert {*PLANTED, "durability is on"} == {*oracles.STATEMENTS, *oracles.FUNCTIONS}
