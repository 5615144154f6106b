"""Attempts are left and forgotten by index, whatever else is kept, and by many sweepers at once."""

import asyncio
from datetime import timedelta

import pytest

from leasebox.infra.db import Tx
from leasebox.sending import retention_store as store
from leasebox.values.ids import LeaseId, MailboxId
from tests import kit_mail
from tests.kit import House
from tests.sending.outgoing import Author

DAY = timedelta(days=1)
# Others' attempts, so many that a plan which reads them all is told from one that does not.
_OTHERS = """
INSERT INTO send_attempts (id, tenant_id, mailbox_id, lease_id, actor, message_id, header_message_id, sender, state,
    size_bytes, send_at, expires_at, created_at, finished_at)
SELECT gen_random_uuid(), $1, $2, $3, 'test', gen_random_uuid(), '', 'a@b.example', 'sent', 1, $4, $4, $4, $4
FROM generate_series(1, 5000)
"""
_READ = """
SELECT coalesce(sum(seq_tup_read), 0) AS scanned, coalesce(sum(idx_tup_fetch), 0) AS fetched
FROM pg_stat_xact_user_tables WHERE relname = 'send_attempts'
"""


@pytest.fixture
async def author(house: House) -> Author:
    return await Author.new(house)


async def test_nothing_that_is_kept_is_read(author: Author) -> None:
    house, other, at = author.house, await Author.new(author.house), author.house.clock.now()
    place = (MailboxId.parse(other.lease["mailbox_id"]), LeaseId.parse(other.lease["lease_id"]))
    await house.db.transact(lambda tx: tx.run(_OTHERS, other.tenant_id, *place, at))
    for number in range(3):
        await author.queue(f"{number}@there.example")
    finish = "UPDATE send_attempts SET state = 'sent', finished_at = $2 WHERE lease_id = $1"
    lease_id = LeaseId.parse(author.lease["lease_id"])
    await house.db.transact(lambda tx: tx.run(finish, lease_id, at))
    await house.db.transact(lambda tx: tx.run("ANALYZE send_attempts"))

    async def body(tx: Tx) -> None:
        assert await store.leave_of_leases(tx, [lease_id], DAY) == 3
        assert await store.leave_of_leases(tx, [lease_id], DAY) == 0, "once is enough"
        assert await store.forget(tx, at + 2 * DAY, 100) == 0, "two days and one more are not over"
        assert await store.forget(tx, at + 4 * DAY, 2) == 2
        assert await store.forget(tx, at + 4 * DAY, 100) == 1
        read = await tx.one(_READ)
        assert read is not None
        assert read["scanned"] == 0
        assert read["fetched"] < 50

    await house.db.transact(body)
    assert await kit_mail.value(house, "SELECT count(*) FROM send_attempts") == 5000


async def test_sweepers_share_the_work(author: Author) -> None:
    house, at = author.house, author.house.clock.now()
    for number in range(9):
        await author.queue(f"{number}@there.example")
    lease_id = LeaseId.parse(author.lease["lease_id"])
    await house.db.transact(lambda tx: tx.run("UPDATE send_attempts SET finished_at = $1", at))
    await house.db.transact(lambda tx: store.leave_of_leases(tx, [lease_id], DAY))
    dropped = await asyncio.gather(*(house.db.transact(lambda tx: store.forget(tx, at + 9 * DAY, 4)) for _ in range(8)))
    assert sum(dropped) == 9


async def test_a_mailbox_is_left_by_its_own_tenant_only(author: Author) -> None:
    house, other = author.house, await Author.new(author.house)
    await author.queue("one@there.example")
    mailbox_id = MailboxId.parse(author.lease["mailbox_id"])
    leave = store.leave_of_mailbox
    assert await house.db.transact(lambda tx: leave(tx, other.tenant_id, mailbox_id, DAY)) == 0
    assert await house.db.transact(lambda tx: leave(tx, author.tenant_id, mailbox_id, DAY)) == 1
