"""How long send attempts are kept, and what goes with them."""

from datetime import datetime, timedelta

import pytest

from leasebox.mail.jobs import purge
from leasebox.sending import retention
from leasebox.sending.model import EXPIRY
from leasebox.values.ids import SendAttemptId
from leasebox.wiring import process
from leasebox.wiring.sending import erase_of_leases
from tests import kit_mail
from tests.kit import House
from tests.sending.outgoing import Author

_LEFT = """
SELECT (SELECT count(*) FROM send_attempts WHERE id = $1) + (SELECT count(*) FROM send_recipients WHERE attempt_id = $1)
    + (SELECT count(*) FROM send_hops WHERE attempt_id = $1) + (SELECT count(*) FROM send_tries WHERE attempt_id = $1)
"""
_OVER = """
WITH hop AS (UPDATE send_hops SET state = 'done' WHERE attempt_id = $1), try AS (
    INSERT INTO send_tries (attempt_id, destination, number, began_at, outcome, replies)
    SELECT attempt_id, destination, 1, $2, 'sent', '[]' FROM send_hops WHERE attempt_id = $1
) UPDATE send_attempts SET state = 'sent', finished_at = $2 WHERE id = $1
"""


@pytest.fixture
async def author(house: House) -> Author:
    return await Author.new(house)


async def left(author: Author, attempt_id: SendAttemptId) -> int:
    """Rows of an attempt."""
    return int(await kit_mail.value(author.house, _LEFT, attempt_id))


async def finished(author: Author) -> SendAttemptId:
    """An attempt that was handed over at once: four rows."""
    attempt_id = await author.queue("one@there.example")
    await over(author, attempt_id)
    assert await left(author, attempt_id) == 4
    return attempt_id


async def over(author: Author, attempt_id: SendAttemptId) -> None:
    at = author.house.clock.now()
    await author.house.db.transact(lambda tx: tx.run(_OVER, attempt_id, at))


async def swept(house: House) -> None:
    """What the worker does every now and then."""
    await purge(house.db, process.lease_policy(house.settings), house.clock, erase_of_leases)
    await retention.forget(house.db, house.clock)


async def test_attempts_stay_as_long_as_their_leases_mail(author: Author) -> None:
    house, attempt_id = author.house, await finished(author)
    house.clock.advance(hours=720 + 71)
    await swept(house)
    assert await left(author, attempt_id) == 4
    house.clock.advance(hours=2)
    await swept(house)
    assert await left(author, attempt_id) == 0


async def test_late_ones_stay_until_no_bounce_can_come(author: Author) -> None:
    house = author.house
    house.clock.advance(hours=719)
    attempt_id = await finished(author)
    sent_at = house.clock.now()
    house.clock.advance(hours=74)
    await swept(house)
    assert await left(author, attempt_id) == 4, "the mail is gone, a bounce may come"
    await until(house, sent_at + EXPIRY + retention.GRACE - timedelta(minutes=1))
    assert await left(author, attempt_id) == 4
    await until(house, sent_at + EXPIRY + retention.GRACE + timedelta(minutes=1))
    assert await left(author, attempt_id) == 0


async def until(house: House, moment: datetime) -> None:
    house.clock.advance(seconds=(moment - house.clock.now()).total_seconds())
    await swept(house)


async def test_what_is_still_on_its_way_stays_until_it_has_ended(author: Author) -> None:
    house, attempt_id = author.house, await author.queue("one@there.example")
    house.clock.advance(hours=720 + 24 * 9)
    await swept(house)
    assert await left(author, attempt_id) == 3
    await over(author, attempt_id)
    await swept(house)
    assert await left(author, attempt_id) == 0


async def test_those_of_an_erased_mailbox_go_as_late(author: Author) -> None:
    house, attempt_id = author.house, await finished(author)
    answer = await author.agent.http.delete(f"/v2/mailboxes/accounts/{author.lease['mailbox_id']}")
    assert answer.status_code == 204
    house.clock.advance(hours=24 * 7 - 1)
    await swept(house)
    assert await left(author, attempt_id) == 4
    house.clock.advance(hours=2)
    await swept(house)
    assert await left(author, attempt_id) == 0


async def test_counters_usage_and_facts_stay(author: Author) -> None:
    house = author.house
    await finished(author)
    counted = """SELECT (SELECT count(*) FROM usage_events) + (SELECT count(*) FROM facts WHERE tenant_id = $1 )
        + (SELECT count(*) FROM suppressions WHERE tenant_id = $1)"""
    await house.db.transact(
        lambda tx: tx.run(
            "INSERT INTO suppressions (tenant_id, address, id, reason, detail, at)"
            " VALUES ($1, 'one@there.example', gen_random_uuid(), 'hard_bounce', '', now())",
            author.tenant_id,
        )
    )
    before = await kit_mail.value(house, counted, author.tenant_id)
    house.clock.advance(hours=720 + 24 * 8)
    await swept(house)
    assert await kit_mail.value(house, counted, author.tenant_id) == before
