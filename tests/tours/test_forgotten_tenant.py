"""A statement that forgets its tenant still finds that tenant's rows only: row-level security, table by table."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import pytest

from leasebox.infra import facts_order, wall
from leasebox.infra.db import Tx
from leasebox.tables import EXEMPT, metadata
from leasebox.values.ids import TenantId
from tests.kit import House
from tests.kit_mail import shared_house
from tests.tours.test_two_tenants import an_owner

__all__ = ["shared_house"]
_NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
# What the walk of two tenants leaves empty: one row of a tenant ($1) each.
_MORE = (
    "INSERT INTO cooldowns VALUES ($1, ARRAY[$2::timestamptz])",
    "INSERT INTO kept_answers VALUES ($1, 'k', '', 200, 'k', '', $2)",
    "INSERT INTO low_balances VALUES ($1, $2)",
    "INSERT INTO spend_caps VALUES ($1, 'day', $1, 1, $2, 0)",
    """INSERT INTO payment_proofs (id, tenant_id, held_by, method, path, meter, price_version, unit_price_micros,
        quantity, amount_micros, state, issued_at, expires_at)
        VALUES (gen_random_uuid(), $1, $1, 'POST', '/', 'm', 1, 0, 1, 0, 'released', $2, $2)""",
    """INSERT INTO ledger_transfers (id, tenant_id, kind, debit, credit, amount_micros, at, made_by, note)
        VALUES (gen_random_uuid(), $1, 'grant', 'promotions', 'balance', 1, $2, 'test', '')""",
    """INSERT INTO thread_references SELECT id, 'r', id FROM leases WHERE tenant_id = $1
        AND $2::timestamptz IS NOT NULL LIMIT 1""",
    """INSERT INTO send_tries SELECT h.attempt_id, h.destination, 1, $2, NULL, NULL, 'sent', '[]'
        FROM send_hops h JOIN send_attempts a ON a.id = h.attempt_id WHERE a.tenant_id = $1""",
    "INSERT INTO webhook_attempts SELECT id, 1, $2 FROM webhook_deliveries WHERE tenant_id = $1",
)
# Made by triggers of invoices that are owed, which takes a month and a payer: here their rule is tried on a row of an
# invoice that nobody owes, with the triggers that judge it off.
_UNJUDGED = {
    "credit_notes": "SELECT $1::uuid, id, 1, '', '', now() FROM invoices WHERE tenant_id = $1",
    "credit_note_charges": "SELECT $1::uuid, $1::uuid, $1::uuid",
    "invoice_settlements": "SELECT $1::uuid, id FROM invoices WHERE tenant_id = $1",
}
# Everybody may look at names, for that is how one is found to be taken.
_OPEN_TO_SIGHT = {"addresses"}


class Two(NamedTuple):
    """Two tenants of one instance that have rows in every table, and the tables that stand behind the wall."""

    house: House
    first: TenantId
    second: TenantId
    tables: dict[str, str]

    async def rows(self, table: str, of: TenantId | None) -> set[str]:
        """The table as a statement without any tenant shows it to a tenant, or to the system."""
        within = wall.outside("the system") if of is None else wall.behind(of)
        with within:
            found = await self.house.db.read(lambda tx: tx.all(f"SELECT t::text AS line FROM {table} t"))
        return {row["line"] for row in found}


@pytest.fixture(scope="module")
async def two(shared_house: House) -> AsyncIterator[Two]:
    made = [await an_owner(shared_house) for _ in range(2)]
    tenants = [TenantId.parse(each.agent.session["tenant_id"]) for each in made]
    await shared_house.db.transact(facts_order.number)
    for tenant in tenants:
        await shared_house.db.transact(lambda tx, tenant=tenant: _fill(tx, tenant))
    walled = await shared_house.db.read(
        lambda tx: tx.all(
            """SELECT c.relname, a.attname AS column FROM pg_class c
            LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
            WHERE c.relrowsecurity AND c.relforcerowsecurity"""
        )
    )
    yield Two(shared_house, *tenants, {row["relname"]: row["column"] or "" for row in walled})
    for each in made:
        await each.agent.http.aclose()


async def _fill(tx: Tx, tenant: TenantId) -> None:
    for statement in _MORE:
        await tx.run(statement, tenant, _NOW)
    for table, row in _UNJUDGED.items():
        await tx.run(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        await tx.run(f"INSERT INTO {table} {row}", tenant)
        await tx.run(f"ALTER TABLE {table} ENABLE TRIGGER USER")


async def test_each_tenant_sees_its_own_rows_and_the_system_sees_all(two: Two) -> None:
    assert len(two.tables) >= 40
    for table in two.tables:
        first, second = await two.rows(table, two.first), await two.rows(table, two.second)
        everything = await two.rows(table, None)
        assert first, f"{table}: nothing of the first tenant, so nothing is shown"
        assert second, f"{table}: nothing of the second tenant, so nothing is shown"
        if table in _OPEN_TO_SIGHT:
            assert first == second == everything
        else:
            assert first & second == set(), table
            assert first | second <= everything, table


async def test_what_is_seen_is_all_that_the_tenant_has(two: Two) -> None:
    for table, column in two.tables.items():
        if column and table not in _OPEN_TO_SIGHT:
            sql = f"SELECT t::text AS line FROM {table} t WHERE tenant_id = $1"
            own = await two.house.db.read(lambda tx, sql=sql: tx.all(sql, two.first))
            assert await two.rows(table, two.first) == {row["line"] for row in own}, table


async def test_nobody_behind_the_wall_is_seen_by_a_tenant_that_has_nothing(two: Two) -> None:
    stranger = TenantId.new(_NOW)
    for table in two.tables.keys() - _OPEN_TO_SIGHT:
        assert await two.rows(table, stranger) == set(), table


async def test_every_table_of_tenants_stands_behind_the_wall(two: Two) -> None:
    named = {name for name, table in metadata.tables.items() if "tenant_id" in table.columns}
    assert named - set(two.tables) == {name for name in EXEMPT if name in named}
    assert set(EXEMPT) & set(two.tables) == set()
    children = {
        name
        for name, table in metadata.tables.items()
        if any(key.column.table.name in two.tables for key in table.foreign_keys)
    }
    assert children - set(two.tables) <= set(EXEMPT)


async def test_nothing_is_written_into_another_tenant(two: Two) -> None:
    """A row of one's own, given to somebody else, and a row of somebody else, changed or removed."""
    for table, column in two.tables.items():
        if not column:
            continue
        with wall.behind(two.first):
            with pytest.raises(asyncpg.PostgresError) as refused:
                await two.house.db.transact(lambda tx, t=table: tx.run(f"UPDATE {t} SET tenant_id = $1", two.second))
            assert "row-level security" in str(refused.value) or _is_sealed(refused.value), table
            for statement in (f"UPDATE {table} SET tenant_id = tenant_id", f"DELETE FROM {table}"):
                touched = await _touched(two.house, f"{statement} WHERE tenant_id = $1", two.second)
                assert touched in (0, "refused"), (table, statement)


async def test_nothing_is_added_to_another_tenant(two: Two) -> None:
    with wall.behind(two.first):
        for statement in _MORE[:6]:
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                await two.house.db.transact(lambda tx, s=statement: tx.run(s, TenantId.new(_NOW), _NOW))


async def test_a_name_is_taken_over_but_not_given_away(two: Two) -> None:
    move = "UPDATE addresses SET tenant_id = $1 WHERE tenant_id = $2"
    with wall.behind(two.first):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await two.house.db.transact(lambda tx: tx.run(move, two.second, two.first))
        with pytest.raises(LookupError):
            await two.house.db.transact(lambda tx: _taken_over(tx, move, two))


async def _taken_over(tx: Tx, move: str, two: Two) -> None:
    assert await tx.run(move, two.first, two.second) > 0
    raise LookupError("and back again")


async def _touched(house: House, statement: str, tenant: UUID) -> Any:
    try:
        return await house.db.transact(lambda tx: tx.run(statement, tenant))
    except asyncpg.PostgresError as fault:
        assert "row-level security" in str(fault) or _is_sealed(fault), (statement, fault)
        return "refused"


def _is_sealed(fault: Exception) -> bool:
    """Tables that nobody changes refuse before the wall is asked: there is no right to, then a trigger."""
    return isinstance(fault, asyncpg.RestrictViolationError) or "permission denied for table" in str(fault)
