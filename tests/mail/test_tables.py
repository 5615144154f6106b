"""What the tables themselves refuse, whatever the code above them does."""

from typing import Any

import asyncpg
import pytest

from leasebox.values.ids import LeaseId, MessageId
from tests import kit_mail
from tests.kit import House
from tests.kit_mail import mail

shared_house = kit_mail.shared_house


@pytest.fixture(scope="module")
async def message(shared_house: House) -> dict[str, Any]:
    """A message and the lease it belongs to."""
    lease = await (await shared_house.agent()).lease()
    async with kit_mail.receiving(shared_house) as post:
        (message_id,) = await post.deliver(mail(), lease["address"])
    return {"id": MessageId.parse(message_id), "lease_id": LeaseId.parse(lease["lease_id"])}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE messages SET parsed_status = 'perhaps' WHERE id = $1",
        "UPDATE messages SET direction = 'sideways' WHERE id = $1",
        "UPDATE messages SET lease_id = gen_random_uuid() WHERE id = $1",
        "UPDATE messages SET mail_id = gen_random_uuid() WHERE id = $1",
        "UPDATE mails SET state = 'lost' WHERE id = (SELECT mail_id FROM messages WHERE id = $1)",
        "DELETE FROM mails WHERE id = (SELECT mail_id FROM messages WHERE id = $1)",
        "DELETE FROM leases WHERE id = (SELECT lease_id FROM messages WHERE id = $1)",
        "UPDATE leases SET used_bytes = -1 WHERE id = (SELECT lease_id FROM messages WHERE id = $1)",
        "UPDATE leases SET state = 'frozen' WHERE id = (SELECT lease_id FROM messages WHERE id = $1)",
    ],
)
async def test_no_row_can_be_what_it_must_not(shared_house: House, message: dict[str, Any], change: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await kit_mail.change(shared_house, change, message["id"])


async def test_a_place_in_a_mailbox_is_taken_once(shared_house: House, message: dict[str, Any]) -> None:
    columns = await kit_mail.value(
        shared_house,
        "SELECT string_agg(column_name, ', ') FROM information_schema.columns"
        " WHERE table_name = 'messages' AND column_name <> 'id'",
    )
    again = f"INSERT INTO messages (id, {columns}) SELECT gen_random_uuid(), {columns} FROM messages WHERE id = $1"
    with pytest.raises(asyncpg.UniqueViolationError, match="messages_mailbox_id_seq_key"):
        await kit_mail.change(shared_house, again, message["id"])


async def test_a_mail_takes_its_body_along(shared_house: House, message: dict[str, Any]) -> None:
    mail_id = await kit_mail.value(shared_house, "SELECT mail_id FROM messages WHERE id = $1", message["id"])
    body = "SELECT count(*) FROM mail_bodies WHERE mail_id = $1"
    assert await kit_mail.value(shared_house, body, mail_id) == 1

    async def gone(tx: Any) -> int:
        await tx.run("DELETE FROM messages WHERE mail_id = $1", mail_id)
        await tx.run("DELETE FROM mails WHERE id = $1", mail_id)
        return int(await tx.value(body, mail_id))

    assert await shared_house.db.transact(gone) == 0
