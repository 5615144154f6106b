"""A database that is lent again is as if just migrated."""

import asyncpg
import pytest

from tests.databases import Databases, execute

_DENIAL = "INSERT INTO denied_domains VALUES ('sender', 'spam.example', '', 'a test', now())"
_FACT = """
INSERT INTO facts (id, tenant_id, type, payload, at)
VALUES (gen_random_uuid(), gen_random_uuid(), 'message.received', '{}', now())
"""
_LOOK = """
SELECT (SELECT count(*) FROM denied_domains), (SELECT count(*) FROM facts), (SELECT next_position FROM fact_sequence)
"""


async def test_what_a_test_wrote_is_gone_even_where_nothing_may_be_deleted(databases: Databases) -> None:
    async with databases.lent() as url:
        for order in (_DENIAL, _FACT, "UPDATE fact_sequence SET next_position = 99"):
            await execute(url, order)
    async with databases.lent() as again:
        connection = await asyncpg.connect(again)
        assert tuple(await connection.fetchrow(_LOOK)) == (0, 0, 1)
        with pytest.raises(asyncpg.PostgresError, match="facts"):
            await connection.execute("TRUNCATE facts")
        await connection.close()
    assert again == url


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE denied_domains ADD COLUMN more text",
        "DROP INDEX mails_pending_idx",
        "ALTER TABLE facts DISABLE TRIGGER USER",
        "CREATE TABLE left_over (id int)",
        "DELETE FROM alembic_version",
    ],
)
async def test_one_whose_tables_were_changed_is_not_lent_again(databases: Databases, change: str) -> None:
    async with databases.lent() as url:
        await execute(url, change)
    async with databases.lent() as other:
        assert other != url


async def test_one_that_somebody_holds_on_to_is_taken_from_him(databases: Databases) -> None:
    async with databases.lent() as url:
        connection = await asyncpg.connect(url)
        await connection.execute(f"BEGIN; {_DENIAL}")
    async with databases.lent():
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await connection.execute("COMMIT")
